"""Full neighbour lists as plain arrays."""

from typing import NamedTuple

import numpy as np
import vesin


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
    search = vesin.NeighborList(cutoff=cutoff, full_list=True, sorted=True, n_threads=1)
    centers, neighbors, cell_shifts, distances = search.compute(
        np.asarray(positions, dtype=np.float64), np.asarray(cell, dtype=np.float64), periodic, "ijSd"
    )
    centers, neighbors = centers.astype(np.int64), neighbors.astype(np.int64)
    order = np.lexsort((*cell_shifts.T[::-1], neighbors, centers))
    return Edges(centers[order], neighbors[order], cell_shifts[order], distances[order])
