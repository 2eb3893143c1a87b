"""Random geometry: orientations, thermal displacements, contact between two molecules."""

import numpy as np
from ase.data import covalent_radii, vdw_radii
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


def surface_gap(
    numbers_a: np.ndarray, positions_a: np.ndarray, numbers_b: np.ndarray, positions_b: np.ndarray
) -> float:
    """Returns the smallest gap in Å between the van der Waals surfaces of two molecules.

    gap = min over i in A, j in B of  r_ij − R_i − R_j; negative where the surfaces overlap.
    """
    radii = _van_der_waals(numbers_a)[:, None] + _van_der_waals(numbers_b)
    return float((cdist(positions_a, positions_b) - radii).min())


def contact_shift(
    numbers_a: np.ndarray,
    positions_a: np.ndarray,
    numbers_b: np.ndarray,
    positions_b: np.ndarray,
    direction: np.ndarray,
    contact_factor: float,
) -> float:
    """Returns how far B has to move along ``direction`` until it just touches A.

    s = max over i in A, j in B of the larger root of |r_j + s·u − r_i| = contact_factor · (R_i + R_j),
    with van der Waals radii R.

    Args:
        numbers_a: [n_a] atomic numbers of A.
        positions_a: [n_a, 3] positions of A in Å.
        numbers_b: [n_b] atomic numbers of B.
        positions_b: [n_b, 3] positions of B in Å.
        direction: [3] unit vector u.
        contact_factor: Sum of radii at contact relative to the van der Waals sum.

    Returns:
        The shift in Å; 0 if no shift makes the molecules touch.
    """
    limits = contact_factor * (_van_der_waals(numbers_a)[:, None] + _van_der_waals(numbers_b))
    vectors = positions_b[None, :, :] - positions_a[:, None, :]
    along = vectors @ direction
    discriminant = along**2 - (vectors**2).sum(-1) + limits**2
    touching = discriminant > 0
    if not touching.any():
        return 0.0
    return float((np.sqrt(discriminant[touching]) - along[touching]).max())


def _van_der_waals(numbers: np.ndarray) -> np.ndarray:
    radii = vdw_radii[numbers]
    return np.where(np.isnan(radii), 2.0, radii)
