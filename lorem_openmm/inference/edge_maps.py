"""Features of the neighbours of few atoms: the same numbers as densities give, by fewer and larger matrix products.

Densities multiply one matrix per component with the atoms of a species, which for a handful of atoms are many products
of a few rows, and read each degree's weights 2l+1 times. Here every edge is mapped first, R_ij^l = Σ_k W_l(a_i, a_j)_k
ρ_k(r_ij), and F_i^lm = Σ_j R_ij^l Y_lm(r̂_ij) then sums all degrees at once, their components filled up to those of
the largest one. That is more arithmetic per edge, so that it pays as long as neighbours are few.
"""

from typing import List, Tuple

import torch

from lorem_openmm.inference.neighbors import RowBlock
from lorem_openmm.inference.short_range import Edges, by_center, species_tables
from lorem_openmm.model import Lorem


class EdgeMaps(torch.nn.Module):
    """y_i = W_0 Σ_j ρ(r_ij) and F_i^lm = Σ_j W_l ρ(r_ij) Y_lm(r̂_ij), W that of the two species."""

    scalar: torch.Tensor
    spherical: torch.Tensor
    filled: torch.Tensor
    places: torch.Tensor
    real: torch.Tensor

    def __init__(self, model: Lorem, species: List[int]):
        super().__init__()
        scalar, spherical = species_tables(model, species)
        self.register_buffer("scalar", scalar, persistent=False)
        self.register_buffer("spherical", spherical, persistent=False)
        counts = torch.tensor(model.short_range.component_counts)
        self.degrees, self.components = len(counts), int(counts.max())
        # Component of each of the places of a degree (any where it has fewer), and the place of each component.
        within = torch.arange(self.components).expand(self.degrees, -1)
        real = within < counts[:, None]
        filled = torch.where(real, within + (counts.cumsum(0) - counts)[:, None], 0)
        device = scalar.device
        self.register_buffer("filled", filled.flatten().to(device), persistent=False)
        self.register_buffer("places", real.flatten().nonzero().flatten().to(device), persistent=False)
        self.register_buffer("real", real.to(scalar).view(1, -1, 1), persistent=False)

    def forward(self, edges: Edges, block: RowBlock) -> Tuple[torch.Tensor, torch.Tensor, List[torch.Tensor]]:
        """Returns the scalar message [n, d], factors F [2s, (L+1)², n], and what the way back needs."""
        n, s = block.size, edges.distances.shape[1]
        # [n, S, n_species·K], zeros but in the columns of the neighbour's species
        radial = (edges.radial.transpose(1, 2).unsqueeze(2) * block.slot_species).flatten(2)
        message = by_center(radial.sum(dim=1).split(block.center_counts), self.scalar)
        of_edges = radial.flatten(0, 1).split([s * count for count in block.center_counts])
        maps = by_center(of_edges, self.spherical)
        maps = maps.view(n, s, self.degrees, -1).transpose(1, 2).flatten(0, 1)
        angular = (edges.angular.index_select(1, self.filled) * self.real).view(n * self.degrees, self.components, s)
        factors = torch.bmm(angular, maps).view(n, self.degrees * self.components, -1)
        factors = factors.index_select(1, self.places).permute(2, 1, 0)
        return message, factors, [angular, maps]

    def pullback(
        self, edges: Edges, block: RowBlock, saved: List[torch.Tensor], message: torch.Tensor, factors: torch.Tensor
    ) -> Tuple[torch.Tensor, torch.Tensor]:
        """Returns dE/dρ [n, K, S] and dE/dY [n, (L+1)², S] for dE/dy of the message and dE/dF of the factors."""
        n, s = block.size, edges.distances.shape[1]
        angular, maps = saved[0], saved[1]
        filled = factors.permute(2, 1, 0).index_select(1, self.filled)
        filled = filled.reshape(n * self.degrees, self.components, -1)  # the compiler chooses strides of its own
        of_angular = torch.bmm(filled, maps.transpose(1, 2)).view(n, self.degrees * self.components, s)
        of_maps = torch.bmm(angular.transpose(1, 2), filled).view(n, self.degrees, s, -1)
        of_maps = of_maps.transpose(1, 2).flatten(2).flatten(0, 1)
        of_edges = of_maps.split([s * count for count in block.center_counts])
        radial = by_center(of_edges, self.spherical.transpose(1, 2)).view(n, s, -1)
        of_sums = by_center(message.split(block.center_counts), self.scalar.transpose(1, 2))
        radial = (radial + of_sums.unsqueeze(1)).view(n, s, len(block.slot_counts), -1)
        radial = (radial * block.slot_species).sum(dim=2)
        return radial.transpose(1, 2), of_angular.index_select(1, self.places)
