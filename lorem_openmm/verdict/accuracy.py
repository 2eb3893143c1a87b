"""Errors on structures that were not trained on, beside what is needed for use."""

import math
from collections.abc import Iterator
from typing import Any

from lorem_openmm import config
from lorem_openmm.layout import Layout
from lorem_openmm.training.error_tables import BEYOND
from lorem_openmm.verdict.lines import Line, bounded, first_figure, number, read_optional
from lorem_openmm.verdict.trained import for_comparison

# About a tenth of the forces that atoms of molecules feel at 300 K. Where labels are of hotter structures, a tenth of
# theirs, up to where committees of models are always taken to be unsure (DP-GEN; docs/verdict.md).
FORCE_LIMIT, FORCE_SHARE, LARGEST_FORCE_LIMIT = 100.0, 0.1, 150.0  # meV/Å
CHEMICAL_ACCURACY = 43.4  # meV per structure: 1 kcal/mol, as is usual of the mean absolute error
ENERGY_FLOOR = 2.0  # meV/atom; in larger structures the errors of parts that do not meet add up without harm
# A quarter of kT per Å at 300 K: over the 4 Å in which two molecules pass each other it adds up to kT.
INTERACTION_LIMIT = 6.0  # meV/Å
UNSEEN = ("test", "validation")
MOST_CLASSES = 8  # with more, the worst stands for all
FAMILIES = {"C": "charged", "P": "polar", "A": "apolar"}


def error_lines(settings: config.Config, run_name: str, layout: Layout) -> list[Line]:
    """Returns the lines on energies, forces and interactions of a run, data set by data set.

    Args:
        settings: The whole configuration.
        run_name: Name of an entry of ``runs``.
        layout: Where its evaluation is.

    Raises:
        DataError: If a file that should be JSON is not.
    """
    counts = not for_comparison(settings, run_name)
    metrics = read_optional(layout.evaluation(run_name) / "metrics.json")
    if metrics is None:
        reason = f"not evaluated yet: `lorem-openmm evaluate {run_name}`"
        return [Line("Errors", run_name, "energies and forces", "missing", reason=reason, counts=counts)]
    lines: list[Line] = []
    datasets = settings.runs[run_name].datasets
    for dataset in datasets:
        rows = [row for row in metrics["rows"] if row["dataset"] == dataset]
        report = read_optional(layout.store(dataset).with_suffix(".json")) or {}
        size = report.get("atoms_per_structure", {}).get("mean")
        found = [*_overall(rows, size), *_interactions(rows, settings.datasets[dataset])]
        folder = f"evaluation/{run_name}"
        for line in found:
            kinds = ("interaction", "separation") if line.section == "Beyond the cutoff" else ("parity",)
            paths = (f"{folder}/{kind}_{dataset}.png" for kind in kinds)
            figure = first_figure(layout.root, *paths)
            check = line.check if len(datasets) == 1 else f"{dataset}: {line.check}"
            lines.append(line._replace(subject=run_name, check=check, figure=figure, counts=counts))
    return lines


def _overall(rows: list[dict[str, Any]], size: float | None) -> Iterator[Line]:
    of_split = {row["split"]: row for row in rows if row["group"] == "all"}
    limit = max(CHEMICAL_ACCURACY / size, ENERGY_FLOOR) if size else ENERGY_FLOOR
    note = "mean absolute error" + (f"; 1 kcal/mol per structure of {size:.0f} atoms" if limit > ENERGY_FLOOR else "")
    yield _line("energies", of_split, "energy_mae", dict.fromkeys(UNSEEN, limit), "meV/atom", note)
    bounds = {split: _force_limit(of_split[split]) for split in UNSEEN if split in of_split}
    yield _line("forces", of_split, "forces_rmse", bounds, "meV/Å", "root mean square")


def _force_limit(row: dict[str, Any]) -> float:
    """Returns what is allowed in meV/Å, from the labels' root mean square: RMSE / √(1 − R²)."""
    rmse, r2 = row.get("forces_rmse"), row.get("forces_r2")
    if rmse is None or r2 is None or not r2 < 1:
        return FORCE_LIMIT
    return min(max(FORCE_LIMIT, FORCE_SHARE * rmse / math.sqrt(1 - r2)), LARGEST_FORCE_LIMIT)


def _line(
    name: str, of_split: dict[str, dict[str, Any]], key: str, bounds: dict[str, float], unit: str, note: str
) -> Line:
    """One quantity on the sets that were not trained on; the one that is worse, by its own bound, counts."""
    labelled = {split: of_split[split].get(key) for split in UNSEEN if split in of_split}
    values = {split: float(value) for split, value in labelled.items() if value is not None}
    if not values:
        seen = of_split.get("train", {}).get(key)
        reason = "no structure was kept from the training" if seen is not None else f"no {name} are labelled"
        return Line("Errors", "", name, "not checked", reason=reason)
    worst = max(values, key=lambda split: values[split] / bounds[split])
    found = f"{', '.join(f'{split} {number(values[split])}' for split in values)} {unit}"
    return bounded("Errors", name, values[worst], bounds[worst], unit, note, found)


def _interactions(rows: list[dict[str, Any]], dataset: config.Dataset) -> Iterator[Line]:
    """Lines on the total force on molecules that are beyond the cutoff of each other."""
    found = [row for row in rows if row["split"] in UNSEEN and row.get("fragment_force_rmse") is not None]
    split = next((split for split in UNSEEN if any(row["split"] == split for row in found)), None)
    found = [row for row in found if row["split"] == split]
    by_class = [row for row in found if row["group"] == f"{BEYOND}, by class"]
    if not by_class or len(by_class) > MOST_CLASSES:
        by_class = [row for row in found if row["group"] == BEYOND]
    for row in by_class:
        check = f"force between molecules{_class_name(row['class'], dataset)}"
        value, note = row["fragment_force_rmse"], f"{row['n_structures']} structures"
        words = f"{split} {number(value)} meV/Å"
        yield bounded("Beyond the cutoff", check, value, INTERACTION_LIMIT, "meV/Å", note, words)


def _class_name(name: str, dataset: config.Dataset) -> str:
    if isinstance(dataset.label, config.DimersLabel) and all(letter in FAMILIES for letter in name) and name:
        return ", " + "–".join(FAMILIES[letter] for letter in name)
    return f", {name}" if name else ""
