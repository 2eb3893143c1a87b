"""Frames that are not ordinary: isolated atoms, other total charges, stress that is not read or means nothing."""

from collections.abc import Sequence

import numpy as np
from ase.data import chemical_symbols

from lorem_openmm.data.baseline import MAX_ATOM_SPREAD
from lorem_openmm.data.collect import FileStructures
from lorem_openmm.data.fields import get
from lorem_openmm.errors import DataError

_LONELY_VOLUME = 500.0  # Å³ per atom: a box whose images no crystal has as neighbours


def isolated_atoms(structures: FileStructures) -> np.ndarray:
    """Finds the isolated atoms: [n_structures] booleans.

    These are single atoms in vacuum, in a box large enough to be empty, or said to be isolated by ``config_type``. A
    single atom in a small periodic cell is a crystal.

    Raises:
        DataError: If a frame that is said to be an isolated atom has several atoms.
    """
    arrays = structures.arrays
    with np.errstate(all="ignore"):
        volume = np.abs(np.linalg.det(arrays["cell"]))
    types = structures.info.column("config_type").as_texts()
    said = np.zeros(len(structures), dtype=bool)
    if types is not None:
        said = np.isin(types[0], [code for code, text in enumerate(types[1]) if "isolated" in text.lower()])
    is_single = arrays["sizes"] == 1
    if (said & ~is_single).any():
        index = int(np.argmax(said & ~is_single))
        raise DataError(
            f"{structures[index].place}: `config_type` says that this is an isolated atom, but it has "
            f"{arrays['sizes'][index]} atoms. Correct the frame."
        )
    return is_single & (said | ~arrays["periodic"] | ((arrays["n_edges"] == 0) & (volume >= _LONELY_VOLUME)))


def atom_energies(structures: FileStructures, chosen: np.ndarray) -> dict[int, float]:
    """Returns the energies of isolated atoms in eV by element; charged atoms do not count.

    Args:
        structures: All structures.
        chosen: [n_structures] booleans, the isolated atoms of the training set.

    Raises:
        DataError: If two atoms of one element have different energies.
    """
    neutral = chosen & (np.nan_to_num(structures.arrays["total_charge"]) == 0)
    first: dict[int, int] = {}
    energies = structures.arrays["energy"]
    for index in np.flatnonzero(neutral).tolist():
        number = int(structures.arrays["atomic_numbers"][structures.offsets[index]])
        other = first.setdefault(number, index)
        if abs(energies[index] - energies[other]) > MAX_ATOM_SPREAD:
            raise DataError(
                f"{structures[index].place}: the isolated atoms of an element must have one energy, because it fixes "
                f"the baseline, but {chemical_symbols[number]} has {energies[index]:.6g} eV here and "
                f"{energies[other]:.6g} eV in {structures[other].place}. Keep the one of the method's ground state; "
                "give ions their `charge`."
            )
    return {number: float(energies[index]) for number, index in first.items()}


def charge_warnings(structures: FileStructures, counts: np.ndarray) -> list[str]:
    """Warns where structures have different total charges, which most models are not told.

    Args:
        structures: All structures.
        counts: [n_structures, n_elements] atoms of each element.
    """
    charges = structures.arrays["total_charge"]
    key = next((alias for alias in get("total_charge").aliases if alias in structures.info.keys), "")
    values, number = np.unique(charges[np.isfinite(charges)], return_counts=True)
    if len(values) < 2:
        return []
    known = ", ".join(f"{value:+g} in {n}" for value, n in zip(values, number, strict=True))
    _, formula = np.unique(counts, axis=0, return_inverse=True)
    states = np.unique(np.stack([formula.reshape(-1), np.nan_to_num(charges, nan=1e9)]), axis=1)[0]
    shared = np.unique(states, return_counts=True)[1]
    text = (
        f"the total charge (`{key}`) differs: {known} structures. Models whose long-range block does not use it must "
        "infer it from the atoms"
    )
    if (shared > 1).any():
        return [
            f"{text}, which {np.sum(shared > 1)} formula(s) that occur with several charges do not allow: train on one "
            "charge state of a molecule at a time"
        ]
    return [f"{text}; here each formula has one charge"]


def stress_warnings(structures: FileStructures, used: Sequence[str | None]) -> list[str]:
    """Warns of stress labels that are not read, or that mean nothing."""
    warnings = []
    for key in structures.info.keys:
        if key not in used and ("stress" in key.lower() or "virial" in key.lower()):
            setting = "virial_key" if "virial" in key.lower() else "stress_key"
            warnings.append(f"`{key}` is not read: set `{setting}: {key}` to train on it")
    if n_dropped := int(structures.arrays["stress_dropped"].sum()):
        warnings.append(
            f"the stress of {n_dropped} structures in vacuum (pbc false) is not used: it has no meaning there"
        )
    return warnings
