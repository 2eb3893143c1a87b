"""How well a model conserves energy: constant-energy dynamics of an equilibrated structure."""

import time
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from openmm import app, unit

from lorem_openmm import config
from lorem_openmm.errors import ConfigError, SimulationError
from lorem_openmm.progress import progress
from lorem_openmm.seeds import openmm_seed
from lorem_openmm.simulate import engine
from lorem_openmm.simulate.energy import EnergyConservation, nve_drift
from lorem_openmm.simulate.stability import Verdict
from lorem_openmm.simulate.systems import read_structure
from lorem_openmm.simulate.watch import Watch
from lorem_openmm.simulate.watch_openmm import ADVICE, frame_of, judged, watch_start
from lorem_openmm.simulate.watch_reporter import WatchReporter
from lorem_openmm.simulate.watch_structure import Reactive
from lorem_openmm.units import ANGSTROM_PER_NANOMETER, EV_PER_KELVIN

EQUILIBRATION_FRICTION = 10.0  # 1/ps
EQUILIBRATION_STEP = 0.25  # fs, whatever the step of the test: tests with other steps begin in the same state
CHECK_INTERVAL = 40  # steps of the equilibration between two looks of the watch
MAX_POINTS = 2000
MIN_POINTS = 10


class NveResult(NamedTuple):
    """What a constant-energy run shows; see :class:`lorem_openmm.simulate.energy.EnergyConservation`.

    Of a run that fell apart everything is of the part before it did; None where that is too short.

    Attributes:
        verdict: Whether the run held together, its equilibration included.
        drift: Drift of the total energy, kT/ns/dof.
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

    verdict: Verdict
    drift: float | None
    drift_error: float | None
    fluctuation: float | None
    temperature: float | None
    n_dof: int
    timestep_fs: float
    time_ps: float
    ns_per_day: float | None
    platform: str
    implementation: str
    precision: str
    times: np.ndarray
    total_energies: np.ndarray

    def summary(self) -> dict[str, Any]:
        """Returns everything but the arrays, for JSON."""
        values = {key: value for key, value in self._asdict().items() if not isinstance(value, np.ndarray)}
        return values | {"verdict": self.verdict._asdict()}


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
    reactive: Reactive = None,
    on_unstable: Literal["fail", "report"] = "fail",
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
        reactive: Reactions that are wanted, as in the configuration.
        on_unstable: ``fail`` or ``report``, as in the configuration.

    Raises:
        ConfigError: If a setting is impossible.
        ModelFileError: If the model file is missing or damaged.
        UnknownElementError: If the model does not know an element.
        SimulationError: If the run falls apart, unless ``on_unstable`` is ``report``.
    """
    if steps < MIN_POINTS:
        raise ConfigError(f"steps: a drift needs at least {MIN_POINTS} steps; received {steps}")
    values = {"run": "nve_test", "start": start, "steps": steps, "timestep_fs": timestep_fs, "friction_per_ps": 0.0}
    values |= {"temperature": temperature, "seed": seed, "precision": precision, "implementation": implementation}
    values |= {"reactive": reactive, "on_unstable": on_unstable}
    simulation = config.parse(config.Simulation, values, "nve_test")
    chosen = engine.choose_platform(device, precision)
    structure = read_structure(start, seed)
    system = engine.create_system(structure, simulation, Path(model), chosen)

    warm = simulation.model_copy(update={"friction_per_ps": EQUILIBRATION_FRICTION, "timestep_fs": EQUILIBRATION_STEP})
    langevin = engine.create_simulation(system, structure, warm, chosen)
    langevin.context.setPositions(engine.minimize(system, structure, chosen) / ANGSTROM_PER_NANOMETER)
    langevin.context.setVelocitiesToTemperature(temperature * unit.kelvin, openmm_seed(seed))
    watch = watch_start(structure, system, warm)
    _advance(langevin, watch, round(equilibration_ps * 1e3 / EQUILIBRATION_STEP))
    if not watch.conclude().stable:
        watch.verdict = watch.verdict._replace(reason=f"in the equilibration {watch.verdict.reason}")
    state = langevin.context.getState(positions=True, velocities=True)
    del langevin

    verlet = engine.create_simulation(system, structure, simulation, chosen)
    if watch.verdict.stable:
        verlet.context.setPositions(state.getPositions())
        verlet.context.setVelocities(state.getVelocities())
        watch = watch_start(structure, system, simulation)
    result = _measure(verlet, simulation, watch, engine.implementation_of(system))
    if on_unstable == "fail" and not result.verdict.stable:
        raise SimulationError(f"{start}: {result.verdict.describe()}. {ADVICE}")
    return result


def _advance(dynamics: app.Simulation, watch: Watch, steps: int) -> None:
    """Runs under a watch, to the end or until it falls apart."""
    dynamics.reporters.append(WatchReporter.following(watch, CHECK_INTERVAL))
    while dynamics.currentStep < steps and watch.verdict.stable:
        with judged(dynamics, watch):
            dynamics.step(min(CHECK_INTERVAL, steps - dynamics.currentStep))


def _measure(verlet: app.Simulation, simulation: config.Simulation, watch: Watch, implementation: str) -> NveResult:
    interval = max(1, simulation.steps // MAX_POINTS)
    points, seconds = [], 0.0
    targets = range(simulation.steps // interval) if watch.verdict.stable else range(0)
    for k in progress(targets, len(targets), f"nve {simulation.start} {simulation.timestep_fs} fs"):
        with judged(verlet, watch):
            if k == 0:
                verlet.step(1)  # the first calls compile
            started = time.monotonic()
            verlet.step(interval)
            frame = frame_of(verlet, verlet.context.getState(positions=True, energy=True))
            seconds += time.monotonic() - started
            watch.check(frame)
        if not watch.verdict.stable:
            break
        points.append((frame.time_ps, *(frame.energies or ())))
    verdict = watch.conclude()
    sound = [point for point in points if verdict.time_ps is None or point[0] < verdict.time_ps]
    times, potential, kinetic = np.array(sound).reshape(-1, 3).T
    totals = potential + kinetic
    time_ps = len(times) * interval * simulation.timestep_fs * 1e-3
    dof = engine.degrees_of_freedom(verlet.system)
    conservation, temperature = None, None
    if len(times) >= MIN_POINTS:
        temperature = float(2.0 * kinetic.mean() / (dof * EV_PER_KELVIN))
        conservation = nve_drift(totals, times, temperature, dof)
    return NveResult(
        verdict=verdict,
        **(conservation._asdict() if conservation else dict.fromkeys(EnergyConservation._fields)),
        temperature=temperature,
        n_dof=dof,
        timestep_fs=simulation.timestep_fs,
        time_ps=time_ps,
        ns_per_day=time_ps * 1e-3 / seconds * 86400 if seconds else None,
        platform=verlet.context.getPlatform().getName(),
        implementation=implementation,
        precision=simulation.precision,
        times=times,
        total_energies=totals,
    )
