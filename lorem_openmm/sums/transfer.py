"""Charges that are moved, not made: neutral on every fragment, whatever the network says.

L = D − W with w_ij = s (1 − r²/r_c²)³ within the cutoff, the Laplacian of the graph of neighbours, is symmetric, and
L 1 = 0 on every set of atoms that no neighbour connects with others. So q = L t has no net charge there, and an energy
of u = L V does not change when a constant is added to V, which is what something far away is to a molecule. What two
neutral fragments feel of each other then falls two powers faster than the kernel.
"""

from typing import List

import torch

from lorem_openmm.sums.near import NearRows, pair_products, sum_over_neighbors

# Σ_j w_ij is near 1 at the density of molecules, 0.1 atoms per Å³, for a cutoff of 5 Å.
SCALE = 0.125


class Transfer(torch.nn.Module):
    """L v = Σ_j w_ij (v_i − v_j), for lists of edges in training and for rows in dynamics.

    Args:
        cutoff: r_c in Å.
    """

    def __init__(self, cutoff: float):
        super().__init__()
        self.cutoff = cutoff
        self.scale = SCALE

    def weights(self, distances: torch.Tensor) -> torch.Tensor:
        """Returns w of distances of any shape; zero from the cutoff on."""
        squares = distances * distances / (self.cutoff * self.cutoff)
        return self.scale * (1.0 - squares).clamp(min=0.0).pow(3)

    def slopes(self, distances: torch.Tensor) -> torch.Tensor:
        """Returns dw/dr."""
        squares = distances * distances / (self.cutoff * self.cutoff)
        return (-6.0 * self.scale / (self.cutoff * self.cutoff)) * distances * (1.0 - squares).clamp(min=0.0).square()

    def forward(
        self, values: torch.Tensor, weights: torch.Tensor, centers: torch.Tensor, neighbors: torch.Tensor
    ) -> torch.Tensor:
        """Returns L v [n_atoms, n_channels] for a full list of edges.

        Args:
            values: v [n_atoms, n_channels].
            weights: w [n_edges].
            centers: i [n_edges].
            neighbors: j [n_edges].
        """
        difference = values.index_select(0, centers) - values.index_select(0, neighbors)
        return torch.zeros_like(values).index_add(0, centers, difference * weights.unsqueeze(1))

    @torch.jit.export
    def of_rows(self, values: torch.Tensor, weights: List[torch.Tensor], rows: List[NearRows]) -> torch.Tensor:
        """Returns the same [n_atoms, n_channels] for rows of neighbours and their weights [n, S] each."""
        totals = torch.cat([w.sum(dim=1) for w in weights])
        return values * totals.unsqueeze(1) - sum_over_neighbors(rows, weights, values)

    @torch.jit.export
    def row_slopes(self, adjoint: torch.Tensor, values: torch.Tensor, rows: List[NearRows]) -> List[torch.Tensor]:
        """Returns dE/dr_ij = w' Σ_c g_ic (v_ic − v_jc) [n, S] of each of the rows.

        Args:
            adjoint: g = dE/d(L v) [n_atoms, n_channels].
            values: v [n_atoms, n_channels].
            rows: of all atoms in order.
        """
        own = (adjoint * values).sum(dim=1)
        slopes = pair_products(rows, adjoint, values)
        for i, near in enumerate(rows):
            of_centers = own.narrow(0, near.first, near.distances.shape[0]).unsqueeze(1)
            slopes[i] = self.slopes(near.distances) * (of_centers - slopes[i])
        return slopes
