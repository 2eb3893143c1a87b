"""Is the dihedral resolved? By run, by cutoff and number of layers, and by the degree of the charges."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.sparse.csgraph import shortest_path
from scipy.spatial.distance import cdist

from lorem_openmm.config import Model
from lorem_openmm.data.store import Store
from lorem_openmm.paper.curves import Curve, shape_error
from lorem_openmm.paper.published_errors import CUMULENE_RESOLVED, variant
from lorem_openmm.paper.sections import ReceptiveFieldStudy
from lorem_openmm.units import MEV_PER_EV

Rows = list[dict[str, Any]]
CUMULENE = "C9H4"


def dihedral_rows(curves: list[Curve], resolved_below: float) -> Rows:
    """Returns, for each curve and run: range, error of the shape, and whether that counts as resolved.

    Args:
        curves: Curves with predictions.
        resolved_below: Largest relative RMS error of the shape that counts as resolved.
    """
    rows = []
    for curve in curves:
        for run, energy in curve.predicted.items():
            error = shape_error(curve.reference, energy)
            rows.append(
                {
                    "curve": curve.name,
                    "run": run,
                    "range (meV)": MEV_PER_EV * float(np.ptp(energy)),
                    "reference range (meV)": MEV_PER_EV * float(np.ptp(curve.reference)),
                    "shape error": error,
                    "resolved": "yes" if error <= resolved_below else "no",
                }
            )
    return rows


def receptive_rows(store: Store, curve: Curve, models: Mapping[str, Model], study: ReceptiveFieldStudy) -> Rows:
    """Returns, for each run: cutoff, layers, long range, whether it resolves the dihedral, and whether it could.

    Args:
        store: Where the curve's structures are.
        curve: The profile, with predictions.
        models: Hyper-parameters by run.
        study: Threshold and end groups.
    """
    structure = store.structure(int(curve.structures[0]))
    formula = _formula(structure.atomic_numbers)
    measured = {row["run"]: row for row in dihedral_rows([curve], study.resolved_below)}
    rows = []
    for run, model in models.items():
        layers = model.num_message_passing + 1
        row: dict[str, Any] = {
            "run": run,
            "model": f"{layers}×SR{' + LR' if model.long_range else ''}",
            "cutoff (Å)": model.cutoff,
            "layers": layers,
            "long range": variant(model) if model.long_range else "none",
        }
        if study.ends is not None:
            meet = layers_to_meet(structure.positions, model.cutoff, *study.ends)
            row["ends meet after"] = meet
            row["visible"] = "yes" if model.long_range or (meet is not None and layers >= meet) else "no"
        row |= {key: measured[run][key] for key in ("range (meV)", "shape error", "resolved")}
        if formula == CUMULENE:
            of_paper = CUMULENE_RESOLVED.get(model.cutoff, {}) if isinstance(model.long_range, bool) else {}
            published = of_paper.get((layers, model.long_range is True))
            row["paper"] = "" if published is None else ("yes" if published else "no")
        rows.append(row)
    return sorted(rows, key=lambda row: (row["cutoff (Å)"], row["long range"] == "none", row["layers"]))


def layers_to_meet(positions: np.ndarray, cutoff: float, first: list[int], second: list[int]) -> int | None:
    """Returns the fewest layers of message passing after which one atom has heard of both ends.

    k = min_i max(d(A, i), d(B, i)), where d counts edges of the graph of atoms closer than the cutoff

    The energy is a sum over atoms, so it can depend on both ends together only if one atom's features do.

    Args:
        positions: [n_atoms, 3] Å.
        cutoff: Å.
        first: Atoms of end A; the nearest of them counts.
        second: Atoms of end B.

    Returns:
        The number of layers; none if nothing joins the ends.
    """
    distances = cdist(positions, positions)
    hops = shortest_path((distances < cutoff) & (distances > 0), unweighted=True)
    meeting = np.maximum(hops[first].min(axis=0), hops[second].min(axis=0)).min()
    return int(meeting) if np.isfinite(meeting) else None


def best_of_each(rows: Rows) -> Rows:
    """Returns, of the runs that share cutoff and kind of model (other seeds, say), the one with the smallest error.

    Args:
        rows: Result of :func:`receptive_rows`.
    """
    best: dict[tuple[float, str], dict[str, Any]] = {}
    for row in rows:
        place = row["cutoff (Å)"], row["model"]
        if place not in best or row["shape error"] < best[place]["shape error"]:
            best[place] = row
    return list(best.values())


def receptive_grid(rows: Rows) -> Rows:
    """Returns the table as the paper prints it: one line per cutoff, one column per kind of model.

    Args:
        rows: Result of :func:`best_of_each`.
    """
    models = list(
        dict.fromkeys(row["model"] for row in sorted(rows, key=lambda r: (r["long range"] == "none", r["layers"])))
    )
    grid: dict[float, dict[str, Any]] = {}
    for row in sorted(rows, key=lambda row: row["cutoff (Å)"]):
        line = grid.setdefault(row["cutoff (Å)"], {"cutoff (Å)": row["cutoff (Å)"]} | dict.fromkeys(models, ""))
        line[row["model"]] = f"{row['resolved']} ({row['shape error']:.2f})"
    return list(grid.values())


def charge_degree_rows(errors: Rows, profiles: Rows) -> Rows:
    """Joins the errors of runs with their dihedral profiles.

    Args:
        errors: Result of :func:`lorem_openmm.paper.published_comparison.error_table`.
        profiles: Result of :func:`dihedral_rows`; the first curve counts.
    """
    measured: dict[str, dict[str, Any]] = {}
    for row in profiles:
        measured.setdefault(row["run"], row)
    keys = ("long range", "run", "data set", "split", "E RMSE (meV/atom)", "F RMSE (meV/Å)")
    rows = [
        {key: row[key] for key in keys}
        | {key: measured[row["run"]][key] for key in ("range (meV)", "shape error", "resolved")}
        | {"paper: E RMSE": row["paper: E RMSE"], "paper: F RMSE": row["paper: F RMSE"]}
        for row in errors
    ]
    return sorted(rows, key=lambda row: (row["long range"] != "none", row["long range"]))


def _formula(numbers: np.ndarray) -> str:
    return f"C{int((numbers == 6).sum())}H{int((numbers == 1).sum())}"
