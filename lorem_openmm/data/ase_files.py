"""Files that ASE reads: its trajectories and databases, and the output of VASP."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
from ase import Atoms
from ase.io.trajectory import Trajectory

from lorem_openmm.data.formats import DB, TRAJ
from lorem_openmm.errors import DataError


def count_frames(path: Path, kind: str, name: str) -> int:
    """Returns the number of frames.

    Raises:
        DataError: If ASE cannot read it.
    """
    with _naming(name, kind):
        if kind == TRAJ:
            with Trajectory(path) as trajectory:
                return len(trajectory)
        if kind == DB:
            with _connect(path) as database:
                return database.count()
        return sum(1 for _ in ase.io.iread(path, index=":", format=kind, do_not_split_by_at_sign=True))


def read_atoms(path: Path, kind: str, name: str, first: int, n_frames: int) -> list[Atoms]:
    """Reads consecutive frames.

    Raises:
        DataError: If ASE cannot read them.
    """
    with _naming(name, kind):
        if kind == TRAJ:
            with Trajectory(path) as trajectory:
                return [trajectory[index] for index in range(first, first + n_frames)]
        if kind == DB:
            with _connect(path) as database:
                return [_from_row(row) for row in database.select(offset=first, limit=n_frames, sort="id")]
        frames: Iterator[Any] = ase.io.iread(path, index=":", format=kind, do_not_split_by_at_sign=True)
        return list(islice(frames, first, first + n_frames))


@contextmanager
def _naming(name: str, kind: str) -> Iterator[None]:
    """Turns whatever ASE raises on a damaged file into an error that names it."""
    try:
        yield
    except MemoryError:
        raise
    except Exception as error:
        raise DataError(
            f"{name}: ASE cannot read it as '{kind}' ({type(error).__name__}: {error}): it was cut off "
            "or damaged. Write it again, or convert what can be read to extended XYZ."
        ) from None


def _connect(path: Path) -> Any:
    import ase.db  # noqa: PLC0415  # half a second

    return ase.db.connect(path, type="db", append=True)


def _from_row(row: Any) -> Atoms:
    """Returns the atoms of a row with its key-value pairs and its data as entries of the frame."""
    atoms = row.toatoms()
    atoms.info.update(row.key_value_pairs)
    for key, value in row.data.items():
        if np.shape(value)[:1] == (len(atoms),) and len(np.shape(value)) > 1:
            atoms.arrays[key] = np.asarray(value)
        else:
            atoms.info[key] = value
    return atoms
