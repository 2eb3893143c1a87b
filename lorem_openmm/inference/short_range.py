"""Features of the neighbours within the cutoff, block by block of rows, with hand-derived gradients.

Densities are resolved by the neighbours' species a, D_i,ak^lm = Σ_(j of species a) ρ_k(r_ij) Y_lm(r̂_ij), and everything
linear behind them is folded into one matrix per species of the center and degree: F = W D. The scalar message needs
no density of its own, because Y_00 = 1: it is a map of the component of degree 0.
"""

import math
from typing import List, NamedTuple, Optional, Tuple

import torch

from lorem_openmm.inference.neighbors import RowBlock
from lorem_openmm.model import Lorem
from lorem_openmm.ops.angular import AngularFunctions
from lorem_openmm.ops.radial import RadialFunctions


class Edges(NamedTuple):
    """Edges of a block.

    Attributes:
        distances: r [n, S] Å.
        directions: r̂ [3, n, S].
        radial: ρ [n, K, S].
        angular: Y [n, (L+1)², S].
    """

    distances: torch.Tensor
    directions: torch.Tensor
    radial: torch.Tensor
    angular: torch.Tensor


class EdgeFunctions(torch.nn.Module):
    """r_ij = r_j + S·h − r_i, ρ_k(r_ij), Y_lm(r̂_ij) and the gradient back to r_ij."""

    def __init__(self, model: Lorem):
        super().__init__()
        h = model.hyperparameters
        self.radial = RadialFunctions(h.cutoff, h.num_radial, h.radial_basis, h.cutoff_function)
        self.angular = AngularFunctions(h.max_degree)

    def forward(self, positions: torch.Tensor, offsets: torch.Tensor, block: RowBlock) -> Edges:
        """Returns the edges of a block for positions [3, n_atoms] Å by row and offsets S·h [3, n·S] Å."""
        neighbors = (positions.index_select(1, block.neighbors) + offsets).view(3, block.size, -1)
        vectors = neighbors - positions.narrow(1, block.first, block.size).unsqueeze(2)
        # Coincident atoms get a tiny length and the direction 0.
        distances = torch.sqrt((vectors * vectors).sum(dim=0).clamp_(min=1e-30))
        directions = vectors / distances
        return Edges(distances, directions, self.radial(distances), self.angular(directions))

    def pullback(
        self, edges: Edges, radial: torch.Tensor, angular: torch.Tensor, slope: Optional[torch.Tensor]
    ) -> torch.Tensor:
        """dE/dr_ij = (dE/dr) r̂ + (1 − r̂ r̂ᵀ) (dE/dr̂) / r [3, n·S], for dE/dρ, dE/dY and dE/dr [n, S] from elsewhere."""
        along_edge = self.radial.pullback(edges.distances, edges.radial, radial)
        if slope is not None:
            along_edge = along_edge + slope
        # Coincident atoms have no direction, and nothing turns.
        inverse = torch.reciprocal(torch.threshold(edges.distances, 1e-14, math.inf))
        turn = self.angular.pullback(edges.angular, angular).transpose(0, 1) * inverse
        along_edge = along_edge - (turn * edges.directions).sum(dim=0)
        return (along_edge * edges.directions + turn).flatten(1)


def species_tables(model: Lorem, species: List[int]) -> Tuple[torch.Tensor, torch.Tensor]:
    """Returns W_0 [n_species, n_species·K, d] and all W_l [n_species, n_species·K, (L+1)·2s], by center."""
    numbers = torch.tensor(species, device=model.species_embedding.weight.device)
    with torch.no_grad():
        pairs = torch.cartesian_prod(numbers, numbers).view(-1, 2)
        table = model.short_range.radial_table(model.pair_features(pairs))
    table = table.view(len(species), -1, table.shape[2])
    return table[:, :, : model.num_features].contiguous(), table[:, :, model.num_features :].contiguous()


def by_center(rows: List[torch.Tensor], weights: torch.Tensor) -> torch.Tensor:
    """Returns the rows of centers of each species, times the matrix of that species, one below the other."""
    parts: List[torch.Tensor] = []
    for i, of_species in enumerate(rows):
        if of_species.shape[0] > 0:
            parts.append(torch.mm(of_species, weights[i]))
    return torch.cat(parts)


class DensityFunctions(torch.nn.Module):
    """y_i = W_0 D_i^00 and F_i^lm = W_l D_i^lm, W that of the center's species."""

    scalar: torch.Tensor
    spherical: torch.Tensor

    def __init__(self, model: Lorem, species: List[int]):
        super().__init__()
        scalar, spherical = species_tables(model, species)
        counts = torch.tensor(model.short_range.component_counts, device=scalar.device)
        # For each species of the center one matrix [2s, n_species·K] per component, equal for those of a degree.
        by_degree = spherical.unflatten(2, (len(counts), -1)).permute(0, 2, 3, 1)
        by_component = by_degree.repeat_interleave(counts, dim=1).contiguous()
        self.register_buffer("scalar", scalar, persistent=False)
        self.register_buffer("spherical", by_component, persistent=False)
        self.num_radial = model.hyperparameters.num_radial

    def forward(self, edges: Edges, block: RowBlock) -> Tuple[torch.Tensor, torch.Tensor, List[torch.Tensor]]:
        """Returns the scalar message [n, d], factors F [2s, (L+1)², n], and what the way back needs: nothing."""
        densities: List[torch.Tensor] = []
        angular = edges.angular.split(block.slot_counts, dim=2)
        for i, radial in enumerate(edges.radial.split(block.slot_counts, dim=2)):
            densities.append(torch.bmm(angular[i], radial.transpose(1, 2)))
        rows = torch.cat(densities, dim=2).split(block.center_counts)
        message = by_center([density[:, 0] for density in rows], self.scalar)
        factors: List[torch.Tensor] = []
        for i, density in enumerate(rows):
            if block.center_counts[i] > 0:
                factors.append(torch.bmm(self.spherical[i], density.permute(1, 2, 0)))
        nothing: List[torch.Tensor] = []
        return message, torch.cat(factors, dim=2).transpose(0, 1), nothing

    def pullback(
        self, edges: Edges, block: RowBlock, saved: List[torch.Tensor], message: torch.Tensor, factors: torch.Tensor
    ) -> Tuple[torch.Tensor, torch.Tensor]:
        """Returns dE/dρ [n, K, S] and dE/dY [n, (L+1)², S] for dE/dy of the message and dE/dF of the factors."""
        by_component = factors.permute(1, 2, 0).split(block.center_counts, dim=1)
        messages = message.split(block.center_counts)
        parts: List[torch.Tensor] = []
        for i, count in enumerate(block.center_counts):
            if count > 0:
                part = torch.bmm(by_component[i], self.spherical[i])
                part[0].addmm_(messages[i], self.scalar[i].t())
                parts.append(part)
        density = torch.cat(parts, dim=1).transpose(0, 1)
        radial: List[torch.Tensor] = []
        angular: List[torch.Tensor] = []
        of_species = density.split(self.num_radial, dim=2)
        old_radial = edges.radial.split(block.slot_counts, dim=2)
        for i, old_angular in enumerate(edges.angular.split(block.slot_counts, dim=2)):
            radial.append(torch.bmm(of_species[i].transpose(1, 2), old_angular))
            angular.append(torch.bmm(of_species[i], old_radial[i]))
        return torch.cat(radial, dim=2), torch.cat(angular, dim=2)
