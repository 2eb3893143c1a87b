"""Errors, tables and figures of evaluated and compared runs."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from helpers import graph_of
from small_training import MOLECULES, settings

from lorem_openmm.data.store import Store, read_store
from lorem_openmm.errors import ModelFileError, UnknownElementError
from lorem_openmm.files import read_json
from lorem_openmm.layout import Layout
from lorem_openmm.potential import Potential
from lorem_openmm.training.checkpoints import load_best
from lorem_openmm.training.compare import compare_runs
from lorem_openmm.training.devices import choose_device
from lorem_openmm.training.dimer_curves import find_curves
from lorem_openmm.training.error_tables import separation_bins
from lorem_openmm.training.evaluate import evaluate_run, training_record
from lorem_openmm.training.predictions import (
    find_fragments,
    fragment_forces,
    is_separated,
    predict,
    read_predictions,
)
from lorem_openmm.training.train import train


@pytest.fixture(scope="module")
def evaluated(dimer_store: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Layout, dict[str, object]]:
    """Two runs, with and without long range, trained a little and evaluated."""
    layout = Layout(tmp_path_factory.mktemp("evaluated"))
    layout.store("dimers").parent.mkdir(parents=True)
    layout.store("dimers").write_bytes(dimer_store.read_bytes())
    runs = {}
    for name, long_range in (("with", True), ("without", False)):
        runs[name] = settings(3, long_range=long_range)
        train(runs[name], "small", [layout.store("dimers")], layout.run("small"), device="cpu", progress=False)
        layout.run("small").rename(layout.run(name))
    both = runs["with"].model_dump()
    both["models"] = {name: run.models["tiny"].model_dump() for name, run in runs.items()}
    both["runs"] = {name: {"datasets": ["dimers"], "model": name, "training": "short"} for name in runs}
    combined = type(runs["with"]).model_validate(both)
    for name in runs:
        evaluate_run(combined, name, layout, "cpu")
    return layout, {"settings": combined}


@pytest.fixture(scope="module")
def store(evaluated: tuple[Layout, dict[str, object]]) -> Store:
    return read_store(evaluated[0].store("dimers"))


@pytest.mark.parametrize("name", ["with", "without"])
def test_predicted_curves_are_measured_from_the_models_own_molecules(
    evaluated: tuple[Layout, dict[str, object]], store: Store, name: str
) -> None:
    layout, _ = evaluated
    potential, _ = load_best(layout.run(name))
    predictions = read_predictions(layout.evaluation(name) / "predictions_dimers.safetensors", store)
    ends = [int(curve[-1]) for curves in find_curves(store).values() for curve in curves]
    assert np.flatnonzero(np.isfinite(predictions.apart)).tolist() == sorted(ends)
    for end in ends:
        structure = store.structure(end)
        atoms = Atoms(structure.atomic_numbers, structure.positions)
        first = len(MOLECULES[str(store.classes()[end])[0]][0])
        alone = [
            potential.evaluate(graph_of(part, dtype=torch.float32)).energy.item()
            for part in (atoms[:first], atoms[first:])
        ]
        assert predictions.apart[end] == pytest.approx(sum(alone), abs=1e-4)
        if name == "without":  # nothing is felt beyond the cutoff
            assert predictions.energy[end] == pytest.approx(predictions.apart[end], abs=1e-4)


def test_metrics_equal_numpy(evaluated: tuple[Layout, dict[str, object]], store: Store) -> None:
    layout, _ = evaluated
    predictions = read_predictions(layout.evaluation("with") / "predictions_dimers.safetensors", store)
    text = (layout.evaluation("with") / "metrics.json").read_text(encoding="utf-8")
    metrics = json.loads(text, parse_constant=pytest.fail)  # JSON has no NaN
    n_atoms = np.diff(store["atom_offsets"])
    for number, split in enumerate(("train", "validation", "test")):
        chosen = store["split"] == number
        error = ((predictions.energy - store["energy"]) / n_atoms)[chosen]
        forces = (predictions.forces - store["forces"])[np.repeat(chosen, n_atoms)]
        values = metrics["errors"]["dimers"][split]
        assert values["energy_rmse"] == pytest.approx(1000 * np.sqrt(np.mean(error**2)))
        assert values["forces_mae"] == pytest.approx(1000 * np.abs(forces).mean())
        assert values["n_structures"] == chosen.sum()
    labels, separation = store.classes(), store["separation"]
    row = next(r for r in metrics["rows"] if r["class"] == "OC" and r["separation"] == "10-11")
    chosen = (labels == "OC") & (separation >= 10) & (separation < 11) & (store["split"] == 2)
    forces = (predictions.forces - store["forces"])[np.repeat(chosen, n_atoms)]
    assert row["forces_rmse"] == pytest.approx(1000 * np.sqrt(np.mean(forces**2)))


def test_evaluation_reproduces_the_validation_of_the_training(
    evaluated: tuple[Layout, dict[str, object]],
) -> None:
    layout, _ = evaluated
    best = load_best(layout.run("with"))[1]["metrics"]
    metrics = read_json(layout.evaluation("with") / "metrics.json")["errors"]["dimers"]["validation"]
    for name in ("energy_rmse", "energy_r2", "forces_mae", "forces_r2"):
        assert metrics[name] == pytest.approx(best[f"validation_{name}"], rel=1e-4), name


def test_tables_and_figures_are_written(evaluated: tuple[Layout, dict[str, object]]) -> None:
    layout, _ = evaluated
    folder = layout.evaluation("with")
    for figure in ("parity", "separation", "interaction", "curves"):
        for suffix in ("png", "svg"):
            assert (folder / f"{figure}_dimers.{suffix}").stat().st_size > 5000
    rows = list(csv.DictReader((folder / "table.csv").open()))
    assert {row["group"] for row in rows} >= {"all", "class", "separation", "class and separation", "beyond cutoff"}
    assert (folder / "table.md").read_text().count("\n") > 5


def test_fragments_are_the_molecules_once_they_are_apart(store: Store) -> None:
    fragments = find_fragments(store, 4.0)
    separated = is_separated(store, fragments)
    growth = store.info("separation_growth")
    assert separated[growth == 8.0].all()
    assert not separated[growth <= 0.5].any()
    sizes = {len(numbers) for numbers, _, _ in MOLECULES.values()}
    for index in np.flatnonzero(separated):
        atoms = slice(*store["atom_offsets"][index : index + 2])
        _, counts = np.unique(fragments[atoms], return_counts=True)
        assert set(counts) <= sizes
        assert len(counts) == 2


def test_short_range_model_has_no_force_between_fragments(
    evaluated: tuple[Layout, dict[str, object]], store: Store
) -> None:
    layout, _ = evaluated
    fragments = find_fragments(store, 4.0)
    owner = np.zeros(fragments.max() + 1, dtype=int)
    owner[fragments] = np.repeat(np.arange(len(store)), np.diff(store["atom_offsets"]))
    apart = is_separated(store, fragments)[owner]
    for name, has_force in (("with", True), ("without", False)):
        predictions = read_predictions(layout.evaluation(name) / "predictions_dimers.safetensors", store)
        forces = np.abs(fragment_forces(predictions.forces, fragments)[apart]).max(axis=1)
        assert (forces > 1e-4).all() == has_force
        assert (forces < 2e-5).all() == (not has_force)


def test_comparison(evaluated: tuple[Layout, dict[str, object]], store: Store) -> None:
    layout, extra = evaluated
    result = compare_runs(extra["settings"], ["with", "without"], layout)
    rows = list(csv.DictReader((layout.comparison / "errors.csv").open()))
    first = {row["run"]: row for row in rows if row["group"] == "all" and row["split"] == "test"}
    gain = float(first["without"]["forces_rmse"]) / float(first["with"]["forces_rmse"])
    assert float(first["with"]["forces_gain"]) == pytest.approx(gain, rel=1e-4)
    assert float(first["without"]["forces_gain"]) == 1.0
    assert set(result["gains"]["dimers"]["with"]) == {"all", "OO", "OC", "CC"}
    reference = np.sqrt(np.mean(reference_fragment_forces(store) ** 2))
    without = result["gains"]["dimers"]["without"]["all"]["fragment_force_rmse"]
    assert without == pytest.approx(1000 * reference, rel=1e-3)  # it predicts none
    assert (layout.comparison / "curves_dimers.svg").exists()
    assert "| with |" in (layout.comparison / "errors.md").read_text()


def reference_fragment_forces(store: Store) -> np.ndarray:
    """Total forces on the fragments of the separated test structures."""
    fragments = find_fragments(store, 4.0)
    structure = np.repeat(np.arange(len(store)), np.diff(store["atom_offsets"]))
    owner = np.zeros(fragments.max() + 1, dtype=int)
    owner[fragments] = structure
    chosen = is_separated(store, fragments) & (store["split"] == 2)
    return fragment_forces(store["forces"], fragments)[chosen[owner]]


def test_predictions_of_other_data_are_refused(
    evaluated: tuple[Layout, dict[str, object]], store: Store, tmp_path: Path
) -> None:
    from small_training import prepare_dimers

    layout, _ = evaluated
    path = layout.evaluation("with") / "predictions_dimers.safetensors"
    other = read_store(prepare_dimers(tmp_path, 9))
    with pytest.raises(ModelFileError, match="other data"):
        read_predictions(path, other)
    with pytest.raises(ModelFileError, match="Run `lorem-openmm evaluate`"):
        read_predictions(tmp_path / "none.safetensors", store)
    truncated = tmp_path / "truncated.safetensors"
    truncated.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(ModelFileError, match="must hold predictions"):
        read_predictions(truncated, store)


def test_unknown_element_is_refused(evaluated: tuple[Layout, dict[str, object]], store: Store) -> None:
    potential, _ = load_best(evaluated[0].run("with"))
    poorer = Potential(potential.model, {1: -13.0, 8: -2000.0})
    with pytest.raises(UnknownElementError, match="does not know C"):
        predict(poorer, store, choose_device("cpu"))


def test_training_record_names_data_and_errors(evaluated: tuple[Layout, dict[str, object]], store: Store) -> None:
    layout, extra = evaluated
    record = training_record(extra["settings"], "with", layout)
    assert record["training"]["datasets"]["dimers"]["sha256"] == store.content_hash
    assert record["training"]["settings"]["epochs"] == 3
    assert record["metrics"]["errors"]["dimers"]["test"]["forces_rmse"] > 0
    assert record["electrostatics"]["trained_on"] == "vacuum"


def test_separation_bins() -> None:
    bins, names = separation_bins(np.array([2.2, np.nan, 3.0, 13.9]))
    assert names[0] == "2-3"
    assert names[-1] == "13-14"
    assert bins.tolist() == [0, -1, 1, 11]
    wide, wide_names = separation_bins(np.array([0.0, 95.0]))
    assert wide_names[:2] == ["0-10", "10-20"]
    assert wide.tolist() == [0, 9]
    assert separation_bins(np.full(3, np.nan)) == (pytest.approx(np.full(3, -1)), [])
