"""How far message passing sees: after how many layers some atom has heard of both ends of a molecule."""

import numpy as np
from scipy.sparse.csgraph import shortest_path
from scipy.spatial.distance import cdist


def layers_to_meet(positions: np.ndarray, cutoff: float, first: list[int], second: list[int]) -> int | None:
    """Returns the fewest layers of message passing after which one atom has heard of both ends.

    k = min_i max(d(A, i), d(B, i)), where d counts edges of the graph of atoms closer than the cutoff

    The energy is a sum over atoms, so it can depend on both ends together only if one atom's features do.

    Args:
        positions: [n_atoms, 3] Å.
        cutoff: Å.
        first: Atoms of end A; the nearest of them counts.
        second: Atoms of end B.

    Returns:
        The number of layers; none if nothing joins the ends.
    """
    distances = cdist(positions, positions)
    hops = shortest_path((distances < cutoff) & (distances > 0), unweighted=True)
    meeting = np.maximum(hops[first].min(axis=0), hops[second].min(axis=0)).min()
    return int(meeting) if np.isfinite(meeting) else None
