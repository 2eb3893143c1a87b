"""Energies per element: the part of the total energy that only depends on the composition."""

import math
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np

NUM_ELEMENTS = 119  # atomic numbers 0 … 118, index = Z
MAX_ATOM_SPREAD = 0.01  # eV between isolated atoms of one element: another spin or charge differs by tenths at least
_STRUCTURES_AT_ONCE = 2**15


class Baseline(NamedTuple):
    """Energies per element.

    Attributes:
        energies: element Z → eV.
        determined: whether the compositions fix every energy; if not, the smallest solution was taken.
    """

    energies: dict[int, float]
    determined: bool


def fit_baseline(
    elements: np.ndarray, counts: np.ndarray, energies: np.ndarray, atom_energies: Mapping[int, float] | None = None
) -> Baseline:
    """Fits min over e of Σ_s (E_s − Σ_Z N_sZ·e_Z)², the shortest e where several are equally good.

    Energies of isolated atoms are taken as they are: a model is then zero for atoms far apart, which no fit gives.

    A set of one composition only (64 waters, say) leaves e free along some directions: the minimum-norm
    solution then reproduces the mean energy and splits it between the elements in proportion to their counts.

    Args:
        elements: [n_elements] atomic numbers.
        counts: [n_structures, n_elements] number of atoms of each element.
        energies: [n_structures] eV; the training set only.
        atom_energies: element Z → eV of the isolated atom, where it is known.
    """
    known = {int(z): float(e) for z, e in (atom_energies or {}).items()}
    is_known = np.isin(elements, list(known))
    energies = energies - counts @ np.array([known.get(int(number), 0.0) for number in elements])
    counts = np.where(is_known, 0, counts)
    present = counts.any(axis=0)
    if not present.any():
        return Baseline(known, True)
    # Few distinct compositions stand for many structures: average first, so that the problem stays tiny.
    rows, inverse, repeats = _distinct(counts[:, present])
    sums = np.bincount(inverse, weights=energies, minlength=len(rows))
    weights = np.sqrt(repeats)
    solution, _, rank, _ = np.linalg.lstsq(rows * weights[:, None], sums / repeats * weights, rcond=None)
    values = {int(number): float(value) for number, value in zip(elements[present], solution, strict=True)}
    return Baseline(known | values, bool(rank == present.sum()))


def outside_span(training_counts: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Finds compositions that are no linear combination of those of the training set.

    The baseline of such a structure depends on how a degenerate fit was settled, not on data.

    Args:
        training_counts: [n_training, n_elements].
        counts: [n_structures, n_elements].

    Returns:
        [n_structures] booleans.
    """
    rows = _distinct(training_counts)[0]
    _, singular, directions = np.linalg.svd(rows.astype(np.float64), full_matrices=True)
    free = directions[np.sum(singular > 1e-9 * singular.max(initial=1.0)) :]
    return np.any(np.abs(counts @ free.T) > 1e-6 * (1 + counts.max(initial=0)), axis=1)


def count_elements(atomic_numbers: np.ndarray, offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Counts the atoms of each element in each structure.

    Args:
        atomic_numbers: [n_atoms] of all structures, one after the other.
        offsets: [n_structures + 1] first atom of each structure, and the end.

    Returns:
        The elements that occur, [n_elements] ascending, and the counts, [n_structures, n_elements].
    """
    elements = np.unique(atomic_numbers)
    columns = np.zeros(int(elements.max(initial=0)) + 1, dtype=np.int64)
    columns[elements] = np.arange(len(elements))
    counts = np.empty((len(offsets) - 1, len(elements)), dtype=np.int64)
    for portion, sizes, numbers in _portions(atomic_numbers, offsets):
        row = np.repeat(np.arange(len(sizes)), sizes)
        flat = np.bincount(row * len(elements) + columns[numbers], minlength=len(sizes) * len(elements))
        counts[portion] = flat.reshape(-1, len(elements))
    return elements, counts


def as_table(energies: dict[int, float]) -> np.ndarray:
    """Returns the energies as [119] float64, index = Z, zero where an element is missing."""
    table = np.zeros(NUM_ELEMENTS)
    for number, energy in energies.items():
        table[number] = energy
    return table


def composition_energies(table: np.ndarray, atomic_numbers: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Returns Σ_i table[Z_i] of each structure, [n_structures] eV.

    Args:
        table: [119] eV, index = Z.
        atomic_numbers: [n_atoms] of all structures, at least one atom each.
        offsets: [n_structures + 1] first atom of each structure, and the end.
    """
    energies = np.empty(len(offsets) - 1)
    for portion, sizes, numbers in _portions(atomic_numbers, offsets):
        energies[portion] = np.add.reduceat(table[numbers], np.cumsum(sizes) - sizes)
    return energies


def _portions(atomic_numbers: np.ndarray, offsets: np.ndarray) -> Iterator[tuple[slice, np.ndarray, np.ndarray]]:
    """Yields some structures at a time, their sizes and their elements: temporary arrays stay small."""
    for start in range(0, len(offsets) - 1, _STRUCTURES_AT_ONCE):
        own = offsets[start : start + _STRUCTURES_AT_ONCE + 1]
        yield slice(start, start + len(own) - 1), np.diff(own), atomic_numbers[own[0] : own[-1]]


def _distinct(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns ``np.unique`` of the rows with inverse and counts; sorts one number per row where that will do."""
    bases = [int(base) + 1 for base in rows.max(axis=0, initial=0)]
    if math.prod(bases) >= 2**62:
        distinct, inverse, repeats = np.unique(rows, axis=0, return_inverse=True, return_counts=True)
        return distinct, inverse.reshape(-1), repeats
    code = np.zeros(len(rows), dtype=np.int64)
    for column, base in zip(rows.T, bases, strict=True):
        code = code * base + column
    _, first, inverse, repeats = np.unique(code, return_index=True, return_inverse=True, return_counts=True)
    return rows[first], inverse.reshape(-1), repeats
