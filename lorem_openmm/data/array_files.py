"""Structures in .npz and HDF5 files: arrays over the frames of one molecule, or groups of such arrays.

The names of the positions and of the elements are those of common data sets (SPICE, ANI, MD17, sGDML, PhysNet); labels
have the names that the configuration gives. Units are taken from the file where it names them (the attribute ``units``
of SPICE, ``e_unit`` and ``r_unit`` of sGDML), else from the configuration; they are never guessed.
"""

import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from ase.data import atomic_numbers as numbers_by_symbol

from lorem_openmm.config import Units
from lorem_openmm.data.fields import optional_fields
from lorem_openmm.data.formats import NPZ
from lorem_openmm.data.structures import Keys, Structure, missing_label
from lorem_openmm.errors import DataError
from lorem_openmm.extras import import_optional
from lorem_openmm.units import ENERGY_IN_EV, FORCE_IN_EV_PER_ANGSTROM, LENGTH_IN_ANGSTROM

POSITIONS = ("positions", "R", "coordinates", "coords", "conformations", "geometries", "pos", "xyz")
NUMBERS = ("atomic_numbers", "numbers", "Z", "z", "nuclear_charges", "species", "atomic_types", "elements")
_CELLS = {"cell", "cells", "lattice", "lattices", "box", "boxes", "pbc"}
_SPELLINGS = {
    "ev": "eV", "mev": "meV", "hartree": "hartree", "hartrees": "hartree", "ha": "hartree", "eh": "hartree",
    "e_h": "hartree", "rydberg": "rydberg", "ry": "rydberg", "kcal/mol": "kcal/mol", "kcal mol-1": "kcal/mol",
    "kj/mol": "kJ/mol", "kj mol-1": "kJ/mol", "ang": "angstrom", "å": "angstrom", "angstrom": "angstrom",
    "angstroms": "angstrom", "a": "angstrom", "bohr": "bohr", "bohrs": "bohr", "a0": "bohr", "a_0": "bohr", "nm": "nm",
}  # fmt: skip


class Part(NamedTuple):
    """Consecutive frames of one group.

    Attributes:
        group: its name; empty: the file itself.
        first: number of the first frame in the group.
        n_frames: Number of frames.
    """

    group: str
    first: int
    n_frames: int


def list_parts(path: Path, kind: str, name: str, at_once: int) -> list[list[Part]]:
    """Divides the frames of a file into groups of about equal size.

    Args:
        path: The file.
        kind: npz or hdf5.
        name: Its name in errors.
        at_once: Frames of a group.

    Raises:
        DataError: If it cannot be read or holds no structures.
    """
    groups: list[list[Part]] = []
    room = 0
    with _open(path, kind, name) as file:
        for group, arrays in _groups(file):
            place = _place(name, group)
            n_frames, start = len(_positions(arrays, place)), 0
            while start < n_frames:
                if room == 0:
                    groups.append([])
                    room = at_once
                count = min(room, n_frames - start)
                groups[-1].append(Part(group, start, count))
                room -= count
                start += count
    if not groups:
        raise DataError(
            f"{name}: holds no structures: no array of positions ({', '.join(POSITIONS)}) beside one of elements "
            f"({', '.join(NUMBERS)}). Name them so, or write extended XYZ."
        )
    return groups


def read_parts(
    path: Path, kind: str, name: str, parts: Sequence[Part], labels: Keys, first: int, given: Units | None
) -> tuple[list[Structure], Units]:
    """Reads frames and their units: those that the file names, else those of the configuration.

    Args:
        path: The file.
        kind: npz or hdf5.
        name: Its name in errors.
        parts: Frames to read, by group.
        labels: Names of the labels.
        first: Number of the first frame in the file.
        given: Units of the configuration.

    Returns:
        The structures, their numbers in the units of the file, and these units.

    Raises:
        DataError: If a label is missing or arrays do not fit one another; if a unit is named nowhere, is not known, or
            the file contradicts the configuration.
    """
    found: list[Structure] = []
    with _open(path, kind, name) as file:
        units = _units(next(_groups(file))[1], name, labels, given)
        for part in parts:
            arrays = file[part.group] if part.group else file
            for structure in _read(arrays, part, labels, _place(name, part.group)):
                found.append(replace(structure, file=name, frame=first + len(found)))
    return found, units


def _units(arrays: Any, name: str, labels: Keys, given: Units | None) -> Units:
    positions = next(key for key in POSITIONS if key in arrays)
    stated = {
        "energy": _stated(arrays, labels.energy, "e_unit"),
        "length": _stated(arrays, positions, "r_unit"),
        "forces": _stated(arrays, labels.forces, "f_unit"),
    }
    known = {"energy": ENERGY_IN_EV, "length": LENGTH_IN_ANGSTROM, "forces": FORCE_IN_EV_PER_ANGSTROM}
    result = {} if given is None else given.model_dump()
    for what, unit in stated.items():
        if unit is None:
            continue
        if unit not in known[what]:
            raise DataError(f"{name}: the file says that its {what} is in '{unit}', which is not known. Convert it.")
        if given is not None and result[what] not in (None, unit):
            raise DataError(
                f"{name}: the file says that its {what} is in {unit}, but `units` of the data set says {result[what]}. "
                "Correct `units`, or the file."
            )
        result[what] = unit
    if missing := [what for what in ("energy", "length") if what not in result]:
        raise DataError(
            f"{name}: does not say in which unit its {' and '.join(missing)} is, and units are not guessed. Set "
            "`units` of the data set, for example `units: {energy: kcal/mol, length: angstrom}` for MD17, "
            "`{energy: hartree, length: angstrom}` for ANI."
        )
    return Units(**result)


def _stated(arrays: Any, key: str, whole: str) -> str | None:
    """Returns the unit that a file names for an array, in our spelling."""
    text = None
    if whole in arrays:
        text = _text(np.asarray(arrays[whole]).reshape(-1)[0])
    elif key in arrays:
        attributes = getattr(arrays[key], "attrs", {})  # of a data set of h5py
        text = next((_text(attributes[word]) for word in ("units", "unit") if word in attributes), None)
    if text is None:
        return None
    energy, slash, length = text.strip().rpartition("/")
    plain = _SPELLINGS.get(text.strip().lower())
    if plain is not None or not slash:
        return plain or text
    return f"{_SPELLINGS.get(energy.lower(), energy)}/{_SPELLINGS.get(length.lower(), length)}"


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


@contextmanager
def _open(path: Path, kind: str, name: str) -> Iterator[Any]:
    try:
        if kind == NPZ:
            with np.load(path, allow_pickle=False) as file:
                yield file
            return
        with import_optional("h5py", f"{name}: reading HDF5", "hdf5").File(path, "r") as file:
            yield file
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
        if isinstance(error, DataError):
            raise
        if "allow_pickle" in str(error):
            raise DataError(
                f"{name}: holds arrays of Python objects, which are pickled and could run any program. Write arrays of "
                "numbers: one row per frame, smaller molecules filled up with atoms of element 0."
            ) from None
        raise DataError(f"{name}: cannot be read as {kind} ({error}): it was cut off or damaged.") from None


def _groups(file: Any) -> Iterator[tuple[str, Any]]:
    """Yields the groups that hold positions and elements, in the order of their names; the file itself has none."""
    waiting = [("", file)]
    while waiting:
        group, arrays = waiting.pop()
        if _has(arrays, POSITIONS) and _has(arrays, NUMBERS):
            yield group, arrays
        elif not isinstance(arrays, np.lib.npyio.NpzFile):  # whose arrays would be loaded
            inner = [(f"{group}/{key}", arrays[key]) for key in sorted(arrays, reverse=True)]
            waiting += [(key, item) for key, item in inner if isinstance(item, Mapping)]


def _has(arrays: Mapping[str, Any], names: tuple[str, ...]) -> bool:
    return any(name in arrays for name in names)


def _place(name: str, group: str) -> str:
    return f"{name}, group '{group.strip('/')}'" if group.strip("/") else name


def _positions(arrays: Any, place: str) -> Any:
    positions = arrays[next(name for name in POSITIONS if name in arrays)]
    if positions.ndim != 3 or positions.shape[2] != 3:
        raise DataError(
            f"{place}: positions must have shape [n_frames, n_atoms, 3], received {list(positions.shape)}. Write one "
            "row per frame."
        )
    if cells := sorted(_CELLS & set(arrays)):
        raise DataError(
            f"{place}: has '{cells[0]}', but periodic structures are not read from this format, whose cells may be "
            "rows or columns. Write extended XYZ."
        )
    return positions


def _read(arrays: Any, part: Part, labels: Keys, place: str) -> Iterator[Structure]:
    stop = part.first + part.n_frames
    positions = _positions(arrays, place)
    total = len(positions)
    positions = np.asarray(positions[part.first : stop], dtype=np.float64)
    for key, what in ((labels.energy, "energy"), (labels.forces, "forces")):
        if key not in arrays:
            raise missing_label(place, what, key, set(arrays))
    energy, forces = arrays[labels.energy], arrays[labels.forces]
    if energy.shape not in ((total,), (total, 1)) or forces.shape != (total, *positions.shape[1:]):
        raise DataError(
            f"{place}: positions, energies and forces must have shapes [n_frames, n_atoms, 3], [n_frames] and "
            f"[n_frames, n_atoms, 3]; received {[total, *positions.shape[1:]]}, '{labels.energy}' {list(energy.shape)} "
            f"and '{labels.forces}' {list(forces.shape)}. Correct the file, `energy_key` or `forces_key`."
        )
    energies = np.asarray(energy[part.first : stop], dtype=np.float64).reshape(-1)
    all_forces = np.asarray(forces[part.first : stop], dtype=np.float64)
    numbers = _numbers(arrays, total, positions.shape[1], place)
    numbers = numbers[part.first : stop] if numbers.ndim == 2 else np.broadcast_to(numbers, positions.shape[:2])
    columns, info = _entries(arrays, part, total, labels)
    fields = _atom_fields(arrays, part, total, positions.shape[1])
    for index in range(part.n_frames):
        present = numbers[index] != 0  # smaller molecules are filled up
        yield Structure(
            atomic_numbers=numbers[index][present],
            positions=positions[index][present],
            cell=np.zeros((3, 3)),
            periodic=False,
            energy=float(energies[index]),
            forces=all_forces[index][present],
            stress=None,
            info=info | {key: column[index] for key, column in columns.items()},
            fields={name: values[index][present] for name, values in fields.items()},
        )


def _atom_fields(arrays: Any, part: Part, n_frames: int, n_atoms: int) -> dict[str, np.ndarray]:
    """Returns the optional quantities by atom, [n_frames of the part, n_atoms, …]."""
    found: dict[str, np.ndarray] = {}
    for field in optional_fields("atom"):
        for alias in field.aliases:
            if field.name not in found and alias in arrays and arrays[alias].shape == (n_frames, n_atoms, *field.shape):
                values = arrays[alias][part.first : part.first + part.n_frames]
                found[field.name] = np.asarray(values, dtype=np.float64)
    return found


def _numbers(arrays: Any, n_frames: int, n_atoms: int, place: str) -> np.ndarray:
    key = next(name for name in NUMBERS if name in arrays)
    values = np.asarray(arrays[key])
    if values.dtype.kind in "SUO":
        symbols = [_text(value) for value in values.reshape(-1)]
        if unknown := next((symbol for symbol in symbols if symbol not in numbers_by_symbol), None):
            raise DataError(f"{place}: '{key}' must hold elements, received '{unknown[:20]}'. Write their symbols.")
        values = np.array([numbers_by_symbol[symbol] for symbol in symbols]).reshape(values.shape)
    if values.shape not in ((n_atoms,), (n_frames, n_atoms)) or not np.all(values == np.round(values)):
        raise DataError(
            f"{place}: '{key}' must hold whole numbers of shape [{n_atoms}] or [{n_frames}, {n_atoms}], received "
            f"{list(values.shape)}. Correct the file."
        )
    return values.astype(np.int64)


def _entries(arrays: Any, part: Part, total: int, labels: Keys) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Returns the other numbers of each frame, and the texts and name of the group."""
    columns: dict[str, np.ndarray] = {}
    info: dict[str, Any] = {"group": part.group.strip("/")} if part.group.strip("/") else {}
    for key in sorted(set(arrays) - {labels.energy, labels.forces, *POSITIONS, *NUMBERS}):
        item = arrays[key]
        if not hasattr(item, "shape"):  # a group
            continue
        if item.shape in ((total,), (total, 1)) and item.dtype.kind in "fiu" and total > 1:
            columns[key] = np.asarray(item[part.first : part.first + part.n_frames]).reshape(-1).astype(np.float64)
        elif item.shape in ((), (1,)) and item.dtype.kind in "SUO":
            info[key] = _text(np.asarray(item).reshape(-1)[0])
    return columns, info
