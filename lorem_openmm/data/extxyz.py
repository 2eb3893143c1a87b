"""A quick reader of common extended XYZ text; whatever it does not know goes through ASE.

ASE takes about 0.7 ms for a frame of six atoms, most of it to walk the comment line letter by letter and to make
`Atoms`. The frames of a data set share one layout: their atom lines are converted together here, with the same
``str.split`` and ``float`` as in ASE, and comment lines of plain ``key=value`` and ``key="value"`` are cut by one
regular expression. Values other than single numbers are converted by ASE's own function. A frame with anything else
(other quotes, escapes, keys without a value, odd columns) is read by ASE itself, so that the result is ASE's always.
"""

import math
import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from io import StringIO
from itertools import chain
from typing import Any, NamedTuple

import ase.io
import numpy as np
from ase.data import atomic_numbers
from ase.io.extxyz import (
    REV_PROPERTY_NAME_MAP,
    SPECIAL_3_3_KEYS,
    UNPROCESSED_KEYS,
    key_val_str_to_dict,
    parse_properties,
    per_atom_properties,
    per_config_properties,
)

from lorem_openmm.data.extxyz_layout import DEFAULT_PROPERTIES, check_frame
from lorem_openmm.data.fields import Field, optional_fields
from lorem_openmm.data.frames import Frames, join_frames
from lorem_openmm.data.structures import Keys, Structure, as_stress, from_atoms
from lorem_openmm.errors import DataError

_KEY = "([A-Za-z_][A-Za-z0-9_-]*)"
_QUOTED, _BARE = r'"([ !#-\[\]-~]+)"', r"([A-Za-z0-9_.+:/()%*#-]+)"  # printable ASCII without quote and backslash
_PAIR = re.compile(f"{_KEY}=(?:{_QUOTED}|{_BARE})(?= |$)")
_COMMENT = re.compile(f" *(?:{_KEY}=(?:{_QUOTED}|{_BARE})(?: +|$))*")
_INTEGER = re.compile(r"[+-]?[0-9]{1,18}")
_REAL = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_NAMED_SPECIALLY = SPECIAL_3_3_KEYS | UNPROCESSED_KEYS
_ENERGIES = {"energy", "free_energy", "magmom"}  # kept by ASE as they are; other results must be numbers
_RESERVED = {"numbers", "initial_charges", "move_mask"}  # columns from which ASE makes something else
_VOIGT = ([0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1])
_Number = (np.integer, np.floating)


class _Columns(NamedTuple):
    """Where the columns of the atom lines are."""

    total: int
    species: int
    positions: int
    forces: int
    reals: tuple[int, ...]  # others that must be numbers
    integers: tuple[int, ...]
    fields: tuple[tuple[Field, int], ...] = ()  # optional quantities, each a run of ``reals`` that starts there


class _Header(NamedTuple):
    """What a comment line says."""

    columns: _Columns
    energy: float
    periodic: bool
    cell: np.ndarray
    stress: np.ndarray | None
    info: dict[str, Any]


class _Run(NamedTuple):
    """Consecutive frames with the same columns; ``lines`` holds the number of the first line of each."""

    lines: list[int]
    headers: list[_Header]
    sizes: list[int]
    rows: list[list[str]]


def parse_frames(text: str, keys: Keys, file: str, first: int) -> Frames:
    """Reads whole frames: the structures that ``from_atoms`` makes of ASE's atoms.

    Args:
        text: Frames one after the other; each line ends with a newline.
        keys: Names of the labels.
        file: Name used in errors.
        first: Number of the first frame in its file.

    Raises:
        DataError: If a frame's lines do not match its atom count, it is not valid, or a label is missing; the first
            such frame is named.
    """
    lines = text.split("\n")
    lines.pop()
    parts: list[Frames] = []
    run = _Run([], [], [], [])
    start = 0
    while start < len(lines):
        frame = first + len(run.lines) + sum(map(len, parts))
        size = check_frame(lines[start : start + 2], file, frame)
        header = _header(lines[start + 1], keys)
        stop = start + 2 + size
        if run.headers and (header is None or header.columns != run.headers[0].columns):
            parts.append(_finish(run, lines, keys, file, frame - len(run.lines)))
            run = _Run([], [], [], [])
        if header is None:
            parts.append(join_frames([_with_ase(lines[start:stop], keys, file, frame)]))
        else:
            run.lines.append(start)
            run.headers.append(header)
            run.sizes.append(size)
            run.rows.extend([line.split() for line in lines[start + 2 : stop]])
        start = stop
    if run.headers:
        parts.append(_finish(run, lines, keys, file, first + sum(map(len, parts))))
    return parts[0] if len(parts) == 1 else Frames.concatenate(parts)


def _finish(run: _Run, lines: list[str], keys: Keys, file: str, first: int) -> Frames:
    """Converts the atom lines of a run at once, or frame by frame through ASE where that fails."""
    try:
        numbers, positions, forces, fields = _atoms(run.rows, run.headers[0].columns)
        if len(numbers) != sum(run.sizes):
            raise ValueError("the text ends within a frame")
    except (ValueError, KeyError, OverflowError):
        structures: Iterator[Structure] = (
            _with_ase(lines[start : start + 2 + size], keys, file, first + index)
            for index, (start, size) in enumerate(zip(run.lines, run.sizes, strict=True))
        )
        return join_frames(list(structures))
    headers, zero = run.headers, np.zeros((3, 3))
    arrays = fields | {
        "sizes": np.array(run.sizes),
        "atomic_numbers": numbers,
        "positions": positions,
        "forces": forces,
        "energy": np.array([header.energy for header in headers]),
        "periodic": np.array([header.periodic for header in headers]),
        "cell": np.stack([header.cell for header in headers]),
        "stress": np.stack([zero if header.stress is None else header.stress for header in headers]),
        "has_stress": np.array([header.stress is not None for header in headers]),
    }
    return Frames(arrays, [header.info for header in headers], file, first)


def _atoms(
    rows: list[list[str]], columns: _Columns
) -> tuple[np.ndarray, np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    if set(map(len, rows)) != {columns.total}:
        raise ValueError("a line has another number of columns")
    words = list(chain.from_iterable(rows))
    species = words[columns.species :: columns.total]
    number_of = {word: atomic_numbers[word.capitalize()] for word in set(species)}
    for column in columns.integers:
        values = np.array([int(word) for word in words[column :: columns.total]])
        if values.dtype != np.int64 or np.abs(values).max() >= 2**31:  # ASE reads 32 bits
            raise ValueError("an integer out of range")
    wanted = [*range(columns.positions, columns.positions + 3), *range(columns.forces, columns.forces + 3)]
    wanted += columns.reals
    if columns.total == 1 + len(wanted):  # the usual case: nothing but numbers behind the symbol
        del words[columns.species :: columns.total]
        values = np.fromiter(map(float, words), np.float64, len(words)).reshape(-1, len(wanted))
        place = {column: column - int(column > columns.species) for column in wanted}
    else:
        values = np.array([[float(word) for word in words[column :: columns.total]] for column in wanted]).T
        place = {column: index for index, column in enumerate(wanted)}
    starts = [(columns.positions, (3,)), (columns.forces, (3,)), *((start, f.shape) for f, start in columns.fields)]
    cut = [_cut(values, place[start], shape) for start, shape in starts]
    fields = {field.name: array for (field, _), array in zip(columns.fields, cut[2:], strict=True)}
    return np.array([number_of[word] for word in species]), cut[0], cut[1], fields


def _cut(values: np.ndarray, start: int, shape: tuple[int, ...]) -> np.ndarray:
    return np.ascontiguousarray(values[:, start : start + math.prod(shape)]).reshape(-1, *shape)


def _header(comment: str, keys: Keys) -> _Header | None:
    """Reads a comment line; None where ASE must do it."""
    comment = comment.strip()
    if not _COMMENT.fullmatch(comment):
        return None
    try:
        info = {key: _value(key, quoted or bare) for key, quoted, bare in _PAIR.findall(comment)}
    except ValueError:
        return None  # ASE will say what is wrong
    columns = _columns(str(info.pop("Properties", DEFAULT_PROPERTIES)), keys, tuple(optional_fields("atom")))
    box = _box(info.pop("pbc", None), info.pop("Lattice", None))
    energy = info.get(keys.energy)
    if columns is None or box is None or not isinstance(energy, _Number):
        return None
    unread = info.get("stress") if keys.stress != "stress" else None
    stress = info.get(keys.stress) if keys.stress else None
    if stress is not None:
        if keys.stress == "stress":
            stress = stress[_VOIGT]
        if not isinstance(stress, np.ndarray) or stress.size not in (6, 9) or stress.dtype.kind not in "if":
            return None
        stress = as_stress(stress)
    optional = {alias for field in optional_fields("structure") for alias in field.aliases}
    for key in [key for key in info if key in per_config_properties or key in (keys.energy, keys.stress)]:
        value = info.pop(key)
        if key in per_config_properties and key not in _ENERGIES and not isinstance(value, (np.ndarray, *_Number)):
            return None
        if key in optional:
            info[key] = np.array(value, float)
    if unread is not None:
        info["stress"] = unread[_VOIGT]
    return _Header(columns, float(energy), box[0], box[1], stress, info)


def _value(key: str, text: str) -> Any:
    if key not in _NAMED_SPECIALLY:
        if _INTEGER.fullmatch(text):
            return np.int64(int(text))
        if _REAL.fullmatch(text):
            return np.float64(float(text))
    value = _converted(key, text)
    return value.copy() if isinstance(value, (np.ndarray, list)) else value


@lru_cache(maxsize=4096)
def _converted(key: str, text: str) -> Any:
    (value,) = key_val_str_to_dict(f'{key}="{text}"').values()
    return value


@lru_cache(maxsize=256)
def _columns(properties: str, keys: Keys, optional: tuple[Field, ...]) -> _Columns | None:
    """Reads the value of `Properties`; None where ASE must make sense of it."""
    try:
        found, names, dtype, _ = parse_properties(properties)
    except (ValueError, IndexError):
        return None
    kinds, start = properties.split(":")[1::3], 0
    place: dict[str, tuple[int, str, int]] = {}
    reals: list[int] = []
    integers: list[int] = []
    for name, kind in zip(names, kinds, strict=False):
        ase_name, count = found[name]
        place[name] = (start, kind, count)
        if name not in ("species", "pos", keys.forces):
            allowed = ase_name not in per_config_properties and ase_name not in _RESERVED
            if not allowed or ase_name in (keys.energy, keys.stress) or kind == "L":
                return None
            if ase_name in per_atom_properties and kind == "S":
                return None
            {"R": reals, "I": integers, "S": []}[kind].extend(range(start, start + count))
        start += count
    expected = {"species": ("S", 1), "pos": ("R", 3), keys.forces: ("R", 3)}
    complete = len(names) == len(kinds) == len({found[name][0] for name in names}) and start == len(dtype.names or ())
    if not complete or any(place.get(name, (0, "", 0))[1:] != what for name, what in expected.items()):
        return None
    fields = [(f, place[alias]) for f in optional for alias in f.aliases[::-1] if alias in place]
    fits = all(where[1:] == ("R", math.prod(f.shape)) for f, where in fields)
    fits &= REV_PROPERTY_NAME_MAP.get(keys.forces, keys.forces) == keys.forces
    if not fits or min(count for _, _, count in place.values()) < 1:
        return None
    stated = tuple((f, where[0]) for f, where in fields)
    species, positions, forces = (place[name][0] for name in ("species", "pos", keys.forces))
    return _Columns(start, species, positions, forces, tuple(reals), tuple(integers), stated)


def _box(pbc: Any, lattice: Any) -> tuple[bool, np.ndarray] | None:
    if pbc is None:
        pbc = [lattice is not None] * 3
    if not isinstance(pbc, list) or len(pbc) != 3:
        return None
    if not any(pbc):
        return False, np.zeros((3, 3))
    if not all(pbc) or lattice is None:
        return None
    cell = lattice.T.astype(np.float64)
    with np.errstate(all="ignore"):  # numbers too large for a volume are refused with the others
        volume = abs(float(np.linalg.det(cell)))
    return (True, cell) if volume >= 1e-3 else None


def _with_ase(lines: Sequence[str], keys: Keys, file: str, frame: int) -> Structure:
    """Reads one frame with ASE."""
    check_frame(lines, file, frame, whole=True)
    try:
        (atoms,) = ase.io.iread(StringIO("\n".join(lines) + "\n"), index=":", format="extxyz")
    except Exception as error:  # ASE raises many kinds on malformed text
        raise DataError(f"{file}, frame {frame} (counted from 0): not valid extended XYZ: {error}") from None
    return from_atoms(atoms, keys.energy, keys.forces, keys.stress, file, frame)
