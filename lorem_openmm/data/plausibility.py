"""Units and signs that are wrong in all frames alike: what was measured, which unit explains it, and what to do."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from lorem_openmm import config
from lorem_openmm.data.collect import FileStructures
from lorem_openmm.data.consistency import RIGHT_STIFFNESS, Measure, Measures, measure
from lorem_openmm.units import (
    ENERGY_IN_EV,
    FORCE_IN_EV_PER_ANGSTROM,
    LENGTH_IN_ANGSTROM,
    STRESS_IN_EV_PER_CUBIC_ANGSTROM,
)

_RIGHT_WORK = (0.75, 1.33)  # of the stress, too
_RIGHT_COARSE = (0.25, 4.0)
_COARSE_WITHIN = 1.5
_STIFF_WITHIN, _WORK_WITHIN, _STRESS_WITHIN = 2.0, 1.04, 1.15  # factors
_BOHR, _NANOMETER = (1.35, 2.2), (0.05, 0.14)  # of the closest atoms over the sum of their covalent radii
_MOST = 0.9
_LARGE_VIRIAL = 1.5  # eV per atom; liquids and strained crystals stay below 1


class _Factors(NamedTuple):
    """What the numbers of the files were multiplied by to become eV, eV/Å and eV/Å³."""

    energy: float
    forces: float
    stress: float


def implausible(structures: FileStructures, dataset: config.Dataset) -> tuple[list[str], list[str]]:
    """Returns what is wrong with the units and signs of a data set; nothing where it is not certain.

    Returns:
        Faults, and warnings: forces of an unusual size that belong to their energies may be those of a toy model.
    """
    n_more = len(structures.sources) - 1
    place = structures.sources[0]["file"] + (f" and {n_more} more" if n_more else "")
    faults, warnings = _position_texts(structures), []
    if not faults:
        measures, factors = measure(structures), _factors(dataset.units or config.Units())
        texts = _label_texts(measures, factors)
        if _is_only_unusual(measures, factors):
            warnings = texts
        else:
            faults = texts
        faults = faults or _stress_texts(measures, factors, dataset.virial_key is not None)
    return [f"{place}: {text}" for text in faults], [f"{place}: {text}" for text in warnings]


def _is_only_unusual(measures: Measures, factors: _Factors) -> bool:
    """Whether nothing but the size of the forces is odd, and no common unit explains it or energies confirm it."""
    k, work = measures.stiffness, measures.work
    if k is None or k.ratio < 0:
        return False
    if work is not None and work.is_exact:
        return _is_right(work)
    return measures.work_per_atom is None and not _unit_pairs(k, None, factors)


def large_stress_warnings(structures: FileStructures) -> list[str]:
    """Warns of a stress that is large in most structures, as it is under high pressure or in a wrong unit."""
    arrays = structures.arrays
    labelled = arrays["has_stress"]
    if not labelled.any():
        return []
    largest = np.abs(arrays["stress"][labelled]).max(axis=(1, 2))
    virial = largest * np.abs(np.linalg.det(arrays["cell"][labelled])) / arrays["sizes"][labelled]
    if np.median(virial) < _LARGE_VIRIAL:
        return []
    gpa = 1 / STRESS_IN_EV_PER_CUBIC_ANGSTROM["GPa"]
    return [
        f"the stress is {np.median(largest):.3g} eV/Å^3 ({gpa * np.median(largest):.3g} GPa) in the middle of all "
        f"structures, {np.median(virial):.3g} eV per atom: right at high pressure; if it is in GPa, set "
        "`units: {stress: GPa}`, if it is a virial in eV, `virial_key`"
    ]


def _factors(units: config.Units) -> _Factors:
    forces = FORCE_IN_EV_PER_ANGSTROM[units.forces or f"{units.energy}/{units.length}"]
    return _Factors(ENERGY_IN_EV[units.energy], forces, STRESS_IN_EV_PER_CUBIC_ANGSTROM[units.stress])


def _position_texts(structures: FileStructures) -> list[str]:
    """Recognises positions in nm or bohr by the closest atoms; bohr only beside hydrogen, which is always bonded."""
    arrays = structures.arrays
    ratios = arrays["bond_ratio"][np.isfinite(arrays["bond_ratio"])]
    if len(ratios) == 0:
        return []
    has_hydrogen = np.logical_or.reduceat(arrays["atomic_numbers"] == 1, structures.offsets[:-1]).mean() > _MOST
    for unit, (low, high) in {"bohr": _BOHR, "nm": _NANOMETER}.items():
        if np.mean((ratios > low) & (ratios < high)) > _MOST and (has_hydrogen or unit == "nm"):
            return [
                "the closest atoms must be about the sum of their covalent radii apart, received "
                f"{np.median(ratios):.2f} times that in most frames: the positions are in {unit}. Set `units` of the "
                f"data set, for example `units: {{energy: eV, length: {unit}, forces: eV/angstrom}}`, or multiply them "
                f"by {LENGTH_IN_ANGSTROM[unit]:.6g}."
            ]
    return []


def _label_texts(measures: Measures, factors: _Factors) -> list[str]:
    """Judges forces by the bonds to hydrogen, and energies by the work of the forces."""
    k = measures.stiffness
    work, per_atom = measures.work, False
    if measures.work_per_atom is not None and measures.work_per_atom.is_exact and (work is None or not work.is_exact):
        work, per_atom = measures.work_per_atom, True
    is_stiff = k is None or RIGHT_STIFFNESS[0] < abs(k.ratio) < RIGHT_STIFFNESS[1]
    downhill = k is None or k.ratio > 0
    sign = 1 if downhill else -1
    works = work is None or (not per_atom and _is_right(work, sign))
    if is_stiff and downhill and works:
        return []
    seen, reasons = [], []
    if k is not None and not (is_stiff and downhill):
        seen.append(
            f"{k.n} bonds to hydrogen resist stretching with {k.ratio:.3g} times the usual stiffness (right: near 1)"
        )
    if work is not None and not works:
        what = " the energy times the number of atoms" if per_atom else " the energy"
        seen.append(
            f"between {work.n} pairs of similar frames{what} changes by {work.ratio:.3g} times the work of the forces "
            "(right: 1)"
        )
    if not downhill or (k is None and work is not None and work.ratio < 0):
        reasons.append("the forces are gradients: multiply them by -1, or give them a name with `grad` in it")
    elif work is not None and work.ratio < 0:
        reasons.append("the energies have the wrong sign, as binding energies may have: give total energies")
    units = [] if is_stiff and works and not per_atom else _unit_pairs(k, work, factors)
    if units:
        pairs = [f"`units: {{energy: {energy}, length: angstrom, forces: {force}}}`" for energy, force in units[:3]]
        energy, force = ENERGY_IN_EV[units[0][0]], FORCE_IN_EV_PER_ANGSTROM[units[0][1]]
        if not np.allclose((energy, force), (factors.energy, factors.forces), rtol=1e-3):  # those that are taken now
            reasons.append(f"they are in other units: set {' or '.join(pairs)}")
    if work is not None and (per_atom or _is_per_atom(measures)):
        reasons.append("the energies are per atom: multiply them by the number of atoms")
    if not reasons:
        reasons.append("they are of two methods, or parts of the whole: correct `energy_key` or `forces_key`")
    return [
        f"energies (eV) and forces (eV/Å) must belong together, but {'; and '.join(seen)}. Likely, "
        f"{'; and, or, '.join(reasons)}."
    ]


def _is_right(work: Measure, sign: int = 1) -> bool:
    low, high = _RIGHT_WORK if work.is_exact else _RIGHT_COARSE
    return low < sign * work.ratio < high


def _unit_pairs(k: Measure | None, work: Measure | None, factors: _Factors) -> list[tuple[str, str]]:
    """Returns the units of energies and forces that would explain what was measured, the likeliest first."""
    forces = list(FORCE_IN_EV_PER_ANGSTROM)
    if k is not None:
        is_stiff = RIGHT_STIFFNESS[0] < abs(k.ratio) < RIGHT_STIFFNESS[1]
        expected = factors.forces if is_stiff else factors.forces / abs(k.ratio)
        forces = _near(FORCE_IN_EV_PER_ANGSTROM, expected, 1.001 if is_stiff else _STIFF_WITHIN)
    found = []
    for force in forces:
        unit = force.rpartition("/")[0]
        scale = FORCE_IN_EV_PER_ANGSTROM[force] / factors.forces
        energies = (
            [unit] if work is None else _near(ENERGY_IN_EV, factors.energy * scale / abs(work.ratio), _within(work))
        )
        found += [(energy, force) for energy in energies if k is not None or "eV" in (energy, unit) or energy == unit]
    order = {pair: (pair[0] != pair[1].rpartition("/")[0], "angstrom" not in pair[1]) for pair in found}
    return sorted(found, key=order.__getitem__) if k is None or work is not None else found


def _is_per_atom(measures: Measures) -> bool:
    """Whether energies per atom explain the work, where all structures have as many atoms."""
    found = measures.work_per_atom
    return found is not None and 1 / _within(found) < abs(found.ratio) < _within(found)


def _within(work: Measure) -> float:
    return _WORK_WITHIN if work.is_exact else _COARSE_WITHIN


def _stress_texts(measures: Measures, factors: _Factors, is_virial: bool) -> list[str]:
    """Judges the stress by the energies of strained cells."""
    found, virial = (one if one is not None and one.is_exact else None for one in (measures.stress, measures.virial))
    if found is not None and _RIGHT_WORK[0] < found.ratio < _RIGHT_WORK[1]:
        return []
    what = "virial" if is_virial else "stress"
    units, misfit = [], np.inf
    if found is not None and not is_virial:
        factor = factors.stress * abs(found.ratio)
        units = _near(STRESS_IN_EV_PER_CUBIC_ANGSTROM, factor, _STRESS_WITHIN)
        misfit = min((abs(np.log(STRESS_IN_EV_PER_CUBIC_ANGSTROM[unit] / factor)) for unit in units), default=np.inf)
    if not is_virial and virial is not None and abs(np.log(abs(virial.ratio))) < min(misfit, np.log(_STRESS_WITHIN)):
        advice = "Set `virial_key` in place of `stress_key`." if virial.ratio < 0 else "Divide it by the volume."
        return [
            f"the stress must be in eV/Å^3, but over {virial.n} pairs of strained cells the energy changes as if it "
            f"were a virial in eV. {advice}"
        ]
    if found is None:
        return []
    advice = ""
    if found.ratio < 0:
        advice = " Its sign is the other one (VASP's is -ASE's): multiply it by -1."
    if units and STRESS_IN_EV_PER_CUBIC_ANGSTROM[units[0]] != factors.stress:
        advice += f" It is in {units[0]}: set `units: {{stress: {units[0]}}}`."
    return [
        f"the {what} must be the slope of the energy, but over {found.n} pairs of strained cells the energy changes by "
        f"{found.ratio:.3g} times its work." + (advice or f" No usual unit explains it. Correct `{what}_key`.")
    ]


def _near(units: Mapping[str, float], factor: float, within: float) -> list[str]:
    """Returns the units whose factor is near one, the nearest first."""
    distance = {name: abs(np.log(value / factor)) for name, value in units.items()}
    return sorted((name for name, value in distance.items() if value < np.log(within)), key=distance.__getitem__)
