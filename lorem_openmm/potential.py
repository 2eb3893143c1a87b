"""Energies, forces and stress from the model's atomic energies and the per-element baseline."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from ase.data import chemical_symbols

from lorem_openmm.ambient import computing
from lorem_openmm.data.neighbors import neighbor_lists
from lorem_openmm.errors import DataError, UnknownElementError
from lorem_openmm.graph import AtomGraph, build_graph, map_tensors, with_geometry
from lorem_openmm.model import MAX_ATOMIC_NUMBER, AtomicOutput, Lorem

# The baseline is kept as integers of 2⁻⁴⁰ eV, because .to(float32) would round energies of thousands of eV.
BASELINE_UNIT = 2.0**-40


class Prediction(NamedTuple):
    """Results for a batch of structures.

    Attributes:
        energy: [n_systems] eV, float64, baseline included.
        forces: [n_atoms, 3] eV/Å, −∂E/∂r.
        stress: [n_systems, 3, 3] eV/Å³, (1/Ω) ∂E/∂ε, positive under tension; zeros unless asked for and in vacuum.
        atomic_energies: [n_atoms] eV, baseline not included.
        long_range_energy: [n_systems] eV, float64, the part of the energy read out after the long-range messages.
        charges: [n_atoms, n_channels] latent charges as the block reports them; no channels without long range.
    """

    energy: torch.Tensor
    forces: torch.Tensor
    stress: torch.Tensor
    atomic_energies: torch.Tensor
    long_range_energy: torch.Tensor
    charges: torch.Tensor


class Responses(NamedTuple):
    """What training looks at beside a prediction.

    Attributes:
        potentials: ∂E/∂V [n_atoms, n_channels] in the channels of the spherical features, the scalar ones first; no
            channels without long range, and zeros unless the results are to be differentiated.
        born_charges: [n_atoms, 3, 3] e as the network gives them, without sum rule; no atoms where it has none.
    """

    potentials: torch.Tensor
    born_charges: torch.Tensor


class Potential(torch.nn.Module):
    """E = Σ_i (E_i + E0(Z_i)), F = −∂E/∂r, σ = (1/Ω) ∂E/∂ε.

    Args:
        model: the network.
        baseline: E0 in eV of each known element by atomic number; other elements are errors.
    """

    baseline_units: torch.Tensor

    def __init__(self, model: Lorem, baseline: dict[int, float]):
        super().__init__()
        self.model = model
        self.cutoff = model.hyperparameters.cutoff
        self.species = sorted(baseline)
        self.baseline = dict(sorted(baseline.items()))
        units = torch.zeros(MAX_ATOMIC_NUMBER + 1, dtype=torch.int64)
        for number, energy in baseline.items():
            units[number] = round(energy / BASELINE_UNIT)
        self.register_buffer("baseline_units", units, persistent=False)
        self.metadata = dict[str, Any]()

    def forward(self, graph: AtomGraph, compute_stress: bool = False, create_graph: bool = False) -> Prediction:
        """Evaluates structures with the present weights, as training does.

        Args:
            graph: structures and neighbour lists.
            compute_stress: whether to compute the stress.
            create_graph: whether the results will be differentiated again (training).
        """
        with computing(), torch.enable_grad():
            return self._differentiate(own_tensors(graph), compute_stress, create_graph)[0]

    def with_responses(
        self, graph: AtomGraph, compute_stress: bool = False, create_graph: bool = True
    ) -> tuple[Prediction, Responses]:
        """Evaluates structures and how they respond.

        Args:
            graph: structures and neighbour lists.
            compute_stress: whether to compute the stress.
            create_graph: whether the results will be differentiated again (training).
        """
        with computing(), torch.enable_grad():
            return self._differentiate(own_tensors(graph), compute_stress, create_graph)

    def evaluate(self, graph: AtomGraph, compute_stress: bool = False) -> Prediction:
        """Evaluates structures that come from outside: input and results are checked, nothing is kept for training.

        Args:
            graph: structures and neighbour lists.
            compute_stress: whether to compute the stress.

        Raises:
            DataError: If there are no atoms, positions, a cell or results are not finite, or the model uses the total
                charge and a structure states none.
            UnknownElementError: If the model does not know an element.
        """
        check_inputs(graph, self.species)
        if self.model.needs_total_charge:
            check_charges(graph)
        found = self(graph, compute_stress)
        check_results(graph, found.energy, found.forces)
        return found

    def _differentiate(
        self, graph: AtomGraph, compute_stress: bool, create_graph: bool
    ) -> tuple[Prediction, Responses]:
        positions = graph.positions.detach().requires_grad_(True)
        strain = torch.zeros_like(graph.cell)
        if compute_stress:
            strain = strain.requires_grad_(True)
            moved = positions + torch.bmm(positions.unsqueeze(1), strain[graph.system_index]).squeeze(1)
            strained = with_geometry(graph, moved, graph.cell + torch.bmm(graph.cell, strain))
        else:
            strained = with_geometry(graph, positions, graph.cell)
        output = self.model(strained)
        atomic_energies = output.short_range_energies + output.long_range_energies
        inputs = [positions]
        if compute_stress:
            inputs = [positions, strain]
        responses = torch.zeros_like(output.potentials)
        in_training = create_graph and responses.shape[1] > 0
        if in_training:
            inputs.append(output.potentials)
        gradients = torch.autograd.grad(
            atomic_energies.sum(),
            inputs,
            retain_graph=create_graph,
            create_graph=create_graph,
            materialize_grads=True,  # a block may not listen to its potentials
        )
        stress = torch.zeros_like(graph.cell)
        if compute_stress:
            virial = gradients[1]
            volume = torch.abs(torch.linalg.det(graph.cell)).view(-1, 1, 1)
            stress = torch.where(volume > 0, virial / torch.where(volume > 0, volume, torch.ones_like(volume)), stress)
        if in_training:
            responses = gradients[-1]
        born_charges = output.born_charges if create_graph else output.born_charges.detach()
        prediction = self._collect(graph, output, atomic_energies, -gradients[0], stress, create_graph)
        return prediction, Responses(responses, born_charges)

    def _collect(
        self,
        graph: AtomGraph,
        output: AtomicOutput,
        atomic_energies: torch.Tensor,
        forces: torch.Tensor,
        stress: torch.Tensor,
        create_graph: bool,
    ) -> Prediction:
        zeros = torch.zeros(len(graph.system_sizes), dtype=torch.float64, device=graph.positions.device)
        baseline = BASELINE_UNIT * self.baseline_units.index_select(0, graph.atomic_numbers).double()
        energy = zeros.index_add(0, graph.system_index, atomic_energies.double() + baseline)
        long_range = zeros.index_add(0, graph.system_index, output.long_range_energies.double())
        charges = output.charges
        if not create_graph:
            energy, long_range = energy.detach(), long_range.detach()
            atomic_energies, charges = atomic_energies.detach(), charges.detach()
        return Prediction(energy, forces, stress, atomic_energies, long_range, charges)


def graph_for(
    potential: Potential,
    positions: np.ndarray,
    atomic_numbers: np.ndarray,
    sizes: Sequence[int],
    cell: np.ndarray | None = None,
    periodic: np.ndarray | None = None,
    total_charge: np.ndarray | None = None,
) -> AtomGraph:
    """Joins structures into one graph with the cutoff, the precision and the device of a potential.

    Args:
        potential: What the graph is for.
        positions: [n_atoms, 3] Å of all structures.
        atomic_numbers: [n_atoms].
        sizes: Number of atoms of each structure.
        cell: [n_structures, 3, 3] Å; None: all are in vacuum.
        periodic: [n_structures] booleans; None likewise.
        total_charge: [n_structures] e, NaN: not stated; None: of none.
    """
    ends = np.cumsum([0, *sizes])
    if cell is None or periodic is None:
        cell, periodic = np.zeros((len(sizes), 3, 3)), np.zeros(len(sizes), dtype=bool)
    edges, n_edges = neighbor_lists(positions, ends, cell, periodic, potential.cutoff)
    first = np.repeat(ends[:-1], n_edges)
    numbers = atomic_numbers.astype(np.int64)
    arrays = positions, numbers, cell, edges.centers + first, edges.neighbors + first, edges.cell_shifts
    weight = next(potential.parameters())
    r, z, h, i, j, shifts = (torch.from_numpy(array).to(weight.device) for array in arrays)
    charges = None if total_charge is None else torch.from_numpy(total_charge).to(weight)
    return build_graph(r.to(weight.dtype), z, list(sizes), h.to(weight.dtype), periodic.tolist(), i, j, shifts, charges)


def own_tensors(graph: AtomGraph) -> AtomGraph:
    """Returns the graph with copies of tensors made in inference mode, through which autograd records nothing."""
    return map_tensors(graph, lambda part: part.clone() if part.is_inference() else part)


def check_inputs(graph: AtomGraph, species: list[int]) -> None:
    """Refuses structures no energy can be computed of.

    Args:
        graph: structures.
        species: atomic numbers the model knows.

    Raises:
        DataError: If there are no atoms, or positions or a cell are not finite.
        UnknownElementError: If the model does not know an element.
    """
    if graph.positions.shape[0] == 0:
        raise DataError("graph: there are no atoms in the structures; the model needs at least one")
    check_species(species, torch.unique(graph.atomic_numbers).tolist())
    if not math.isfinite(float(graph.positions.sum() + graph.cell.sum())):
        check_finite("positions", graph.positions, graph)
        wrong = torch.nonzero(~torch.isfinite(graph.cell).flatten(1).all(dim=1)).flatten().tolist()
        if wrong:
            raise DataError(f"cell: must be finite, received NaN or infinity for structure {wrong[0]} (counted from 0)")


def check_charges(graph: AtomGraph) -> None:
    """Refuses structures whose total charge nobody states, for models that use it.

    Args:
        graph: structures.

    Raises:
        DataError: naming the first structure.
    """
    missing = torch.nonzero(~torch.isfinite(graph.total_charge)).flatten().tolist()
    if missing:
        raise DataError(
            "total_charge: must be stated for every structure, because the model uses it and does not guess; received "
            f"none for structure {missing[0]} (counted from 0), {len(missing)} of {len(graph.system_sizes)} in all. "
            "Give `total_charge` in e to `build_graph`; in data sets it is `charge` in the comment line."
        )


def check_results(graph: AtomGraph, energy: torch.Tensor, forces: torch.Tensor) -> None:
    """Refuses results that are not finite though the structures are.

    Args:
        graph: structures.
        energy: [n_systems] eV.
        forces: [n_atoms, 3] eV/Å.

    Raises:
        DataError: naming the first structure.
    """
    if not math.isfinite(float(energy.sum() + forces.sum())):
        check_finite("forces", forces, graph, "; look at the structure, and at the weights of the model")
        wrong = torch.nonzero(~torch.isfinite(energy)).flatten().tolist()
        if wrong:
            raise DataError(
                f"energy: must be finite, received NaN or infinity for structure {wrong[0]} (counted from 0); look at "
                "the structure, and at the weights of the model"
            )


def check_finite(name: str, values: torch.Tensor, graph: AtomGraph, remedy: str = "") -> None:
    """Raises DataError if values [n_atoms, 3] are not finite, naming the first structure and atom."""
    wrong = torch.nonzero(~torch.isfinite(values).all(dim=1)).flatten().tolist()
    if wrong:
        structure = int(graph.system_index[wrong[0]])
        atom = wrong[0] - sum(graph.system_sizes[:structure])
        raise DataError(
            f"{name}: must be finite, received NaN or infinity for atom {atom} of structure {structure} (both counted "
            f"from 0), {len(wrong)} atoms in all{remedy}"
        )


def check_species(potential_species: list[int], atomic_numbers: list[int]) -> None:
    """Refuses elements the model was not trained on.

    Args:
        potential_species: atomic numbers the model knows.
        atomic_numbers: atomic numbers of the structure.

    Raises:
        UnknownElementError: naming the unknown and the known elements.
    """
    unknown = sorted(set(atomic_numbers) - set(potential_species))
    if unknown:
        names = ", ".join(_symbol(number) for number in unknown)
        known = ", ".join(chemical_symbols[number] for number in potential_species)
        raise UnknownElementError(
            f"atomic_numbers: the model does not know {names}; it was trained on {known}. "
            "Use a model trained on data with these elements."
        )


def _symbol(number: int) -> str:
    if number == 0:
        return "X (atomic number 0, a ghost atom)"
    return chemical_symbols[number] if 0 < number < len(chemical_symbols) else f"atomic number {number}"
