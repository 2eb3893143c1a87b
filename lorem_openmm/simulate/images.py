"""Nearest images and close pairs of atoms, in boxes of any shape and in vacuum."""

import numpy as np
from scipy.spatial import KDTree

from lorem_openmm.data.neighbors import neighbor_list

_SHIFTS = np.stack(np.meshgrid(*[[-1.0, 0.0, 1.0]] * 3, indexing="ij"), axis=-1).reshape(-1, 3)


def nearest_image(steps: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Returns the shortest of steps [n, 3] under the translations of their boxes.

    Args:
        steps: [n, 3], any unit of length.
        boxes: [n, 3, 3] or, for all of them, [3, 3]; rows are the vectors.
    """
    fractions = _times(steps, np.linalg.inv(boxes))
    fractions -= np.round(fractions)
    if not boxes[..., ~np.eye(3, dtype=bool)].any():
        return _times(fractions, boxes)
    # In a skewed box the shortest image may be a neighbour of the rounded one.
    images = _times(fractions, boxes)[:, None, :] + _SHIFTS @ boxes
    shortest = np.argmin((images**2).sum(-1), axis=1)
    return images[np.arange(len(steps)), shortest]


def _times(vectors: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Returns rows times matrices, [n, 3] × [n, 3, 3] or [n, 3] × [3, 3]."""
    return vectors @ boxes if boxes.ndim == 2 else np.einsum("ni,nij->nj", vectors, boxes)


def distances(positions: np.ndarray, pairs: np.ndarray, box: np.ndarray | None) -> np.ndarray:
    """Returns the distances of pairs [n_pairs] in Å, of nearest images in a box.

    Args:
        positions: [n_atoms, 3] Å.
        pairs: [n_pairs, 2] atoms.
        box: [3, 3] Å; None: vacuum.
    """
    steps = positions[pairs[:, 1]] - positions[pairs[:, 0]]
    if box is not None and len(steps):
        steps = nearest_image(steps, box)
    return np.linalg.norm(steps, axis=1)


def close_pairs(
    positions: np.ndarray, box: np.ndarray | None, cutoff: float, around: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Finds the pairs of different atoms closer than a cutoff, each once, first atom below the second.

    Args:
        positions: [n_atoms, 3] Å, finite.
        box: [3, 3] Å; None: vacuum.
        cutoff: Å.
        around: Only pairs with at least one of these atoms; None: all.

    Returns:
        Pairs [n_pairs, 2] and their distances [n_pairs] in Å.
    """
    chosen = np.arange(len(positions))
    if around is not None and len(around) < len(positions):
        chosen = _neighborhood(positions, box, cutoff, around)
    if box is None:
        pairs = KDTree(positions[chosen]).query_pairs(cutoff, output_type="ndarray")
        found = np.linalg.norm(positions[chosen[pairs[:, 1]]] - positions[chosen[pairs[:, 0]]], axis=1)
    else:
        inside = positions[chosen] @ np.linalg.inv(box)
        edges = neighbor_list((inside - np.floor(inside)) @ box, box, True, cutoff)
        once = edges.centers < edges.neighbors
        pairs, found = np.stack([edges.centers[once], edges.neighbors[once]], axis=1), edges.distances[once]
    pairs = chosen[pairs]
    if around is not None:
        kept = np.isin(pairs, around).any(axis=1)
        pairs, found = pairs[kept], found[kept]
    return pairs, found


def _neighborhood(positions: np.ndarray, box: np.ndarray | None, cutoff: float, around: np.ndarray) -> np.ndarray:
    """Returns some atoms (sorted) that include all within a cutoff of the given ones, without looking at pairs."""
    center = positions[around[0]]
    steps = positions - center
    if box is not None:
        steps = nearest_image(steps, box)
    reach = np.linalg.norm(steps[around], axis=1).max() + cutoff
    return np.flatnonzero(np.linalg.norm(steps, axis=1) <= reach)
