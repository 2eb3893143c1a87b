"""The report of a prepared data set."""

from typing import Any

import numpy as np
from ase.data import chemical_symbols

from lorem_openmm.data.baseline import Baseline
from lorem_openmm.data.fields import optional_fields
from lorem_openmm.data.splits import SPLITS
from lorem_openmm.data.store import Store


def report(store: Store, baseline: Baseline, residuals: np.ndarray, warnings: list[str]) -> dict[str, Any]:
    """Summarises a store as plain JSON data.

    Args:
        store: The data set.
        baseline: Its per-element energies.
        residuals: [n_structures] energies minus the baseline in eV.
        warnings: What the checks found odd but not wrong.
    """
    sizes, n_edges = np.diff(store["atom_offsets"]), np.diff(store["edge_offsets"])
    numbers, counts = np.unique(store["atomic_numbers"], return_counts=True)
    force_sizes = np.sqrt(np.einsum("ai,ai->a", store["forces"], store["forces"]))  # without temporary arrays
    classes = store.classes()
    is_split = {split: store["split"] == index for index, split in enumerate(SPLITS)}
    separations = store["separation"]
    return {
        "name": store.metadata["name"],
        "counts": {"all": len(store), **{split: int(mask.sum()) for split, mask in is_split.items()}},
        "periodic": int(store["periodic"].sum()),
        "with_stress": int(store["has_stress"].sum()),
        "stated": {
            field.name: int(field.is_stated(store[field.name]).sum())
            for field in optional_fields()
            if field.name in store.arrays
        },
        "classes": {
            label: {split: int(np.sum(mask & (classes == label))) for split, mask in is_split.items()}
            for label in store.metadata["class_names"]
        },
        "separation": {split: _statistics(separations[mask], "Å") for split, mask in is_split.items()},
        "elements": {chemical_symbols[z]: int(n) for z, n in zip(numbers, counts, strict=True)},
        "baseline": {
            "unit": "eV",
            "unique": baseline.determined,
            "energies": store.metadata["baseline"],
            "isolated_atoms": store.metadata["atom_energies"],
        },
        "energy_minus_baseline": _statistics(residuals / sizes, "eV/atom"),
        "forces": {**_statistics(force_sizes, "eV/Å"), "rms": float(np.sqrt(np.mean(force_sizes**2)))},
        "atoms_per_structure": _statistics(sizes, "1"),
        "cutoff": store.cutoff,
        "neighbors_per_atom": _statistics(n_edges / sizes, "1"),
        "split": store.metadata["split"],
        "sources": store.metadata["sources"],
        "info_kept": sorted(name.removeprefix("info.") for name in store.arrays if name.startswith("info.")),
        "info_dropped": store.metadata["info_dropped"],
        "content_sha256": store.content_hash,
        "warnings": warnings,
    }


def _statistics(values: np.ndarray, unit: str) -> dict[str, Any]:
    values = values[np.isfinite(values)]
    if values.size == 0:
        return {"unit": unit, "n": 0}
    summary = {"min": values.min(), "mean": values.mean(), "max": values.max(), "std": values.std()}
    return {"unit": unit, "n": values.size, **{key: float(value) for key, value in summary.items()}}
