"""Structures with reference labels, read from extended XYZ files."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import ase
import numpy as np

from lorem_openmm.data.extxyz_layout import is_number, number_advice
from lorem_openmm.data.fields import optional_fields
from lorem_openmm.errors import DataError, did_you_mean

_LIKELY = {
    "energy": re.compile(r"energy|toten|^(e|etot|e_tot|u0|ener)$", re.IGNORECASE),
    "forces": re.compile(r"force|grad|^(f|frc)$", re.IGNORECASE),
}
_VOIGT = [[0, 5, 4], [5, 1, 3], [4, 3, 2]]  # xx yy zz yz xz xy → 3×3


class Keys(NamedTuple):
    """Names of the labels in a file.

    Attributes:
        energy: info key of the total energy.
        forces: column of the forces.
        stress: info key of the stress; None: not read.
    """

    energy: str = "energy"
    forces: str = "forces"
    stress: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Structure:
    """One structure and its reference labels, in Å, eV, eV/Å, eV/Å³.

    Attributes:
        atomic_numbers: [n_atoms] integers.
        positions: [n_atoms, 3] Å.
        cell: [3, 3] Å, rows are the vectors; zeros in vacuum.
        periodic: periodic in all three directions, or in vacuum.
        energy: total energy in eV.
        forces: [n_atoms, 3] eV/Å.
        stress: [3, 3] eV/Å³ (positive: the structure pulls inwards, as in ASE), or None.
        info: the other entries of the frame's comment line.
        file: where it was read from.
        frame: its number in that file, counted from 0.
        fields: the optional quantities (``lorem_openmm.data.fields``) by name; NaN where the frame does not say.
    """

    atomic_numbers: np.ndarray
    positions: np.ndarray
    cell: np.ndarray
    periodic: bool
    energy: float
    forces: np.ndarray
    stress: np.ndarray | None
    info: dict[str, Any] = field(default_factory=dict)
    file: str = ""
    frame: int = 0
    fields: Mapping[str, np.ndarray] = field(default_factory=dict)

    @property
    def place(self) -> str:
        """Returns file and frame, as error messages name them."""
        return f"{self.file}, frame {self.frame} (counted from 0)"


def structure_at(
    arrays: Mapping[str, np.ndarray], index: int, atoms: slice, info: dict[str, Any], file: str, frame: int
) -> Structure:
    """Returns one structure of many that are kept as flat arrays; its own arrays are copies.

    Args:
        arrays: Arrays with the names and units of a store.
        index: Its place.
        atoms: Its rows of the arrays by atom.
        info: Its other entries.
        file: Where it was read from.
        frame: Its number in that file.
    """
    own: dict[str, Any] = {"structure": index, "atom": atoms}
    return Structure(
        atomic_numbers=arrays["atomic_numbers"][atoms].astype(np.int64),
        positions=np.array(arrays["positions"][atoms]),
        cell=np.array(arrays["cell"][index]),
        periodic=bool(arrays["periodic"][index]),
        energy=float(arrays["energy"][index]),
        forces=np.array(arrays["forces"][atoms]),
        stress=np.array(arrays["stress"][index]) if arrays["has_stress"][index] else None,
        info=info,
        file=file,
        frame=frame,
        fields={f.name: np.array(arrays[f.name][own[f.per]]) for f in optional_fields() if f.name in arrays},
    )


def from_atoms(
    atoms: ase.Atoms,
    energy_key: str = "energy",
    forces_key: str = "forces",
    stress_key: str | None = None,
    file: str = "",
    frame: int = 0,
) -> Structure:
    """Turns labelled ``ase.Atoms`` into a structure.

    ASE moves labels with the names ``energy``, ``forces`` and ``stress`` into a calculator and keeps all
    others in ``info`` and ``arrays``: both places are searched.

    Args:
        atoms: Atoms with labels.
        energy_key: Name of the total energy.
        forces_key: Name of the forces.
        stress_key: Name of the stress; None: not read.
        file: Name used in errors.
        frame: Number used in errors.

    Raises:
        DataError: If energy or forces are missing (single atoms need no forces), or the periodicity is not supported.
    """
    place = f"{file}, frame {frame} (counted from 0)"
    results = atoms.calc.results if atoms.calc is not None else {}
    per_structure = {**results, **atoms.info}
    per_atom = {**results, **atoms.arrays}
    if per_structure.get(energy_key) is None:
        raise missing_label(place, "energy", energy_key, set(per_structure))
    if per_atom.get(forces_key) is None:
        if len(atoms) > 1:
            raise missing_label(place, "forces", forces_key, set(per_atom))
        per_atom = {**per_atom, forces_key: np.zeros((1, 3))}  # nothing acts on a single atom
    periodic = _periodicity(atoms, place)
    used = {energy_key, stress_key}
    kept = {"stress", *(alias for field_ in optional_fields("structure") for alias in field_.aliases)}
    unread = {key: value for key, value in results.items() if key in kept and value is not None}
    return Structure(
        atomic_numbers=np.asarray(atoms.numbers, dtype=np.int64),
        positions=np.asarray(atoms.positions, dtype=np.float64),
        cell=np.array(atoms.cell.array, dtype=np.float64) if periodic else np.zeros((3, 3)),
        periodic=periodic,
        energy=_energy(per_structure[energy_key], energy_key, place),
        forces=_by_atom(per_atom[forces_key], (len(atoms), 3), f"the forces '{forces_key}'", place, "`forces_key` or "),
        stress=_stress(per_structure.get(stress_key), stress_key, place) if stress_key else None,
        info={key: value for key, value in {**unread, **atoms.info}.items() if key not in used},
        file=file,
        frame=frame,
        fields=_atom_fields(per_atom, len(atoms), place),
    )


def _atom_fields(per_atom: Mapping[str, Any], n_atoms: int, place: str) -> dict[str, np.ndarray]:
    """Returns the optional quantities by atom that a frame has."""
    found: dict[str, np.ndarray] = {}
    for field_ in optional_fields("atom"):
        alias = next((name for name in field_.aliases if per_atom.get(name) is not None), None)
        if alias is not None:
            found[field_.name] = _by_atom(per_atom[alias], (n_atoms, *field_.shape), f"the column '{alias}'", place)
    return found


def missing_label(place: str, what: str, key: str, known: set[str]) -> DataError:
    """Returns the error to raise where a label is missing; it names those that may be meant.

    Args:
        place: File and frame.
        what: energy or forces.
        key: The name that was looked for.
        known: The names that are there.
    """
    names = sorted(known - {"numbers", "positions"})
    likely = [name for name in names if _LIKELY[what].search(name)]
    meant = did_you_mean(key, names)
    if len(likely) == 1:
        meant = f" Did you mean '{likely[0]}'? Then set `{what}_key: {likely[0]}`."
    elif likely:
        meant = f" One of {', '.join(likely)} may be it: set `{what}_key` of the data set to it."
    return DataError(
        f"{place}: no {what} under the name '{key}'. Every frame needs energy and forces; only single atoms need no "
        f"forces.{meant} This frame has: {', '.join(names) or 'no labels'}. Set `{what}_key` of the data set, add the "
        "label, or remove the frame."
    )


def _periodicity(atoms: ase.Atoms, place: str) -> bool:
    n_periodic = int(np.sum(atoms.pbc))
    if n_periodic == 0:
        return False
    if n_periodic < 3:
        raise DataError(
            f"{place}: structures must be periodic in all three directions or in none, received "
            f"pbc={atoms.pbc.tolist()}. Slabs and wires are not supported: use a box with vacuum and pbc='T "
            "T T'."
        )
    volume = abs(float(np.linalg.det(atoms.cell.array)))
    if np.isfinite(volume) and volume < 1e-3:
        raise DataError(
            f"{place}: a periodic structure needs three independent cell vectors, received the cell "
            f"{atoms.cell.array.tolist()} with a volume of {volume:.3g} Å^3. Add `Lattice`, or set pbc='F F "
            "F'."
        )
    return True


def _number_array(value: Any, what: str, place: str) -> np.ndarray:
    try:
        return np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        words = str(value).split()
        bad = next((word for word in words if not is_number(word)), "")
        raise DataError(
            f"{place}: {what} must be numbers, received {str(value)[:60]!r}. {number_advice(bad)}"
        ) from None


def _energy(value: Any, key: str, place: str) -> float:
    energy = _number_array(value, f"the energy '{key}'", place)
    if energy.size != 1:
        raise DataError(
            f"{place}: the energy '{key}' must be one number, received {energy.size}: {str(value)[:60]}. Correct "
            "`energy_key` or the frame; decimals follow a point, not a comma."
        )
    return float(energy.reshape(()))


def _by_atom(value: Any, shape: tuple[int, ...], what: str, place: str, setting: str = "") -> np.ndarray:
    values = _number_array(value, what, place)
    if len(shape) > 2 and values.shape == (shape[0], math.prod(shape[1:])):  # columns of a text file
        values = values.reshape(shape)
    if values.shape != shape:
        raise DataError(
            f"{place}: {what} must have shape {list(shape)}, received {list(values.shape)}. Correct {setting}the frame."
        )
    return values


def _stress(value: Any, key: str, place: str) -> np.ndarray | None:
    if value is None:
        return None
    stress = _number_array(value, f"the stress '{key}'", place).reshape(-1)
    if stress.size not in (6, 9):
        raise DataError(
            f"{place}: the stress '{key}' must be 9 numbers, or 6 in Voigt order (xx yy zz yz xz xy), "
            f"received {stress.size}. Correct `stress_key` or the frame."
        )
    return as_stress(stress)


def as_stress(values: np.ndarray) -> np.ndarray:
    """Returns [3, 3] of 9 numbers row by row, or of 6 in Voigt order (xx yy zz yz xz xy)."""
    values = values.astype(np.float64).reshape(-1)
    return values[_VOIGT] if values.size == 6 else values.reshape(3, 3)
