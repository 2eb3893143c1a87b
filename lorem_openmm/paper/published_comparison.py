"""Tables of errors read from the evaluations of runs, the paper's numbers beside them."""

import math
from typing import Any

from lorem_openmm.config import Config
from lorem_openmm.errors import ConfigError, ModelFileError
from lorem_openmm.files import read_json
from lorem_openmm.layout import Layout
from lorem_openmm.paper.published_errors import published_rmse, variant
from lorem_openmm.paper.sections import ClassesStudy, ErrorsStudy


def error_table(settings: Config, study: ErrorsStudy, layout: Layout) -> list[dict[str, Any]]:
    """Returns RMSE and MAE of each run on each of its data sets, energies in meV/atom, forces in meV/Å.

    Args:
        settings: The whole configuration.
        study: Runs and split.
        layout: Where the evaluations are.

    Raises:
        ModelFileError: If a run was not evaluated.
    """
    rows = []
    for run in study.runs:
        model = settings.models[settings.runs[run].model]
        for dataset, splits in _metrics(layout, run)["errors"].items():
            split = study.split if study.split in splits else "validation"
            if split not in splits:
                continue
            errors = splits[split]
            published = published_rmse(dataset, model)
            rows.append(
                {
                    "data set": dataset,
                    "split": split,
                    "run": run,
                    "long range": variant(model) if model.long_range else "none",
                    "layers": model.num_message_passing + 1,
                    "cutoff (Å)": model.cutoff,
                    "E RMSE (meV/atom)": errors["energy_rmse"],
                    "F RMSE (meV/Å)": errors["forces_rmse"],
                    "E MAE (meV/atom)": errors["energy_mae"],
                    "F MAE (meV/Å)": errors["forces_mae"],
                    "paper: E RMSE": "" if published is None else published[0],
                    "paper: F RMSE": "" if published is None else published[1],
                }
            )
    return rows


def class_table(study: ClassesStudy, layout: Layout) -> list[dict[str, Any]]:
    """Returns the errors of each run by class: energies in meV/atom, forces in meV/Å.

    Args:
        study: Runs, data set and split.
        layout: Where the evaluations are.

    Raises:
        ConfigError: If the data set has no classes in this split.
        ModelFileError: If a run was not evaluated.
    """
    rows = []
    for run in study.runs:
        for row in _metrics(layout, run)["rows"]:
            wanted = (study.dataset, study.split, "class")
            if (row["dataset"], row["split"], row["group"]) == wanted:
                rows.append(
                    {
                        "class": row["class"],
                        "run": run,
                        "structures": row["n_structures"],
                        "E MAE (meV/atom)": row["energy_mae"],
                        "F MAE (meV/Å)": row["forces_mae"],
                        "F RMSE (meV/Å)": row["forces_rmse"],
                    }
                )
    if not rows:
        raise ConfigError(
            f"study: data set '{study.dataset}' must have a `class_key` and structures in the split '{study.split}' "
            f"that {', '.join(study.runs)} were evaluated on; none were found. Correct the study or the data set."
        )
    return sorted(rows, key=lambda row: row["class"])


def by_class(rows: list[dict[str, Any]], runs: list[str]) -> tuple[list[str], dict[str, list[float]]]:
    """Returns the classes and, by run, the force MAE of each; NaN where there is none.

    Args:
        rows: Result of :func:`class_table`.
        runs: Names of the runs.
    """
    names = list(dict.fromkeys(row["class"] for row in rows))
    found = {(row["run"], row["class"]): row["F MAE (meV/Å)"] for row in rows}
    return names, {run: [found.get((run, name), math.nan) for name in names] for run in runs}


def _metrics(layout: Layout, run: str) -> Any:
    path = layout.evaluation(run) / "metrics.json"
    if not path.is_file():
        raise ModelFileError(f"{path}: is missing. Run `lorem-openmm evaluate {run}` first.")
    return read_json(path)
