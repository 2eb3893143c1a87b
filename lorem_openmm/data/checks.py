"""Checks of structures and labels: each fault names file, frame, the rule, what was found and what to do."""

import hashlib
from collections.abc import Hashable, Sequence
from itertools import pairwise

import numpy as np
from ase.data import chemical_symbols, covalent_radii

from lorem_openmm.data.frames import Frames, composition
from lorem_openmm.data.structures import Structure
from lorem_openmm.errors import DataError
from lorem_openmm.units import KCAL_PER_MOL_PER_EV, KJ_PER_MOL_NM_PER_EV_ANGSTROM, STRESS_IN_EV_PER_CUBIC_ANGSTROM

MAX_FORCE = 100.0  # eV/Å; bonds break at a tenth of it
MAX_LONELY_FORCE = 0.05  # eV/Å on a single atom, where only numerical noise acts
MAX_STRESS = 5.0  # eV/Å³, 800 GPa
MAX_VIRIAL_PER_ATOM = 30.0  # eV; 1000 GPa on 5 Å³ per atom
MAX_ENERGY_PER_ATOM = 15.0  # eV from the baseline; chemistry happens within a few
MIN_DISTANCE = 0.1  # Å; the shortest bond (H2) is 0.74
NOBLE = {2, 10, 18, 36, 54, 86}  # gases, whose atoms keep farther apart than bonds are long
NUM_SHOWN = 5


def raise_faults(messages: Sequence[str]) -> None:
    """Refuses data that have faults: shows the first ones and how many there are.

    Raises:
        DataError: If there is any.
    """
    if not messages:
        return
    lines = list(messages[:NUM_SHOWN])
    if len(messages) > NUM_SHOWN:
        lines.append(f"... and {len(messages) - NUM_SHOWN} more faults")
    raise DataError("\n".join(lines))


def structure_faults(structure: Structure) -> list[str]:
    """Checks shapes, finiteness, elements and magnitudes of one structure.

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
    atomic_numbers: np.ndarray, centers: np.ndarray, neighbors: np.ndarray, distances: np.ndarray, n_edges: np.ndarray
) -> np.ndarray:
    """Returns [n_structures] min r_ij / (R_i + R_j) with covalent radii R: 1 in Å, 1.9 in bohr; NaN without neighbours.

    Args:
        atomic_numbers: [n_atoms] of all structures.
        centers: [n_edges].
        neighbors: [n_edges].
        distances: [n_edges] Å.
        n_edges: [n_structures].
    """
    radii = covalent_radii[atomic_numbers]
    ratios = distances / (radii[centers] + radii[neighbors])
    smallest = np.full(len(n_edges), np.nan)
    present = n_edges > 0
    if present.any():
        smallest[present] = np.minimum.reduceat(ratios, (np.cumsum(n_edges) - n_edges)[present])
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


def frame_hashes(frames: Frames) -> np.ndarray:
    """Returns [n_structures, 4] hashes of elements, positions and cell, rounded to 1e-5 Å, in the order of the atoms.

    Labels do not count.
    """
    numbers = frames.arrays["atomic_numbers"].astype("<i8")
    rounded = [(np.round(frames.arrays[name], 5) + 0.0).astype("<f8") for name in ("positions", "cell")]  # −0 is 0
    numbers_bytes, position_bytes, cell_bytes = (memoryview(values.tobytes()) for values in (numbers, *rounded))
    digests = []
    for index, (start, stop) in enumerate(pairwise(frames.offsets.tolist())):
        digest = hashlib.sha256(numbers_bytes[8 * start : 8 * stop])
        digest.update(position_bytes[24 * start : 24 * stop])
        digest.update(cell_bytes[72 * index : 72 * index + 72])
        digests.append(digest.digest())
    return np.frombuffer(b"".join(digests), dtype="<u8").reshape(-1, 4)


def duplicate_faults(structures: Sequence[Structure], hashes: Sequence[Hashable], splits: np.ndarray) -> list[str]:
    """Checks that no structure is in two splits.

    Args:
        structures: All structures.
        hashes: Of each, a value that is the same for the same structure.
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
            f"{largest / KCAL_PER_MOL_PER_EV:.3g} eV/Å), by {1 / KCAL_PER_MOL_PER_EV:.6f}, or set `units` of the data "
            "set; if the unit is right, remove the frame: atoms overlap in it."
        )
    elif len(structure.forces) == 1 and largest > MAX_LONELY_FORCE:
        faults.append(
            f"{structure.place}: a single atom feels no force, whatever its box, received {largest:.4g} eV/Å. Correct "
            "the frame, or remove it."
        )
    return faults if structure.stress is None else faults + _stress_faults(structure, structure.stress)


def _stress_faults(structure: Structure, stress: np.ndarray) -> list[str]:
    largest, volume = float(np.abs(stress).max()), abs(float(np.linalg.det(structure.cell)))
    virial = largest * volume / len(structure.atomic_numbers)
    others = ", ".join(
        f"in {unit}, {virial * factor:.3g} (set `units: {{stress: {unit}}}`)"
        for unit, factor in STRESS_IN_EV_PER_CUBIC_ANGSTROM.items()
        if factor != 1.0
    )
    received = (
        f"received {largest:.4g} eV/Å^3, which is {virial:.4g} eV per atom. It would be, {others}; as a virial in eV, "
        f"{virial / max(volume, 1e-9):.3g} (`virial_key` in place of `stress_key`). Choose what is plausible: up to "
        "1 eV per atom for strained crystals and liquids; otherwise remove the frame."
    )
    faults = []
    if largest > MAX_STRESS:
        faults.append(f"{structure.place}: the stress must be below {MAX_STRESS:g} eV/Å^3, {received}")
    elif virial > MAX_VIRIAL_PER_ATOM:
        limit = f"below {MAX_VIRIAL_PER_ATOM:g} eV per atom"
        faults.append(f"{structure.place}: the stress times the volume must be {limit}, {received}")
    if np.abs(stress - stress.T).max() > 1e-3 * largest + 1e-6:
        faults.append(
            f"{structure.place}: the stress must be symmetric, received {stress.tolist()}. Correct its "
            "order: 9 numbers row by row, or 6 as xx yy zz yz xz xy."
        )
    return faults
