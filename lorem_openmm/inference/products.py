"""Tensor products of spherical features with fixed weights, laid out [channels, components, atoms].

The formulas are those of ``ops/product.py``; here weights are folded once, and atoms fill whole vector registers.
"""

from typing import List, Tuple

import torch

from lorem_openmm.nn.equivariant import TensorProduct, component_classes
from lorem_openmm.ops.product import (
    Classes,
    Sorting,
    as_blocks,
    contract,
    make_pairs,
    multiply,
    sort_by_class,
    spread,
)


class ProductBlock(torch.nn.Module):
    """M [channels, pairs of components, components of y] for one class of y."""

    matrix: torch.Tensor
    transposed: torch.Tensor

    def __init__(self, matrix: torch.Tensor):
        super().__init__()
        self.register_buffer("matrix", matrix, persistent=False)
        self.register_buffer("transposed", matrix.transpose(1, 2), persistent=False)


class FoldedProduct(torch.nn.Module):
    """What forms of y = x1 ⊗ x2 have in common: M, folded, as one block per class of y."""

    classes: Classes

    def __init__(self, product: TensorProduct, sorting: Sorting):
        super().__init__()
        self.classes = sorting.classes
        with torch.no_grad():
            blocks = as_blocks(product.matrix(sorting.entries.to(product.kernel.device)), sorting.classes)
        self.blocks = torch.nn.ModuleList([ProductBlock(block) for block in blocks])

    def matrices(self) -> List[torch.Tensor]:
        """Returns M of each class of y."""
        found: List[torch.Tensor] = []
        for block in self.blocks:
            found.append(block.matrix)
        return found

    def transposed(self) -> List[torch.Tensor]:
        """Returns the same, transposed."""
        found: List[torch.Tensor] = []
        for block in self.blocks:
            found.append(block.transposed)
        return found


class Product(FoldedProduct):
    """y = x1 ⊗ x2 in two blocks, components of even degree first.

    Parity is kept, so that even·even and odd·odd → even, even·odd and odd·even → odd hold half of the entries.
    """

    def __init__(self, product: TensorProduct):
        super().__init__(product, sort_by_class([component_classes(L, False) for L in product.degrees]))

    def forward(self, x1: torch.Tensor, x2: torch.Tensor) -> torch.Tensor:
        """Returns y [channels, (L3+1)², n_atoms] for x1 [channels, (L1+1)², n_atoms] and x2 likewise."""
        return multiply(self.transposed(), make_pairs(x1, x2, self.classes))

    def pullback(self, x1: torch.Tensor, x2: torch.Tensor, gradient: torch.Tensor) -> Tuple[torch.Tensor, torch.Tensor]:
        """Returns dE/dx1 and dE/dx2 of dE/dy, shapes as in :meth:`forward`."""
        return contract(spread(self.matrices(), gradient, self.classes), x1, x2, self.classes)


class WholeProduct(FoldedProduct):
    """y = x1 ⊗ x2 as one block: for a single channel, of which more take longer to start than to multiply."""

    def __init__(self, product: TensorProduct):
        whole = [torch.zeros((degree + 1) ** 2, dtype=torch.long) for degree in product.degrees]
        super().__init__(product, sort_by_class(whole))

    def forward(self, x1: torch.Tensor, x2: torch.Tensor) -> torch.Tensor:
        """Returns y, shapes as in :meth:`Product.forward`."""
        return multiply(self.transposed(), [outer_by_atom(x1, x2)])

    def pullback(self, x1: torch.Tensor, x2: torch.Tensor, gradient: torch.Tensor) -> Tuple[torch.Tensor, torch.Tensor]:
        """Returns dE/dx1 and dE/dx2 of dE/dy."""
        return outer_pullback(x1, x2, spread(self.matrices(), gradient, self.classes)[0])


def outer_by_atom(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Returns a ⊗ b [channels, m1·m2, n_atoms] of a [channels, m1, n_atoms] and b [channels, m2, n_atoms]."""
    return (a.unsqueeze(2) * b.unsqueeze(1)).flatten(1, 2)


def outer_pullback(x1: torch.Tensor, x2: torch.Tensor, g: torch.Tensor) -> Tuple[torch.Tensor, torch.Tensor]:
    """Returns Σ_c G_bc x2_c and Σ_b G_bc x1_b for G [channels, pairs of components, n_atoms]."""
    g = g.view(x1.shape[0], x1.shape[1], x2.shape[1], x1.shape[2])
    return (g * x2.unsqueeze(1)).sum(dim=2), (g * x1.unsqueeze(2)).sum(dim=1)


def pad_atoms(x: torch.Tensor) -> torch.Tensor:
    """Fills up the atoms of x [..., n_atoms] with zeros to a multiple of 16: what the products above take.

    A vector register holds 16 numbers in single precision: the products of 6 or 15 atoms take 2.5 times those of 16.
    """
    missing = (16 - x.shape[-1] % 16) % 16
    return x if missing == 0 else torch.nn.functional.pad(x, [0, missing])
