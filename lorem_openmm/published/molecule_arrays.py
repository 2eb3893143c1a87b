"""NumPy archives (``.npz``) of molecules to extended XYZ; nothing pickled is ever loaded."""

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lorem_openmm.data.baseline import NUM_ELEMENTS, as_table
from lorem_openmm.errors import DataError
from lorem_openmm.progress import progress
from lorem_openmm.published.frame_writer import FrameWriter

# Subtracted per element (eV) in the shifted file of the Euclidean-fast-attention record; E = E_shifted + Σ shifts.
SN2_SHIFTS = {1: -3.5921101, 6: -1.71485694, 9: -0.97762923, 17: -0.23682422, 35: 0.08449515, 53: 0.17498543}


class Molecules(NamedTuple):
    """Molecules of at most ``max_atoms`` atoms, padded.

    Attributes:
        atomic_numbers: [n_structures, max_atoms].
        positions: [n_structures, max_atoms, 3] Å.
        forces: [n_structures, max_atoms, 3] eV/Å.
        energies: [n_structures] eV.
        is_atom: [n_structures, max_atoms] booleans; False: padding.
        charges: [n_structures] total charges in e, or None.
    """

    atomic_numbers: np.ndarray
    positions: np.ndarray
    forces: np.ndarray
    energies: np.ndarray
    is_atom: np.ndarray
    charges: np.ndarray | None = None


def convert_physnet(source: Path, writer: FrameWriter) -> None:
    """Writes the structures of a PhysNet archive: R, Z, N, E, F and, where it is there, Q (D is left out).

    Raises:
        DataError: If an array is missing or does not fit the others.
    """
    data = _load(source, ("R", "Z", "N", "E", "F"), ("Q",))
    sizes = data["N"].reshape(-1).astype(np.int64)
    is_atom = np.arange(data["Z"].shape[-1]) < sizes[:, None]
    charges = data["Q"].reshape(-1) if "Q" in data else None
    _write(Molecules(data["Z"], data["R"], data["F"], data["E"].reshape(-1), is_atom, charges), source, writer)


def convert_molecules(source: Path, writer: FrameWriter, shifts: Mapping[int, float] | None = None) -> None:
    """Writes the structures of an archive: positions, forces, energy, atomic_numbers and, perhaps, node_mask.

    Args:
        source: the ``.npz`` file.
        writer: where the frames go.
        shifts: element Z → eV that was subtracted per atom and is added back; None: nothing was.

    Raises:
        DataError: If an array is missing, does not fit the others, or an element has no shift.
    """
    data = _load(source, ("positions", "forces", "energy", "atomic_numbers"), ("node_mask",))
    numbers = np.broadcast_to(data["atomic_numbers"], data["positions"].shape[:2])  # [n_atoms] where all are alike
    is_atom = data["node_mask"].astype(bool) if "node_mask" in data else numbers > 0
    energies = data["energy"].reshape(-1).astype(np.float64)
    if shifts is not None:
        if unknown := sorted(set(np.unique(numbers[is_atom]).tolist()) - shifts.keys()):
            raise DataError(f"{source}: no shift is known for the elements {unknown}; known: {sorted(shifts)}.")
        energies = energies + np.where(is_atom, as_table(dict(shifts))[numbers], 0.0).sum(axis=1)
    _write(Molecules(numbers, data["positions"], data["forces"], energies, is_atom), source, writer)


def _load(source: Path, required: tuple[str, ...], optional: tuple[str, ...]) -> dict[str, np.ndarray]:
    try:
        with np.load(source, allow_pickle=False) as archive:
            names = archive.files
            arrays = {key: archive[key] for key in (*required, *optional) if key in names}
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(
            f"{source}: not a readable .npz file of plain arrays ({error}). Remove it and fetch it again."
        ) from None
    if missing := [key for key in required if key not in names]:
        raise DataError(
            f"{source}: needs the arrays {', '.join(required)}; missing: {', '.join(missing)}; it has: "
            f"{', '.join(names)}. Is it the file that the record names?"
        )
    return arrays


def _write(molecules: Molecules, source: Path, writer: FrameWriter) -> None:
    _check(molecules, source)
    arrays = [np.asarray(values, dtype=np.float64) for values in (molecules.positions, molecules.forces)]
    n_structures = len(molecules.energies)
    for index in progress(range(n_structures), n_structures, f"convert {source.name}"):
        atoms = molecules.is_atom[index]
        positions, forces = (values[index][atoms] for values in arrays)
        info = [] if molecules.charges is None else [("charge", float(molecules.charges[index]))]
        writer.write(
            molecules.atomic_numbers[index][atoms], positions, forces, float(molecules.energies[index]), info=info
        )


def _check(molecules: Molecules, source: Path) -> None:
    n_structures, max_atoms = molecules.is_atom.shape
    shape = (n_structures, max_atoms)
    expected = {"atomic_numbers": shape, "positions": (*shape, 3), "forces": (*shape, 3), "energies": (n_structures,)}
    for name, wanted in expected.items():
        received = getattr(molecules, name).shape
        if received != wanted:
            raise DataError(f"{source}: the {name} must have the shape {list(wanted)}, received {list(received)}.")
    is_atom = molecules.is_atom
    numbers, padding = molecules.atomic_numbers, ~is_atom[..., None]
    rules = {
        "at least one atom": is_atom.any(axis=1),
        "atomic numbers from 1 to 118": np.all(~is_atom | ((numbers > 0) & (numbers < NUM_ELEMENTS)), axis=1),
        "finite positions": np.all(np.isfinite(molecules.positions) | padding, axis=(1, 2)),
        "finite forces": np.all(np.isfinite(molecules.forces) | padding, axis=(1, 2)),
        "a finite energy": np.isfinite(molecules.energies),
    }
    for rule, holds in rules.items():
        wrong = np.flatnonzero(~holds)
        if wrong.size:
            raise DataError(
                f"{source}: every structure must have {rule}; {wrong.size} have not, the first is structure "
                f"{wrong[0]} (counted from 0)."
            )
