"""ASE calculator."""

import copy
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.stress import full_3x3_to_voigt_6_stress

from lorem_openmm.errors import DataError
from lorem_openmm.export import as_dtype, load
from lorem_openmm.inference.compiled import CompiledDynamics
from lorem_openmm.inference.dynamics import Dynamics, scripted_calls
from lorem_openmm.potential import Potential


class LoremCalculator(Calculator):
    """Energy (eV), energies, forces (eV/Å) and, for periodic structures, stress (eV/Å³, Voigt order).

    Structures are periodic in all three directions (Ewald sum) or in none (direct sum). ``results`` also holds
    ``charges_latent`` [n_atoms, n_channels] and ``long_range_energy`` (eV).

    Args:
        model: path of a model file (.safetensors, .pt), or a loaded potential.
        device: where the model runs.
        dtype: float32 or float64.
        compile: compiles molecules of up to 32 atoms in vacuum to native code at the first call, which then take about
            two thirds of the time; needs a C++ compiler. Where it fails, a warning says why and it runs as without.
        **kwargs: passed to :class:`ase.calculators.calculator.Calculator`.

    Raises:
        ModelFileError: If the file is missing or damaged.
    """

    implemented_properties = ["energy", "free_energy", "energies", "forces", "stress"]  # noqa: RUF012

    def __init__(
        self,
        model: str | Path | Potential,
        device: str = "cpu",
        dtype: str | torch.dtype = "float32",
        compile: bool = False,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        if isinstance(model, Potential):
            self.potential = copy.deepcopy(model).to(device=torch.device(device), dtype=as_dtype(dtype))
        else:
            self.potential = load(model, device, dtype)
        self._compile = compile
        self._dynamics: Any = None

    def calculate(
        self, atoms: Any = None, properties: list[str] | None = None, system_changes: list[str] = all_changes
    ) -> None:
        """Computes ``results`` for ``atoms``.

        Raises:
            UnknownElementError: If the model does not know an element.
            DataError: If the structure is periodic in one or two directions only.
        """
        super().calculate(atoms, properties, system_changes)
        atoms = self.atoms
        if atoms is None:
            raise DataError("atoms: no structure given; attach the calculator to one, or pass `atoms`")
        if self._dynamics is None or "numbers" in system_changes or "pbc" in system_changes:
            self._dynamics = self._start(atoms)
        periodic = bool(atoms.pbc.all())
        with_stress = periodic and "stress" in (properties or [])
        with scripted_calls(len(atoms)):
            prediction = self._dynamics(torch.from_numpy(atoms.positions), torch.from_numpy(atoms.cell[:]), with_stress)
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

    def _start(self, atoms: Atoms) -> Any:
        pbc = atoms.pbc
        if pbc.any() and not pbc.all():
            raise DataError(f"pbc: must be periodic in all three directions or in none, received {pbc.tolist()}")
        dynamics = Dynamics(self.potential, atoms.numbers.tolist(), periodic=bool(pbc.all()))
        return CompiledDynamics(dynamics) if self._compile else torch.jit.script(dynamics)
