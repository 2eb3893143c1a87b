"""What the model's energy is made of: short-range and long-range parts and latent charges of a state."""

import io
import pickle
import xml.etree.ElementTree as ET  # parses only what OpenMM has just written
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import openmm
from openmm import app, unit

from lorem_openmm.errors import ConfigError
from lorem_openmm.files import expand_home
from lorem_openmm.integrations.force_settings import ForceSettings
from lorem_openmm.integrations.openmm_force import NAME, PotentialFunction
from lorem_openmm.integrations.serialize import torch_force
from lorem_openmm.units import KJ_PER_MOL_PER_EV


class Decomposition(NamedTuple):
    """E = E_short + E_long + E_0, in kJ/mol.

    Attributes:
        short_range_energy: Σ_i of the atoms' short-range energies.
        long_range_energy: Σ_i of what the potentials of the charges add.
        baseline: E_0, the sum of the elements' energies.
        atomic_energies: [n_atoms] short and long range, without baseline.
        charges: [n_atoms, n_channels] latent charges in e, the scalar one first; none without long range.
        atoms: indices of the particles that the model sees.
    """

    short_range_energy: unit.Quantity
    long_range_energy: unit.Quantity
    baseline: unit.Quantity
    atomic_energies: unit.Quantity
    charges: np.ndarray
    atoms: list[int]


def decompose(system: openmm.System, state: openmm.State) -> Decomposition:
    """Divides LOREM's energy of a state of a System into its parts.

    The model is run once more, with the settings of the System's force, whichever kind it is, also within the
    interpolated force of a mixed system.

    Args:
        system: System with one force of LOREM.
        state: state with positions, for example ``context.getState(positions=True)``.

    Raises:
        ConfigError: If the System has no force of LOREM, or several, or the state has no positions.
        DataError: If positions, box or results are not finite.
        ModelFileError: If the model file is missing or another one than when the force was made.
    """
    found = list(_forces(system.getForces()))
    if len(found) != 1:
        raise ConfigError(f"system: must have exactly one force of LOREM, received one with {len(found)}")
    if not state.getDataTypes() & openmm.State.Positions:
        raise ConfigError("state: must have positions; ask for it with context.getState(positions=True)")
    settings, atoms = found[0]
    prediction = _function(settings).predict(state, atoms)
    energies = prediction.atomic_energies.double().cpu().numpy() * KJ_PER_MOL_PER_EV
    total, long_range = (
        float(part[0]) * KJ_PER_MOL_PER_EV for part in (prediction.energy, prediction.long_range_energy)
    )
    baseline = total - float(energies.sum())
    energy = unit.kilojoule_per_mole
    return Decomposition(
        (total - baseline - long_range) * energy,
        long_range * energy,
        baseline * energy,
        energies * energy,
        prediction.charges.double().cpu().numpy(),
        list(range(len(energies))) if atoms is None else atoms,
    )


class DecompositionReporter:
    """Writes the parts of LOREM's energy during a simulation, as comma-separated values in kJ/mol.

    Each line costs one more call of the model. Copies, and those that come out of a pickle, append to the same path.

    Args:
        file: path, or an open text file.
        reportInterval: steps between lines.

    Raises:
        ConfigError: If the interval is not a positive number of steps.
    """

    def __init__(self, file: str | Path | io.TextIOBase, reportInterval: int):  # OpenMM's name
        if isinstance(reportInterval, bool) or not isinstance(reportInterval, int) or reportInterval < 1:
            raise ConfigError(f"reportInterval: must be a number of steps, at least 1; received {reportInterval!r}")
        self._interval = reportInterval
        self._path = Path(expand_home(str(file))).absolute() if isinstance(file, str | Path) else None
        self._stream: Any = file
        if self._path is not None:  # emptied, then appended to, as its copies do
            self._path.write_bytes(b"")
            self._stream = self._path.open("a", encoding="utf-8")
        self._stream.write("step,time_ps,short_range_energy,long_range_energy,baseline\n")
        self._stream.flush()

    def __getstate__(self) -> dict[str, Any]:
        if self._path is None and not isinstance(self._stream, io.StringIO):
            raise ConfigError("file: a reporter that writes to an open file cannot be copied; give it a path instead")
        return self.__dict__ | ({} if self._path is None else {"_stream": None})

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if self._path is not None:
            self._stream = self._path.open("a", encoding="utf-8")

    def describeNextReport(self, simulation: app.Simulation) -> dict[str, Any]:  # noqa: N802 (OpenMM's name)
        """Tells OpenMM when the next line is due and what it needs."""
        steps = self._interval - simulation.currentStep % self._interval
        return {"steps": steps, "periodic": None, "include": ["positions"]}

    def report(self, simulation: app.Simulation, state: openmm.State) -> None:
        """Writes a line."""
        parts = decompose(simulation.system, state)
        energies = [parts.short_range_energy, parts.long_range_energy, parts.baseline]
        values = [f"{energy.value_in_unit(unit.kilojoule_per_mole):.10g}" for energy in energies]
        time = state.getTime().value_in_unit(unit.picosecond)
        self._stream.write(",".join([str(simulation.currentStep), f"{time:.10g}", *values]) + "\n")
        self._stream.flush()

    def __del__(self) -> None:
        if getattr(self, "_path", None) is not None and getattr(self, "_stream", None) is not None:
            self._stream.close()


def _forces(forces: list[openmm.Force]) -> Iterator[tuple[ForceSettings, list[int] | None]]:
    for force in forces:
        if isinstance(force, openmm.CustomCVForce):
            yield from _forces([force.getCollectiveVariable(k) for k in range(force.getNumCollectiveVariables())])
        elif isinstance(force, openmm.PythonForce) and force.getName() == NAME:
            yield _settings(force), list(force.getParticles()) or None
        elif (found := torch_force(force)) is not None:
            yield found


def _settings(force: openmm.PythonForce) -> ForceSettings:
    function = ET.fromstring(openmm.XmlSerializer.serialize(force)).get("function", "")  # noqa: S314
    return _Unpickler(io.BytesIO(bytes.fromhex(function))).load().settings


class _Unpickler(pickle.Unpickler):
    """Makes nothing but the function of this package's forces."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) != (PotentialFunction.__module__, PotentialFunction.__name__):
            raise ConfigError(f"system: the function of its PythonForce is {module}.{name}, not one of this package")
        return PotentialFunction


@lru_cache(maxsize=8)
def _function(settings: ForceSettings) -> PotentialFunction:
    return PotentialFunction(settings)
