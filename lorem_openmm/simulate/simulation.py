"""Molecular dynamics from a configuration: runs that continue where they were, and are not done twice."""

import time
from pathlib import Path
from typing import Any

import numpy as np
import openmm
from openmm import app, unit

from lorem_openmm import config
from lorem_openmm.errors import ConfigError, DataError, SimulationError
from lorem_openmm.files import atomic_path
from lorem_openmm.outputs import claim, set_aside
from lorem_openmm.progress import progress
from lorem_openmm.seeds import openmm_seed
from lorem_openmm.simulate import engine, solvate
from lorem_openmm.simulate.energy import read_state, write_empty_state
from lorem_openmm.simulate.outcome import answer, averages, settings_of
from lorem_openmm.simulate.records import Records
from lorem_openmm.simulate.stability import Verdict, sound_rows
from lorem_openmm.simulate.start import with_charge
from lorem_openmm.simulate.systems import is_built, read_structure
from lorem_openmm.simulate.watch_openmm import frame_of, judged, watch_start
from lorem_openmm.simulate.watch_reporter import WatchReporter
from lorem_openmm.units import ANGSTROM_PER_NANOMETER

CHECKPOINT_SECONDS = 30.0
ATMOSPHERE = 1.013  # bar, under which water is brought to equilibrium


def simulate(
    simulation: config.Simulation,
    model: str | Path,
    output: str | Path,
    device: str = "auto",
    resume: bool = True,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
) -> dict[str, Any]:
    """Runs molecular dynamics, or continues it, and returns its summary.

    Writes ``trajectory.dcd`` (molecules never broken by the box), ``topology.pdb`` (the structure at step 0),
    ``state.csv``, ``checkpoint.chk`` and ``summary.json``. A run that was killed continues at its last checkpoint
    without missing or repeated frames; a finished one is returned as it is, or continued if only ``steps`` has grown.
    A run with other settings, another model or another start is moved to ``OUTPUT.old-1`` (or -2, ...), and a new one
    begins. One process at a time may run in a folder.

    Built structures (``sn2:``, ``dimer:``, ``smiles:``, ``water:``) are minimised for a moment, at the distance that
    was asked for, because their bonds are idealised; so are structures from files, except at constant energy (no
    friction), where a file is taken as equilibrated. With a bias, any structure is pulled to its centre instead. Water
    around molecules is always minimised, and then moves for a moment while they are fixed. ``minimize: false`` takes
    every other structure as it is. Velocities are drawn at the temperature.

    The run is watched (:mod:`lorem_openmm.simulate.watch`). One that falls apart stops there; its files hold all frames
    up to there, and its summary says under ``verdict`` since when and why. It is never continued: called again, the
    same verdict is given.

    Args:
        simulation: Settings.
        model: Model file (.safetensors or .pt).
        output: Folder.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ...
        resume: Continue what is there; otherwise remove it first.
        checkpoint_seconds: Time between checkpoints.

    Raises:
        ConfigError: If the settings are impossible, or another process runs in the folder, or it cannot be written.
        DataError: If the starting structure cannot be read, or files of the unfinished run are damaged.
        ModelFileError: If the model file is missing or damaged.
        UnknownElementError: If the model does not know an element.
        InstallationError: If the device or the implementation is not available.
        SimulationError: If the run falls apart, unless ``on_unstable`` is ``report``.
    """
    if simulation.report_interval > simulation.steps:
        raise ConfigError(
            f"report_interval: must be at most steps ({simulation.steps}), else no frame is written; "
            f"received {simulation.report_interval}"
        )
    records = Records(Path(output))
    with claim(output):
        if not resume:
            records.remove()
        settings = settings_of(simulation, Path(model))
        finished = records.finished() or records.take_back(settings)
        changes = records.changes(settings, simulation.steps)
        if finished is not None and not changes:
            if finished["steps"] == simulation.steps or not finished.get("verdict", {"stable": True})["stable"]:
                return answer(finished, simulation, records)
            records.reopen(finished)
        run = _Run(simulation, Path(model), records, settings, device, checkpoint_seconds)
        if changes:  # not before all that is new has been read
            set_aside(records.output, f"was simulated otherwise, so the simulation starts anew:\n{changes}")
        return answer(run.complete(), simulation, records)


class _Run:
    """One run from its start, or its last checkpoint, to its end."""

    def __init__(
        self,
        simulation: config.Simulation,
        model: Path,
        records: Records,
        settings: dict[str, Any],
        device: str,
        checkpoint_seconds: float,
    ):
        self.simulation, self.records, self.settings = simulation, records, settings
        self.checkpoint_seconds = checkpoint_seconds
        self.device = engine.choose_platform(device, simulation.precision, simulation.solvent is not None)
        self.start = with_charge(read_structure(simulation.start, simulation.seed), simulation.charge)
        if simulation.solvent is not None:
            self.start = solvate.solvate(self.start, simulation.solvent, simulation.seed)
        self.system = engine.create_system(self.start, simulation, model, self.device)
        self.watch = watch_start(self.start, self.system, simulation)
        self.seconds, self.timed_steps, self.steps = 0.0, 0, 0

    def complete(self) -> dict[str, Any]:
        """Runs to the end and returns the summary."""
        before = self.records.started()
        dynamics = self._begin() if before is None else self._continue(before)
        self._add_reporters(dynamics)
        self._advance(dynamics)
        verdict = self.watch.conclude()
        if not verdict.stable:
            self._show_start(dynamics)
        dynamics.reporters.clear()  # closes their files
        return self.records.finish(self._summary(verdict))

    def _begin(self) -> app.Simulation:
        self.records.remove()
        simulation, positions = self.simulation, self.start.positions
        solvent = simulation.solvent
        relaxed = simulation.minimize and (simulation.friction_per_ps > 0 or is_built(simulation.start))
        try:
            if solvent:
                self.start = solvate.relax_water(self.start, solvent, self.device.platform, self.device.properties)
            if relaxed or solvent or simulation.bias is not None:
                positions = engine.minimize(self.system, self.start, self.device)
            if solvent:
                positions = self._equilibrate_water(solvent, positions)
        except SimulationError as error:
            self.watch.condemn(str(error), 0, 0.0)
        dynamics = engine.create_simulation(self.system, self.start, simulation, self.device)
        dynamics.context.setPositions(positions / ANGSTROM_PER_NANOMETER)
        dynamics.context.setVelocitiesToTemperature(simulation.temperature * unit.kelvin, openmm_seed(simulation.seed))
        with atomic_path(self.records.topology) as temporary, temporary.open("w") as stream:
            app.PDBFile.writeFile(self.start.topology, positions * unit.angstrom, stream, keepIds=True)
        with judged(dynamics, self.watch):
            self.watch.check(frame_of(dynamics, dynamics.context.getState(positions=True, energy=True)))
        self._save(dynamics)
        return dynamics

    def _equilibrate_water(self, solvent: config.Solvent, positions: np.ndarray) -> np.ndarray:
        simulation, device = self.simulation, self.device
        conditions = simulation.temperature, simulation.pressure_bar or ATMOSPHERE, openmm_seed(simulation.seed)
        platform = device.platform, device.properties
        self.start = solvate.equilibrate(self.start, solvent, positions, *conditions, *platform)
        # The box has shrunk; a run that continues takes it from its checkpoint.
        self.system.setDefaultPeriodicBoxVectors(*self.start.topology.getPeriodicBoxVectors())
        return self.start.positions

    def _continue(self, before: dict[str, Any]) -> app.Simulation:
        platform = self.device.platform.getName()
        if before["platform"] != platform:
            raise ConfigError(
                f"device: {self.records.output} was begun on OpenMM's {before['platform']} platform, whose checkpoints "
                f"{platform} cannot read; choose the device it was begun on, or start anew with --restart"
            )
        checkpoint = self.records.restore()
        if before.get("watch"):
            self.watch.restore(before["watch"])
        engine.reseed_barostat(self.system, self.simulation.seed, before["step"])
        dynamics = engine.create_simulation(self.system, self.start, self.simulation, self.device)
        try:
            dynamics.context.loadCheckpoint(checkpoint)
        except openmm.OpenMMException as error:
            raise DataError(
                f"{self.records.folder}: OpenMM {openmm.__version__} cannot read the checkpoint ({error}); "
                "continue with the version that wrote it, or start anew with --restart"
            ) from None
        return dynamics

    def _add_reporters(self, dynamics: app.Simulation) -> None:
        interval = self.simulation.report_interval
        appends = dynamics.currentStep >= interval
        # First, so that no frame that is not finite is written.
        dynamics.reporters.append(WatchReporter.following(self.watch, interval))
        # Without bonds every atom is a molecule of its own: wrapping would break the real ones.
        trajectory, state = str(self.records.trajectory), str(self.records.state)
        dynamics.reporters.append(app.DCDReporter(trajectory, interval, append=appends, enforcePeriodicBox=False))
        periodic = self.start.box is not None
        columns = ("step", "time", "potentialEnergy", "kineticEnergy", "totalEnergy", "temperature", "speed")
        dynamics.reporters.append(
            app.StateDataReporter(state, interval, **dict.fromkeys(columns, True), volume=periodic, append=appends)
        )

    def _advance(self, dynamics: app.Simulation) -> None:
        saved = begun = time.monotonic()
        first, interval, steps = dynamics.currentStep, self.simulation.report_interval, self.simulation.steps
        targets = list(range((first // interval + 1) * interval, steps + 1, interval))
        if steps % interval and first < steps:
            targets.append(steps)
        for k, target in enumerate(progress(targets, len(targets), f"simulate {self.simulation.start}")):
            if self.watch.verdict.stable:
                with judged(dynamics, self.watch):
                    dynamics.step(target - dynamics.currentStep)
            if not self.watch.verdict.stable:
                break
            now = time.monotonic()
            if k == 0 and len(targets) > 1:  # the first steps compile and warm up
                begun, first = now, target
            if now - saved > self.checkpoint_seconds:
                self._save(dynamics)
                saved = time.monotonic()
        self.seconds, self.timed_steps = time.monotonic() - begun, dynamics.currentStep - first
        self.steps = dynamics.currentStep
        if self.watch.verdict.stable:
            self._save(dynamics)

    def _show_start(self, dynamics: app.Simulation) -> None:
        """Writes the structure at step 0 where there is no frame: the files of a run that has ended can be read."""
        if self.records.trajectory.is_file() and self.records.trajectory.stat().st_size:
            return
        context = dynamics.context
        context.setPositions(app.PDBFile(str(self.records.topology)).getPositions(asNumpy=True))
        context.setStepCount(0)
        context.setTime(0.0)
        _, trajectory, state = dynamics.reporters
        trajectory.report(dynamics, context.getState(positions=True))
        try:
            state.report(dynamics, context.getState(positions=True, velocities=True, energy=True))
        except Exception:  # of the model's force, or of the reporter: the energy is not finite
            write_empty_state(self.records.state)

    def _save(self, dynamics: app.Simulation) -> None:
        step = dynamics.currentStep
        self.records.save(
            dynamics.context.createCheckpoint(),
            {
                "settings": self.settings,
                "platform": self.device.platform.getName(),
                "step": step,
                "frames": step // self.simulation.report_interval,
                "report_interval": self.simulation.report_interval,
                "watch": self.watch.state(),
            },
        )

    def _summary(self, verdict: Verdict) -> dict[str, Any]:
        simulation, table = self.simulation, read_state(self.records.state)
        kept = sound_rows(table["step"], verdict)
        dof = engine.degrees_of_freedom(self.system)
        nanoseconds = self.timed_steps * simulation.timestep_fs * 1e-6
        return {
            "verdict": verdict._asdict(),
            "settings": self.settings,
            "platform": self.device.platform.getName(),
            "implementation": engine.implementation_of(self.system),
            "precision": simulation.precision,
            "steps": self.steps,
            "time_ps": self.steps * simulation.timestep_fs * 1e-3,
            "frames": len(kept),
            "n_atoms": len(self.start.positions),
            "n_molecules": len(self.start.molecules),
            "total_charge": self.start.total_charge,
            "total_charge_source": self.start.charge_source,
            "box_angstrom": None if self.start.box is None else self.start.box.tolist(),
            "degrees_of_freedom": dof,
            "solvent": solvate.describe(self.start, simulation.solvent) if simulation.solvent else None,
            "ns_per_day": nanoseconds / self.seconds * 86400 if self.timed_steps else None,
            **averages({name: values[kept] for name, values in table.items()}, simulation, dof),
            "versions": {"openmm": openmm.__version__},
        }
