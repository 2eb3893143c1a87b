"""How well a model conserves energy: constant-energy dynamics of an equilibrated structure."""

import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from openmm import unit

from lorem_openmm import config
from lorem_openmm.errors import ConfigError
from lorem_openmm.progress import progress
from lorem_openmm.seeds import openmm_seed
from lorem_openmm.simulate import engine
from lorem_openmm.simulate.energy import nve_drift
from lorem_openmm.simulate.systems import starting_structure
from lorem_openmm.units import ANGSTROM_PER_NANOMETER, EV_PER_KELVIN, KJ_PER_MOL_PER_EV

EQUILIBRATION_FRICTION = 10.0  # 1/ps
EQUILIBRATION_STEP = 0.25  # fs, whatever the step of the test: tests with other steps begin in the same state
MAX_POINTS = 2000
MIN_POINTS = 10


class NveResult(NamedTuple):
    """What a constant-energy run shows; see :class:`lorem_openmm.simulate.energy.EnergyConservation`.

    Attributes:
        drift: Of the total energy, kT/ns/dof.
        drift_error: Standard error of the drift, kT/ns/dof.
        fluctuation: Root mean square deviation from the drift in eV, for the whole system.
        temperature: Mean of the run in K, by which the drift is measured.
        n_dof: Degrees of freedom.
        timestep_fs: Step in fs.
        time_ps: Length of the run.
        ns_per_day: Speed.
        platform: OpenMM's platform.
        implementation: ``torchforce`` or ``pythonforce``.
        precision: ``single`` or ``double``.
        times: [n] ps.
        total_energies: [n] eV.
    """

    drift: float
    drift_error: float
    fluctuation: float
    temperature: float
    n_dof: int
    timestep_fs: float
    time_ps: float
    ns_per_day: float
    platform: str
    implementation: str
    precision: str
    times: np.ndarray
    total_energies: np.ndarray

    def summary(self) -> dict[str, Any]:
        """Returns everything but the arrays, for JSON."""
        return {key: value for key, value in self._asdict().items() if not isinstance(value, np.ndarray)}


def nve_test(
    model: str | Path,
    start: str,
    timestep_fs: float = 0.25,
    steps: int = 40_000,
    precision: str = "single",
    temperature: float = 300.0,
    seed: int = 0,
    device: str = "auto",
    implementation: str = "auto",
    equilibration_ps: float = 1.0,
) -> NveResult:
    """Measures drift and fluctuation of the total energy at constant energy.

    The structure is minimised and equilibrated by Langevin dynamics; then the thermostat is taken away.

    Args:
        model: Model file.
        start: Structure, as in ``simulations.*.start``.
        timestep_fs: Step in fs of the run without thermostat.
        steps: Number of its steps.
        precision: ``single`` or ``double``, of the model.
        temperature: K, of the equilibration.
        seed: Velocities, thermostat, and orientation of a dimer.
        device: ``auto``, ``cpu``, ``cuda``, ...
        implementation: ``auto``, ``torchforce`` or ``pythonforce``.
        equilibration_ps: Length of the equilibration.

    Raises:
        ConfigError: If a setting is impossible.
        ModelFileError: If the model file is missing or damaged.
        UnknownElementError: If the model does not know an element.
    """
    if steps < MIN_POINTS:
        raise ConfigError(f"steps: a drift needs at least {MIN_POINTS} steps; received {steps}")
    values = {"run": "nve_test", "start": start, "steps": steps, "timestep_fs": timestep_fs, "friction_per_ps": 0.0}
    values |= {"temperature": temperature, "seed": seed, "precision": precision, "implementation": implementation}
    simulation = config.parse(config.Simulation, values, "nve_test")
    chosen = engine.choose_device(device, precision)
    structure = starting_structure(start, seed)
    system = engine.create_system(structure, simulation, Path(model), chosen)

    warm = simulation.model_copy(update={"friction_per_ps": EQUILIBRATION_FRICTION, "timestep_fs": EQUILIBRATION_STEP})
    langevin = engine.create_simulation(system, structure, warm, chosen)
    langevin.context.setPositions(engine.minimize(system, structure, chosen) / ANGSTROM_PER_NANOMETER)
    langevin.context.setVelocitiesToTemperature(temperature * unit.kelvin, openmm_seed(seed))
    langevin.step(round(equilibration_ps * 1e3 / EQUILIBRATION_STEP))
    state = langevin.context.getState(positions=True, velocities=True)
    del langevin

    verlet = engine.create_simulation(system, structure, simulation, chosen)
    verlet.context.setPositions(state.getPositions())
    verlet.context.setVelocities(state.getVelocities())
    return _measure(verlet, simulation, engine.implementation_of(system))


def _measure(verlet: Any, simulation: config.Simulation, implementation: str) -> NveResult:
    interval = max(1, simulation.steps // MAX_POINTS)
    n_points = simulation.steps // interval
    verlet.step(1)  # the first calls compile
    times, totals, kinetic = np.empty(n_points), np.empty(n_points), np.empty(n_points)
    begun = time.monotonic()
    for k in progress(range(n_points), n_points, f"nve {simulation.start} {simulation.timestep_fs} fs"):
        verlet.step(interval)
        state = verlet.context.getState(energy=True)
        kinetic[k] = state.getKineticEnergy().value_in_unit(unit.kilojoule_per_mole) / KJ_PER_MOL_PER_EV
        totals[k] = kinetic[k] + state.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole) / KJ_PER_MOL_PER_EV
        times[k] = state.getTime().value_in_unit(unit.picosecond)
    seconds = time.monotonic() - begun
    time_ps = n_points * interval * simulation.timestep_fs * 1e-3
    dof = engine.degrees_of_freedom(verlet.system)
    temperature = float(2.0 * kinetic.mean() / (dof * EV_PER_KELVIN))
    return NveResult(
        *nve_drift(totals, times, temperature, dof),
        temperature=temperature,
        n_dof=dof,
        timestep_fs=simulation.timestep_fs,
        time_ps=time_ps,
        ns_per_day=time_ps * 1e-3 / seconds * 86400,
        platform=verlet.context.getPlatform().getName(),
        implementation=implementation,
        precision=simulation.precision,
        times=times,
        total_energies=totals,
    )
