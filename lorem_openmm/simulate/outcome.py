"""What a run depends on, what is averaged over it, and how it ends."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lorem_openmm import config
from lorem_openmm.errors import SimulationError
from lorem_openmm.files import sha256_of_file
from lorem_openmm.simulate.energy import nve_drift
from lorem_openmm.simulate.records import Records
from lorem_openmm.simulate.stability import Verdict
from lorem_openmm.simulate.systems import file_of
from lorem_openmm.simulate.watch_openmm import ADVICE

SHORTEST_FIT = 10  # lines of energies below which no drift is stated


def answer(summary: dict[str, Any], simulation: config.Simulation, records: Records) -> dict[str, Any]:
    """Returns the summary of a run that has ended, or raises what its verdict says.

    Args:
        summary: Summary of the run.
        simulation: Settings.
        records: Its files.

    Raises:
        SimulationError: If the run fell apart, unless ``on_unstable`` is ``report``.
    """
    verdict = summary.get("verdict")
    if verdict and not verdict["stable"] and simulation.on_unstable == "fail":
        raise SimulationError(
            f"{simulation.start}: {Verdict.of(verdict).describe()}. {ADVICE}. All frames up to there are in "
            f"{records.keep()}; `on_unstable: report` makes this a verdict in the summary, and no error"
        )
    return summary


def averages(sound: Mapping[str, np.ndarray], simulation: config.Simulation, dof: int) -> dict[str, Any]:
    """Returns what is averaged, over the frames in which the run was sound.

    Args:
        sound: Their energies and temperatures, as from :func:`lorem_openmm.simulate.energy.read_state`.
        simulation: Settings.
        dof: Degrees of freedom.
    """
    conservation, temperatures = None, sound["temperature"]
    if simulation.friction_per_ps == 0 and len(temperatures) >= SHORTEST_FIT:
        conservation = nve_drift(sound["total_energy"], sound["time"], float(temperatures.mean()), dof)._asdict()
    second_half = temperatures[len(temperatures) // 2 :]
    return {
        "sound_frames": len(temperatures),
        "temperature_mean": float(np.mean(second_half)) if len(temperatures) else None,
        "temperature_max": float(temperatures.max()) if len(temperatures) else None,
        "energy_conservation": conservation,
    }


def settings_of(simulation: config.Simulation, model: Path) -> dict[str, Any]:
    """Returns everything the trajectory depends on, but its length."""
    settings = simulation.model_dump(mode="json", exclude={"run", "steps", "on_unstable"})
    for key in ("reactive", "charge"):
        if settings[key] is None:  # as in runs made before there was this key
            del settings[key]
    settings["model_sha256"] = sha256_of_file(model) if model.is_file() else None
    file, _ = file_of(simulation.start)
    settings["start_sha256"] = sha256_of_file(file) if file.is_file() else None
    if simulation.solvent:
        own = [name for name in simulation.solvent.force_field if Path(name).is_file()]
        settings["force_field_sha256"] = [sha256_of_file(Path(name)) for name in own]
    return settings
