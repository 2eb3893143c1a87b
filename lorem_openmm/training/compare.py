"""Several runs side by side: the same figures with all of them, and how much lower their errors are."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lorem_openmm import config
from lorem_openmm.data.store import Store, read_store
from lorem_openmm.errors import ConfigError
from lorem_openmm.files import write_json, write_text
from lorem_openmm.layout import Layout
from lorem_openmm.tables import as_csv, as_markdown
from lorem_openmm.training import plots
from lorem_openmm.training.error_tables import BEYOND, KEYS, error_rows
from lorem_openmm.training.evaluate import finite
from lorem_openmm.training.predictions import Predictions, find_fragments, read_predictions

ERRORS = ("energy_rmse", "forces_rmse", "fragment_force_rmse")


def compare_runs(settings: config.Config, names: Sequence[str], layout: Layout) -> dict[str, Any]:
    """Draws and tabulates evaluated runs side by side on every data set that some of them share.

    On each data set the first run without long range is the reference of the comparison; if there is none, the first
    run.

    Args:
        settings: The whole configuration.
        names: Entries of ``runs``.
        layout: Where the evaluations are, and where to write.

    Raises:
        ConfigError: If there is nothing to compare.
        ModelFileError: If a run was not evaluated.
    """
    datasets: dict[str, list[str]] = {}
    for name in names:
        for dataset in settings.runs[name].datasets:
            datasets.setdefault(dataset, []).append(name)
    if not datasets:
        raise ConfigError("compare: name at least one run of the configuration.")
    rows: list[dict[str, Any]] = []
    for dataset, runs in datasets.items():
        store = read_store(layout.store(dataset))
        models = {name: settings.models[settings.runs[name].model] for name in runs}
        short = [name for name in runs if not models[name].long_range]
        ordered = [*short[:1], *(name for name in runs if name not in short[:1])]
        predictions = {
            name: read_predictions(layout.evaluation(name) / f"predictions_{dataset}.safetensors", store)
            for name in ordered
        }
        rows += _compare(store, predictions, max(model.cutoff for model in models.values()), layout.comparison)
    result = {"rows": rows, "gains": _gains(rows)}
    write_text(layout.comparison / "errors.csv", as_csv(rows))
    write_text(layout.comparison / "errors.md", as_markdown(_main_comparison(rows)))
    write_json(layout.comparison / "gains.json", finite(result["gains"]))
    return result


def _compare(store: Store, runs: Mapping[str, Predictions], cutoff: float, output: Path) -> list[dict[str, Any]]:
    """Draws the figures of a data set with several runs and returns their errors with ratios to the first run.

    ``*_gain`` = error of the first run / error of this run.
    """
    fragments = find_fragments(store, cutoff)
    plots.all_figures(output, store, runs, fragments)
    reference: dict[tuple[Any, ...], dict[str, Any]] = {}
    rows = []
    for name, predictions in runs.items():
        for row in error_rows(store, predictions, fragments):
            key = tuple(row[column] for column in KEYS)
            first = reference.setdefault(key, row)
            ratios = {error.replace("rmse", "gain"): first[error] / row[error] for error in ERRORS if row.get(error)}
            rows.append({"run": name, **row, **ratios})
    return rows


def _gains(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Returns, beyond the cutoff in the test set, how many times lower the errors are: by data set, run and class."""
    result: dict[str, Any] = {}
    for row in rows:
        if row["split"] == "test" and row["group"].startswith(BEYOND):
            values = {key: value for key, value in row.items() if key.endswith("_gain") or key in ERRORS}
            by_run = result.setdefault(row["dataset"], {}).setdefault(row["run"], {})
            by_run[row["class"] or "all"] = {"n_structures": row["n_structures"], **values}
    return result


def _main_comparison(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Returns the test errors of all runs, as a whole and beyond the cutoff by class."""
    columns = (*ERRORS, "forces_gain", "fragment_force_gain")
    chosen = [row for row in rows if row["split"] == "test" and "separation" not in row["group"]]
    chosen.sort(key=lambda row: (row["dataset"], row["group"], row["class"]))
    names = ("dataset", "group", "class", "run", "n_structures")
    return [{key: row[key] for key in names} | {key: row.get(key, "") for key in columns} for row in chosen]
