"""The watch as a reporter of OpenMM, also for scripts."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import openmm
from openmm import app, unit

from lorem_openmm.errors import ConfigError, SimulationError
from lorem_openmm.simulate.engine import degrees_of_freedom
from lorem_openmm.simulate.stability import Verdict
from lorem_openmm.simulate.start import molecules_of
from lorem_openmm.simulate.watch import Frame, Watch
from lorem_openmm.simulate.watch_energy import Ensemble
from lorem_openmm.simulate.watch_openmm import ADVICE, frame_of, subject_of
from lorem_openmm.simulate.watch_structure import Reactive
from lorem_openmm.units import EV_PER_KELVIN

ROOM_TEMPERATURE = 300.0  # K, where neither integrator nor velocities say one
CONSERVING = (openmm.VerletIntegrator, openmm.VariableVerletIntegrator)


class WatchReporter:
    """Watches a simulation: bonds, atoms on top of each other or exchanged, temperature, energy, NaN.

    It compares with the positions at which the simulation stands when it takes its first step; minimise before::

        simulation.reporters.append(lorem_openmm.WatchReporter(100))
        simulation.step(100_000)          # SimulationError as soon as the molecules fall apart

    The verdict is the attribute ``verdict``, and ``conclude()`` at the end.

    Args:
        reportInterval: Steps between checks; 10 to 100 are usual. A check costs no call of the model where another
            reporter asks for energies at the same steps.
        reactive: Reactions that are wanted: True, or the atoms, counted from 0, whose bonds may break and form. None:
            the halogens of X⁻ + CH₃Y, if the system is such a one.
        on_unstable: ``fail``: raise SimulationError; ``report``: go on, the verdict says since when the run is broken.
        atoms: Those whose bonds are watched, and their contacts with all others, such as the molecules of a mixed
            system; None: all.
        temperature: K; None: the integrator's.

    Raises:
        ConfigError: If the interval is not positive, or ``reactive`` or ``atoms`` name an atom that is not there.
        SimulationError: From ``report``, if the run is unstable and ``on_unstable`` is ``fail``.
    """

    def __init__(
        self,
        reportInterval: int,  # OpenMM's name
        reactive: Reactive = None,
        on_unstable: Literal["fail", "report"] = "fail",
        atoms: Sequence[int] | None = None,
        temperature: float | None = None,
    ):
        if reportInterval < 1:
            raise ConfigError(f"reportInterval: must be at least 1 step; received {reportInterval}")
        if on_unstable not in ("fail", "report"):
            raise ConfigError(f"on_unstable: must be fail or report; received {on_unstable!r}")
        self._interval, self._fails = reportInterval, on_unstable == "fail"
        self._reactive, self._atoms, self._temperature = reactive, atoms, temperature
        self.watch: Watch | None = None

    @classmethod
    def following(cls, watch: Watch, reportInterval: int) -> "WatchReporter":
        """Returns a reporter that shows frames to a watch that exists, and leaves it to others to act on its verdict.

        Where a frame is not finite it raises SimulationError, so that no reporter behind it writes the frame.
        """
        reporter = cls(reportInterval, on_unstable="report")
        reporter.watch = watch
        return reporter

    @property
    def verdict(self) -> Verdict:
        """What was found so far."""
        return Verdict(True, None, None, None, []) if self.watch is None else self.watch.verdict

    def conclude(self) -> Verdict:
        """Returns the verdict at the end of a run."""
        return self.verdict if self.watch is None else self.watch.conclude()

    def describeNextReport(self, simulation: app.Simulation) -> dict[str, Any]:  # noqa: N802 (OpenMM's name)
        """Tells OpenMM when the next check is due and what it needs."""
        if self.watch is None:
            self.watch = self._begin(simulation)
        steps = self._interval - simulation.currentStep % self._interval
        return {"steps": steps, "periodic": False, "include": ["positions", "energy"]}

    def report(self, simulation: app.Simulation, state: openmm.State) -> None:
        """Checks a frame."""
        watch = self.watch = self.watch or self._begin(simulation)
        frame = frame_of(simulation, state)
        if watch.check(frame):
            return
        finite = np.isfinite(frame.positions).all() and np.isfinite(frame.energies or 0.0).all()
        if self._fails or not finite:
            raise SimulationError(f"{watch.verdict.describe()}. {ADVICE}")

    def _begin(self, simulation: app.Simulation) -> Watch:
        frame = frame_of(simulation, simulation.context.getState(positions=True, energy=True))
        topology, count = simulation.topology, len(frame.positions)
        wrong = [index for index in self._atoms or () if not 0 <= index < count]
        if wrong:
            raise ConfigError(f"atoms: must be from 0 to {count - 1}; received {wrong[:5]}")
        subject = subject_of(topology, frame.positions, molecules_of(topology), self._atoms, frame.box)
        watch = Watch(subject, self._reactive, _ensemble(simulation, frame, self._temperature))
        watch.check(frame)
        return watch


def _ensemble(simulation: app.Simulation, frame: Frame, temperature: float | None) -> Ensemble:
    integrator, dof = simulation.integrator, degrees_of_freedom(simulation.system)
    names = {type(force).__name__ for force in simulation.system.getForces()}
    coupled = any("Thermostat" in name or "Barostat" in name for name in names)
    if temperature is None and hasattr(integrator, "getTemperature"):
        temperature = integrator.getTemperature().value_in_unit(unit.kelvin)
    if not temperature:
        kinetic = frame.energies.kinetic if frame.energies else 0.0
        temperature = max(2 * kinetic / (max(dof, 1) * EV_PER_KELVIN), ROOM_TEMPERATURE)
    return Ensemble(temperature, dof, coupled or not isinstance(integrator, CONSERVING))
