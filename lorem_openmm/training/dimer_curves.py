"""Dimers along their separation: which structures make a curve, and the energy it is measured from."""

import numpy as np

from lorem_openmm.data.store import Store

MIN_CURVE = 4  # points a curve needs to be worth drawing
CURVES_PER_CLASS = 3


def find_curves(store: Store) -> dict[str, list[np.ndarray]]:
    """Returns structures along the separation of the same dimer, in order, some dimers of each class.

    Args:
        store: The data set; the info keys ``dimer_id`` and, if there is one, ``source`` (``scan``) are used.
    """
    if "info.dimer_id" not in store.arrays:
        return {}
    separation, dimer, classes = store["separation"], store.info("dimer_id"), store.classes()
    usable = np.isfinite(separation)
    if "info.source" in store.arrays and (store.info("source") == "scan").any():
        usable &= store.info("source") == "scan"
    curves: dict[str, list[np.ndarray]] = {}
    for identity in dict.fromkeys(dimer[usable].tolist()):
        members = np.flatnonzero(usable & (dimer == identity))
        chosen = curves.setdefault(str(classes[members[0]]), [])
        if len(members) >= MIN_CURVE and len(chosen) < CURVES_PER_CLASS:
            chosen.append(members[np.argsort(separation[members])])
    return {name: chosen for name, chosen in sorted(curves.items()) if chosen}


def reference_zero(store: Store, curve: np.ndarray) -> float:
    """Returns the energy in eV to measure a curve from: that of the separate fragments, else of its farthest frame.

    Args:
        store: The data set; the info keys ``energy_a`` and ``energy_b`` are used.
        curve: Structures in order of their separation.
    """
    if "info.energy_a" in store.arrays and "info.energy_b" in store.arrays:
        zero = float(store.info("energy_a")[curve[-1]] + store.info("energy_b")[curve[-1]])
        if np.isfinite(zero):
            return zero
    return float(store["energy"][curve[-1]])
