"""ASE calculator."""

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.stress import full_3x3_to_voigt_6_stress

from lorem_openmm.ambient import building, script
from lorem_openmm.charge import stated_charge, whole_charge
from lorem_openmm.devices import find_device
from lorem_openmm.electric import born_charges, check_field, dipoles, has_born_charges, has_explicit_charge, read_field
from lorem_openmm.errors import ConfigError, DataError
from lorem_openmm.export import as_dtype, load
from lorem_openmm.graph import AtomGraph
from lorem_openmm.inference.compiled import CompiledDynamics
from lorem_openmm.inference.dynamics import Dynamics, scripted_calls
from lorem_openmm.potential import Potential, graph_for


class LoremCalculator(Calculator):
    """Energy (eV), energies, forces (eV/Å) and, for periodic structures, stress (eV/Å³, Voigt order).

    Structures are periodic in all three directions (Ewald sum) or in none (direct sum). ``results`` also holds
    ``charges_latent`` [n_atoms, n_channels] and ``long_range_energy`` (eV). Where the model predicts Born effective
    charges or has explicit ones, ``get_property("born_effective_charges", atoms)`` gives them [n_atoms, 3, 3] in e
    (rows: displacements; in vacuum the atomic polar tensors), and explicit charges give ``get_dipole_moment()`` (e·Å,
    about the centre of mass) in vacuum.

    Args:
        model: path of a model file (.safetensors, .pt), or a loaded potential.
        device: where the model runs.
        dtype: float32 or float64.
        compile: compiles molecules of up to 32 atoms in vacuum to native code at the first call, which then take about
            two thirds of the time; needs a C++ compiler. Where it fails, a warning says why and it runs as without.
        charge: total charge in e of structures that do not state one in ``atoms.info["charge"]`` (or another name of
            :mod:`lorem_openmm.charge`), for models that use it and refuse to guess; others do nothing with it.
        electric_field: F in V/Å, three numbers; None: there is none. In vacuum, explicit charges add −μ·F to the energy
            (μ about the centre of mass: ions do not drift). Predicted Born effective charges Z* add Z*·F to the forces,
            in boxes too, and nothing to the energy: such forces are no gradient, and dynamics conserves no energy.
        **kwargs: passed to :class:`ase.calculators.calculator.Calculator`.

    Raises:
        ConfigError: If the charge is not a whole number.
        ModelFileError: If the file is missing or damaged.
        ConfigError: If the model cannot feel the field.
    """

    implemented_properties = ["energy", "free_energy", "energies", "forces", "stress"]  # noqa: RUF012

    def __init__(
        self,
        model: str | Path | Potential,
        device: str = "cpu",
        dtype: str | torch.dtype = "float32",
        compile: bool = False,
        charge: int | None = None,
        electric_field: Sequence[float] | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        if isinstance(model, Potential):
            with building():
                self.potential = copy.deepcopy(model).to(device=find_device(device), dtype=as_dtype(dtype))
        else:
            self.potential = load(model, device, dtype)
        self.charge = None if charge is None else whole_charge(charge)
        if charge is not None and self.charge is None:
            raise ConfigError(f"charge: must be a whole number of elementary charges, received {charge!r}")
        network = self.potential.model
        more = ["born_effective_charges"] * has_born_charges(network) + ["dipole"] * has_explicit_charge(network)
        self.implemented_properties = [*self.implemented_properties, *more]
        self._field = None if electric_field is None else list(read_field(electric_field, "electric_field"))
        self._field_on_born_charges = self._field is not None and len(network.born_readouts) > 0
        if self._field is not None and not self._field_on_born_charges:
            check_field(network, periodic=False)
        self._compile = compile
        self._dynamics: Any = None
        self._last_charge: int | None = None  # that the results belong to
        self._atoms: Any = None  # what the dynamics was made for

    def __getstate__(self) -> dict[str, Any]:
        """Leaves out what runs, which the first call of a copy makes anew."""
        return self.__dict__ | {"_dynamics": None, "_atoms": None}

    def check_state(self, atoms: Atoms, tol: float = 1e-15) -> list[str]:
        """Returns what has changed since the last call; ASE itself does not look at the total charge."""
        changes: list[str] = super().check_state(atoms, tol)
        if self.atoms is not None and self._total_charge(atoms) != self._last_charge:
            changes.append("charge")
        return changes

    def calculate(
        self, atoms: Any = None, properties: list[str] | None = None, system_changes: list[str] = all_changes
    ) -> None:
        """Computes ``results`` for ``atoms``.

        Raises:
            UnknownElementError: If the model does not know an element.
            DataError: If there are no atoms, positions, cell or results are not finite, the structure is periodic in
                one or two directions only, or periodic and its cell has no volume, or the model uses the total charge
                and there is none, or none that is a whole number.
        """
        self.results = {}  # nothing old is left where an error passes
        if not isinstance(atoms, Atoms | None):
            raise DataError(f"atoms: must be ase.Atoms, received {type(atoms).__name__}")
        super().calculate(atoms, properties, system_changes)
        atoms = self.atoms
        if atoms is None:
            raise DataError("atoms: no structure given; attach the calculator to one, or pass `atoms`")
        # Not by `system_changes`, which leave out what changed at a call that failed.
        self._last_charge = self._total_charge(atoms)
        wanted = (atoms.numbers.tobytes(), atoms.pbc.tobytes(), self._last_charge)
        if wanted != self._atoms:
            self._dynamics, self._atoms = self._start(atoms), wanted
        periodic = bool(atoms.pbc.all())
        with_stress = periodic and "stress" in (properties or [])
        positions, cell = (torch.from_numpy(np.asarray(part, np.float64)) for part in (atoms.positions, atoms.cell[:]))
        with scripted_calls(len(atoms)):
            prediction = self._dynamics(positions, cell, with_stress)
        energies = prediction.atomic_energies.double().cpu().numpy()
        baseline = np.array([self.potential.baseline[number] for number in atoms.numbers])
        energy = float(prediction.energy[0])
        self.results = {
            "energy": energy,
            "free_energy": energy,
            "energies": energies + baseline,
            "forces": prediction.forces.double().cpu().numpy(),
            "long_range_energy": float(prediction.long_range_energy[0]),
            "charges_latent": prediction.charges.double().cpu().numpy(),
        }
        if with_stress:
            self.results["stress"] = full_3x3_to_voigt_6_stress(prediction.stress[0].double().cpu().numpy())
        if has_explicit_charge(self.potential.model) and not periodic:
            charges, index = prediction.charges[:, 0].double().cpu(), torch.zeros(len(atoms), dtype=torch.long)
            numbers = torch.from_numpy(atoms.numbers.astype(np.int64))
            self.results["dipole"] = dipoles(charges, positions, numbers, index, 1)[0].numpy()
        if "born_effective_charges" in (properties or []) or self._field_on_born_charges:
            tensors = born_charges(self.potential, self._graph(atoms)).double().cpu().numpy()
            self.results["born_effective_charges"] = tensors
            if self._field_on_born_charges:
                self.results["forces"] = self.results["forces"] + tensors @ np.array(self._field)

    def _graph(self, atoms: Atoms) -> AtomGraph:
        cell, periodic = atoms.cell[:][None], np.array([atoms.pbc.all()])
        charge = np.array([np.nan if self._last_charge is None else float(self._last_charge)])
        return graph_for(self.potential, atoms.positions, atoms.numbers, [len(atoms)], cell, periodic, charge)

    @building()
    def _start(self, atoms: Atoms) -> Any:
        pbc = atoms.pbc
        if len(atoms) == 0:
            raise DataError("atoms: there are no atoms in the structure; the model needs at least one")
        if pbc.any() and not pbc.all():
            raise DataError(f"pbc: must be periodic in all three directions or in none, received {pbc.tolist()}")
        if self._last_charge is None and self.potential.model.needs_total_charge:
            raise DataError(
                "charge: must be the total charge in e, because the model uses it and does not guess; received none. "
                'Set atoms.info["charge"], or give LoremCalculator the keyword `charge`.'
            )
        field = None if self._field_on_born_charges else self._field
        dynamics = Dynamics(
            self.potential,
            atoms.numbers.tolist(),
            bool(pbc.all()),
            total_charge=self._last_charge,
            electric_field=field,
        )
        return CompiledDynamics(dynamics) if self._compile else script(dynamics)

    def _total_charge(self, atoms: Atoms) -> int | None:
        """Returns the total charge in e of the structure, else of the calculator; None where the model uses none."""
        if not self.potential.model.needs_total_charge:
            return None
        try:
            stated = stated_charge(atoms.info)
        except ValueError as error:
            raise DataError(f"atoms.info: {error}") from None
        if stated is None:
            return self.charge
        name, charge = stated
        if charge is None:
            raise DataError(
                f"atoms.info['{name}']: must be a whole number of elementary charges, received {atoms.info[name]!r}"
            )
        return charge
