"""The tensor product with first and second derivatives by hand, for training.

y_k = Σ_ij M_ij,k a_i b_j is linear in a, b and M each, and so is every derivative of it (``ops/product.py`` has y and
its first gradient). Forces are made of these, and a loss of forces differentiates them once more: with the loss's
derivatives u by dE/da and v by dE/db, all that is needed are the pairs Q_ij = u_i b_j + a_i v_j (for those by dE/dy and
M) and the same G. Autograd makes every pair and its gradient several times over, as arrays that no cache holds; here
atoms go through in chunks that fit one.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch.autograd.function import once_differentiable

from lorem_openmm.ops.product import (
    Sorting,
    as_blocks,
    by_factors,
    contract,
    make_pairs,
    multiply,
    spread,
    transpose,
)

CACHED_PAIRS = 5_000_000  # 20 MB of pairs in flight, most of a shared cache; with fewer, overhead counts
FEWEST_ATOMS = 16  # of a chunk: products of matrices with fewer columns are slow


class TensorProductFunction(torch.autograd.Function):
    """y [n_atoms, channels, m3] of a [n_atoms, channels, m1], b [n_atoms, channels, m2] and M by class.

    M [channels, Σ_k pairs_k·m3_k] holds the blocks of the classes one after the other, pairs by class of a.
    """

    @staticmethod
    def forward(ctx: Any, a: torch.Tensor, b: torch.Tensor, matrices: torch.Tensor, sorting: Sorting) -> torch.Tensor:
        ctx.save_for_backward(a, b, matrices)
        ctx.sorting = sorting
        transposed = transpose(as_blocks(matrices, sorting.classes))
        chunks = _chunks(_sorted(a, sorting, 0), _sorted(b, sorting, 1))
        return _unsorted([multiply(transposed, make_pairs(x, y, sorting.classes)) for x, y in chunks], sorting, 2)

    @staticmethod
    def backward(ctx: Any, g: torch.Tensor) -> tuple[Any, ...]:
        a, b, matrices = ctx.saved_tensors
        wanted, again = will_be_used(ctx.next_functions[2][0]), torch.is_grad_enabled()
        da, db, weights = GradientFunction.apply(g, a, b, matrices, ctx.sorting, wanted and not again)
        if wanted and again:  # nobody differentiates it in training: plain operations will do
            weights = _differentiable_weights(a, b, g, ctx.sorting)
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
        sorting: Sorting,
        with_weights: bool,
    ) -> tuple[torch.Tensor, ...]:
        ctx.save_for_backward(g, a, b, matrices)
        ctx.sorting = sorting
        blocks = as_blocks(matrices, sorting.classes)
        weights = [torch.zeros_like(block) for block in blocks] if with_weights else []
        gradients, kept = [], []
        for g_, a_, b_ in _chunks(_sorted(g, sorting, 2), _sorted(a, sorting, 0), _sorted(b, sorting, 1)):
            of_pairs = spread(blocks, g_, sorting.classes)
            gradients.append(contract(of_pairs, a_, b_, sorting.classes))
            if with_weights:
                _add_weights(weights, make_pairs(a_, b_, sorting.classes), g_, sorting)
            else:
                kept.append(of_pairs)
        ctx.kept = kept  # the derivative of forces needs them again
        joined = _joined(weights) if with_weights else matrices.new_empty(0)
        ctx.mark_non_differentiable(joined)
        da, db = zip(*gradients, strict=True)
        return _unsorted(da, sorting, 0), _unsorted(db, sorting, 1), joined

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, u: torch.Tensor, v: torch.Tensor, _: Any) -> tuple[Any, ...]:
        g, a, b, matrices = ctx.saved_tensors
        sorting, classes = ctx.sorting, ctx.sorting.classes
        blocks = as_blocks(matrices, classes)
        transposed = transpose(blocks)
        weights = [torch.zeros_like(block) for block in blocks]
        dg, gradients = [], []
        arrays = (g, 2), (a, 0), (b, 1), (u, 0), (v, 1)
        chunks = _chunks(*[_sorted(array, sorting, which) for array, which in arrays])
        for index, (g_, a_, b_, u_, v_) in enumerate(chunks):
            pairs = make_pairs(u_, b_, classes)
            for block, x, y in by_factors(pairs, a_, v_, classes):
                block.addcmul_(x.unsqueeze(2), y.unsqueeze(1))
            dg.append(multiply(transposed, pairs))
            _add_weights(weights, pairs, g_, sorting)
            of_pairs = ctx.kept[index] if ctx.kept else spread(blocks, g_, classes)
            gradients.append(contract(of_pairs, u_, v_, classes))
        da, db = zip(*gradients, strict=True)
        first = _unsorted(dg, sorting, 2), _unsorted(da, sorting, 0), _unsorted(db, sorting, 1)
        return (*first, _joined(weights), None, None)


def will_be_used(node: Any) -> bool:
    """Whether the backward pass that runs will use a gradient: forces ask for that of positions, not of weights.

    Args:
        node: What made the input, one of ``ctx.next_functions``; a leaf, of which nothing is known, counts as used.
    """
    if node is None:
        return False
    return node.name().endswith("AccumulateGrad") or torch._C._will_engine_execute_node(node)


def _sorted(x: torch.Tensor, sorting: Sorting, which: int) -> torch.Tensor:
    """Returns x [n_atoms, channels, m] as [channels, m, n_atoms], components sorted by class."""
    return x.permute(1, 2, 0).index_select(1, sorting.orders[which].to(x.device))


def _unsorted(parts: Sequence[torch.Tensor], sorting: Sorting, which: int) -> torch.Tensor:
    x = parts[0] if len(parts) == 1 else torch.cat(list(parts), dim=2)
    return x.index_select(1, sorting.places[which].to(x.device)).permute(2, 0, 1).contiguous()


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


def _add_weights(
    blocks: Sequence[torch.Tensor], pairs: Sequence[torch.Tensor], g: torch.Tensor, sorting: Sorting
) -> None:
    """dE/dM_ij,k += Σ_atoms P_ij g_k."""
    for block, part, of_class in zip(blocks, pairs, g.split(sorting.classes.of_y, dim=1), strict=True):
        block.baddbmm_(part, of_class.transpose(1, 2))


def _joined(blocks: Sequence[torch.Tensor]) -> torch.Tensor:
    return torch.cat([block.flatten(1) for block in blocks], dim=1)


def _differentiable_weights(a: torch.Tensor, b: torch.Tensor, g: torch.Tensor, sorting: Sorting) -> torch.Tensor:
    """dE/dM by operations that autograd differentiates."""
    pairs = make_pairs(_sorted(a, sorting, 0), _sorted(b, sorting, 1), sorting.classes)
    of_g = _sorted(g, sorting, 2).split(sorting.classes.of_y, dim=1)
    return _joined([torch.bmm(part, of_class.transpose(1, 2)) for part, of_class in zip(pairs, of_g, strict=True)])
