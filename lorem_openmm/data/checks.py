"""Checks of structures and labels: each fault names file, frame, the rule, what was found and what to do."""

import hashlib
from collections.abc import Hashable, Iterable, Sequence

import numpy as np
from ase.data import chemical_symbols, covalent_radii

from lorem_openmm.data.baseline import composition_energies
from lorem_openmm.data.frames import Composition, composition
from lorem_openmm.data.structures import Structure
from lorem_openmm.errors import DataError
from lorem_openmm.units import (
    EV_PER_HARTREE,
    KCAL_PER_MOL_PER_EV,
    KJ_PER_MOL_NM_PER_EV_ANGSTROM,
    KJ_PER_MOL_PER_EV,
)

MAX_FORCE = 100.0  # eV/Å; bonds break at a tenth of it
MAX_LONELY_FORCE = 0.05  # eV/Å on a single atom, where only numerical noise acts
MAX_STRESS = 5.0  # eV/Å³, 800 GPa
MAX_ENERGY_PER_ATOM = 15.0  # eV from the baseline; chemistry happens within a few
MIN_DISTANCE = 0.1  # Å; the shortest bond (H2) is 0.74
NUM_SHOWN = 5

# Total energies of the free atoms in hartree (restricted or restricted-open Hartree-Fock limit), Z = 1 … 18.
# Correlation and bonds lower them by less than 3 % (CH4: 2.1 %), so the ratio tells the unit.
# fmt: off
_ATOM_HARTREE = np.array([
    np.nan, -0.5, -2.862, -7.433, -14.573, -24.529, -37.689, -54.401, -74.809, -99.409, -128.547,
    -161.859, -199.615, -241.877, -288.854, -340.719, -397.505, -459.482, -526.818,
])
# fmt: on
_ENERGY_UNITS = {
    "hartree": 1.0,
    "kcal/mol": EV_PER_HARTREE * KCAL_PER_MOL_PER_EV,
    "kJ/mol": EV_PER_HARTREE * KJ_PER_MOL_PER_EV,
}


class Faults:
    """Collects faults so that a user sees how many frames are wrong, not only the first."""

    def __init__(self) -> None:
        self.messages: list[str] = []

    def add(self, messages: Iterable[str]) -> None:
        """Adds messages."""
        self.messages.extend(messages)

    def raise_if_any(self) -> None:
        """Raises the first few faults and the number of all.

        Raises:
            DataError: If there is any.
        """
        if not self.messages:
            return
        lines = self.messages[:NUM_SHOWN]
        if len(self.messages) > NUM_SHOWN:
            lines.append(f"... and {len(self.messages) - NUM_SHOWN} more faults")
        raise DataError("\n".join(lines))


def structure_faults(structure: Structure) -> list[str]:
    """Checks shapes, finiteness, elements and magnitudes of one structure.

    Args:
        structure: The structure with its labels.

    Returns:
        One message per broken rule.
    """
    place, n_atoms = structure.place, len(structure.atomic_numbers)
    faults = []
    shapes = {
        "positions": (structure.positions, (n_atoms, 3)),
        "forces": (structure.forces, (n_atoms, 3)),
        "cell": (structure.cell, (3, 3)),
        "energy": (np.asarray(structure.energy), ()),
    }
    if structure.stress is not None:
        shapes["stress"] = (structure.stress, (3, 3))
    for name, (values, shape) in shapes.items():
        if values.shape != shape:
            faults.append(
                f"{place}: {name} must have shape {list(shape)}, received {list(values.shape)}. Correct the frame."
            )
        elif n_bad := int(np.sum(~np.isfinite(values))):
            faults.append(
                f"{place}: {name} must be finite numbers, received {n_bad} NaN or infinite of "
                f"{values.size}. Compute the frame again or remove it."
            )
    if n_atoms == 0 or structure.atomic_numbers.min() < 1 or structure.atomic_numbers.max() > 118:
        faults.append(
            f"{place}: atoms must be elements 1 to 118, received "
            f"{sorted(set(structure.atomic_numbers.tolist()))}. Remove dummy atoms."
        )
    return faults or _magnitude_faults(structure)


def distance_faults(
    structure: Structure, centers: np.ndarray, neighbors: np.ndarray, distances: np.ndarray
) -> list[str]:
    """Checks that no two atoms coincide.

    Args:
        structure: The structure.
        centers: [n_edges] atoms of its neighbour list.
        neighbors: [n_edges] their neighbours.
        distances: [n_edges] Å.
    """
    if distances.size == 0 or distances.min() >= MIN_DISTANCE:
        return []
    edge = int(np.argmin(distances))
    return [
        f"{structure.place}: atoms must be at least {MIN_DISTANCE} Å apart, received {distances[edge]:.4f} "
        f"Å between atoms {centers[edge]} and {neighbors[edge]}. Positions must be in Å (from nm: multiply "
        "by 10); otherwise remove the frame."
    ]


def bond_ratio(
    atomic_numbers: np.ndarray,
    centers: np.ndarray,
    neighbors: np.ndarray,
    distances: np.ndarray,
    n_edges: np.ndarray | None = None,
) -> np.ndarray:
    """Returns min r_ij / (R_i + R_j) with covalent radii R: 1 in Å, 1.9 in bohr; NaN without neighbours.

    Args:
        atomic_numbers: [n_atoms].
        centers: [n_edges].
        neighbors: [n_edges].
        distances: [n_edges] Å.
        n_edges: [n_structures] numbers of edges, where they are of several structures; the result has its shape.
    """
    radii = covalent_radii[atomic_numbers]
    ratios = distances / (radii[centers] + radii[neighbors])
    lengths = np.asarray(len(ratios) if n_edges is None else n_edges)
    smallest = np.full(lengths.shape, np.nan)
    present = lengths > 0
    if present.any():
        smallest[present] = np.minimum.reduceat(ratios, (np.cumsum(lengths).reshape(lengths.shape) - lengths)[present])
    return smallest


def position_warnings(bond_ratios: np.ndarray) -> list[str]:
    """Warns if the shortest distances of most structures are those of positions in bohr.

    Args:
        bond_ratios: [n_structures] from :func:`bond_ratio`.
    """
    known = bond_ratios[np.isfinite(bond_ratios)]
    if known.size == 0 or not 1.6 < float(np.median(known)) < 2.2:
        return []
    return [
        f"the closest atoms are {np.median(known):.2f} times the sum of their covalent radii apart in most "
        "frames: are the positions in bohr? They must be in Å (multiply by 0.529177)."
    ]


def energy_faults(structures: Sequence[Structure], residuals: np.ndarray) -> tuple[list[str], list[str]]:
    """Checks energies against the per-element baseline and against the total energies of free atoms.

    Energies in a wrong unit fit a baseline as well as right ones do, so the residual shows outliers only;
    total energies of all electrons are recognised by their ratio to those of the free atoms in hartree.

    Args:
        structures: All structures.
        residuals: [n_structures] energy minus the per-element baseline in eV.

    Returns:
        Faults, and warnings where the data may be right by coincidence.
    """
    faults = []
    flat = composition(structures)
    per_atom = residuals / np.diff(flat.offsets)
    for index in np.flatnonzero(np.abs(per_atom) > MAX_ENERGY_PER_ATOM).tolist():
        structure = structures[index]
        faults.append(
            f"{structure.place}: the energy must be within {MAX_ENERGY_PER_ATOM} eV per atom of the "
            f"per-element baseline, received {per_atom[index]:.4g} eV per atom beyond it (energy "
            f"{structure.energy:.6g}). Energies must be total energies in eV (from hartree: multiply by "
            f"{EV_PER_HARTREE:.4f}; from kcal/mol: by {1 / KCAL_PER_MOL_PER_EV:.6f}; from kJ/mol: by "
            f"{1 / KJ_PER_MOL_PER_EV:.6f}), all frames in the same unit."
        )
    if faults or (unit := _suspected_unit(flat)) is None:
        return faults, []
    message = (
        f"{structures[0].place}: energies must be in eV, but nearly all energies of the data set are within "
        f"3 % of the free atoms' total energies in {unit} (received {structures[0].energy:.6g}). Multiply "
        f"them by {EV_PER_HARTREE / _ENERGY_UNITS[unit]:.6g}."
    )
    # Energies of valence electrons in eV may come near those in hartree by chance for one formula, not for several.
    formulas = {tuple(np.sort(structure.atomic_numbers)) for structure in structures}
    return ([], [message]) if unit == "hartree" and len(formulas) < 3 else ([message], [])


def frame_hash(structure: Structure) -> bytes:
    """Returns a hash of the elements, positions and cell, rounded to 1e-5 Å, in the order they are given.

    Args:
        structure: The structure; labels do not count.
    """
    digest = hashlib.sha256(structure.atomic_numbers.astype("<i8").tobytes())
    for values in (structure.positions, structure.cell):
        digest.update(rounded(values).tobytes())
    return digest.digest()


def rounded(values: np.ndarray) -> np.ndarray:
    """Returns values as :func:`frame_hash` takes them."""
    return (np.round(values, 5) + 0.0).astype("<f8")  # + 0.0 turns −0 into 0


def duplicate_faults(structures: Sequence[Structure], hashes: Sequence[Hashable], splits: np.ndarray) -> list[str]:
    """Checks that no structure is in two splits.

    Args:
        structures: All structures.
        hashes: :func:`frame_hash` of each, or anything else that is equal where it is.
        splits: [n_structures] split of each.
    """
    first: dict[Hashable, int] = {}
    faults = []
    for index, key in enumerate(hashes):
        other = first.setdefault(key, index)
        if splits[other] != splits[index]:
            faults.append(
                f"{structures[index].place}: the same structure must not be in two of train, validation and "
                f"test, but {structures[other].place} has the same atoms at the same positions. Remove one "
                "of the two, or keep them together with `split.group_by`."
            )
    return faults


def unseen_element_faults(structures: Sequence[Structure], is_training: np.ndarray) -> list[str]:
    """Checks that every element of the other splits occurs in the training set.

    Args:
        structures: All structures.
        is_training: [n_structures] booleans.
    """
    numbers, offsets, _ = composition(structures)
    known = np.zeros(256, dtype=bool)
    known[numbers[np.repeat(is_training, np.diff(offsets))]] = True
    faults = []
    is_unseen = np.logical_or.reduceat(~known[numbers], offsets[:-1])
    for index in np.flatnonzero(is_unseen).tolist():
        structure = structures[index]
        unseen = {number for number in structure.atomic_numbers.tolist() if not known[number]}
        symbols = ", ".join(chemical_symbols[number] for number in sorted(unseen))
        faults.append(
            f"{structure.place}: every element must occur in the training set, received {symbols} which "
            "does not. Add training structures with it, or remove this one."
        )
    return faults


def _magnitude_faults(structure: Structure) -> list[str]:
    faults = []
    largest = float(np.linalg.norm(structure.forces, axis=1).max())
    if largest > MAX_FORCE:
        faults.append(
            f"{structure.place}: forces must be in eV/Å and below {MAX_FORCE:g} eV/Å, received "
            f"{largest:.4g}. If they are in kJ/mol/nm (here {largest / KJ_PER_MOL_NM_PER_EV_ANGSTROM:.3g} "
            f"eV/Å), multiply by {1 / KJ_PER_MOL_NM_PER_EV_ANGSTROM:.6f}; if in kcal/mol/Å (here "
            f"{largest / KCAL_PER_MOL_PER_EV:.3g} eV/Å), by {1 / KCAL_PER_MOL_PER_EV:.6f}; if the unit is "
            "right, remove the frame: atoms overlap in it."
        )
    elif len(structure.forces) == 1 and largest > MAX_LONELY_FORCE:
        faults.append(
            f"{structure.place}: a single atom feels no force, whatever its box, received {largest:.4g} eV/Å. Correct "
            "the frame, or remove it."
        )
    if structure.stress is None:
        return faults
    stress, largest = structure.stress, float(np.abs(structure.stress).max())
    if largest > MAX_STRESS:
        faults.append(
            f"{structure.place}: the stress must be in eV/Å^3 and below {MAX_STRESS:g} eV/Å^3, received "
            f"{largest:.4g}. From GPa: multiply by 0.006242; from a virial in eV: divide by minus the "
            "volume."
        )
    if np.abs(stress - stress.T).max() > 1e-3 * largest + 1e-6:
        faults.append(
            f"{structure.place}: the stress must be symmetric, received {stress.tolist()}. Correct its "
            "order: 9 numbers row by row, or 6 as xx yy zz yz xz xy."
        )
    return faults


def _suspected_unit(flat: Composition) -> str | None:
    """Returns the unit in which nearly all energies are total energies of all electrons, if any but eV."""
    largest = np.maximum.reduceat(flat.atomic_numbers, flat.offsets[:-1]) if len(flat.energy) else np.zeros(0)
    light = largest < len(_ATOM_HARTREE)
    table = np.zeros(256)
    table[: len(_ATOM_HARTREE)] = _ATOM_HARTREE
    if not light.any():
        return None
    ratios = flat.energy[light] / composition_energies(table, flat.atomic_numbers, flat.offsets)[light]
    for unit, expected in _ENERGY_UNITS.items():
        if np.mean(np.abs(ratios / expected - 1) < 0.03) > 0.9:
            return unit
    return None
