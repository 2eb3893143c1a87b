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
JOULE_PER_KELVIN = 1.380649e-23
DALTON_PER_CUBIC_ANGSTROM = 0.602214076  # in 1 g/cm^3
MEV_PER_EV = 1000.0
EV_PER_CUBIC_ANGSTROM_PER_GPA = 6.241509074460763e-3

ENERGY_IN_EV = {
    "eV": 1.0,
    "meV": 1 / MEV_PER_EV,
    "hartree": EV_PER_HARTREE,
    "rydberg": EV_PER_HARTREE / 2,
    "kcal/mol": 1 / KCAL_PER_MOL_PER_EV,
    "kJ/mol": 1 / KJ_PER_MOL_PER_EV,
}
LENGTH_IN_ANGSTROM = {"angstrom": 1.0, "bohr": ANGSTROM_PER_BOHR, "nm": ANGSTROM_PER_NANOMETER}
STRESS_IN_EV_PER_CUBIC_ANGSTROM = {
    "eV/angstrom^3": 1.0,
    "GPa": EV_PER_CUBIC_ANGSTROM_PER_GPA,
    "kbar": EV_PER_CUBIC_ANGSTROM_PER_GPA / 10,
}
FORCE_IN_EV_PER_ANGSTROM = {
    f"{energy}/{length}": ENERGY_IN_EV[energy] / LENGTH_IN_ANGSTROM[length]
    for energy in ENERGY_IN_EV
    for length in LENGTH_IN_ANGSTROM
}
