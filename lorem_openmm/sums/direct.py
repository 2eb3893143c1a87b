"""The direct sum over all pairs of a structure in vacuum, V_i = ½ Σ_(j ≠ i) k(r_ij) q_j, and its gradients."""

import math
from typing import NamedTuple, Optional, Tuple

import torch

from lorem_openmm.kernels.pair import PairKernel


class DirectGeometry(NamedTuple):
    """r_i − r_j [..., 3, n, n], r_ij² and k(r_ij) [..., n, n]; infinite and 0 for an atom and itself."""

    vectors: torch.Tensor
    squares: torch.Tensor
    values: torch.Tensor


class DirectSum(torch.nn.Module):
    """V = ½ K q with K_ij = k(r_ij), no cutoff. Coincident atoms contribute nothing, as in lorem-jax."""

    def __init__(self, kernel: PairKernel):
        super().__init__()
        self.kernel = kernel

    def prepare(self, positions: torch.Tensor, present: Optional[torch.Tensor] = None) -> DirectGeometry:
        """Computes what does not depend on charges.

        Args:
            positions: [..., n, 3] Å.
            present: [..., n, 1] 1 for an atom, 0 for padding; None: no padding.
        """
        axes = positions.transpose(-1, -2)
        vectors = axes.unsqueeze(-1) - axes.unsqueeze(-2)
        squares = (vectors * vectors).sum(dim=-3)
        if present is not None:
            squares = squares * (present * present.transpose(-1, -2))
        squares = torch.threshold(squares, 0.0, math.inf)
        return DirectGeometry(vectors, squares, self.kernel.bare(squares))

    def potentials(self, geometry: DirectGeometry, charges: torch.Tensor) -> torch.Tensor:
        """Returns V [..., n, n_channels] for charges [..., n, n_channels], zeros where there is no atom."""
        return torch.matmul(geometry.values, 0.5 * charges)

    def pullback(
        self, geometry: DirectGeometry, charges: torch.Tensor, adjoint: torch.Tensor
    ) -> Tuple[torch.Tensor, torch.Tensor]:
        """dE/dq = ½ K g and dE/dr_i = Σ_j dk/d(r²) (r_i − r_j) Σ_c (g_ic q_jc + q_ic g_jc).

        g = dE/dV is the adjoint.
        """
        products = torch.matmul(adjoint, charges.transpose(-1, -2))
        pulls = (products + products.transpose(-1, -2)) * self.kernel.bare_slope(geometry.squares, geometry.values)
        of_positions = (pulls.unsqueeze(-3) * geometry.vectors).sum(dim=-1).transpose(-1, -2)
        return self.potentials(geometry, adjoint), of_positions
