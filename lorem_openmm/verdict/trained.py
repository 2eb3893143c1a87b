"""What was trained, and which of it is there for comparison only."""

import csv
from typing import Any

from lorem_openmm import config
from lorem_openmm.layout import Layout
from lorem_openmm.verdict.lines import read_optional


def for_comparison(settings: config.Config, run_name: str) -> bool:
    """Whether a run shows what long range buys: without it, beside one with it on the same data, and used by nothing.

    Args:
        settings: The whole configuration.
        run_name: Name of an entry of ``runs``.
    """
    run = settings.runs[run_name]
    if settings.models[run.model].long_range:
        return False
    used = {dynamics.run for dynamics in (*settings.simulations.values(), *settings.umbrellas.values())}
    beside = any(
        settings.models[other.model].long_range and set(run.datasets) <= set(other.datasets)
        for other in settings.runs.values()
    )
    return beside and run_name not in used


def describe_runs(settings: config.Config, layout: Layout) -> list[dict[str, Any]]:
    """Returns a record per run: data, numbers of structures, model, epochs and time.

    Args:
        settings: The whole configuration.
        layout: Where everything is.

    Raises:
        DataError: If a file that should be JSON is not.
    """
    return [_describe(settings, name, layout) for name in settings.runs]


def _describe(settings: config.Config, name: str, layout: Layout) -> dict[str, Any]:
    run = settings.runs[name]
    model = settings.models[run.model]
    reports = [read_optional(layout.store(dataset).with_suffix(".json")) for dataset in run.datasets]
    counts = [report["counts"] for report in reports if report is not None]
    table = layout.run(name) / "metrics.csv"
    rows = list(csv.DictReader(table.read_text(encoding="utf-8").splitlines())) if table.is_file() else []
    seconds = [float(row["seconds"]) for row in rows if row.get("seconds")]
    result = read_optional(layout.run(name) / "result.json")
    return {
        "run": name,
        "datasets": run.datasets,
        "structures": {
            split: sum(count.get(split, 0) for count in counts) if counts else None
            for split in ("train", "validation", "test")
        },
        "long_range": bool(model.long_range),
        "cutoff": model.cutoff,
        "num_features": model.num_features,
        "max_degree": model.max_degree,
        "epochs": len(rows) or None,
        "best_epoch": result.get("epoch") if result else None,
        "minutes": sum(seconds) / 60 if seconds else None,
        "for_comparison": for_comparison(settings, name),
    }
