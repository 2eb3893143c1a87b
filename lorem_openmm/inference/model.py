"""Energy and forces of one structure with fixed weights: :mod:`lorem_openmm.model`, differentiated by hand.

Features and charges come block by block of rows. Then all charges meet in the electrostatic sum, and the way back goes
block by block again.
"""

import math
from typing import List, NamedTuple, Optional

import torch

from lorem_openmm.inference.accuracy import ewald_settings
from lorem_openmm.inference.blocks import block_for_dynamics
from lorem_openmm.inference.blocks.bridge import ReceivedGradients
from lorem_openmm.inference.edge_maps import EdgeMaps
from lorem_openmm.inference.electric_field import UniformField
from lorem_openmm.inference.features import BlockFeatures, Features
from lorem_openmm.inference.neighbors import NeighborTable, RowBlock, join
from lorem_openmm.inference.products import Product
from lorem_openmm.inference.reflections import ReflectionProduct
from lorem_openmm.inference.short_range import DensityFunctions
from lorem_openmm.inference.verlet import ALL_PAIRS_LIMIT
from lorem_openmm.model import Lorem
from lorem_openmm.nn.blocks import LongRangeBlock
from lorem_openmm.sums.equilibration import EquilibratedExchange
from lorem_openmm.sums.exchange import Exchange
from lorem_openmm.sums.near import NearRows
from lorem_openmm.sums.operator import PairOperator

# Up to so many atoms the tensor products are bound by their weights.
FEW_ATOMS = 48


class Results(NamedTuple):
    """Energies, charges, forces by row.

    Attributes:
        short_range_energies: [n_atoms] eV.
        long_range_energies: [n_atoms] eV.
        charges: [n_atoms, n_channels] e, in the model's order of channels.
        forces: [3, n_atoms] eV/Å.
        virial: [3, 3] eV, dE/dε under r → r (1 + ε), h → h (1 + ε); None unless asked for.
    """

    short_range_energies: torch.Tensor
    long_range_energies: torch.Tensor
    charges: torch.Tensor
    forces: torch.Tensor
    virial: Optional[torch.Tensor]


class LongRangeResult(NamedTuple):
    """Charges, long-range energies and their derivatives.

    Attributes:
        charges: [n_atoms, n_channels] e.
        energies: [n_atoms] eV.
        x: with respect to the scalar features of each block [n, d].
        spherical: with respect to the spherical features of each block [s, (L+1)², n].
        slopes: with respect to the distances of each block [n, S]; empty in vacuum.
        positions: with respect to the positions, apart from edges [n_atoms, 3].
        virial: with respect to strain, apart from edges [3, 3]; None unless asked for.
    """

    charges: torch.Tensor
    energies: torch.Tensor
    x: List[torch.Tensor]
    spherical: List[torch.Tensor]
    slopes: List[torch.Tensor]
    positions: torch.Tensor
    virial: Optional[torch.Tensor]


class LongRangeMessages(torch.nn.Module):
    """E = Σ_i E_i(x_i, x_i^lm, q_i, V_i), V = K q(x, x^lm); dE/dq gains K dE/dV, as K is symmetric.

    Args:
        block: q and E, see :class:`lorem_openmm.inference.blocks.bridge.AutogradBridge`.
        network: the block as the model has it.
        model: the network, whose K and L are used.
        species: atomic numbers, in the order of the rows.
        periodic: in all three directions, or in vacuum.
        tolerance: of the periodic sum, see :func:`lorem_openmm.inference.accuracy.ewald_settings`.
        total_charge: of the structure in e; NaN: not stated.
        electric_field: F [3] in V/Å, which adds −μ·F, see :class:`UniformField`; None: there is none.
    """

    elements: torch.Tensor

    def __init__(
        self,
        block: torch.nn.Module,
        network: LongRangeBlock,
        model: Lorem,
        species: List[int],
        periodic: bool,
        tolerance: Optional[float],
        total_charge: float = math.nan,
        electric_field: Optional[List[float]] = None,
    ):
        super().__init__()
        self.total_charge = total_charge
        self.field: Optional[UniformField] = None
        if electric_field is not None:
            self.field = UniformField(electric_field, species)
        pair_sum = model.pair_sum
        smearing, wavelength, mesh_accuracy = ewald_settings(pair_sum, tolerance)
        self.block = block
        kernel, largest = pair_sum.kernel.with_smearing(smearing), pair_sum.max_ewald_atoms
        operator = PairOperator(kernel, pair_sum.cutoff, wavelength, periodic, largest, mesh_accuracy)
        elements = torch.zeros(0)
        if network.is_equilibrated:
            elements = network.elements(torch.tensor(species, device=model.species_embedding.weight.device)).detach()
            self.exchange: Exchange = EquilibratedExchange(operator, model.transfer, model.is_neutral, pair_sum.cutoff)
        else:
            self.exchange = Exchange(operator, model.transfer, network.num_net_channels, model.is_neutral)
        self.register_buffer("elements", elements, persistent=False)

    def forward(
        self,
        states: List[Features],
        row_blocks: List[RowBlock],
        positions: torch.Tensor,
        cell: torch.Tensor,
        compute_virial: bool,
    ) -> LongRangeResult:
        """Returns energies and derivatives for the features of all blocks of rows and positions [3, n_atoms] by row."""
        parts: List[torch.Tensor] = []
        charge_states: List[List[torch.Tensor]] = []
        near: List[NearRows] = []
        for state, rows in zip(states, row_blocks):  # noqa: B905 (not in TorchScript)
            part, charge_state = self.block.charges(state.x, state.spherical, rows)
            parts.append(part)
            charge_states.append(charge_state)
            near.append(NearRows(rows.first, rows.neighbors, state.edges.distances))
        exchanged = self.exchange(join(parts), self._elements(row_blocks), self.total_charge, positions.t(), cell, near)
        energies: List[torch.Tensor] = []
        received: List[ReceivedGradients] = []
        for i, rows in enumerate(row_blocks):
            of_rows = exchanged.received.narrow(0, rows.first, rows.size)
            charges, state = exchanged.charges.narrow(0, rows.first, rows.size), states[i]
            of_atoms, kept = self.block.receive(state.x, state.spherical, charges, of_rows, rows)
            energies.append(of_atoms)
            received.append(self.block.receive_pullback(kept))
        energy = join(energies)

        adjoint = join([found.potentials for found in received])
        of_own = _of_charges(received)
        pulled: Optional[torch.Tensor] = None
        if self.field is not None:
            in_field, by_charges, pulled = self.field(exchanged.charges, positions.t(), row_blocks)
            energy = energy + in_field
            of_own = by_charges if of_own is None else of_own + by_charges
        gradients, virial = self.exchange.pullback(exchanged, adjoint, of_own, compute_virial)
        of_positions = gradients.positions
        if pulled is not None:
            of_positions = of_positions + pulled
        of_x: List[torch.Tensor] = []
        of_spherical: List[torch.Tensor] = []
        for i, rows in enumerate(row_blocks):
            of_charges, found = gradients.charges.narrow(0, rows.first, rows.size), received[i]
            x, spherical = self.block.charges_pullback(charge_states[i], of_charges)
            of_x.append(found.x + x)
            of_spherical.append(found.spherical + spherical)
        return LongRangeResult(exchanged.charges, energy, of_x, of_spherical, gradients.distances, of_positions, virial)

    def _elements(self, row_blocks: List[RowBlock]) -> torch.Tensor:
        """Returns the elements' properties for each atom [n_atoms, 2]; nothing unless charges are at equilibrium."""
        if self.elements.shape[0] == 0:
            return self.elements
        return self.elements.index_select(0, join([rows.species for rows in row_blocks]))


def _of_charges(received: List[ReceivedGradients]) -> Optional[torch.Tensor]:
    """Returns the derivatives with respect to the charges themselves [n, n_channels]; None: a block has none."""
    parts: List[torch.Tensor] = []
    for found in received:
        own = found.charges
        if own is None:
            return None
        parts.append(own)
    return join(parts)


class InferenceModel(torch.nn.Module):
    """E and −dE/dr of one structure.

    Args:
        model: the network; in its final precision and on its device.
        species: atomic numbers in the order of the rows.
        periodic: in all three directions, or in vacuum.
        n_atoms: number of atoms.
        tolerance: of the periodic sum; None: the model's own settings.
        total_charge: of the structure in e; NaN: not stated.
        electric_field: [3] V/Å; None: there is none.
    """

    def __init__(
        self,
        model: Lorem,
        species: List[int],
        periodic: bool,
        n_atoms: int,
        tolerance: Optional[float] = None,
        total_charge: float = math.nan,
        electric_field: Optional[List[float]] = None,
    ):
        super().__init__()
        product = ReflectionProduct if n_atoms <= FEW_ATOMS else Product
        density = EdgeMaps if not periodic and n_atoms <= ALL_PAIRS_LIMIT else DensityFunctions
        self.features = BlockFeatures(model, species, density, product)
        self.long_range: Optional[LongRangeMessages] = None
        if model.long_range is not None:
            block = block_for_dynamics(model.long_range, product, species)
            self.long_range = LongRangeMessages(
                block, model.long_range, model, species, periodic, tolerance, total_charge, electric_field
            )

    def forward(
        self,
        table: NeighborTable,
        offsets: List[torch.Tensor],
        positions: torch.Tensor,
        cell: torch.Tensor,
        compute_virial: bool = False,
    ) -> Results:
        """Computes energies and forces.

        Args:
            table: neighbours.
            offsets: S·h of each block [3, n·S] Å.
            positions: [3, n_atoms] Å by row.
            cell: [3, 3] Å.
            compute_virial: whether to compute the virial.
        """
        states: List[Features] = []
        for i, block in enumerate(table.blocks):
            states.append(self.features(positions, offsets[i], block))
        short_range = join([state.energies for state in states])
        if self.long_range is not None:
            received = self.long_range(states, table.blocks, positions, cell, compute_virial)
        else:
            received = nothing_felt(states, positions, cell, compute_virial)
        edge_gradients: List[torch.Tensor] = []
        for i, block in enumerate(table.blocks):
            slope = received.slopes[i] if len(received.slopes) > 0 else None
            found = self.features.pullback(states[i], block, received.x[i], received.spherical[i], slope)
            edge_gradients.append(found)
        forces = edge_forces(table, edge_gradients) - received.positions.t()
        virial = received.virial
        if virial is not None:
            virial = virial + edge_virial(states, edge_gradients)
        return Results(short_range, received.energies, received.charges, forces, virial)

    @torch.jit.export
    def set_total_charge(self, total_charge: float) -> None:
        """Changes the total charge of the structure.

        Args:
            total_charge: in e; NaN: not stated.
        """
        if self.long_range is not None:
            self.long_range.total_charge = total_charge

    @torch.jit.export
    def forget(self) -> None:
        """Leaves nothing of earlier calls."""
        if self.long_range is not None:
            self.long_range.exchange.forget()


def nothing_felt(
    states: List[Features], positions: torch.Tensor, cell: torch.Tensor, compute_virial: bool
) -> LongRangeResult:
    """Returns the long-range part of a model without one: no charges, and zeros."""
    return LongRangeResult(
        positions.new_zeros((positions.shape[1], 0)),
        torch.zeros_like(positions[0]),
        [torch.zeros_like(state.x) for state in states],
        [torch.zeros_like(state.spherical) for state in states],
        [],
        torch.zeros_like(positions.t()),
        torch.zeros_like(cell) if compute_virial else None,
    )


def edge_forces(table: NeighborTable, edge_gradients: List[torch.Tensor]) -> torch.Tensor:
    """F_i = Σ_j (dE/dr_ij − dE/dr_ji) [3, n_atoms], from dE/dr_ij of all blocks [3, n·S] each."""
    gradients = join(edge_gradients, dim=1)
    net = gradients - gradients.index_select(1, table.reverse)
    forces: List[torch.Tensor] = []
    for i, part in enumerate(net.split([gradient.shape[1] for gradient in edge_gradients], dim=1)):
        forces.append(part.view(3, table.blocks[i].size, -1).sum(dim=2))
    return join(forces, dim=1)


def edge_virial(states: List[Features], edge_gradients: List[torch.Tensor]) -> torch.Tensor:
    """Σ_ij r_ij ⊗ dE/dr_ij [3, 3]."""
    virial = torch.zeros_like(edge_gradients[0][:, :3])
    for i, state in enumerate(states):
        vectors = (state.edges.directions * state.edges.distances).flatten(1)
        virial = virial + torch.mm(vectors, edge_gradients[i].t())
    return virial
