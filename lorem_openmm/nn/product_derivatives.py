"""The tensor product with first and second derivatives by hand, for training.

y_k = Σ_ij M_ij,k a_i b_j for each channel and atom is linear in a, b and M each, and so is every derivative of it. With
g = dE/dy, G_ij = Σ_k M_ij,k g_k gives both dE/da_i = Σ_j G_ij b_j and dE/db_j = Σ_i G_ij a_i. Forces are made of these,
and a loss of forces differentiates them once more: with the loss's derivatives u by dE/da and v by dE/db, all that is
needed are the pairs Q_ij = u_i b_j + a_i v_j (for those by g and M) and the same G. Autograd makes every pair and its
gradient several times over, as arrays that no cache holds; here atoms go through in chunks that fit one.

Components are sorted by the reflections under which they change sign (``spherical.reflection_classes``): a pair of
classes A and B meets only the class A xor B of y, so that M is one block per class, and most of it need not be stored.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch.autograd.function import once_differentiable

CACHED_PAIRS = 5_000_000  # 20 MB of pairs in flight, most of a shared cache; with fewer, overhead counts
FEWEST_ATOMS = 16  # of a chunk: products of matrices with fewer columns are slow


class Classes(NamedTuple):
    """Components of a, b and y by class.

    Attributes:
        orders: for a, b and y the places of the sorted components among the model's, [m] each.
        places: the inverse of each.
        sizes: number of components of each class, for a, b and y.
    """

    orders: tuple[torch.Tensor, ...]
    places: tuple[torch.Tensor, ...]
    sizes: tuple[list[int], ...]

    @property
    def pair_counts(self) -> list[int]:
        """Returns the number of pairs that meet each class of y."""
        n1, n2, _ = self.sizes
        return [sum(n1[c] * n2[c ^ k] for c in range(len(n1))) for k in range(len(n1))]


def sort_by_class(of_component: Sequence[torch.Tensor]) -> tuple[Classes, torch.Tensor]:
    """Sorts the components of a, b and y by class, and the entries of a dense M [m1, m2, m3] as blocks of classes.

    Args:
        of_component: class of each component of a, b and y, [m] each, 0 to 2ⁿ − 1.

    Returns:
        The classes, and the places of the entries of the blocks in the flattened M.
    """
    orders = tuple(torch.argsort(classes, stable=True) for classes in of_component)
    count = 1 << (max(int(classes.max()) for classes in of_component)).bit_length()
    sizes = tuple(torch.bincount(classes, minlength=count).tolist() for classes in of_component)
    first, second, third = (order.split(size) for order, size in zip(orders, sizes, strict=True))
    _, m2, m3 = (len(classes) for classes in of_component)
    entries = []
    for k in range(count):
        pairs = [(first[c][:, None] * m2 + second[c ^ k]).flatten() for c in range(count)]
        entries.append((torch.cat(pairs)[:, None] * m3 + third[k]).flatten())
    return Classes(orders, tuple(torch.argsort(order) for order in orders), sizes), torch.cat(entries)


class TensorProductFunction(torch.autograd.Function):
    """y [n_atoms, channels, m3] of a [n_atoms, channels, m1], b [n_atoms, channels, m2] and M by class.

    M [channels, Σ_k pairs_k·m3_k] holds the blocks of the classes one after the other, pairs by class of a.
    """

    @staticmethod
    def forward(ctx: Any, a: torch.Tensor, b: torch.Tensor, matrices: torch.Tensor, classes: Classes) -> torch.Tensor:
        ctx.save_for_backward(a, b, matrices)
        ctx.classes = classes
        blocks = _blocks(matrices, classes)
        parts = [
            _apply(blocks, _pairs(x, y, classes)) for x, y in _chunks(_sorted(a, classes, 0), _sorted(b, classes, 1))
        ]
        return _unsorted(parts, classes, 2)

    @staticmethod
    def backward(ctx: Any, g: torch.Tensor) -> tuple[Any, ...]:
        a, b, matrices = ctx.saved_tensors
        wanted, again = will_be_used(ctx.next_functions[2][0]), torch.is_grad_enabled()
        da, db, weights = GradientFunction.apply(g, a, b, matrices, ctx.classes, wanted and not again)
        if wanted and again:  # nobody differentiates it in training: plain operations will do
            weights = _differentiable_weights(a, b, g, ctx.classes)
        return da, db, weights if wanted else None, None


class GradientFunction(torch.autograd.Function):
    """dE/da, dE/db for g = dE/dy, and dE/dM where it is wanted and will not be differentiated."""

    @staticmethod
    def forward(
        ctx: Any,
        g: torch.Tensor,
        a: torch.Tensor,
        b: torch.Tensor,
        matrices: torch.Tensor,
        classes: Classes,
        with_weights: bool,
    ) -> tuple[torch.Tensor, ...]:
        ctx.save_for_backward(g, a, b, matrices)
        ctx.classes = classes
        blocks = _blocks(matrices, classes)
        weights = [torch.zeros_like(block) for block in blocks] if with_weights else []
        gradients, spreads = [], []
        for g_, a_, b_ in _chunks(_sorted(g, classes, 2), _sorted(a, classes, 0), _sorted(b, classes, 1)):
            spread = _spread(blocks, g_, classes)
            gradients.append(_contract(spread, a_, b_, classes))
            if with_weights:
                _add_weights(weights, _pairs(a_, b_, classes), g_, classes)
            else:
                spreads.append(spread)
        ctx.spreads = spreads  # the derivative of forces needs them again
        joined = _joined(weights) if with_weights else matrices.new_empty(0)
        ctx.mark_non_differentiable(joined)
        da, db = zip(*gradients, strict=True)
        return _unsorted(da, classes, 0), _unsorted(db, classes, 1), joined

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, u: torch.Tensor, v: torch.Tensor, _: Any) -> tuple[Any, ...]:
        g, a, b, matrices = ctx.saved_tensors
        classes = ctx.classes
        blocks = _blocks(matrices, classes)
        weights = [torch.zeros_like(block) for block in blocks]
        dg, gradients = [], []
        arrays = (g, 2), (a, 0), (b, 1), (u, 0), (v, 1)
        chunks = _chunks(*[_sorted(array, classes, which) for array, which in arrays])
        for index, (g_, a_, b_, u_, v_) in enumerate(chunks):
            pairs = _pairs(u_, b_, classes)
            for block, x, y in _by_factors(pairs, a_, v_, classes):
                block.addcmul_(x.unsqueeze(2), y.unsqueeze(1))
            dg.append(_apply(blocks, pairs))
            _add_weights(weights, pairs, g_, classes)
            spread = ctx.spreads[index] if ctx.spreads else _spread(blocks, g_, classes)
            gradients.append(_contract(spread, u_, v_, classes))
        da, db = zip(*gradients, strict=True)
        first = _unsorted(dg, classes, 2), _unsorted(da, classes, 0), _unsorted(db, classes, 1)
        return (*first, _joined(weights), None, None)


def will_be_used(node: Any) -> bool:
    """Whether the backward pass that runs will use a gradient: forces ask for that of positions, not of weights.

    Args:
        node: What made the input, one of ``ctx.next_functions``; a leaf, of which nothing is known, counts as used.
    """
    if node is None:
        return False
    return node.name().endswith("AccumulateGrad") or torch._C._will_engine_execute_node(node)


def _sorted(x: torch.Tensor, classes: Classes, which: int) -> torch.Tensor:
    """Returns x [n_atoms, channels, m] as [channels, m, n_atoms], components sorted by class."""
    return x.permute(1, 2, 0).index_select(1, classes.orders[which].to(x.device))


def _unsorted(parts: Sequence[torch.Tensor], classes: Classes, which: int) -> torch.Tensor:
    x = parts[0] if len(parts) == 1 else torch.cat(list(parts), dim=2)
    return x.index_select(1, classes.places[which].to(x.device)).permute(2, 0, 1).contiguous()


def _chunks(*arrays: torch.Tensor) -> Iterator[tuple[torch.Tensor, ...]]:
    """Cuts arrays [channels, components, n_atoms] into runs of atoms whose pairs fit the cache."""
    n_atoms = arrays[0].shape[2]
    count = 1
    if not arrays[0].is_cuda:
        pairs = arrays[-1].shape[0] * arrays[-1].shape[1] * arrays[-2].shape[1]
        count = -(-n_atoms // max(FEWEST_ATOMS, CACHED_PAIRS // pairs))
    size = max(1, -(-n_atoms // max(count, 1)))
    for start in range(0, max(n_atoms, 1), size):
        yield tuple(array.narrow(2, start, min(size, n_atoms - start)) for array in arrays)


def _blocks(matrices: torch.Tensor, classes: Classes) -> list[torch.Tensor]:
    """Returns M of each class of y, [channels, pairs, m3]; contiguous, as fast batched products need it."""
    shapes = list(zip(classes.pair_counts, classes.sizes[2], strict=True))
    parts = matrices.split([rows * columns for rows, columns in shapes], dim=1)
    return [part.contiguous().unflatten(1, shape) for part, shape in zip(parts, shapes, strict=True)]


def _by_factors(
    pairs: Sequence[torch.Tensor], a: torch.Tensor, b: torch.Tensor, classes: Classes
) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """Yields (block [channels, m1, m2, n], its part of a, its part of b) of all pairs of classes."""
    n1, n2, _ = classes.sizes
    of_a, of_b = a.split(n1, dim=1), b.split(n2, dim=1)
    for k, of_class in enumerate(pairs):
        parts = of_class.split([n1[c] * n2[c ^ k] for c in range(len(n1))], dim=1)
        for c, part in enumerate(parts):
            if part.shape[1] > 0:
                yield part.unflatten(1, (n1[c], n2[c ^ k])), of_a[c], of_b[c ^ k]


def _pairs(a: torch.Tensor, b: torch.Tensor, classes: Classes) -> list[torch.Tensor]:
    """a_i b_j by class of y, [channels, pairs, n] each."""
    pairs = [a.new_empty(a.shape[0], count, a.shape[2]) for count in classes.pair_counts]
    for block, x, y in _by_factors(pairs, a, b, classes):
        torch.mul(x.unsqueeze(2), y.unsqueeze(1), out=block)
    return pairs


def _apply(blocks: Sequence[torch.Tensor], pairs: Sequence[torch.Tensor]) -> torch.Tensor:
    """Σ_ij M_ij,k P_ij [channels, m3, n]."""
    return torch.cat([torch.bmm(block.transpose(1, 2), part) for block, part in zip(blocks, pairs, strict=True)], dim=1)


def _spread(blocks: Sequence[torch.Tensor], g: torch.Tensor, classes: Classes) -> list[torch.Tensor]:
    """G_ij = Σ_k M_ij,k g_k by class of y, [channels, pairs, n] each."""
    return [torch.bmm(block, part) for block, part in zip(blocks, g.split(classes.sizes[2], dim=1), strict=True)]


def _contract(
    spread: Sequence[torch.Tensor], a: torch.Tensor, b: torch.Tensor, classes: Classes
) -> tuple[torch.Tensor, torch.Tensor]:
    """Σ_j G_ij b_j and Σ_i G_ij a_i."""
    da, db = torch.zeros_like(a), torch.zeros_like(b)
    into = _by_factors(spread, da, db, classes)
    for (block, x, y), (_, dx, dy) in zip(_by_factors(spread, a, b, classes), into, strict=True):
        dx.add_((block * y.unsqueeze(1)).sum(2))
        dy.add_((block * x.unsqueeze(2)).sum(1))
    return da, db


def _add_weights(
    blocks: Sequence[torch.Tensor], pairs: Sequence[torch.Tensor], g: torch.Tensor, classes: Classes
) -> None:
    """dE/dM_ij,k += Σ_atoms P_ij g_k."""
    for block, part, of_class in zip(blocks, pairs, g.split(classes.sizes[2], dim=1), strict=True):
        block.baddbmm_(part, of_class.transpose(1, 2))


def _joined(blocks: Sequence[torch.Tensor]) -> torch.Tensor:
    return torch.cat([block.flatten(1) for block in blocks], dim=1)


def _differentiable_weights(a: torch.Tensor, b: torch.Tensor, g: torch.Tensor, classes: Classes) -> torch.Tensor:
    """dE/dM by operations that autograd differentiates."""
    of_a, of_b, of_g = (
        _sorted(x, classes, which).split(classes.sizes[which], dim=1) for which, x in enumerate((a, b, g))
    )
    parts = []
    for k in range(len(of_g)):
        pairs = [(of_a[c].unsqueeze(2) * of_b[c ^ k].unsqueeze(1)).flatten(1, 2) for c in range(len(of_a))]
        parts.append(torch.bmm(torch.cat(pairs, dim=1), of_g[k].transpose(1, 2)).flatten(1))
    return torch.cat(parts, dim=1)
