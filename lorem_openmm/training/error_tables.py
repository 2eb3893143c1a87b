"""Errors as tables: by split, by class, by separation, and beyond the cutoff."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from lorem_openmm.data.splits import SPLITS
from lorem_openmm.data.store import Store
from lorem_openmm.training.losses import Residuals
from lorem_openmm.training.metrics import ErrorSums, Metrics
from lorem_openmm.training.predictions import Predictions, fragment_forces, fragment_owners, is_separated
from lorem_openmm.units import MEV_PER_EV

BEYOND = "beyond cutoff"
KEYS = ("dataset", "split", "group", "class", "separation", "n_structures")
MAX_BINS = 12


@dataclass(frozen=True, eq=False)
class Grouping:
    """A division of structures.

    Attributes:
        kind: What divides them.
        index: [n_structures] group, −1: none.
        names: class and separation of each group.
    """

    kind: str
    index: np.ndarray
    names: list[tuple[str, str]]


def _groupings(store: Store, separated: np.ndarray) -> list[Grouping]:
    """Returns the divisions by which errors are reported."""
    everything = np.zeros(len(store), dtype=np.int64)
    classes = store["class_index"].astype(np.int64)
    class_names = [str(name) for name in store.metadata["class_names"]]
    bins, bin_names = separation_bins(store["separation"])
    result = [Grouping("all", everything, [("", "")])]
    if class_names:
        result.append(Grouping("class", classes, [(name, "") for name in class_names]))
    if bin_names:
        result.append(Grouping("separation", bins, [("", name) for name in bin_names]))
    if class_names and bin_names:
        both = np.where((classes >= 0) & (bins >= 0), classes * len(bin_names) + bins, -1)
        names = [(first, second) for first in class_names for second in bin_names]
        result.append(Grouping("class and separation", both, names))
    if separated.any():
        result.append(Grouping(BEYOND, np.where(separated, 0, -1), [("", "")]))
        if class_names:
            beyond = np.where(separated, classes, -1)
            result.append(Grouping(f"{BEYOND}, by class", beyond, [(name, "") for name in class_names]))
    return result


def separation_bins(separation: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """Divides separations into bins of 1, 2, 5, 10, … Å: [n_structures] bin, −1: none; and their names.

    Args:
        separation: [n_structures] Å; NaN: none.
    """
    known = np.isfinite(separation)
    if not known.any():
        return np.full(len(separation), -1), []
    reach = separation[known].max() - separation[known].min()
    width = next(w * 10.0**k for k in range(-3, 6) for w in (1, 2, 5) if w * 10.0**k * MAX_BINS >= reach)
    width = max(width, 1.0)
    first = math.floor(separation[known].min() / width)
    bins = np.full(len(separation), -1)
    bins[known] = np.floor(separation[known] / width).astype(np.int64) - first
    count = int(bins.max()) + 1
    return bins, [f"{(first + k) * width:g}-{(first + k + 1) * width:g}" for k in range(count)]


def error_rows(store: Store, predictions: Predictions, fragments: np.ndarray) -> list[dict[str, Any]]:
    """Returns the errors of each split and group as flat records, energies in meV/atom, forces in meV/Å.

    ``fragment_force_*`` is the error of the total force on each group of atoms, for structures whose groups are
    beyond the cutoff of each other: there it is the interaction alone, which a short-range model has as zero.

    Args:
        store: The data set.
        predictions: Predictions of the potential on it.
        fragments: [n_atoms] groups of atoms from :func:`lorem_openmm.training.predictions.find_fragments`.
    """
    difference = _differences(store, predictions)
    system_index = np.repeat(np.arange(len(store)), np.diff(store["atom_offsets"]))
    owner = fragment_owners(store, fragments)
    total = torch.from_numpy(fragment_forces(store["forces"], fragments))
    total_error = torch.from_numpy(fragment_forces(predictions.forces, fragments)) - total
    rows = []
    for number, split in enumerate(SPLITS):
        for grouping in _groupings(store, is_separated(store, fragments)):
            group = np.where(store["split"] == number, grouping.index, -1)
            metrics = Metrics(len(grouping.names))
            metrics.update(difference, torch.from_numpy(group), torch.from_numpy(system_index))
            sums = ErrorSums(len(grouping.names))
            if grouping.kind.startswith(BEYOND):
                sums.update(total_error, total, torch.from_numpy(group[owner]))
            counts = np.bincount(group[group >= 0], minlength=len(grouping.names))
            for index, (class_name, separation) in enumerate(grouping.names):
                if counts[index] == 0:
                    continue
                values = (store.metadata["name"], split, grouping.kind, class_name, separation, int(counts[index]))
                rows.append(dict(zip(KEYS, values, strict=True)) | _errors(metrics, sums, index))
    return rows


def _errors(metrics: Metrics, fragment_sums: ErrorSums, index: int) -> dict[str, float]:
    errors = metrics.summary(index)
    fragment = fragment_sums.summary(index)
    if fragment["n"]:
        errors["fragment_force_rmse"] = fragment["rmse"] * MEV_PER_EV
        errors["fragment_force_mae"] = fragment["mae"] * MEV_PER_EV
    return errors


def _differences(store: Store, predictions: Predictions) -> Residuals:
    """Returns predictions minus labels of a whole data set, energies per atom."""
    n_atoms = np.diff(store["atom_offsets"])
    stress = np.flatnonzero(store["has_stress"])
    arrays = (
        (predictions.energy - store["energy"]) / n_atoms,
        (store["energy"] - predictions.baseline) / n_atoms,
        predictions.forces - store["forces"],
        np.array(store["forces"]),
        (predictions.stress - store["stress"])[stress],
        store["stress"][stress],
        stress,
        np.zeros((len(n_atoms), 0)),  # latent charges have no reference
    )
    return Residuals(*(torch.from_numpy(array) for array in arrays))


def nested(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Returns ``{data set: {split: errors of all its structures}}``.

    Args:
        rows: Result of :func:`error_rows`.
    """
    result: dict[str, Any] = {}
    for row in rows:
        if row["group"] == "all":
            values = {key: value for key, value in row.items() if key not in KEYS or key == "n_structures"}
            result.setdefault(row["dataset"], {})[row["split"]] = values
    return result


def main_rows(rows: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yields the rows worth reading first: whole splits, test errors by class, and those beyond the cutoff.

    Args:
        rows: Result of :func:`error_rows`.
    """
    columns = ("energy_rmse", "energy_mae", "forces_rmse", "forces_mae", "fragment_force_rmse")
    for row in rows:
        if row["group"] == "all" or (row["split"] == "test" and "separation" not in row["group"]):
            yield {key: row[key] for key in KEYS if key != "separation"} | {key: row.get(key, "") for key in columns}
