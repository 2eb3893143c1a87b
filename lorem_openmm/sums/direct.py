"""The direct sum over all pairs of a structure in vacuum, V_i = ½ Σ_(j ≠ i) k(r_ij) q_j, and its gradients."""

from typing import NamedTuple, Optional, Tuple

import torch

from lorem_openmm.kernels.pair import PairKernel


class DirectGeometry(NamedTuple):
    """r_i − r_j [..., n, n, 3], r_ij² [..., n, n], and k(r_ij) [..., n, n], 0 for an atom and itself."""

    vectors: torch.Tensor
    squares: torch.Tensor
    values: torch.Tensor


class DirectSum(torch.nn.Module):
    """V = ½ K q with K_ij = k(r_ij), no cutoff. Coincident atoms contribute nothing, as in lorem-jax.

    Args:
        kernel: between two charges.
    """

    def __init__(self, kernel: PairKernel):
        super().__init__()
        self.kernel = kernel

    def prepare(self, positions: torch.Tensor, present: Optional[torch.Tensor] = None) -> DirectGeometry:
        """Computes what does not depend on charges.

        Args:
            positions: [..., n, 3] Å.
            present: [..., n, 1] 1 for an atom, 0 for padding; None: no padding.
        """
        vectors = positions.unsqueeze(-2) - positions.unsqueeze(-3)
        squares = (vectors * vectors).sum(dim=-1)
        pairs = squares > 0
        if present is not None:
            pairs = pairs & (present * present.transpose(-1, -2) > 0)
        squares = torch.where(pairs, squares, torch.ones_like(squares))
        values = torch.where(pairs, self.kernel.bare(squares), torch.zeros_like(squares))
        return DirectGeometry(vectors, squares, values)

    def potentials(self, geometry: DirectGeometry, charges: torch.Tensor) -> torch.Tensor:
        """Returns V [..., n, n_channels] for charges [..., n, n_channels], zeros where there is no atom."""
        return torch.matmul(geometry.values, 0.5 * charges)

    def pullback(
        self, geometry: DirectGeometry, charges: torch.Tensor, adjoint: torch.Tensor
    ) -> Tuple[torch.Tensor, torch.Tensor]:
        """dE/dq = ½ K g and dE/dr_i = Σ_j dk/d(r²) (r_i − r_j) Σ_c (g_ic q_jc + q_ic g_jc).

        Args:
            geometry: from :meth:`prepare`.
            charges: q [..., n, n_channels].
            adjoint: g = dE/dV [..., n, n_channels].

        Returns:
            dE/dq [..., n, n_channels] and dE/dr [..., n, 3].
        """
        products = torch.matmul(adjoint, charges.transpose(-1, -2))
        pulls = products + products.transpose(-1, -2)
        pulls = pulls * self.kernel.bare_slope(geometry.squares, geometry.values)
        return self.potentials(geometry, adjoint), torch.matmul(pulls.unsqueeze(-2), geometry.vectors).squeeze(-2)
