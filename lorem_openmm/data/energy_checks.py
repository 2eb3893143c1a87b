"""Total energies against the per-element baseline and against those of free atoms: outliers and wrong units."""

from collections.abc import Sequence

import numpy as np

from lorem_openmm.data.baseline import composition_energies
from lorem_openmm.data.checks import MAX_ENERGY_PER_ATOM
from lorem_openmm.data.frames import Composition, composition
from lorem_openmm.data.structures import Structure
from lorem_openmm.units import EV_PER_HARTREE, KCAL_PER_MOL_PER_EV, KJ_PER_MOL_PER_EV

# Total energies of the free atoms in hartree (restricted or restricted-open Hartree-Fock limit), Z = 1 … 18.
# Correlation and bonds lower them by less than 3 % (CH4: 2.1 %), so the ratio tells the unit.
# fmt: off
_ATOM_HARTREE = np.array([
    np.nan, -0.5, -2.862, -7.433, -14.573, -24.529, -37.689, -54.401, -74.809, -99.409, -128.547,
    -161.859, -199.615, -241.877, -288.854, -340.719, -397.505, -459.482, -526.818,
])
# fmt: on
_PER_ATOM = " per atom"
_ENERGY_UNITS = {
    "hartree": 1.0,
    "kcal/mol": EV_PER_HARTREE * KCAL_PER_MOL_PER_EV,
    "kJ/mol": EV_PER_HARTREE * KJ_PER_MOL_PER_EV,
}


def energy_faults(structures: Sequence[Structure], residuals: np.ndarray) -> tuple[list[str], list[str]]:
    """Checks energies against the per-element baseline and against the total energies of free atoms.

    Energies in a wrong unit fit a baseline as well as right ones do, so the residual shows outliers only;
    total energies of all electrons are recognised by their ratio to those of the free atoms in hartree.

    Args:
        structures: All structures.
        residuals: [n_structures] energy minus the per-element baseline in eV.

    Returns:
        Faults, and warnings where the data may be right by coincidence.
    """
    faults = []
    flat = composition(structures)
    per_atom = residuals / np.diff(flat.offsets)
    for index in np.flatnonzero(np.abs(per_atom) > MAX_ENERGY_PER_ATOM).tolist():
        structure = structures[index]
        faults.append(
            f"{structure.place}: the energy must be within {MAX_ENERGY_PER_ATOM} eV per atom of the "
            f"per-element baseline, received {per_atom[index]:.4g} eV per atom beyond it (energy "
            f"{structure.energy:.6g}). Energies must be total energies in eV (from hartree: multiply by "
            f"{EV_PER_HARTREE:.4f}; from kcal/mol: by {1 / KCAL_PER_MOL_PER_EV:.6f}; from kJ/mol: by "
            f"{1 / KJ_PER_MOL_PER_EV:.6f}; or set `units` of the data set), all frames in the same unit."
        )
    if faults or (unit := _suspected_unit(flat)) is None:
        return faults, []
    message = (
        f"{structures[0].place}: energies must be in eV, but nearly all energies of the data set are within "
        f"3 % of the free atoms' total energies in {unit} (received {structures[0].energy:.6g}). "
        f"{_advice(unit)}"
    )
    # Energies of valence electrons in eV may come near those in hartree by chance for one formula, not for several.
    formulas = {tuple(np.sort(structure.atomic_numbers)) for structure in structures}
    may_be_chance = unit == "hartree" or unit.endswith(_PER_ATOM)
    return ([], [message]) if may_be_chance and len(formulas) < 3 else ([message], [])


def _suspected_unit(flat: Composition) -> str | None:
    """Returns the unit in which nearly all energies are total energies of all electrons, if any but eV."""
    largest = np.maximum.reduceat(flat.atomic_numbers, flat.offsets[:-1]) if len(flat.energy) else np.zeros(0)
    light = largest < len(_ATOM_HARTREE)
    table = np.zeros(256)
    table[: len(_ATOM_HARTREE)] = _ATOM_HARTREE
    if not light.any():
        return None
    ratios = flat.energy[light] / composition_energies(table, flat.atomic_numbers, flat.offsets)[light]
    for unit, expected in _ENERGY_UNITS.items():
        if np.mean(np.abs(ratios / expected - 1) < 0.03) > 0.9:
            return unit
    sizes = np.diff(flat.offsets)[light]
    for unit, expected in ({"eV": EV_PER_HARTREE} | _ENERGY_UNITS).items():
        near = np.abs(ratios * sizes / expected - 1) < 0.03
        if np.mean(near) > 0.9 and np.any(near & (sizes > 1)):
            return f"{unit}{_PER_ATOM}"
    return None


def _advice(unit: str) -> str:
    """Says what to do about energies in a unit."""
    plain = unit.removesuffix(_PER_ATOM)
    times = "" if plain == unit else "Multiply them by the number of atoms. "
    if plain == "eV":
        return times.strip()
    factor = EV_PER_HARTREE / _ENERGY_UNITS[plain]
    return f"{times}Multiply them by {factor:.6g}, or set `units` of the data set (`energy: {plain}`)."
