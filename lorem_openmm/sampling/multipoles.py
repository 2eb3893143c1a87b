"""What two molecules that are far apart feel of each other, from their charges, dipoles and quadrupoles.

    E = k [ q_A q_B / R + (q_B μ_A·R − q_A μ_B·R) / R³ + (μ_A·μ_B R² − 3 μ_A·R μ_B·R) / R⁵
            + R·(q_B Θ_A + q_A Θ_B)·R / R⁵ ]

with R from centre A to centre B, μ and Θ about these centres. Left out are terms of R⁻⁴ and beyond, polarisation and
dispersion: against GFN2-xTB at 15 Å that is 1 % between ions, 5 meV between an ion and a neutral molecule, 1 meV
between neutral ones.

References:
    Stone, The Theory of Intermolecular Forces, 2nd edition, Oxford University Press (2013), chapter 3.
"""

from typing import NamedTuple

import numpy as np

from lorem_openmm.sampling.fragments import Fragment
from lorem_openmm.units import COULOMB_EV_ANGSTROM


class Multipoles(NamedTuple):
    """The first moments of a molecule's charge about a point.

    Attributes:
        charge: e.
        dipole: [3] e·Å.
        quadrupole: [3, 3] e·Å², ½ Σ q (3 r⊗r − r²).
    """

    charge: float
    dipole: np.ndarray
    quadrupole: np.ndarray


def multipoles(item: Fragment, rotation: np.ndarray) -> Multipoles:
    """Returns those of a relaxed fragment that was turned.

    Args:
        item: The fragment.
        rotation: [3, 3] matrix that its positions were turned by.
    """
    return Multipoles(item.charge, rotation @ item.dipole, rotation @ item.quadrupole @ rotation.T)


def interaction(first: Multipoles, second: Multipoles, vector: np.ndarray) -> float:
    """Returns the electrostatic energy in eV of two molecules (see the module).

    Args:
        first: Multipoles of molecule A.
        second: Multipoles of molecule B.
        vector: [3] Å, from the centre of A to that of B.
    """
    r = float(np.linalg.norm(vector))
    along_first, along_second = first.dipole @ vector, second.dipole @ vector
    charges = first.charge * second.charge / r
    charge_dipole = (second.charge * along_first - first.charge * along_second) / r**3
    dipoles = (first.dipole @ second.dipole * r**2 - 3 * along_first * along_second) / r**5
    tensor = second.charge * first.quadrupole + first.charge * second.quadrupole
    quadrupoles = vector @ tensor @ vector / r**5
    return COULOMB_EV_ANGSTROM * float(charges + charge_dipole + dipoles + quadrupoles)
