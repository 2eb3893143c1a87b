"""The neighbour list against all pairs of all images."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from lorem_openmm.data.neighbors import neighbor_list


def brute_force(positions, cell, periodic, cutoff):
    """Returns all (i, j, S) within the cutoff, over as many images as the cell's heights ask for."""
    reach = np.zeros(3, dtype=int)
    if periodic:
        heights = 1 / np.linalg.norm(np.linalg.inv(cell), axis=0)
        spread = np.ptp(positions @ np.linalg.inv(cell), axis=0)
        reach = np.ceil(cutoff / heights + spread).astype(int)
    images = np.stack(np.meshgrid(*[np.arange(-n, n + 1) for n in reach], indexing="ij"), -1).reshape(-1, 3)
    vectors = positions[None, :, None] - positions[:, None, None] + (images @ cell)[None, None]
    distances = np.linalg.norm(vectors, axis=-1)
    near = distances < cutoff
    zero = np.flatnonzero((images == 0).all(axis=1))[0]
    near[np.arange(len(positions)), np.arange(len(positions)), zero] = False
    centers, neighbors, image = np.nonzero(near)
    return centers, neighbors, images[image], distances[near]


def check(positions, cell, periodic, cutoff):
    edges = neighbor_list(positions, cell, periodic, cutoff)
    centers, neighbors, shifts, distances = brute_force(positions, cell, periodic, cutoff)
    order = np.lexsort((shifts[:, 2], shifts[:, 1], shifts[:, 0], neighbors, centers))
    np.testing.assert_array_equal(edges.centers, centers[order])
    np.testing.assert_array_equal(edges.neighbors, neighbors[order])
    np.testing.assert_array_equal(edges.cell_shifts, shifts[order])
    np.testing.assert_allclose(edges.distances, distances[order], rtol=1e-12)
    vectors = positions[edges.neighbors] + edges.cell_shifts @ cell - positions[edges.centers]
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), edges.distances, rtol=1e-9, atol=1e-12)
    return edges


SKEWED = np.array([[2.1, 0, 0], [1.9, 2.3, 0], [-1.7, 1.4, 2.2]])


@pytest.mark.parametrize("cutoff", [1.5, 3.0, 5.5])
@pytest.mark.parametrize("outside", [0.0, 3.0])
def test_skewed_cell_shorter_than_the_cutoff(cutoff, outside):
    random = np.random.default_rng(0)
    positions = random.uniform(0, 1, size=(5, 3)) @ SKEWED + outside * random.integers(-2, 3, size=(5, 3)) @ SKEWED
    check(positions, SKEWED, True, cutoff)


def test_left_handed_cell():
    check(np.random.default_rng(1).uniform(0, 2, size=(3, 3)), SKEWED[[1, 0, 2]], True, 4.0)


def test_single_atom_with_its_images():
    edges = check(np.zeros((1, 3)), 2.5 * np.eye(3), True, 3.0)
    assert len(edges.centers) == 6


def test_no_neighbours():
    edges = check(np.zeros((1, 3)), np.zeros((3, 3)), False, 5.0)
    assert edges.centers.shape == (0,)
    assert edges.cell_shifts.shape == (0, 3)


def test_cell_is_ignored_in_vacuum():
    positions = np.array([[0.0, 0, 0], [1, 0, 0]])
    edges = neighbor_list(positions, SKEWED, False, 5.0)
    assert len(edges.centers) == 2


@settings(max_examples=50, deadline=None)
@given(
    positions=arrays(np.float64, st.tuples(st.integers(1, 8), st.just(3)), elements=st.floats(-6, 6, width=32)),
    strain=arrays(np.float64, (3, 3), elements=st.floats(-0.875, 0.875, width=32)),
    periodic=st.booleans(),
    cutoff=st.floats(0.5, 4.5),
)
def test_any_structure(positions, strain, periodic, cutoff):
    cell = 3.0 * (np.eye(3) + np.tril(strain, -1)) if periodic else np.zeros((3, 3))
    distances = brute_force(positions, cell, periodic, cutoff + 1e-6)[3]
    if np.any(np.abs(distances - cutoff) < 1e-6):
        return  # rounding decides about such pairs
    check(positions, cell, periodic, cutoff)
