"""Tensor products of spherical features with hand-derived gradients, laid out [channels, components, atoms].

y_a = Σ_bc B_abc x1_b x2_c with B = w·C, the weighted Clebsch-Gordan coefficients, in four blocks by parity (see
:class:`lorem_openmm.nn.equivariant.TensorProduct`). The derivatives with respect to both factors come from one product,
G_bc = Σ_a B_abc dE/dy_a: dE/dx1_b = Σ_c G_bc x2_c, dE/dx2_c = Σ_b G_bc x1_b.
"""

from typing import Tuple

import torch

from lorem_openmm.nn.equivariant import TensorProduct, num_even


class ParityBlock(torch.nn.Module):
    """The part of a product with given parities (0 even, 1 odd) of y, x1 and x2.

    Args:
        matrix: B [channels, components of x1 · components of x2, components of y].
        parities: of y, x1 and x2.
    """

    matrix: torch.Tensor
    transposed: torch.Tensor

    def __init__(self, matrix: torch.Tensor, parities: Tuple[int, int, int]):
        super().__init__()
        self.out, self.first, self.second = parities
        self.register_buffer("matrix", matrix.contiguous(), persistent=False)
        self.register_buffer("transposed", self.matrix.transpose(1, 2), persistent=False)

    def forward(self, x1: torch.Tensor, x2: torch.Tensor) -> torch.Tensor:
        """Returns Σ_bc B_abc x1_b x2_c [channels, m, n_atoms]."""
        return torch.bmm(self.transposed, (x1.unsqueeze(2) * x2.unsqueeze(1)).flatten(1, 2))

    def pullback(self, gradient: torch.Tensor, x1: torch.Tensor, x2: torch.Tensor) -> Tuple[torch.Tensor, torch.Tensor]:
        """Returns the parts of dE/dx1 and dE/dx2 of dE/dy [channels, m, n_atoms]."""
        g = torch.bmm(self.matrix, gradient)
        g = g.view(g.shape[0], x1.shape[1], x2.shape[1], g.shape[2])
        return (g * x2.unsqueeze(1)).sum(dim=2), (g * x1.unsqueeze(2)).sum(dim=1)


class Product(torch.nn.Module):
    """y = x1 ⊗ x2, components of even degree first.

    Args:
        product: of the network.
        max_degree_1: of x1.
        max_degree_2: of x2.
        max_degree_3: of y.
    """

    def __init__(self, product: TensorProduct, max_degree_1: int, max_degree_2: int, max_degree_3: int):
        super().__init__()
        with torch.no_grad():
            matrices = product.matrices()
        self.sizes_1, self.sizes_2, self.sizes_3 = (
            [num_even(L), (L + 1) ** 2 - num_even(L)] for L in (max_degree_1, max_degree_2, max_degree_3)
        )
        blocks = [
            ParityBlock(matrices.even_even, (0, 0, 0)),
            ParityBlock(matrices.odd_odd, (0, 1, 1)),
            ParityBlock(matrices.even_odd, (1, 0, 1)),
            ParityBlock(matrices.odd_even, (1, 1, 0)),
        ]
        self.blocks = torch.nn.ModuleList([block for block in blocks if block.matrix.numel() > 0])

    def forward(self, x1: torch.Tensor, x2: torch.Tensor) -> torch.Tensor:
        """Returns y [channels, (L3+1)², n_atoms].

        Args:
            x1: [channels, (L1+1)², n_atoms].
            x2: [channels, (L2+1)², n_atoms].
        """
        n_atoms = x2.shape[2]
        x1, x2 = pad_atoms(x1), pad_atoms(x2)
        first, second = x1.split(self.sizes_1, 1), x2.split(self.sizes_2, 1)
        parts = [x2.new_zeros((x2.shape[0], size, x2.shape[2])) for size in self.sizes_3]
        for block in self.blocks:
            parts[block.out] += block(first[block.first], second[block.second])
        return torch.cat(parts, dim=1).narrow(2, 0, n_atoms)

    def pullback(self, x1: torch.Tensor, x2: torch.Tensor, gradient: torch.Tensor) -> Tuple[torch.Tensor, torch.Tensor]:
        """Returns dE/dx1 and dE/dx2 of dE/dy, shapes as in :meth:`forward`."""
        n_atoms = x2.shape[2]
        x1, x2, gradient = pad_atoms(x1), pad_atoms(x2), pad_atoms(gradient)
        out, first, second = gradient.split(self.sizes_3, 1), x1.split(self.sizes_1, 1), x2.split(self.sizes_2, 1)
        to_first = [torch.zeros_like(part) for part in first]
        to_second = [torch.zeros_like(part) for part in second]
        for block in self.blocks:
            found = block.pullback(out[block.out], first[block.first], second[block.second])
            to_first[block.first] += found[0]
            to_second[block.second] += found[1]
        return torch.cat(to_first, dim=1).narrow(2, 0, n_atoms), torch.cat(to_second, dim=1).narrow(2, 0, n_atoms)


def pad_atoms(x: torch.Tensor) -> torch.Tensor:
    """Fills up the atoms of x [channels, components, n_atoms] with zeros to a multiple of 16.

    A vector register holds 16 numbers in single precision: the products of 6 or 15 atoms take 2.5 times those of 16.
    """
    missing = (16 - x.shape[2] % 16) % 16
    return x if missing == 0 else torch.nn.functional.pad(x, [0, missing])
