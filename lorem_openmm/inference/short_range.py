"""Features of the neighbours within the cutoff, block by block of rows, with hand-derived gradients.

Densities are resolved by the neighbours' species a, D_i,ak^lm = Σ_(j of species a) ρ_k(r_ij) Y_lm(r̂_ij), and everything
linear behind them is folded into one matrix per species of the center and degree: F = W D. The scalar message needs
no density of its own, because Y_00 = 1: it is a map of the component of degree 0.
"""

from typing import List, NamedTuple, Tuple

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
    """r_ij = r_j + S·h − r_i, ρ_k(r_ij), Y_lm(r̂_ij) and the gradient back to r_ij.

    Args:
        model: the network.
    """

    def __init__(self, model: Lorem):
        super().__init__()
        h = model.hyperparameters
        self.radial = RadialFunctions(h.cutoff, h.num_radial, h.radial_basis, h.cutoff_function)
        self.angular = AngularFunctions(h.max_degree)

    def forward(self, positions: torch.Tensor, offsets: torch.Tensor, block: RowBlock) -> Edges:
        """Returns the edges of a block.

        Args:
            positions: [3, n_atoms] Å by row.
            offsets: S·h [3, n·S] Å.
            block: rows and slots.
        """
        neighbors = (positions.index_select(1, block.neighbors) + offsets).view(3, block.size, -1)
        vectors = neighbors - positions.narrow(1, block.first, block.size).unsqueeze(2)
        # Coincident atoms get a tiny length and the direction 0.
        distances = torch.sqrt((vectors * vectors).sum(dim=0).clamp_(min=1e-30))
        directions = vectors / distances
        return Edges(distances, directions, self.radial(distances), self.angular(directions))

    def pullback(self, edges: Edges, radial: torch.Tensor, angular: torch.Tensor, slope: torch.Tensor) -> torch.Tensor:
        """dE/dr_ij = (dE/dr) r̂ + (1 − r̂ r̂ᵀ) (dE/dr̂) / r, [3, n·S].

        Args:
            edges: of the block.
            radial: dE/dρ [n, K, S].
            angular: dE/dY [n, (L+1)², S].
            slope: dE/dr [n, S] from elsewhere.
        """
        slope = slope + self.radial.pullback(edges.distances, edges.radial, radial)
        # Coincident atoms have no direction, and nothing turns.
        inverse = torch.where(edges.distances > 1e-14, 1.0 / edges.distances, torch.zeros_like(slope))
        turn = self.angular.pullback(edges.angular, angular).transpose(0, 1) * inverse
        along = (turn * edges.directions).sum(dim=0)
        return ((slope - along) * edges.directions + turn).flatten(1)


class SpeciesTable(NamedTuple):
    """What the species of center and neighbour decide alone.

    Attributes:
        starts: scalar features of the centers before any message [n_species, d].
        weights: folded table [n_species, n_species, K, d + (L+1)·2s], by center and neighbour.
    """

    starts: torch.Tensor
    weights: torch.Tensor

    @classmethod
    def of(cls, model: Lorem, species: List[int]) -> "SpeciesTable":
        """Returns the table of a network for atomic numbers in the order of the rows."""
        numbers = torch.tensor(species, device=model.species_embedding.weight.device)
        with torch.no_grad():
            pairs = torch.cartesian_prod(numbers, numbers).view(-1, 2)
            table = model.short_range.radial_table(model.pair_features(pairs))
            starts = table.new_zeros((len(species), model.num_features))
            if model.scalar_start is not None:
                starts = model.scalar_start(model.species_embedding(numbers))
        return cls(starts, table.view(len(species), len(species), table.shape[1], table.shape[2]))


class CenterWeights(torch.nn.Module):
    """W for centers of one species, as far as it makes the scalar message.

    Args:
        start: scalar features before any message [d].
        table: rows of the folded table, one per species of the neighbour [n_species, K, d + (L+1)·2s].
    """

    start: torch.Tensor
    scalar: torch.Tensor
    scalar_transposed: torch.Tensor

    def __init__(self, start: torch.Tensor, table: torch.Tensor):
        super().__init__()
        self.register_buffer("start", start, persistent=False)
        self.register_buffer("scalar", table.flatten(0, 1)[:, : start.shape[0]].contiguous(), persistent=False)
        self.register_buffer("scalar_transposed", self.scalar.t(), persistent=False)


class ComponentWeights(CenterWeights):
    """W for centers of one species, with one matrix per component for the factors.

    Args:
        start: see :class:`CenterWeights`.
        table: likewise.
        component_counts: 2l+1 of each degree, in the model's order.
    """

    spherical: torch.Tensor

    def __init__(self, start: torch.Tensor, table: torch.Tensor, component_counts: List[int]):
        super().__init__(start, table)
        spherical = table.flatten(0, 1)[:, start.shape[0] :]
        by_degree = spherical.reshape(spherical.shape[0], len(component_counts), -1).permute(1, 2, 0)
        counts = torch.tensor(component_counts, device=table.device)
        # One matrix [2s, n_species·K] per component, equal for those of a degree.
        self.register_buffer("spherical", by_degree.repeat_interleave(counts, dim=0).contiguous(), persistent=False)


class DensityFunctions(torch.nn.Module):
    """y_i = W_0 D_i^00 and F_i^lm = W_l D_i^lm, W that of the center's species.

    Args:
        model: the network.
        species: atomic numbers, in the order of the rows.
    """

    def __init__(self, model: Lorem, species: List[int]):
        super().__init__()
        table, counts = SpeciesTable.of(model, species), model.short_range.component_counts
        self.centers = torch.nn.ModuleList(
            [
                ComponentWeights(start, weights, counts)
                for start, weights in zip(table.starts, table.weights, strict=True)
            ]
        )
        self.num_radial = model.hyperparameters.num_radial

    def forward(
        self, edges: Edges, block: RowBlock
    ) -> Tuple[torch.Tensor, torch.Tensor, torch.Tensor, List[torch.Tensor]]:
        """Returns start and scalar message [n, d] each, factors F [2s, (L+1)², n], and what the way back needs.

        Args:
            edges: of the block.
            block: rows and slots.
        """
        densities: List[torch.Tensor] = []
        angular = edges.angular.split(block.slot_counts, dim=2)
        for i, radial in enumerate(edges.radial.split(block.slot_counts, dim=2)):
            densities.append(torch.bmm(angular[i], radial.transpose(1, 2)))
        rows = torch.cat(densities, dim=2).split(block.center_counts)
        starts: List[torch.Tensor] = []
        messages: List[torch.Tensor] = []
        factors: List[torch.Tensor] = []
        for i, center in enumerate(self.centers):
            if block.center_counts[i] > 0:
                starts.append(center.start.expand(block.center_counts[i], -1))
                messages.append(torch.mm(rows[i][:, 0], center.scalar))
                factors.append(torch.bmm(center.spherical, rows[i].permute(1, 2, 0)))
        nothing: List[torch.Tensor] = []
        return torch.cat(starts), torch.cat(messages), torch.cat(factors, dim=2).transpose(0, 1), nothing

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
        by_component = factors.permute(1, 2, 0).split(block.center_counts, dim=1)
        messages = message.split(block.center_counts)
        parts: List[torch.Tensor] = []
        for i, center in enumerate(self.centers):
            if block.center_counts[i] > 0:
                part = torch.bmm(by_component[i], center.spherical)
                part[0].addmm_(messages[i], center.scalar_transposed)
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
