"""The van der Waals surfaces of two molecules: the gap between them, and where they touch."""

import numpy as np
from ase.data import vdw_radii
from scipy.spatial.distance import cdist

UNKNOWN_RADIUS = 2.0  # Å, of elements without a tabulated van der Waals radius


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
    return np.where(np.isnan(radii), UNKNOWN_RADIUS, radii)
