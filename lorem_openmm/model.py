"""LOREM: one screen that is the architecture diagram.

References:
    E. Rumiantsev, M. F. Langer, T.-E. Sodjargal, M. Ceriotti, P. Loche, arXiv:2507.19382; lorem-jax 0.2
    (``lorem.models.mlip.Lorem``), whose numbers this model reproduces.
"""

from typing import List, NamedTuple

import torch

from lorem_openmm.config import Model
from lorem_openmm.config.long_range import LongRange
from lorem_openmm.errors import ConfigError
from lorem_openmm.graph import AtomGraph
from lorem_openmm.kernels.choice import choose_kernel
from lorem_openmm.nn.blocks import LongRangeBlock, make_block
from lorem_openmm.nn.edge_derivatives import AngularBasis, RadialBasis
from lorem_openmm.nn.equivariant import DegreeNorm
from lorem_openmm.nn.message_passing import MessagePassingRound
from lorem_openmm.nn.scalar import MLP, Update, linear
from lorem_openmm.nn.short_range import ShortRange
from lorem_openmm.nn.tensor_readout import TensorReadout
from lorem_openmm.sums.batched import BatchedPairSum
from lorem_openmm.sums.batched_equilibration import add_corrections, corrections, equilibrate
from lorem_openmm.sums.transfer import Transfer

MAX_ATOMIC_NUMBER = 99  # the species embedding has 100 rows, as in lorem-jax


class AtomicOutput(NamedTuple):
    """Per-atom results: energies of the short-range and long-range readouts in eV, charges and potentials.

    The charges are in the order in which they are reported, the potentials in that of the features. Born effective
    charges [n_atoms, 3, 3] in e, rows: displacements, do not add up to zero yet; no atoms where the model has none.
    """

    short_range_energies: torch.Tensor
    long_range_energies: torch.Tensor
    charges: torch.Tensor
    potentials: torch.Tensor
    born_charges: torch.Tensor


class NearFeatures(NamedTuple):
    """Scalar features [n_atoms, d] and spherical ones [n_atoms, s, (L+1)²] after each round.

    The energies [n_atoms] eV are those of the short-range readouts; distances [n_edges] Å.
    """

    x: torch.Tensor
    spherical: List[torch.Tensor]
    energies: torch.Tensor
    distances: torch.Tensor


class Lorem(torch.nn.Module):
    """E_i = readout(short-range features) + Σ_rounds readout + readout(features updated by long-range potentials).

    Args:
        hyperparameters: cutoffs, widths, degrees; see :class:`lorem_openmm.config.Model`.
    """

    def __init__(self, hyperparameters: Model):
        super().__init__()
        h = hyperparameters
        self.hyperparameters = h
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
        self.long_range = make_block(h)
        n_readouts = 1 + h.num_message_passing + (self.long_range is not None) if h.born_charges else 0
        self.born_readouts = torch.nn.ModuleList(TensorReadout(L, s, d) for _ in range(n_readouts))
        section = h.long_range_block or LongRange(kind="none")
        kernel = choose_kernel(section.exponent, h.smearing_in_force, section.smooth)
        self.is_neutral = section.neutral
        if self.long_range is not None and self.long_range.is_equilibrated:
            check_equilibrated(self.long_range, section)
        has_net = self.long_range is not None and self.long_range.num_net_channels > 0
        self.transfer = Transfer(h.cutoff) if section.neutral or has_net else None
        self.pair_sum = BatchedPairSum(kernel, h.cutoff, h.wavelength_in_force)

    @property
    def needs_total_charge(self) -> bool:
        """Returns whether the long-range block uses the total charge of each structure."""
        return self.long_range is not None and self.long_range.needs_total_charge

    def pair_features(self, pair_types: torch.Tensor) -> torch.Tensor:
        """Returns the embeddings of both species side by side [n, 2·num_species] of pairs of atomic numbers [n, 2]."""
        return self.species_embedding(pair_types).flatten(1)

    def start(self, atomic_numbers: torch.Tensor) -> torch.Tensor:
        """Returns the scalar features before any message [n, d] of atomic numbers [n]."""
        species = self.species_embedding(atomic_numbers)
        if self.scalar_start is None:
            return species.new_zeros((species.shape[0], self.num_features))
        return self.scalar_start(species)

    def forward(self, graph: AtomGraph) -> AtomicOutput:
        """Returns atomic energies and charges.

        Args:
            graph: structures and their neighbour lists.
        """
        near = self.features(graph, edge_vectors(graph))
        x, spherical, energies = near.x, near.spherical[-1], near.energies
        messages = near.spherical
        long_range_energies = torch.zeros_like(energies)
        charges = potentials = energies.new_zeros((energies.shape[0], 0))
        if self.long_range is not None:
            charges = self.long_range.charges(x, spherical, graph.atomic_numbers)
            charges, potentials = self.exchange(self.long_range, charges, graph, near.distances)
            long_range_energies = self.long_range.receive(x, spherical, charges, potentials, graph.atomic_numbers)
            charges = charges.index_select(1, self.long_range.channel_order)
            if len(self.born_readouts) > 0:
                messages = [*messages, self.long_range.messages(spherical, potentials)]
        born_charges = energies.new_zeros((0, 3, 3))
        if len(self.born_readouts) > 0:
            tensors = [readout(part) for readout, part in zip(self.born_readouts, messages, strict=True)]
            born_charges = torch.stack(tensors).sum(dim=0)
        return AtomicOutput(energies, long_range_energies, charges, potentials, born_charges)

    def features(self, graph: AtomGraph, vectors: torch.Tensor) -> NearFeatures:
        """Returns what the atoms know of their neighbours.

        Args:
            graph: structures and their neighbour lists.
            vectors: r_j + S·h − r_i [n_edges, 3] Å.
        """
        distances = lengths(vectors)
        radial = self.radial(distances)
        angular = self.angular(vectors / distances.unsqueeze(1))

        x = self.start(graph.atomic_numbers)
        message, spherical = self.short_range(radial, angular, graph, self.pair_features(graph.pair_types))
        x = self.scalar_update(x, message)
        x = self.norm_update(x, self.norm(spherical))
        energies = self.readout(x).squeeze(1)
        states = [spherical]

        for layer in self.rounds:
            x, spherical, more = layer(x, spherical, radial, angular, graph, layer.fold())
            energies = energies + more
            states.append(spherical)
        return NearFeatures(x, states, energies, distances)

    def exchange(
        self, block: LongRangeBlock, charges: torch.Tensor, graph: AtomGraph, distances: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns the charges that act, and what is received of their potentials.

        Args:
            block: of long range.
            charges: as the block gives them [n_atoms, n_channels].
            graph: structures and their neighbour lists.
            distances: [n_edges] Å.
        """
        geometry = self.pair_sum.prepare(graph, distances)
        near: torch.Tensor | None = None
        if block.is_equilibrated:
            elements = block.elements(graph.atomic_numbers)
            near = corrections(self.pair_sum.smearing, self.pair_sum.cutoff, graph, distances, elements[:, 1])
            settled = equilibrate(self.pair_sum, geometry, graph, near, charges[:, 0], elements)
            charges = torch.cat([settled.unsqueeze(1), charges[:, 1:]], dim=1)
        if self.transfer is None:
            return charges, self.pair_sum.potentials(geometry, charges)
        net = block.num_net_channels
        weights = self.transfer.weights(distances)
        if self.is_neutral:
            moved = self.transfer(charges[:, net:], weights, graph.centers, graph.neighbors)
            charges = torch.cat([charges[:, :net], moved], dim=1)
        potentials = self.pair_sum.potentials(geometry, charges)
        if near is not None:
            potentials = add_corrections(potentials, charges, graph, near)
        n_felt = potentials.shape[1] if self.is_neutral else net
        felt = self.transfer(potentials[:, :n_felt], weights, graph.centers, graph.neighbors)
        return charges, torch.cat([potentials[:, :net], felt, potentials[:, n_felt:]], dim=1)


def check_equilibrated(block: LongRangeBlock, section: LongRange) -> None:
    """Refuses charges at equilibrium that could not be computed.

    Args:
        block: of long range.
        section: its settings.

    Raises:
        ConfigError: naming what is missing.
    """
    if not (block.needs_total_charge and block.num_net_channels == 1 and section.smooth):
        raise ConfigError(
            f"long_range: a block with is_equilibrated must set needs_total_charge, declare one charge in e by "
            f"add_net_channels(1), and have smooth: true in its section; {type(block).__name__} has "
            f"{block.needs_total_charge}, {block.num_net_channels} and {section.smooth}"
        )


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
