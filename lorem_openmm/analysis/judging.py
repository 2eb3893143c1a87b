"""The verdict on a trajectory that was written without a watch, by the same rules."""

from collections.abc import Mapping, Sequence
from typing import Any

import mdtraj
import numpy as np
import pandas as pd

from lorem_openmm.simulate.stability import Verdict
from lorem_openmm.simulate.watch import Frame, Watch
from lorem_openmm.simulate.watch_energy import Energies, Ensemble
from lorem_openmm.simulate.watch_structure import Subject
from lorem_openmm.units import ANGSTROM_PER_NANOMETER


def judge(
    start: mdtraj.Trajectory,
    trajectory: mdtraj.Trajectory,
    state: pd.DataFrame,
    molecules: Sequence[np.ndarray],
    num_solute: int,
    summary: Mapping[str, Any],
) -> Verdict:
    """Shows all frames to a watch.

    Args:
        start: The structure at step 0, one frame.
        trajectory: [n_frames].
        state: [n_frames] energies.
        molecules: Indices of the atoms of each molecule.
        num_solute: Number of molecules, the first ones, whose bonds are watched.
        summary: Summary of the run, as far as there is one: its settings and degrees of freedom.
    """
    settings = summary.get("settings", {})
    symbols = ["" if atom.element is None else atom.element.symbol for atom in start.topology.atoms]
    symbols = ["" if symbol == "VS" else symbol for symbol in symbols]  # MDTraj's virtual sites
    subject = Subject(
        symbols,
        ANGSTROM_PER_NANOMETER * start.xyz[0].astype(float),
        _box(start, 0),
        [members.tolist() for members in molecules],
        [(first.index, second.index) for first, second in start.topology.bonds],
        np.concatenate(molecules[:num_solute]).tolist(),
    )
    ensemble = None
    if "temperature" in settings and "degrees_of_freedom" in summary:
        thermostat = settings.get("friction_per_ps", 1.0) > 0
        ensemble = Ensemble(settings["temperature"], summary["degrees_of_freedom"], thermostat)
    watch = Watch(subject, settings.get("reactive"), ensemble)
    energies = state[["potential_energy", "kinetic_energy"]].to_numpy()
    steps, times = state["step"].to_numpy(), state["time"].to_numpy()
    for k in range(len(trajectory)):
        positions = ANGSTROM_PER_NANOMETER * trajectory.xyz[k].astype(float)
        frame = Frame(int(steps[k]), float(times[k]), positions, _box(trajectory, k), Energies(*energies[k]))
        if not watch.check(frame):
            break
    return watch.conclude()


def _box(trajectory: mdtraj.Trajectory, frame: int) -> np.ndarray | None:
    if trajectory.unitcell_vectors is None:
        return None
    return ANGSTROM_PER_NANOMETER * trajectory.unitcell_vectors[frame].astype(float)
