"""Reading the windows of an umbrella sampling."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import mdtraj
import numpy as np

from lorem_openmm import config
from lorem_openmm.analysis import geometry
from lorem_openmm.analysis.mbar import independent, inefficiency
from lorem_openmm.analysis.trajectory import SimulationData, load_simulation
from lorem_openmm.errors import DataError
from lorem_openmm.units import ANGSTROM_PER_NANOMETER

DEPENDS_ON = ("bias", "temperature", "timestep_fs", "report_interval")  # settings that all windows' analysis relies on


class Window(NamedTuple):
    """One window after its equilibration.

    Attributes:
        number: Number of the window, from 0.
        center: Center of the bias, Å.
        coordinate: [n_frames] Å.
        inefficiency: Frames in a row that count as one independent sample.
        lowest: [n_atoms, 3] Å, the frame of lowest energy without the bias.
        topology: MDTraj's.
    """

    number: int
    center: float
    coordinate: np.ndarray
    inefficiency: float
    lowest: np.ndarray
    topology: mdtraj.Topology

    def independent(self) -> np.ndarray:
        """Returns the independent values [n_samples] in Å."""
        return independent(self.coordinate, self.inefficiency)


def read_windows(umbrella: config.Umbrella, folders: Sequence[Path]) -> tuple[list[Window], dict[int, str]]:
    """Reads all windows; those that fell apart are an error, or left out where ``on_unstable`` is ``report``.

    Args:
        umbrella: Settings.
        folders: [num_windows], of the windows' simulations.

    Returns:
        The windows that are sound, and of each one that is left out its number and why.

    Raises:
        DataError: If a window is missing, not finished, was run with other settings, has no frames left, or fell apart.
    """
    windows, left_out = [], {}
    for index, folder in enumerate(folders):
        data = load_simulation(folder)
        _check_settings(umbrella, index, folder, data)
        if data.verdict.stable:
            windows.append(_read(umbrella, index, folder, data))
            continue
        why = f"fell apart at {data.verdict.time_ps:.4g} ps: {data.verdict.reason}"
        if umbrella.on_unstable == "fail":
            raise DataError(
                f"{folder}: window {index} (held at {umbrella.centers()[index]:g} Å) {why}. A free energy needs sound "
                "windows; run it with a better model, or set `on_unstable: report` to leave it out"
            )
        left_out[index] = why
    return windows, left_out


def _check_settings(umbrella: config.Umbrella, index: int, folder: Path, data: SimulationData) -> None:
    simulation = umbrella.window(index)
    if not data.summary:
        raise DataError(f"{folder}: window {index} must be finished, its summary is missing; run the window again")
    settings, expected = data.summary["settings"], simulation.model_dump(mode="json")
    changed = [key for key in DEPENDS_ON if settings.get(key) != expected[key]]
    changes = [f"{key}: {settings.get(key)} instead of {expected[key]}" for key in changed]
    if changes:
        raise DataError(f"{folder}: was run with other settings ({'; '.join(changes)}); run window {index} again")


def _read(umbrella: config.Umbrella, index: int, folder: Path, data: SimulationData) -> Window:
    kept = data.state["step"].to_numpy() > umbrella.equilibration
    if not kept.any():
        raise DataError(
            f"{folder}: must hold frames after the {umbrella.equilibration} steps of equilibration, its last is of "
            f"step {data.state['step'].max()}; run window {index} longer"
        )
    coordinate = _coordinate_of(data, umbrella.coordinate)[kept]
    center = umbrella.centers()[index]
    bias = 0.5 * umbrella.stiffness * (coordinate - center) ** 2
    lowest = int(np.argmin(data.state["potential_energy"].to_numpy()[kept] - bias))
    positions = ANGSTROM_PER_NANOMETER * data.trajectory.xyz[kept][lowest].astype(float)
    return Window(index, center, coordinate, inefficiency(coordinate), positions, data.trajectory.topology)


def _coordinate_of(data: SimulationData, coordinate: config.Coordinate) -> np.ndarray:
    """Returns the coordinate of each frame in Å [n_frames], as the bias sees it."""
    if coordinate == "bond_difference":
        atoms = geometry.find_sn2(data.trajectory.topology)
        if atoms is None:
            raise DataError("coordinate: bond_difference needs X- + CH3Y, the trajectory holds something else")
        return geometry.sn2_coordinates(data.trajectory, atoms)["reaction_coordinate"]
    if len(data.molecules) < 2:
        raise DataError(f"coordinate: center_distance needs two molecules, the trajectory holds {len(data.molecules)}")
    return geometry.center_distance(data.trajectory, *data.molecules[:2])
