"""The grid of rotations, and a model that does not mind them."""

import numpy as np
import pytest
import torch
from ase.build import molecule

from lorem_openmm.config import Model
from lorem_openmm.data.structures import Structure
from lorem_openmm.model import Lorem
from lorem_openmm.paper.symmetry import rotation_grid, symmetry_errors
from lorem_openmm.potential import Potential


def test_the_grid_averages_vectors_and_tensors_as_all_rotations_do():
    rotations = rotation_grid(3)
    assert len(rotations) == 6 * 4
    np.testing.assert_allclose(rotations @ rotations.transpose(0, 2, 1), np.tile(np.eye(3), (24, 1, 1)), atol=1e-12)
    np.testing.assert_allclose(np.linalg.det(rotations), 1)
    np.testing.assert_allclose(rotations.mean(axis=0), 0, atol=1e-12)
    second = np.einsum("nab,ncd->abcd", rotations, rotations) / len(rotations)
    np.testing.assert_allclose(second, np.einsum("ac,bd->abcd", np.eye(3), np.eye(3)) / 3, atol=1e-12)


def _structures():
    random = np.random.default_rng(0)
    for periodic in (False, True):
        atoms = molecule("CH3OH")
        atoms.positions += 0.05 * random.standard_normal(atoms.positions.shape)
        cell = np.diag([7.0, 8.0, 9.0]) + 0.3 * random.standard_normal((3, 3)) if periodic else np.zeros((3, 3))
        yield Structure(atoms.numbers, atoms.positions, cell, periodic, 0.0, 0 * atoms.positions, None, {}, "here", 0)


@pytest.fixture(scope="module")
def potential():
    torch.manual_seed(0)
    model = Model(cutoff=4.0, max_degree=2, num_features=8, num_radial=6, num_spherical_features=2)
    return Potential(Lorem(model), {1: -13.0, 6: -1000.0, 8: -2000.0})


@pytest.mark.parametrize(("dtype", "limit"), [(torch.float64, 1e-9), (torch.float32, 1e-2)])
def test_rotations_and_inversions_do_not_change_the_energy(potential, dtype, limit):
    rotations = rotation_grid(3)[::5]
    errors = symmetry_errors(potential, list(_structures()), np.concatenate([rotations, -rotations]), dtype)
    assert errors.shape == (2, 10)
    assert errors.max() < limit


def test_a_shear_does(potential):
    shear = np.eye(3) + 0.05 * np.eye(3, k=1)
    assert symmetry_errors(potential, list(_structures()), shear[None], torch.float64).min() > 1e-3
