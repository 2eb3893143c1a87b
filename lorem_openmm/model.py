"""LOREM: one screen that is the architecture diagram.

References:
    E. Rumiantsev, M. F. Langer, T.-E. Sodjargal, M. Ceriotti, P. Loche, arXiv:2507.19382; lorem-jax 0.2
    (``lorem.models.mlip.Lorem``), whose numbers this model reproduces.
"""

from typing import List, NamedTuple, Optional

import torch

from lorem_openmm.config import Model
from lorem_openmm.graph import AtomGraph
from lorem_openmm.nn.equivariant import DegreeNorm
from lorem_openmm.nn.long_range import LongRange, LongRangeWeights
from lorem_openmm.nn.message_passing import MessagePassingRound, RoundWeights
from lorem_openmm.nn.radial import RadialBasis
from lorem_openmm.nn.scalar import MLP, Update, linear
from lorem_openmm.nn.short_range import ShortRange, ShortRangeWeights
from lorem_openmm.nn.spherical import AngularBasis

MAX_ATOMIC_NUMBER = 99  # the species embedding has 100 rows, as in lorem-jax


class FoldedWeights(NamedTuple):
    """What depends on weights and species alone: computed per training step, or once for dynamics."""

    short_range: ShortRangeWeights
    rounds: List[RoundWeights]
    long_range: Optional[LongRangeWeights]


class AtomicOutput(NamedTuple):
    """Per-atom results: energies of the short-range and long-range readouts in eV, latent charges and potentials."""

    short_range_energies: torch.Tensor
    long_range_energies: torch.Tensor
    charges: torch.Tensor
    potentials: torch.Tensor


class Lorem(torch.nn.Module):
    """E_i = readout(short-range features) + Σ_rounds readout + readout(features updated by long-range potentials).

    Args:
        hyperparameters: cutoffs, widths, degrees; see :class:`lorem_openmm.config.Model`.
    """

    def __init__(self, hyperparameters: Model):
        super().__init__()
        h = hyperparameters
        self.hyperparameters = h.model_dump()
        d, s, L = h.num_features, h.num_spherical_features, h.max_degree
        self.num_features = d
        self.radial = RadialBasis(h.cutoff, h.num_radial, h.radial_basis, h.cutoff_function)
        self.angular = AngularBasis(L)
        self.species_embedding = torch.nn.Embedding(MAX_ATOMIC_NUMBER + 1, h.num_species)
        torch.nn.init.normal_(self.species_embedding.weight, std=h.num_species**-0.5)
        self.scalar_start = linear(h.num_species, d) if h.initialize_node_features else None
        self.short_range = ShortRange(h.num_species, d, h.num_radial, s, L)
        self.scalar_update = Update(d, d)
        self.norm = DegreeNorm(L, h.norm_smoothing)
        self.norm_update = Update(d, (L + 1) * s)
        self.readout = MLP([d, d, d, 1])
        self.rounds = torch.nn.ModuleList(
            MessagePassingRound(d, h.num_radial, s, L, h.equivariant_message_passing, h.norm_smoothing)
            for _ in range(h.num_message_passing)
        )
        smearing = h.smearing or h.cutoff / 4
        wavelength = h.wavelength or h.cutoff / 8
        self.long_range = (
            LongRange(d, s, L, h.max_charge_degree, h.cutoff, smearing, wavelength, h.norm_smoothing)
            if h.long_range
            else None
        )

    def fold(self, pair_types: torch.Tensor) -> FoldedWeights:
        """Returns the folded weights for pairs of atomic numbers [n_pair_types, 2]."""
        pairs = self.species_embedding(pair_types).flatten(1)
        rounds: List[RoundWeights] = []
        for block in self.rounds:
            rounds.append(block.fold())
        long_range: Optional[LongRangeWeights] = None
        if self.long_range is not None:
            long_range = self.long_range.fold()
        return FoldedWeights(self.short_range.fold(pairs), rounds, long_range)

    def forward(self, graph: AtomGraph, weights: FoldedWeights) -> AtomicOutput:
        """Returns atomic energies and charges.

        Args:
            graph: structures and their neighbour lists.
            weights: from :meth:`fold`, for ``graph.pair_types``.
        """
        vectors = edge_vectors(graph)
        distances = lengths(vectors)
        radial = self.radial(distances)
        angular = self.angular(vectors / distances.unsqueeze(1))

        species = self.species_embedding(graph.atomic_numbers)
        x = species.new_zeros((species.shape[0], self.num_features))
        if self.scalar_start is not None:
            x = self.scalar_start(species)
        message, spherical = self.short_range(radial, angular, graph, weights.short_range)
        x = self.scalar_update(x, message)
        x = self.norm_update(x, self.norm(spherical))
        energies = self.readout(x).squeeze(1)

        for i, block in enumerate(self.rounds):
            x, spherical, more = block(x, spherical, radial, angular, graph, weights.rounds[i])
            energies = energies + more

        long_range_energies = torch.zeros_like(energies)
        charges = potentials = energies.new_zeros((energies.shape[0], 0))
        folded = weights.long_range
        if self.long_range is not None and folded is not None:
            long_range_energies, charges, potentials = self.long_range(x, spherical, graph, distances, folded)
        return AtomicOutput(energies, long_range_energies, charges, potentials)


def edge_vectors(graph: AtomGraph) -> torch.Tensor:
    """r_j + S·h − r_i [n_edges, 3] in Å."""
    positions = graph.positions
    difference = positions.index_select(0, graph.neighbors) - positions.index_select(0, graph.centers)
    if not any(graph.periodic):
        return difference
    cells = graph.cell.index_select(0, graph.system_index.index_select(0, graph.centers))
    return difference + torch.bmm(graph.cell_shifts.unsqueeze(1), cells).squeeze(1)


def lengths(vectors: torch.Tensor) -> torch.Tensor:
    """|v| [n] of vectors [n, 3]; coincident atoms get a tiny length of zero slope instead of a NaN."""
    squares = (vectors * vectors).sum(dim=1)
    positive = squares > 1e-30
    return torch.where(positive, torch.sqrt(torch.where(positive, squares, torch.ones_like(squares))), 1e-15)
