"""Random orientations and thermal displacements of molecules."""

import numpy as np
from ase.data import covalent_radii
from scipy.sparse.csgraph import shortest_path
from scipy.spatial.distance import cdist
from scipy.spatial.transform import Rotation

from lorem_openmm.units import EV_PER_KELVIN

# Springs in eV/Å^2 between atoms one, two bonds apart, and of every atom to its own place (which stands for
# torsions and bending out of a plane). With them the mean energy of the displaced fragments is that of classical
# harmonic vibrations, kT/2 a mode, within a factor of two in GFN2-xTB.
BOND_SPRING = 30.0
ANGLE_SPRING = 6.0
SITE_SPRING = 4.0
# Two atoms are taken as bonded below this multiple of the sum of their covalent radii.
BOND_FACTOR = 1.25


def random_rotation(rng: np.random.Generator) -> np.ndarray:
    """Returns a rotation matrix [3, 3] drawn uniformly."""
    return Rotation.random(rng=rng).as_matrix()


def thermal_displacements(
    numbers: np.ndarray, positions: np.ndarray, temperature: float, rng: np.random.Generator
) -> np.ndarray:
    """Draws displacements from a harmonic model of the molecule.

    Δx ~ N(0, kT · H⁻¹), where H is the Hessian of a network of springs over bonds, angles and sites.

    The model needs no engine, so the structures do not depend on the labelling method, and stiff bonds move less
    than soft torsions.

    Args:
        numbers: [n_atoms] atomic numbers.
        positions: [n_atoms, 3] positions in Å.
        temperature: Temperature in K.
        rng: Source of random numbers.

    Returns:
        [n_atoms, 3] displacements in Å.
    """
    hessian = _spring_hessian(numbers, positions)
    stiffness, modes = np.linalg.eigh(hessian)
    amplitudes = rng.standard_normal(len(stiffness)) * np.sqrt(EV_PER_KELVIN * temperature / stiffness)
    return (modes @ amplitudes).reshape(-1, 3)


def _spring_hessian(numbers: np.ndarray, positions: np.ndarray) -> np.ndarray:
    n_atoms = len(numbers)
    radii = covalent_radii[numbers]
    distances = cdist(positions, positions)
    bonded = (distances < BOND_FACTOR * (radii[:, None] + radii)) & ~np.eye(n_atoms, dtype=bool)
    n_bonds_apart = shortest_path(bonded, unweighted=True)
    hessian = np.eye(3 * n_atoms) * SITE_SPRING
    for i, j in zip(*np.triu_indices(n_atoms, k=1), strict=True):
        spring = {1.0: BOND_SPRING, 2.0: ANGLE_SPRING}.get(n_bonds_apart[i, j])
        if spring is None:
            continue
        direction = (positions[j] - positions[i]) / distances[i, j]
        block = spring * np.outer(direction, direction)
        rows, columns = slice(3 * i, 3 * i + 3), slice(3 * j, 3 * j + 3)
        hessian[rows, rows] += block
        hessian[columns, columns] += block
        hessian[rows, columns] -= block
        hessian[columns, rows] -= block
    return hessian
