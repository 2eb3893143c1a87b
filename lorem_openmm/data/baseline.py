"""Energies per element: the part of the total energy that only depends on the composition."""

from typing import NamedTuple

import numpy as np

NUM_ELEMENTS = 119  # atomic numbers 0 … 118, index = Z


class Baseline(NamedTuple):
    """Energies per element.

    Attributes:
        energies: element Z → eV.
        determined: whether the compositions fix every energy; if not, the smallest solution was taken.
    """

    energies: dict[int, float]
    determined: bool


def fit_baseline(elements: np.ndarray, counts: np.ndarray, energies: np.ndarray) -> Baseline:
    """Fits min over e of Σ_s (E_s − Σ_Z N_sZ·e_Z)², the shortest e where several are equally good.

    A set of one composition only (64 waters, say) leaves e free along some directions: the minimum-norm
    solution then reproduces the mean energy and splits it between the elements in proportion to their counts.

    Args:
        elements: [n_elements] atomic numbers.
        counts: [n_structures, n_elements] number of atoms of each element.
        energies: [n_structures] eV; the training set only.
    """
    present = counts.any(axis=0)
    # Few distinct compositions stand for many structures: average first, so that the problem stays tiny.
    rows, inverse, repeats = np.unique(counts[:, present], axis=0, return_inverse=True, return_counts=True)
    sums = np.bincount(inverse.reshape(-1), weights=energies, minlength=len(rows))
    weights = np.sqrt(repeats)
    solution, _, rank, _ = np.linalg.lstsq(rows * weights[:, None], sums / repeats * weights, rcond=None)
    values = {int(number): float(value) for number, value in zip(elements[present], solution, strict=True)}
    return Baseline(values, bool(rank == present.sum()))


def outside_span(training_counts: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Finds compositions that are no linear combination of those of the training set.

    The baseline of such a structure depends on how a degenerate fit was settled, not on data.

    Args:
        training_counts: [n_training, n_elements].
        counts: [n_structures, n_elements].

    Returns:
        [n_structures] booleans.
    """
    rows = np.unique(training_counts, axis=0)
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
    n_structures = len(offsets) - 1
    elements, column = np.unique(atomic_numbers, return_inverse=True)
    row = np.repeat(np.arange(n_structures), np.diff(offsets))
    flat = np.bincount(row * len(elements) + column.reshape(-1), minlength=n_structures * len(elements))
    return elements, flat.reshape(n_structures, len(elements))


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
    return np.add.reduceat(table[atomic_numbers], offsets[:-1])
