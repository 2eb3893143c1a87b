"""Conversion factors; the model's own units are Å, eV, eV/Å and e.

Every number that turns one unit into another lives here and nowhere else.

References:
    CODATA 2018 (https://physics.nist.gov/cuu/Constants), as in ASE and OpenMM.
"""

EV_PER_HARTREE = 27.211386245988
ANGSTROM_PER_BOHR = 0.529177210903
EV_PER_ANGSTROM_PER_HARTREE_PER_BOHR = EV_PER_HARTREE / ANGSTROM_PER_BOHR

KJ_PER_MOL_PER_EV = 96.48533212331
KCAL_PER_MOL_PER_EV = KJ_PER_MOL_PER_EV / 4.184
ANGSTROM_PER_NANOMETER = 10.0
KJ_PER_MOL_NM_PER_EV_ANGSTROM = KJ_PER_MOL_PER_EV * ANGSTROM_PER_NANOMETER

COULOMB_EV_ANGSTROM = EV_PER_HARTREE * ANGSTROM_PER_BOHR  # e^2 / (4 pi epsilon_0)

EV_PER_KELVIN = 8.617333262e-5
MEV_PER_EV = 1000.0
