"""The tensor product and its first gradient as plain functions, laid out [channels, components, atoms].

y_k = Σ_ij M_ij,k a_i b_j for each channel and atom; with g = dE/dy, G_ij = Σ_k M_ij,k g_k gives both
dE/da_i = Σ_j G_ij b_j and dE/db_j = Σ_i G_ij a_i.

Components are sorted by the reflections under which they change sign (``spherical.reflection_classes``), or by the
parity of their degree: a pair of classes A and B meets only the class A xor B of y, so that M is one block per class,
and most of it need not be stored. Training wraps these functions in functions of autograd
(``nn/product_derivatives.py``), dynamics calls them as they are.
"""

from typing import List, NamedTuple, Tuple

import torch


class Classes(NamedTuple):
    """Numbers of components of each class, for a, b and y; as many classes in each."""

    of_a: List[int]
    of_b: List[int]
    of_y: List[int]


class Sorting(NamedTuple):
    """Where sorted components and pairs lie among the model's.

    Attributes:
        classes: how many of each class there are.
        orders: for a, b and y the places of the sorted components among the model's, [m] each.
        places: the inverse of each.
        pairs: for each class of y the places i·m2 + j of the pairs that meet it, by class of a.
        entries: places of the blocks' entries in the flattened M [m1, m2, m3], block after block.
    """

    classes: Classes
    orders: List[torch.Tensor]
    places: List[torch.Tensor]
    pairs: List[torch.Tensor]
    entries: torch.Tensor


def sort_by_class(of_component: List[torch.Tensor]) -> Sorting:
    """Sorts the components of a, b and y by class, and the entries of a dense M [m1, m2, m3] as blocks of classes.

    Args:
        of_component: class of each component of a, b and y, [m] each, 0 to 2ⁿ − 1.
    """
    orders = [torch.argsort(classes, stable=True) for classes in of_component]
    count = 1 << (max(int(classes.max()) for classes in of_component)).bit_length()
    sizes = [torch.bincount(classes, minlength=count).tolist() for classes in of_component]
    first, second, third = (order.split(size) for order, size in zip(orders, sizes, strict=True))
    _, m2, m3 = (len(classes) for classes in of_component)
    pairs = [
        torch.cat([(first[c][:, None] * m2 + second[c ^ k]).flatten() for c in range(count)]) for k in range(count)
    ]
    entries = torch.cat([(pairs[k][:, None] * m3 + third[k]).flatten() for k in range(count)])
    return Sorting(Classes(*sizes), orders, [torch.argsort(order) for order in orders], pairs, entries)


def pair_counts(classes: Classes) -> List[int]:
    """Returns the number of pairs that meet each class of y."""
    counts: List[int] = []
    for k in range(len(classes.of_y)):
        count = 0
        for c in range(len(classes.of_a)):
            count += classes.of_a[c] * classes.of_b[c ^ k]
        counts.append(count)
    return counts


def as_blocks(entries: torch.Tensor, classes: Classes) -> List[torch.Tensor]:
    """Returns M of each class of y, [channels, pairs, m3], of M's entries [channels, Σ_k pairs_k·m3_k].

    Contiguous, as fast batched products need it.
    """
    counts = pair_counts(classes)
    blocks: List[torch.Tensor] = []
    first = 0
    for k in range(len(counts)):
        size = counts[k] * classes.of_y[k]
        part = entries.narrow(1, first, size).contiguous()
        blocks.append(part.view(entries.shape[0], counts[k], classes.of_y[k]))
        first += size
    return blocks


def transpose(blocks: List[torch.Tensor]) -> List[torch.Tensor]:
    """Returns blocks of M [channels, m3, pairs], as :func:`multiply` takes them."""
    return [block.transpose(1, 2) for block in blocks]


def by_factors(
    pairs: List[torch.Tensor], a: torch.Tensor, b: torch.Tensor, classes: Classes
) -> List[Tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """Returns (block [channels, m1, m2, n], its part of a, its part of b) of all pairs of classes."""
    of_a, of_b = a.split(classes.of_a, dim=1), b.split(classes.of_b, dim=1)
    parts: List[Tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = []
    for k in range(len(pairs)):
        first = 0
        for c in range(len(of_a)):
            m1, m2 = classes.of_a[c], classes.of_b[c ^ k]
            if m1 * m2 > 0:
                block = pairs[k].narrow(1, first, m1 * m2)
                parts.append((block.view(block.shape[0], m1, m2, block.shape[2]), of_a[c], of_b[c ^ k]))
                first += m1 * m2
    return parts


def make_pairs(a: torch.Tensor, b: torch.Tensor, classes: Classes) -> List[torch.Tensor]:
    """Returns a_i b_j by class of y, [channels, pairs, n] each; autograd can differentiate it."""
    pairs: List[torch.Tensor] = []
    if torch.is_grad_enabled() and (a.requires_grad or b.requires_grad):
        of_a, of_b = a.split(classes.of_a, dim=1), b.split(classes.of_b, dim=1)
        for k in range(len(classes.of_y)):
            products: List[torch.Tensor] = []
            for c in range(len(of_a)):
                products.append((of_a[c].unsqueeze(2) * of_b[c ^ k].unsqueeze(1)).flatten(1, 2))
            pairs.append(torch.cat(products, dim=1))
        return pairs
    for count in pair_counts(classes):
        pairs.append(b.new_empty([b.shape[0], count, b.shape[2]]))
    for block, x, y in by_factors(pairs, a, b, classes):
        torch.mul(x.unsqueeze(2), y.unsqueeze(1), out=block)
    return pairs


def multiply(transposed: List[torch.Tensor], pairs: List[torch.Tensor]) -> torch.Tensor:
    """Returns Σ_ij M_ij,k P_ij [channels, m3, n], sorted, for blocks of M [channels, m3, pairs]."""
    parts: List[torch.Tensor] = []
    for block, part in zip(transposed, pairs):  # noqa: B905 (not in TorchScript)
        parts.append(torch.bmm(block, part))
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)


def spread(blocks: List[torch.Tensor], g: torch.Tensor, classes: Classes) -> List[torch.Tensor]:
    """Returns G_ij = Σ_k M_ij,k g_k by class of y, [channels, pairs, n] each."""
    parts: List[torch.Tensor] = []
    for block, part in zip(blocks, g.split(classes.of_y, dim=1)):  # noqa: B905 (not in TorchScript)
        parts.append(torch.bmm(block, part))
    return parts


def contract(
    spreads: List[torch.Tensor], a: torch.Tensor, b: torch.Tensor, classes: Classes
) -> Tuple[torch.Tensor, torch.Tensor]:
    """Returns Σ_j G_ij b_j and Σ_i G_ij a_i, shaped as a and b."""
    da, db = torch.zeros_like(a), torch.zeros_like(b)
    into = by_factors(spreads, da, db, classes)
    for i, (block, x, y) in enumerate(by_factors(spreads, a, b, classes)):
        _, dx, dy = into[i]
        dx.add_(torch.sum(block * y.unsqueeze(1), dim=2))
        dy.add_(torch.sum(block * x.unsqueeze(2), dim=1))
    return da, db
