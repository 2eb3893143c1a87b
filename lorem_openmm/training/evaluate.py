"""Errors of a trained run: by split, by class, by separation, and beyond the cutoff; tables and figures."""

import math
from typing import Any

import numpy as np

from lorem_openmm import config
from lorem_openmm.data.store import read_store
from lorem_openmm.files import read_json, write_json, write_text
from lorem_openmm.layout import Layout
from lorem_openmm.tables import as_csv, as_markdown
from lorem_openmm.training import plots
from lorem_openmm.training.checkpoints import load_best
from lorem_openmm.training.devices import choose_device
from lorem_openmm.training.error_tables import error_rows, main_rows, nested
from lorem_openmm.training.metrics import UNITS
from lorem_openmm.training.predictions import find_fragments, predict, save_predictions


def evaluate_run(settings: config.Config, run_name: str, layout: Layout, device: str = "auto") -> dict[str, Any]:
    """Writes errors, predictions and figures of the selected weights of a run on its data sets.

    ``metrics.json`` and ``table.csv`` hold RMSE, MAE and R² by split, class, separation and both; ``table.md`` the
    main ones; ``predictions_<data set>.safetensors`` energies and forces; and ``parity_``, ``curves_``, ``profile_``
    and ``separation_<data set>`` figures as PNG and SVG, as far as the data set has what they show.

    Args:
        settings: The whole configuration.
        run_name: Name of an entry of ``runs``.
        layout: Where the run is, and where to write.
        device: cpu, cuda, or auto.

    Returns:
        What ``metrics.json`` holds.
    """
    potential, about = load_best(layout.run(run_name))
    stores = [read_store(layout.store(name)) for name in settings.runs[run_name].datasets]
    place, output = choose_device(device), layout.evaluation(run_name)
    rows: list[dict[str, Any]] = []
    for store in stores:
        predictions = predict(potential, store, place)
        save_predictions(output / f"predictions_{store.metadata['name']}.safetensors", predictions, store)
        fragments = find_fragments(store, potential.cutoff)
        rows += error_rows(store, predictions, fragments)
        plots.all_figures(output, store, {run_name: predictions}, fragments)
    units = {**UNITS, "fragment_force": "meV/Å"}
    result = {"run": run_name, "units": units, "errors": nested(rows), "rows": rows, "epoch": about["epoch"]}
    result = finite(result)
    write_text(output / "table.csv", as_csv(rows))
    write_text(output / "table.md", as_markdown(main_rows(rows)))
    write_json(output / "metrics.json", result)
    return result


def finite(value: Any) -> Any:
    """Returns JSON data with NaN and infinities as null, which JSON lacks.

    Args:
        value: Plain data.
    """
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def training_record(settings: config.Config, run_name: str, layout: Layout) -> dict[str, Any]:
    """Returns what a model file says of its training: settings, data and their hashes, errors, periodic or not.

    Args:
        settings: The whole configuration.
        run_name: Name of an entry of ``runs``.
        layout: Where the run and its evaluation are.
    """
    run = settings.runs[run_name]
    _, about = load_best(layout.run(run_name))
    stores = [read_store(layout.store(name)) for name in run.datasets]
    periodic = np.concatenate([store["periodic"] for store in stores])
    metrics = layout.evaluation(run_name) / "metrics.json"
    return {
        "training": {
            "run": run_name,
            "epoch": about["epoch"],
            "settings": settings.training[run.training].model_dump(),
            "initial_weights_sha256": about["identity"].get("initial.weights (sha256)"),
            "datasets": {
                store.metadata["name"]: {"sha256": store.content_hash, "sources": store.metadata["sources"]}
                for store in stores
            },
        },
        "metrics": {"units": UNITS, "errors": read_json(metrics)["errors"]} if metrics.exists() else {},
        "electrostatics": {"trained_on": _trained_on(periodic)},
    }


def _trained_on(periodic: np.ndarray) -> str:
    if periodic.all():
        return "periodic"
    return "both" if periodic.any() else "vacuum"
