"""One structure followed through its motion: neighbour lists, model and baseline in one scriptable module."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import List, Optional

import torch

from lorem_openmm.ambient import building, computing
from lorem_openmm.electric import check_field
from lorem_openmm.errors import DataError
from lorem_openmm.inference.finite import check_geometry, refuse_results, soundness
from lorem_openmm.inference.model import InferenceModel
from lorem_openmm.inference.threads import threads_for
from lorem_openmm.inference.verlet import DEFAULT_SKIN, Neighborhood, VerletList
from lorem_openmm.memory import keep_freed_memory
from lorem_openmm.potential import Potential, Prediction, check_species

# Rows of a block: large enough for its matrix products, small enough for its edges to stay in the cache.
BLOCK_SIZE = 256
MANY_ATOMS = 10_000


class Dynamics(torch.nn.Module):
    """E = Σ_i (E_i + E0(Z_i)), F = −∂E/∂r and σ = (1/Ω) ∂E/∂ε of one structure; weights do not change.

    The same numbers as :meth:`lorem_openmm.potential.Potential.evaluate`, within rounding, many times sooner.

    Args:
        potential: in the precision and on the device it is to run in.
        atomic_numbers: of the atoms, in the order of the caller.
        periodic: in all three directions, or in vacuum.
        skin: Å, of the neighbour lists.
        block_size: largest number of rows of a block.
        tolerance: relative error of the periodic sum's forces; None: the model's own smearing and wavelength.
        any_atoms: whether :meth:`set_atoms` may give it other atoms later, of any element and number.
        total_charge: of the atoms in e; None: not stated, which models that use it refuse.
        electric_field: F [3] in V/Å, which adds −μ·F of explicit charges in vacuum; None: there is none.

    Raises:
        ConfigError: If the tolerance is out of reach, or the model cannot feel a field.
        DataError: If the model uses the total charge and there is none.
        UnknownElementError: If the model does not know an element.
    """

    species: torch.Tensor
    species_energies: torch.Tensor
    order: torch.Tensor
    rank: torch.Tensor
    channel_order: torch.Tensor

    @building()
    def __init__(
        self,
        potential: Potential,
        atomic_numbers: List[int],
        periodic: bool,
        skin: float = DEFAULT_SKIN,
        block_size: int = BLOCK_SIZE,
        tolerance: Optional[float] = None,
        any_atoms: bool = False,
        total_charge: Optional[float] = None,
        electric_field: Optional[List[float]] = None,
    ):
        super().__init__()
        keep_freed_memory()
        weight = potential.model.species_embedding.weight
        check_species(potential.species, atomic_numbers)
        self.total_charge = math.nan if total_charge is None else float(total_charge)
        self.needs_total_charge = potential.model.needs_total_charge
        if self.needs_total_charge and not any_atoms and math.isnan(self.total_charge):
            raise DataError(missing_charge())
        if electric_field is not None:
            check_field(potential.model, periodic)
        species = potential.species if any_atoms else sorted(set(atomic_numbers))
        # Small molecules are computed in a way of their own, which larger ones could not follow.
        n_atoms = MANY_ATOMS if any_atoms else len(atomic_numbers)
        charge = self.total_charge
        self.model = InferenceModel(potential.model, species, periodic, n_atoms, tolerance, charge, electric_field)
        self.block_size = 0 if len(potential.model.rounds) > 0 else block_size
        self.lists = VerletList(potential.cutoff, periodic, skin, weight.dtype)
        self.periodic = periodic
        energies = torch.tensor([potential.baseline[number] for number in species], dtype=torch.float64)
        self.register_buffer("species", torch.tensor(species), persistent=False)
        self.register_buffer("species_energies", energies, persistent=False)
        self.register_buffer("order", torch.zeros(0, dtype=torch.long), persistent=False)
        self.register_buffer("rank", torch.zeros(0, dtype=torch.long), persistent=False)
        self.baseline = 0.0
        self.to(weight.device)
        self.set_atoms(torch.tensor(atomic_numbers), self.total_charge)
        channels = torch.zeros(0, dtype=torch.long)
        if potential.model.long_range is not None:
            channels = potential.model.long_range.channel_order
        self.register_buffer("channel_order", channels.to(weight.device), persistent=False)

    @torch.jit.export
    def set_atoms(self, atomic_numbers: torch.Tensor, total_charge: float = math.nan) -> None:
        """Prepares for other atoms.

        Args:
            atomic_numbers: [n_atoms] integers, in the order of the caller.
            total_charge: of the atoms in e; NaN: not stated.

        Raises:
            RuntimeError: If the model does not know an element.
        """
        numbers = atomic_numbers.to(self.species)
        of_species = torch.searchsorted(self.species, numbers).clamp_(max=self.species.shape[0] - 1)
        unknown = numbers[self.species[of_species] != numbers]
        if unknown.shape[0] > 0:
            raise RuntimeError(f"atomic_numbers: the model does not know the element of number {int(unknown[0])}")
        counts: List[int] = torch.bincount(of_species, minlength=self.species.shape[0]).tolist()
        # Messages cross the borders of blocks.
        self.lists.set_rows(counts, self.block_size if self.block_size > 0 else int(numbers.shape[0]))
        self.order = torch.argsort(of_species, stable=True)
        self.rank = torch.argsort(self.order)
        self.baseline = float(self.species_energies.index_select(0, of_species).sum())
        self.set_total_charge(total_charge)
        self.model.forget()

    @torch.jit.export
    def forget(self) -> None:
        """Leaves nothing of earlier calls, so that the next one gives what it gives in a new process."""
        self.lists.forget()
        self.model.forget()

    @torch.jit.export
    def set_total_charge(self, total_charge: float) -> None:
        """Changes the total charge of the atoms.

        Args:
            total_charge: in e; NaN: not stated.
        """
        self.total_charge = total_charge
        self.model.set_total_charge(total_charge)

    def forward(self, positions: torch.Tensor, cell: torch.Tensor, compute_stress: bool = False) -> Prediction:
        """Computes energy and forces.

        Args:
            positions: [n_atoms, 3] Å, in the order of the caller.
            cell: [3, 3] Å, rows are the vectors; ignored in vacuum.
            compute_stress: whether to compute the stress of a periodic structure.

        Returns:
            A prediction of one system, atoms in the order of the caller.

        Raises:
            RuntimeError: If positions, cell or results are not finite, the cell has no volume, there are other
                positions than atoms, or the model uses the total charge and there is none.
        """
        if positions.shape[0] != self.order.shape[0]:
            raise RuntimeError(
                f"positions: must be one per atom, received {positions.shape[0]} for {self.order.shape[0]} atoms"
            )
        if self.needs_total_charge and math.isnan(self.total_charge):
            raise RuntimeError(missing_charge())
        check_geometry(positions, cell, self.periodic)  # where they are: on the CPU nothing waits for a GPU
        rows = positions.detach().to(self.lists.identity).index_select(0, self.order)
        near = self.lists(rows, cell.detach().to(self.lists.identity))
        # Not only for speed: with gradients on, TorchScript's optimizer marks forces as if they required gradients. The
        # lists, which may raise, stay outside, because TorchScript does not leave the context when an error passes.
        with torch.no_grad():
            found = self._predict(near, compute_stress)
            sound = soundness(found.energy, found.forces, near.positions)
        if not math.isfinite(float(sound)):
            refuse_results(found.forces)
        return found

    def _predict(self, near: Neighborhood, compute_stress: bool) -> Prediction:
        positions = near.positions.t().contiguous()
        r = self.model(near.table, near.offsets, positions, near.cell, compute_stress and self.periodic)
        long_range = r.long_range_energies.sum(dim=0, keepdim=True, dtype=torch.float64)
        energy = r.short_range_energies.sum(dim=0, keepdim=True, dtype=torch.float64) + long_range + self.baseline
        virial = r.virial
        if virial is None:
            stress = torch.zeros_like(near.cell)
        else:
            stress = virial / torch.abs(torch.linalg.det(near.cell))
        atomic_energies = r.short_range_energies + r.long_range_energies
        return Prediction(
            energy,
            r.forces.t().index_select(0, self.rank),  # contiguous, as TorchForce reads them
            stress.unsqueeze(0),
            atomic_energies.index_select(0, self.rank),
            long_range,
            r.charges.index_select(0, self.rank).index_select(1, self.channel_order),
        )


def missing_charge() -> str:
    """Returns what is wrong where a model uses the total charge and there is none."""
    return (
        "total_charge: must be given, because the model uses it and does not guess; received none. Give the total "
        "charge of the atoms in e."
    )


@contextmanager
def scripted_calls(n_atoms: int) -> Iterator[None]:
    """Sets what a scripted :class:`Dynamics` needs, and runs fastest with, around its calls from Python.

    Profiling and re-specialising TorchScript, which cost seconds at the first calls and gain nothing for these shapes,
    are off.

    Raises:
        DataError: Instead of the errors that the module raises itself, without TorchScript's traceback.
    """
    try:
        with computing(), threads_for(n_atoms), torch.jit.optimized_execution(False):
            yield
    except torch.jit.Error as error:  # raised by the module's own code
        raise DataError(str(error).rsplit("RuntimeError: ", 1)[-1].strip()) from None
