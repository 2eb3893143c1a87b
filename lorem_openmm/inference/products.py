"""Tensor products of spherical features with hand-derived gradients, laid out [channels, components, atoms].

y_a = Σ_bc B_abc x1_b x2_c with B = w·C, the weighted Clebsch-Gordan coefficients (see
:class:`lorem_openmm.nn.equivariant.TensorProduct`). The derivatives with respect to both factors come from one product,
G_bc = Σ_a B_abc dE/dy_a: dE/dx1_b = Σ_c G_bc x2_c, dE/dx2_c = Σ_b G_bc x1_b.
"""

from typing import Tuple

import torch

from lorem_openmm.nn.equivariant import TensorProduct, outer_by_atom
from lorem_openmm.ops.spherical import num_even


def coupling(product: TensorProduct, degrees: Tuple[int, int, int]) -> torch.Tensor:
    """Returns B [channels, (L1+1)²·(L2+1)², (L3+1)²].

    Args:
        product: of the network.
        degrees: L1, L2, L3 of x1, x2 and y.
    """
    with torch.no_grad():
        m = product.matrices()
    n1, n2, n3 = ((degree + 1) ** 2 for degree in degrees)
    e1, e2, e3 = (num_even(degree) for degree in degrees)
    channels = m.even_even.shape[0]
    matrix = m.even_even.new_zeros((channels, n1, n2, n3))
    matrix[:, :e1, :e2, :e3] = m.even_even.view(channels, e1, e2, e3)
    matrix[:, e1:, e2:, :e3] = m.odd_odd.view(channels, n1 - e1, n2 - e2, e3)
    matrix[:, :e1, e2:, e3:] = m.even_odd.view(channels, e1, n2 - e2, n3 - e3)
    matrix[:, e1:, :e2, e3:] = m.odd_even.view(channels, n1 - e1, e2, n3 - e3)
    return matrix.flatten(1, 2)


class ProductBlock(torch.nn.Module):
    """The product of some components of x1 and x2.

    Args:
        matrix: B [channels, components of x1 · components of x2, components of y].
    """

    matrix: torch.Tensor
    transposed: torch.Tensor

    def __init__(self, matrix: torch.Tensor):
        super().__init__()
        self.register_buffer("matrix", matrix.contiguous(), persistent=False)
        self.register_buffer("transposed", self.matrix.transpose(1, 2), persistent=False)

    def forward(self, x1: torch.Tensor, x2: torch.Tensor) -> torch.Tensor:
        """Returns Σ_bc B_abc x1_b x2_c [channels, components of y, n_atoms]."""
        return torch.bmm(self.transposed, outer_by_atom(x1, x2))

    def pullback(self, x1: torch.Tensor, x2: torch.Tensor, gradient: torch.Tensor) -> Tuple[torch.Tensor, torch.Tensor]:
        """Returns dE/dx1 and dE/dx2 of dE/dy."""
        return outer_pullback(x1, x2, torch.bmm(self.matrix, gradient))


class WholeProduct(ProductBlock):
    """y = x1 ⊗ x2 as one block: for a single channel, of which four blocks take longer to start than to multiply.

    Args:
        product: of the network.
        degrees: of x1, x2 and y.
    """

    def __init__(self, product: TensorProduct, degrees: Tuple[int, int, int]):
        super().__init__(coupling(product, degrees))


class Product(torch.nn.Module):
    """y = x1 ⊗ x2 in four blocks, components of even degree first.

    Parity is kept, so that even·even and odd·odd → even, even·odd and odd·even → odd hold half of the entries.

    Args:
        product: of the network.
        degrees: of x1, x2 and y.
    """

    def __init__(self, product: TensorProduct, degrees: Tuple[int, int, int]):
        super().__init__()
        with torch.no_grad():
            m = product.matrices()
        self.even_even, self.odd_odd = ProductBlock(m.even_even), ProductBlock(m.odd_odd)
        self.even_odd, self.odd_even = ProductBlock(m.even_odd), ProductBlock(m.odd_even)
        self.sizes_1, self.sizes_2, self.sizes_3 = ([num_even(L), (L + 1) ** 2 - num_even(L)] for L in degrees)

    def forward(self, x1: torch.Tensor, x2: torch.Tensor) -> torch.Tensor:
        """Returns y [channels, (L3+1)², n_atoms].

        Args:
            x1: [channels, (L1+1)², n_atoms].
            x2: [channels, (L2+1)², n_atoms].
        """
        n_atoms = x2.shape[2]
        even_1, odd_1 = pad_atoms(x1).split(self.sizes_1, 1)
        even_2, odd_2 = pad_atoms(x2).split(self.sizes_2, 1)
        even = self.even_even(even_1, even_2).add_(self.odd_odd(odd_1, odd_2))
        odd = self.even_odd(even_1, odd_2).add_(self.odd_even(odd_1, even_2))
        return torch.cat([even, odd], dim=1).narrow(2, 0, n_atoms)

    def pullback(self, x1: torch.Tensor, x2: torch.Tensor, gradient: torch.Tensor) -> Tuple[torch.Tensor, torch.Tensor]:
        """Returns dE/dx1 and dE/dx2 of dE/dy, shapes as in :meth:`forward`."""
        n_atoms = x2.shape[2]
        even, odd = pad_atoms(gradient).split(self.sizes_3, 1)
        even_1, odd_1 = pad_atoms(x1).split(self.sizes_1, 1)
        even_2, odd_2 = pad_atoms(x2).split(self.sizes_2, 1)
        ee, oo = self.even_even.pullback(even_1, even_2, even), self.odd_odd.pullback(odd_1, odd_2, even)
        eo, oe = self.even_odd.pullback(even_1, odd_2, odd), self.odd_even.pullback(odd_1, even_2, odd)
        first = torch.cat([ee[0].add_(eo[0]), oo[0].add_(oe[0])], dim=1)
        second = torch.cat([ee[1].add_(oe[1]), oo[1].add_(eo[1])], dim=1)
        return first.narrow(2, 0, n_atoms), second.narrow(2, 0, n_atoms)


def outer_pullback(x1: torch.Tensor, x2: torch.Tensor, g: torch.Tensor) -> Tuple[torch.Tensor, torch.Tensor]:
    """Returns Σ_c G_bc x2_c and Σ_b G_bc x1_b for G [channels, pairs of components, n_atoms]."""
    g = g.view(x1.shape[0], x1.shape[1], x2.shape[1], x1.shape[2])
    return (g * x2.unsqueeze(1)).sum(dim=2), (g * x1.unsqueeze(2)).sum(dim=1)


def pad_atoms(x: torch.Tensor) -> torch.Tensor:
    """Fills up the atoms of x [channels, components, n_atoms] with zeros to a multiple of 16.

    A vector register holds 16 numbers in single precision: the products of 6 or 15 atoms take 2.5 times those of 16.
    """
    missing = (16 - x.shape[2] % 16) % 16
    return x if missing == 0 else torch.nn.functional.pad(x, [0, missing])
