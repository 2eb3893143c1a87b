"""Features of the neighbours of few atoms: the same numbers as densities give, by fewer and larger matrix products.

Densities multiply one matrix per component with the atoms of a species, which for a handful of atoms are many products
of a few rows, and read each degree's weights 2l+1 times. Here every edge is mapped first, R_ij^l = Σ_k W_l(a_i, a_j)_k
ρ_k(r_ij), and F_i^lm = Σ_j R_ij^l Y_lm(r̂_ij) then sums all degrees at once, their components filled up to those of
the largest one. That is more arithmetic per edge, so that it pays as long as neighbours are few.
"""

from typing import List, Tuple

import torch

from lorem_openmm.inference.neighbors import RowBlock
from lorem_openmm.inference.short_range import CenterWeights, Edges, SpeciesTable
from lorem_openmm.model import Lorem


class CenterMaps(CenterWeights):
    """W for centers of one species, with one matrix of all degrees for the edges."""

    spherical: torch.Tensor
    spherical_transposed: torch.Tensor

    def __init__(self, start: torch.Tensor, table: torch.Tensor):
        super().__init__(start, table)
        self.register_buffer("spherical", table.flatten(0, 1)[:, start.shape[0] :].contiguous(), persistent=False)
        self.register_buffer("spherical_transposed", self.spherical.t(), persistent=False)


class EdgeMaps(torch.nn.Module):
    """y_i = W_0 Σ_j ρ(r_ij) and F_i^lm = Σ_j W_l ρ(r_ij) Y_lm(r̂_ij), W that of the two species.

    Args:
        model: the network.
        species: atomic numbers, in the order of the rows.
    """

    filled: torch.Tensor
    places: torch.Tensor
    real: torch.Tensor

    def __init__(self, model: Lorem, species: List[int]):
        super().__init__()
        table = SpeciesTable.of(model, species)
        self.centers = torch.nn.ModuleList(
            [CenterMaps(*rows) for rows in zip(table.starts, table.weights, strict=True)]
        )
        counts = torch.tensor(model.short_range.component_counts)
        self.degrees, self.components = len(counts), int(counts.max())
        # Component of each of the places of a degree (any where it has fewer), and the place of each component.
        within = torch.arange(self.components).expand(self.degrees, -1)
        real = within < counts[:, None]
        filled = torch.where(real, within + (counts.cumsum(0) - counts)[:, None], 0)
        device = table.weights.device
        self.register_buffer("filled", filled.flatten().to(device), persistent=False)
        self.register_buffer("places", real.flatten().nonzero().flatten().to(device), persistent=False)
        self.register_buffer("real", real.to(table.weights).view(1, -1, 1), persistent=False)

    def forward(
        self, edges: Edges, block: RowBlock
    ) -> Tuple[torch.Tensor, torch.Tensor, torch.Tensor, List[torch.Tensor]]:
        """Returns start and scalar message [n, d] each, factors F [2s, (L+1)², n], and what the way back needs.

        Args:
            edges: of the block.
            block: rows and slots.
        """
        n, s = block.size, edges.distances.shape[1]
        radial = self._by_species(edges.radial.transpose(1, 2), block)
        sums = radial.sum(dim=1).split(block.center_counts)
        of_edges = radial.flatten(0, 1).split([s * count for count in block.center_counts])
        starts: List[torch.Tensor] = []
        messages: List[torch.Tensor] = []
        mapped: List[torch.Tensor] = []
        for i, center in enumerate(self.centers):
            if block.center_counts[i] > 0:
                starts.append(center.start.expand(block.center_counts[i], -1))
                messages.append(torch.mm(sums[i], center.scalar))
                mapped.append(torch.mm(of_edges[i], center.spherical))
        maps = torch.cat(mapped).view(n, s, self.degrees, -1).transpose(1, 2).flatten(0, 1)
        angular = (edges.angular.index_select(1, self.filled) * self.real).view(n * self.degrees, self.components, s)
        factors = torch.bmm(angular, maps).view(n, self.degrees * self.components, -1)
        factors = factors.index_select(1, self.places).permute(2, 1, 0)
        return torch.cat(starts), torch.cat(messages), factors, [angular, maps]

    def pullback(
        self, edges: Edges, block: RowBlock, saved: List[torch.Tensor], message: torch.Tensor, factors: torch.Tensor
    ) -> Tuple[torch.Tensor, torch.Tensor]:
        """Returns dE/dρ [n, K, S] and dE/dY [n, (L+1)², S].

        Args:
            edges: of the block.
            block: rows and slots.
            saved: from :meth:`forward`.
            message: derivative with respect to the scalar message [n, d].
            factors: derivative with respect to the factors [2s, (L+1)², n].
        """
        n, s = block.size, edges.distances.shape[1]
        angular, maps = saved[0], saved[1]
        filled = factors.permute(2, 1, 0).index_select(1, self.filled)
        filled = filled.reshape(n * self.degrees, self.components, -1)  # the compiler chooses strides of its own
        of_angular = torch.bmm(filled, maps.transpose(1, 2)).view(n, self.degrees * self.components, s)
        of_maps = torch.bmm(angular.transpose(1, 2), filled).view(n, self.degrees, s, -1)
        of_maps = of_maps.transpose(1, 2).flatten(2).flatten(0, 1)
        of_edges = of_maps.split([s * count for count in block.center_counts])
        of_messages = message.split(block.center_counts)
        parts: List[torch.Tensor] = []
        for i, center in enumerate(self.centers):
            if block.center_counts[i] > 0:
                part = torch.mm(of_edges[i], center.spherical_transposed).view(block.center_counts[i], s, -1)
                parts.append(part + torch.mm(of_messages[i], center.scalar_transposed).unsqueeze(1))
        radial = self._of_own_species(torch.cat(parts), block)
        return radial.transpose(1, 2), of_angular.index_select(1, self.places)

    def _by_species(self, radial: torch.Tensor, block: RowBlock) -> torch.Tensor:
        """Returns ρ [n, S, n_species·K] in the columns of the neighbour's species, zero in others."""
        first, n_species = 0, len(block.slot_counts)
        result = radial.new_zeros((radial.shape[0], radial.shape[1], n_species, radial.shape[2]))
        for i, count in enumerate(block.slot_counts):
            result[:, first : first + count, i] = radial[:, first : first + count]
            first += count
        return result.flatten(2)

    def _of_own_species(self, gradient: torch.Tensor, block: RowBlock) -> torch.Tensor:
        """Returns the columns of the neighbour's species [n, S, K] of [n, S, n_species·K]."""
        by_species = gradient.view(gradient.shape[0], gradient.shape[1], len(block.slot_counts), -1)
        first = 0
        parts: List[torch.Tensor] = []
        for i, count in enumerate(block.slot_counts):
            parts.append(by_species[:, first : first + count, i])
            first += count
        return torch.cat(parts, dim=1)
