"""Whether labels and positions belong together: units and signs that are wrong in all frames alike.

Three measures that need no knowledge of the method, each used only where it is statistically certain:

* Bonds to hydrogen are springs of known stiffness: k = dF/dr of the force that pulls H back to its neighbour. A wrong
  unit of the forces shows as a wrong size of k, gradients in place of forces as its wrong sign.
* Between two similar frames of one composition the energy changes by the work of the forces:
  E_b − E_a = −½ Σ_i (F_a + F_b)_i · (r_b − r_a)_i up to third order in the displacements.
* Between frames of different cells the stress does its part of the work: V σ:ε.

Frames that are far from one another, or labels that are noise, give scattered ratios; nothing is said about them then.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from ase.data import covalent_radii

from lorem_openmm.data.collect import FileStructures

# eV/Å² of bonds X–H in common molecules, from their force constants (C–H 5.0, N–H 6.4, O–H 7.7 mdyn/Å, ...)
STIFFNESS = {5: 22.0, 6: 31.0, 7: 40.0, 8: 48.0, 9: 58.0, 14: 17.0, 15: 20.0, 16: 26.0, 17: 31.0, 35: 25.0, 53: 19.0}
RIGHT_STIFFNESS = (0.3, 3.0)  # times the above; compressed, stretched and hydrogen bonds are within
_SAMPLED_STRUCTURES, _SAMPLED_ATOMS = 1000, 30_000
_FEWEST_BONDS, _FEWEST_PAIRS = 30, 10
_LEAST_SPREAD = 0.01  # Å of the bond lengths: relaxed bonds of several molecules say nothing
_LEAST_R2 = 0.8
_SHIFTS = (1e-3, 1.0)  # Å, largest displacement of an atom between two frames
_NEAR = 0.4  # Å, up to which the work of the forces is exact to 20 %
_LARGEST_STRAIN = 0.05
_CANCELLATION = 0.1  # |sum| over the sum of magnitudes
_NEIGHBOURS_OF, _COMPOSITIONS, _CONSECUTIVE, _PAIRS = 60, 20, 500, 300
_AGREEMENT, _COARSE, _MAJORITY = 0.2, 2.0, 0.7


class Measure(NamedTuple):
    """A ratio that is 1 for right data.

    Attributes:
        ratio: its value.
        n: number of bonds or of pairs of frames it comes from.
        is_exact: whether it is known to a few percent; else to a factor of 2, so that only large ones mean something.
    """

    ratio: float
    n: int
    is_exact: bool = True


class Measures(NamedTuple):
    """What is certain about a data set; None: nothing.

    Attributes:
        stiffness: k of bonds to hydrogen over what it should be.
        work: energy differences over the work of the forces.
        work_per_atom: the same times the number of atoms: 1 where energies are per atom.
        stress: the work that forces leave over that of the stress.
        virial: the same over that of the stress taken as a virial, energy units.
    """

    stiffness: Measure | None
    work: Measure | None
    work_per_atom: Measure | None
    stress: Measure | None
    virial: Measure | None


def measure(structures: FileStructures) -> Measures:
    """Measures a sample of a data set."""
    same, strained = _work(structures)
    sizes = structures.arrays["sizes"][same[:, 4].astype(int)]
    work, per_atom = (_work_ratio(same[:, 0] * factor, same[:, 1], same[:, 5]) for factor in (1, sizes))
    rest = strained[:, 0] - strained[:, 1]
    return Measures(stiffness(structures), work, per_atom, _ratio(rest, strained[:, 2]), _ratio(rest, strained[:, 3]))


def _ratio(numerator: np.ndarray, denominator: np.ndarray) -> Measure | None:
    """Returns the median of the ratios if most of them agree with it, to 20 % or at least to a factor of 2."""
    present = np.isfinite(numerator) & np.isfinite(denominator) & (denominator != 0)
    if present.sum() < _FEWEST_PAIRS:
        return None
    ratios = numerator[present] / denominator[present]
    median = float(np.median(ratios))
    if median == 0:
        return None
    is_exact = bool(np.mean(np.abs(ratios / median - 1) < _AGREEMENT) >= _MAJORITY)
    if not is_exact and np.mean((ratios / median > 1 / _COARSE) & (ratios / median < _COARSE)) < _MAJORITY:
        return None
    return Measure(median, int(present.sum()), is_exact)


def _work_ratio(energies: np.ndarray, work: np.ndarray, shifts: np.ndarray) -> Measure | None:
    """Returns what frames close to one another say, if they agree; else what all say, to a factor of 2."""
    near = shifts <= _NEAR
    found = _ratio(energies[near], work[near])
    return found if found is not None and found.is_exact else _ratio(energies, work)


def stiffness(structures: FileStructures) -> Measure | None:
    """Returns k of bonds to hydrogen, by a straight line through force and length, over the usual k.

    Lengths and forces of the same atom of the same molecule are compared where there are several frames of it, else
    those of bonds of the same elements.
    """
    rows = [row for index in _sample(structures) for row in _hydrogen_bonds(structures, index)]
    if len(rows) < _FEWEST_BONDS:
        return None
    names = [row[0] for row in rows]
    elements = np.array([row[1] for row in rows])
    values = np.array([row[2:] for row in rows])
    for groups in (names, elements.tolist()):
        _, group = np.unique(np.array([hash(name) for name in groups]), return_inverse=True)
        size = np.bincount(group)
        centred = values - np.stack([np.bincount(group, values[:, k]) / size for k in (0, 1)], axis=1)[group]
        lengths, forces = centred[size[group] > 1].T
        if len(lengths) - np.sum(size > 1) >= _FEWEST_BONDS:
            break
    else:
        return None
    ll, lf, ff = lengths @ lengths, lengths @ forces, forces @ forces
    if ll < len(lengths) * _LEAST_SPREAD**2 or ff == 0 or lf**2 < _LEAST_R2 * ll * ff:
        return None
    return Measure(float(lf / ll), len(lengths))


def _sample(structures: FileStructures) -> Iterator[int]:
    """Yields structures from all over the data set, of a bounded number of atoms."""
    places = np.unique(np.linspace(0, len(structures) - 1, _SAMPLED_STRUCTURES).astype(int))
    mean = max(1.0, float(structures.arrays["sizes"][places].mean()))
    step = max(1, int(np.ceil(len(places) * mean / _SAMPLED_ATOMS)))
    yield from places[::step].tolist()


def _hydrogen_bonds(structures: FileStructures, index: int) -> Iterator[tuple[object, int, float, float]]:
    """Yields, for each H: the atom's name, its neighbour's element, the length in Å, and the force over the usual k."""
    atoms, edges = structures.atoms(index), slice(*structures.edge_offsets[index : index + 2].tolist())
    arrays = structures.arrays
    numbers = arrays["atomic_numbers"][atoms].astype(int)
    centers, neighbors = arrays["centers"][edges].astype(int), arrays["neighbors"][edges].astype(int)
    chosen = np.flatnonzero(numbers[centers] == 1)
    if len(chosen) == 0:
        return
    centers, neighbors = centers[chosen], neighbors[chosen]
    positions, forces = arrays["positions"][atoms], arrays["forces"][atoms]
    shifts = arrays["cell_shifts"][edges][chosen] @ arrays["cell"][index]
    vectors = positions[neighbors] + shifts - positions[centers]
    lengths = np.linalg.norm(vectors, axis=1)
    order = np.lexsort((lengths, centers))
    first = order[np.unique(centers[order], return_index=True)[1]]
    name = numbers.tobytes()
    for edge in first.tolist():
        atom, element, length = int(centers[edge]), int(numbers[neighbors[edge]]), float(lengths[edge])
        if element in STIFFNESS and length < 1.2 * (covalent_radii[1] + covalent_radii[element]):
            pull = float(forces[atom] @ vectors[edge]) / length
            yield (name, atom), element, length, pull / STIFFNESS[element]


def _work(structures: FileStructures) -> tuple[np.ndarray, np.ndarray]:
    """Compares pairs of frames with the same elements in the same order.

    Returns:
        [n_pairs, 6] of pairs in equal cells, and of pairs in different ones: energy difference, work of the forces, of
        the stress, of the stress as a virial, first frame, largest displacement.
    """
    same: list[list[float]] = []
    strained: list[list[float]] = []
    for a, b in sorted(_candidates(structures)):
        row = _row(structures, a, b)
        if row is not None:
            (strained if row[1] else same).append(row[0])
    nearest = sorted(same, key=lambda row: row[5])[:_PAIRS]
    return np.array(nearest).reshape(-1, 6), np.array(strained).reshape(-1, 6)


def _candidates(structures: FileStructures) -> set[tuple[int, int]]:
    """Returns neighbours in the files, and neighbours in space among frames of one composition."""

    def elements(index: int) -> bytes:
        return structures.arrays["atomic_numbers"][structures.atoms(index)].tobytes()

    total = len(structures)
    places = np.unique(np.linspace(0, max(total - 2, 0), _CONSECUTIVE).astype(int)).tolist() if total > 1 else []
    pairs = {(a, a + 1) for a in places if elements(a) == elements(a + 1)}
    groups: dict[bytes, list[int]] = {}
    for index in _sample(structures):
        groups.setdefault(elements(index), []).append(index)
    for members in sorted(groups.values(), key=len, reverse=True)[:_COMPOSITIONS]:
        if len(members) > 1:
            pairs |= _nearest(structures, members[:: max(1, len(members) // _NEIGHBOURS_OF)])
    return pairs


def _nearest(structures: FileStructures, members: list[int]) -> set[tuple[int, int]]:
    places = np.stack([structures.arrays["positions"][structures.atoms(index)].ravel() for index in members])
    squares = np.sum(places**2, axis=1)
    distances = squares[:, None] + squares - 2 * places @ places.T
    np.fill_diagonal(distances, np.inf)
    pairs = ((members[k], members[n]) for k, n in enumerate(distances.argmin(axis=1)))
    return {(min(pair), max(pair)) for pair in pairs}


def _row(structures: FileStructures, a: int, b: int) -> tuple[list[float], bool] | None:
    """Returns what :func:`_work` lists, and whether the cells differ; None: too far."""
    arrays = structures.arrays
    moved = _displacements(structures, a, b)
    if moved is None:
        return None
    shift, deformation, largest = moved
    is_strained = bool(np.any(deformation != np.eye(3)))
    back = np.linalg.inv(deformation)
    before, after = (arrays["forces"][structures.atoms(index)] for index in (a, b))
    parts = -0.5 * np.sum(before * (shift @ back) + after * shift, axis=1)
    strains = np.stack([deformation - np.eye(3), np.eye(3) - back])  # as seen from either frame
    terms = arrays["stress"][[a, b]] * strains
    decisive = terms if is_strained else parts
    if abs(decisive.sum()) < _CANCELLATION * np.abs(decisive).sum():
        return None  # a small sum of large terms
    stress = terms.sum(axis=(1, 2))
    energy = float(arrays["energy"][b] - arrays["energy"][a])
    by_stress = 0.5 * float(stress @ np.abs(np.linalg.det(arrays["cell"][[a, b]])))
    return [energy, float(parts.sum()), by_stress, 0.5 * float(stress.sum()), float(a), largest], is_strained


def _displacements(structures: FileStructures, a: int, b: int) -> tuple[np.ndarray, np.ndarray, float] | None:
    """Returns how far atoms moved beyond the deformation of the cell, that, and the largest; None: too far, or not."""
    arrays = structures.arrays
    cells = arrays["cell"][a], arrays["cell"][b]
    before, after = (arrays["positions"][structures.atoms(index)] for index in (a, b))
    periodic, deformation = bool(arrays["periodic"][a]), np.eye(3)
    comparable = periodic == bool(arrays["periodic"][b])
    if comparable and periodic and np.abs(cells[0] - cells[1]).max() > 1e-6:
        deformation = np.linalg.solve(cells[0], cells[1])
        before = before @ deformation
        comparable = bool(arrays["has_stress"][a] and arrays["has_stress"][b])
        comparable &= bool(np.abs(deformation - np.eye(3)).max() <= _LARGEST_STRAIN)
    if not comparable:
        return None
    shift = after - before
    if periodic:
        fractions = np.linalg.solve(cells[1].T, shift.T).T
        shift = (fractions - np.round(fractions)) @ cells[1]
    largest = float(np.linalg.norm(shift, axis=1).max())
    moved = largest >= _SHIFTS[0] or bool(np.any(deformation != np.eye(3)))
    return (shift, deformation, largest) if moved and largest <= _SHIFTS[1] else None
