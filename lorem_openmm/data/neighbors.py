"""Full neighbour lists as plain arrays."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

_MAX_DIRECT = 64  # atoms; small molecules in vacuum are listed together, pair by pair
_PAIRS_AT_ONCE = 2**18


class Edges(NamedTuple):
    """Pairs of a full neighbour list: each pair appears once from either atom.

    Sorted by center, then neighbour, then shift, so that the same structure gives the same arrays with any
    version of the library that searches.

    Attributes:
        centers: [n_edges] receiving atom i.
        neighbors: [n_edges] sending atom j.
        cell_shifts: [n_edges, 3] integers S; edge vector = r_j + S·h − r_i.
        distances: [n_edges] Å.
    """

    centers: np.ndarray
    neighbors: np.ndarray
    cell_shifts: np.ndarray
    distances: np.ndarray


def neighbor_list(positions: np.ndarray, cell: np.ndarray, periodic: bool, cutoff: float) -> Edges:
    """Finds all pairs with 0 ≤ |r_j + S·h − r_i| < cutoff, an atom and its own images included.

    Cells shorter than the cutoff, skewed cells and atoms outside the cell are all right.

    Args:
        positions: [n_atoms, 3] Å.
        cell: [3, 3] Å, rows are the vectors; ignored in vacuum.
        periodic: Periodic in all three directions, or in vacuum.
        cutoff: Å.
    """
    import vesin  # noqa: PLC0415  # imports torch: seconds and 450 MB in each process that lists small molecules only

    search = vesin.NeighborList(cutoff=cutoff, full_list=True, sorted=True, n_threads=1)
    centers, neighbors, cell_shifts, distances = search.compute(
        np.asarray(positions, dtype=np.float64), np.asarray(cell, dtype=np.float64), periodic, "ijSd"
    )
    centers, neighbors = centers.astype(np.int64), neighbors.astype(np.int64)
    order = np.lexsort((*cell_shifts.T[::-1], neighbors, centers))
    return Edges(centers[order], neighbors[order], cell_shifts[order], distances[order])


def neighbor_lists(
    positions: np.ndarray, offsets: np.ndarray, cell: np.ndarray, periodic: np.ndarray, cutoff: float
) -> tuple[Edges, np.ndarray]:
    """Finds the pairs of many structures: the lists of :func:`neighbor_list` one after the other.

    Small molecules in vacuum are compared atom by atom, all of them at once. Pairs so near the cutoff, or so
    close, that rounding decides are left to :func:`neighbor_list`.

    Args:
        positions: [n_atoms, 3] Å of all structures.
        offsets: [n_structures + 1] first atom of each structure, and the end.
        cell: [n_structures, 3, 3] Å.
        periodic: [n_structures] booleans.
        cutoff: Å.

    Returns:
        The edges, atoms counted from 0 in each structure, and the number of edges of each structure.
    """
    sizes = np.diff(offsets)
    together = np.flatnonzero(~periodic & (sizes <= _MAX_DIRECT))
    parts, owners = [], []
    alone = [np.flatnonzero(periodic | (sizes > _MAX_DIRECT))]
    for chosen in _groups(together, sizes):
        edges, structure, doubtful = _direct(positions, offsets[chosen], sizes[chosen], cutoff)
        parts.append(edges)
        owners.append(chosen[structure])
        alone.append(chosen[doubtful])
    for index in np.concatenate(alone).tolist():
        atoms = slice(offsets[index], offsets[index + 1])
        parts.append(neighbor_list(positions[atoms], cell[index], bool(periodic[index]), cutoff))
        owners.append(np.full(len(parts[-1].centers), index))
    owner = np.concatenate(owners)
    joined = Edges(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))
    if np.any(owner[1:] < owner[:-1]):
        order = np.argsort(owner, kind="stable")
        joined = Edges(*(array[order] for array in joined))
    return joined, np.bincount(owner, minlength=len(sizes))


def _groups(chosen: np.ndarray, sizes: np.ndarray) -> Iterator[np.ndarray]:
    """Cuts structures into groups of a bounded number of pairs."""
    group = np.cumsum(sizes[chosen] ** 2) // _PAIRS_AT_ONCE
    yield from np.split(chosen, np.flatnonzero(np.diff(group)) + 1) if len(chosen) else ()


def _direct(
    positions: np.ndarray, first: np.ndarray, sizes: np.ndarray, cutoff: float
) -> tuple[Edges, np.ndarray, np.ndarray]:
    """Compares all pairs; returns the edges, the structure of each, and the structures that need another look."""
    n_pairs = sizes**2
    structure = np.repeat(np.arange(len(sizes)), n_pairs)
    pair = np.arange(len(structure)) - (np.cumsum(n_pairs) - n_pairs)[structure]
    centers = pair // sizes[structure]
    neighbors = pair - centers * sizes[structure]
    vectors = positions[first[structure] + neighbors] - positions[first[structure] + centers]
    squares = np.einsum("pa,pa->p", vectors, vectors)
    other = centers != neighbors
    at_the_edge = np.abs(squares - cutoff**2) < 1e-9 * cutoff**2
    doubtful = np.zeros(len(sizes), dtype=bool)
    doubtful[structure[other & (at_the_edge | (squares < 1e-6))]] = True
    found = np.flatnonzero(other & (squares < cutoff**2) & ~doubtful[structure])
    structure, shifts = structure[found], np.zeros((len(found), 3), dtype=np.int32)
    edges = Edges(centers[found], neighbors[found], shifts, np.sqrt(squares[found]))
    return edges, structure, np.flatnonzero(doubtful)
