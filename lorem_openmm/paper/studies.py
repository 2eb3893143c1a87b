"""Makes the tables and figures of a study."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from lorem_openmm.data.store import Store, read_store
from lorem_openmm.export import PRETRAINED, load
from lorem_openmm.files import write_json, write_text
from lorem_openmm.layout import Layout
from lorem_openmm.paper import sections
from lorem_openmm.paper import study_figures as figures
from lorem_openmm.paper.curves import Curve, curve_rows, find_curves, reaction_rows, with_predictions
from lorem_openmm.paper.dihedral import best_of_each, charge_degree_rows, dihedral_rows, receptive_grid, receptive_rows
from lorem_openmm.paper.published_comparison import by_class, class_table, error_table
from lorem_openmm.paper.published_errors import SYMMETRY_ERROR
from lorem_openmm.paper.symmetry import rotation_grid, symmetry_errors
from lorem_openmm.potential import check_species
from lorem_openmm.tables import as_csv, as_markdown
from lorem_openmm.training.checkpoints import load_best
from lorem_openmm.training.devices import choose_device
from lorem_openmm.training.evaluate import finite
from lorem_openmm.training.predictions import predict

Rows = list[dict[str, Any]]
PRECISIONS = {"float32": torch.float32, "float64": torch.float64}


class Task(NamedTuple):
    """What all kinds of studies are made from and into.

    Attributes:
        settings: The whole configuration.
        layout: Where runs, data sets and evaluations are.
        output: Folder of the study.
        place: Where models are evaluated.
    """

    settings: sections.ConfigWithStudies
    layout: Layout
    output: Path
    place: torch.device


def run_study(settings: sections.ConfigWithStudies, name: str, layout: Layout, device: str = "auto") -> Rows:
    """Writes ``table.csv``, ``table.md``, ``summary.json`` and the figures of a study.

    Args:
        settings: The whole configuration.
        name: Name of an entry of ``studies``.
        layout: Where runs, data sets and evaluations are, and where to write.
        device: cpu, cuda, or auto.

    Returns:
        The rows of the table.

    Raises:
        ConfigError: If the data set is not of the kind that the study needs.
        DataError: If a data set is missing, or lacks an info key.
        ModelFileError: If a run is not trained, or not evaluated where that is needed.
    """
    study, output = settings.studies[name], layout.study(name)
    rows = _MAKERS[study.kind](study, Task(settings, layout, output, choose_device(device)))
    write_text(output / "table.csv", as_csv(rows))
    write_text(output / "table.md", as_markdown(rows))
    write_json(output / "summary.json", finite({"study": name, **study.model_dump(mode="json"), "rows": rows}))
    return rows


def _errors(study: sections.ErrorsStudy, task: Task) -> Rows:
    return error_table(task.settings, study, task.layout)


def _classes(study: sections.ClassesStudy, task: Task) -> Rows:
    rows = class_table(study, task.layout)
    names, errors = by_class(rows, study.runs)
    figures.class_bars(task.output / "classes", names, errors)
    return rows


def _curves(study: sections.CurveStudy, task: Task) -> tuple[Store, list[Curve]]:
    """The curves of a study with the predictions of its runs."""
    store = read_store(task.layout.store(study.dataset))
    curves = find_curves(store, study)
    energies = {run: predict(load_best(task.layout.run(run))[0], store, task.place).energy for run in study.runs}
    return store, with_predictions(curves, energies)


def _axis(study: sections.CurveStudy) -> str:
    return f"{study.coordinate.replace('_', ' ')} ({study.unit})"


def _dihedral(study: sections.DihedralStudy, task: Task) -> Rows:
    _, curves = _curves(study, task)
    figures.curves_figure(task.output / "profile", curves, _axis(study), "minimum")
    return dihedral_rows(curves, study.resolved_below)


def _receptive_field(study: sections.ReceptiveFieldStudy, task: Task) -> Rows:
    store, curves = _curves(study, task)
    models = {run: task.settings.models[task.settings.runs[run].model] for run in study.runs}
    rows = receptive_rows(store, curves[0], models, study)
    best = best_of_each(rows)
    write_text(task.output / "grid.md", as_markdown(receptive_grid(best)))
    write_text(task.output / "grid.csv", as_csv(receptive_grid(best)))
    groups: dict[str, dict[str, str]] = {}
    for row in best:
        groups.setdefault(f"cutoff {row['cutoff (Å)']:g} Å", {})[row["run"]] = row["model"]
    figures.receptive_figure(task.output / "profiles", curves[0], groups, _axis(study))
    return rows


def _charge_degree(study: sections.ChargeDegreeStudy, task: Task) -> Rows:
    _, curves = _curves(study, task)
    figures.curves_figure(task.output / "profile", curves, _axis(study), "minimum")
    errors = error_table(task.settings, sections.ErrorsStudy(kind="errors", runs=study.runs), task.layout)
    return charge_degree_rows(errors, dihedral_rows(curves, study.resolved_below))


def _distance(study: sections.DistanceStudy, task: Task) -> Rows:
    _, curves = _curves(study, task)
    figures.curves_figure(task.output / "curves", curves, _axis(study), study.zero, mark_minima=True)
    return curve_rows(curves, study.zero)


def _reaction(study: sections.ReactionStudy, task: Task) -> Rows:
    _, curves = _curves(study, task)
    zero = "farthest" if study.reactants == "highest" else "nearest"
    figures.curves_figure(task.output / "profile", curves, _axis(study), zero)
    return reaction_rows(curves, study.reactants)


def _symmetry(study: sections.SymmetryStudy, task: Task) -> Rows:
    store = read_store(task.layout.store(study.dataset))
    indices = store.indices(study.split)
    chosen = (indices if len(indices) else store.indices("train"))[: study.num_structures]
    structures = [store.structure(int(index)) for index in chosen]
    rotations = rotation_grid(study.degree)
    transformations = np.concatenate([rotations, -rotations])
    sources: dict[str, Path | str] = {run: run for run in study.runs}
    for model in study.models:
        path = PRETRAINED if model == sections.SHIPPED_MODEL else Path(model)
        sources[path.stem] = path
    sizes = np.array([len(structure.positions) for structure in structures])
    rows, errors = [], {}
    for name, source in sources.items():
        for precision, dtype in PRECISIONS.items():
            potential = load(source) if isinstance(source, Path) else load_best(task.layout.run(source))[0]
            check_species(potential.species, store.elements)
            found = symmetry_errors(potential, structures, transformations, dtype)
            errors[f"{name}, {precision}"] = found
            rows.append(
                {
                    "model": name,
                    "precision": precision,
                    "structures": len(structures),
                    "transformations": len(transformations),
                    "mean |ΔE| (meV)": float(found.mean()),
                    "mean |ΔE| (meV/atom)": float((found / sizes[:, None]).mean()),
                    "largest |ΔE| (meV)": float(found.max()),
                    "paper: mean (meV)": SYMMETRY_ERROR[precision],
                }
            )
    figures.symmetry_figure(task.output / "symmetry", errors)
    return rows


_MAKERS: dict[str, Callable[..., Rows]] = {
    "errors": _errors,
    "classes": _classes,
    "dihedral": _dihedral,
    "receptive_field": _receptive_field,
    "charge_degree": _charge_degree,
    "distance": _distance,
    "reaction": _reaction,
    "symmetry": _symmetry,
}
