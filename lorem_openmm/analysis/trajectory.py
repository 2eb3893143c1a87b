"""Reading what a simulation wrote."""

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import mdtraj
import numpy as np
import pandas as pd

from lorem_openmm.analysis.judging import judge
from lorem_openmm.errors import DataError
from lorem_openmm.files import ascii_path, read_json
from lorem_openmm.simulate.energy import read_state
from lorem_openmm.simulate.molecules import join_residues
from lorem_openmm.simulate.records import PROGRESS, STATE, SUMMARY, TOPOLOGY, TRAJECTORY
from lorem_openmm.simulate.stability import Verdict, sound_rows

WATER = "HOH"  # name of the residues of water that is not one of the molecules studied


class SimulationData(NamedTuple):
    """A trajectory with its energies, frame by frame.

    Attributes:
        trajectory: MDTraj's, [n_frames] with the times of the frames in ps.
        state: [n_frames] energies in eV and temperatures in K: :func:`lorem_openmm.simulate.energy.read_state`.
        molecules: Indices of the atoms of each molecule.
        num_solute: Number of molecules, the first ones, that stand before the first water; all where there are only
            two, no water, or nothing but water.
        summary: What the simulation says about itself; empty if it is not finished.
        verdict: Whether the run held together: its summary's, or found now where it has none.
    """

    trajectory: mdtraj.Trajectory
    state: pd.DataFrame
    molecules: list[np.ndarray]
    num_solute: int
    summary: dict[str, Any]
    verdict: Verdict

    @property
    def is_sound(self) -> np.ndarray:
        """Which frames [n_frames] lie before the run fell apart."""
        return sound_rows(self.state["step"].to_numpy(), self.verdict)

    def sound(self) -> "SimulationData":
        """Returns the part before the run fell apart, which may have no frame."""
        kept = self.is_sound
        if kept.all():
            return self
        return self._replace(trajectory=self.trajectory[kept], state=self.state[kept].reset_index(drop=True))

    @property
    def solute(self) -> list[np.ndarray]:
        """Indices of the atoms of each molecule of the solute."""
        return self.molecules[: self.num_solute]


def load_simulation(folder: str | Path, stride: int = 1) -> SimulationData:
    """Reads the folder of a simulation, finished or not.

    Args:
        folder: Folder with ``topology.pdb``, ``trajectory.dcd`` and ``state.csv``; of a run that has not finished,
            its folder ``unfinished``.
        stride: Read every ``stride``-th frame.

    Raises:
        DataError: If a file is missing or damaged, or there is no frame with finite positions.
    """
    folder = Path(folder)
    for name in (TOPOLOGY, TRAJECTORY, STATE):
        if not (folder / name).is_file():
            raise DataError(f"{folder / name}: no such file; give the folder of a simulation, and run it first")
    path = folder / TRAJECTORY
    if path.stat().st_size == 0:
        raise DataError(f"{path}: is empty, the simulation wrote no frame; run it to its end")
    try:
        # Names as they are: MDTraj would rename the residues it takes for those of proteins.
        start = mdtraj.load_pdb(folder / TOPOLOGY, standard_names=False)
        with _quiet(), ascii_path(path) as plain:
            trajectory = mdtraj.load_dcd(str(plain), top=start.topology)
    except (OSError, ValueError, IndexError, KeyError, RuntimeError) as error:
        raise DataError(f"{path}: cannot be read with {TOPOLOGY} ({error!s:.200}); run the simulation again") from None
    state = pd.DataFrame(read_state(folder / STATE))
    n_frames = min(len(trajectory), len(state))  # a run that goes on may have written one of the two only
    if n_frames == 0:
        raise DataError(f"{path}: holds no frame; run the simulation to its end")
    trajectory, state = trajectory[:n_frames], state.iloc[:n_frames]
    trajectory.time = state["time"].to_numpy()
    summary = read_json(folder / SUMMARY) if (folder / SUMMARY).is_file() else {}
    molecules = molecules_of(start.topology)
    num_solute = _num_solute(start.topology, molecules)
    if summary.get("verdict"):
        verdict = Verdict.of(summary["verdict"])
    else:
        verdict = judge(start, trajectory, state, molecules, num_solute, summary or _unfinished(folder))
    finite = np.isfinite(trajectory.xyz).all(axis=(1, 2))
    n_finite = n_frames if finite.all() else int(np.argmin(finite))
    if n_finite == 0 or not finite[sound_rows(state["step"].to_numpy(), verdict)].all():
        raise DataError(f"{path}: positions must be finite, received NaN or infinity in frame {n_finite + 1}")
    frames = slice(0, n_finite, stride)
    trajectory, state = trajectory[frames], state.iloc[frames].reset_index(drop=True)
    return SimulationData(trajectory, state, molecules, num_solute, summary, verdict)


def _unfinished(folder: Path) -> dict[str, Any]:
    """Returns what a run that has not finished says about itself: its settings."""
    return {"settings": read_json(folder / PROGRESS)["settings"]} if (folder / PROGRESS).is_file() else {}


def molecules_of(topology: mdtraj.Topology) -> list[np.ndarray]:
    """Returns the atoms of each molecule: residues, joined where a bond connects them."""
    residues = [atom.residue.index for atom in topology.atoms]
    return join_residues(residues, [(a.residue.index, b.residue.index) for a, b in topology.bonds])


def _num_solute(topology: mdtraj.Topology, molecules: list[np.ndarray]) -> int:
    waters = [topology.atom(int(members[0])).residue.name == WATER for members in molecules]
    return waters.index(True) if len(waters) > 2 and any(waters) and not waters[0] else len(molecules)


@contextmanager
def _quiet() -> Iterator[None]:
    """Sends what C code prints to standard output nowhere: MDTraj's DCD reader reports every file it opens."""
    libc = ctypes.CDLL(None)
    sys.stdout.flush()
    libc.fflush(None)
    kept = os.dup(1)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 1)
        yield
    finally:
        libc.fflush(None)
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nowhere)
