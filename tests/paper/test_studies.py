"""Every kind of study on a run that was really trained, small as it is, and the paper's studies as a graph of jobs."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from small_training import prepare_dimers, settings

from lorem_openmm import config, whole_config
from lorem_openmm.cli import main
from lorem_openmm.data.prepare import largest_cutoff
from lorem_openmm.errors import ConfigError, ModelFileError
from lorem_openmm.layout import Layout
from lorem_openmm.paper import sections
from lorem_openmm.paper.studies import run_study
from lorem_openmm.training.evaluate import evaluate_run
from lorem_openmm.training.train import train

ROOT = Path(__file__).resolve().parents[2]
DIMERS = {"runs": ["small"], "dataset": "dimers", "curve_by": "dimer_id"}
STUDIES = {
    "table1": {"kind": "errors", "runs": ["small"]},
    "classes": {"kind": "classes", "runs": ["small"], "dataset": "dimers"},
    "distances": {"kind": "distance", "zero": "farthest", **DIMERS},
    "reaction": {"kind": "reaction", **DIMERS, "coordinate": "separation", "only": {"label": "OO"}},
    "angle": {"kind": "dihedral", **DIMERS, "coordinate": "separation_growth", "only": {"dimer_id": 1}},
    "layers": {
        "kind": "receptive_field",
        **DIMERS,
        "coordinate": "separation",
        "ends": [[0], [3]],
        "only": {"dimer_id": 0},
    },
    "degrees": {"kind": "charge_degree", **DIMERS, "coordinate": "separation"},
    "symmetry": {"kind": "symmetry", "runs": ["small"], "dataset": "dimers", "num_structures": 2},
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("studies")
    values = settings(epochs=2).model_dump(mode="json", exclude_defaults=True)
    values |= {"output": str(folder / "results"), "studies": STUDIES}
    for dataset in values["datasets"].values():
        dataset.update(structures=str(folder / "dimers.xyz"), class_key="label")
    (folder / "config.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    loaded = whole_config.load(folder / "config.yaml")
    layout = Layout(Path(loaded.output))
    store = layout.store("dimers")
    store.parent.mkdir(parents=True)
    prepare_dimers(folder).rename(store)
    torch.set_num_threads(1)
    train(loaded, "small", [store], layout.run("small"), device="cpu", progress=False)
    evaluate_run(loaded, "small", layout, "cpu")
    return folder / "config.yaml", loaded, layout


def _table(layout, name):
    with (layout.study(name) / "table.csv").open(encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


@pytest.mark.parametrize(
    ("name", "figure", "rows"),
    [
        ("table1", None, 1),
        ("classes", "classes", 3),
        ("distances", "curves", 12),
        ("reaction", "profile", 8),
        ("angle", "profile", 1),
        ("layers", "profiles", 1),
        ("degrees", "profile", 1),
        ("symmetry", "symmetry", 2),
    ],
)
def test_a_study_writes_its_table_and_figure(trained, capsys, name, figure, rows):
    path, _, layout = trained
    assert main(["study", name, "--config", str(path)]) == 0
    table = _table(layout, name)
    assert len(table) == rows
    written = {file.name for file in layout.study(name).iterdir()}
    assert {"table.csv", "table.md", "summary.json"} <= written
    assert figure is None or {f"{figure}.png", f"{figure}.svg"} <= written
    assert str(layout.study(name)) in capsys.readouterr().out


def test_errors_are_those_of_the_evaluation(trained):
    _, loaded, layout = trained
    row = run_study(loaded, "table1", layout)[0]
    again = evaluate_run(loaded, "small", layout, "cpu")["errors"]["dimers"]["test"]
    assert row["E RMSE (meV/atom)"] == pytest.approx(again["energy_rmse"])
    assert row["F RMSE (meV/Å)"] == pytest.approx(again["forces_rmse"])
    assert row["paper: E RMSE"] == ""


def test_what_a_model_without_long_range_could_see_is_said(trained):
    _, loaded, layout = trained
    row = run_study(loaded, "layers", layout)[0]
    assert (row["layers"], row["long range"], row["visible"]) == (1, "l=1", "yes")
    assert row["ends meet after"] == 1


def test_a_study_of_runs_or_data_that_do_not_exist_is_refused(trained):
    path, loaded, layout = trained
    values = yaml.safe_load(path.read_text(encoding="utf-8"))
    for broken, message in (({"runs": ["smal"]}, "Did you mean 'small'"), ({"dataset": "dimer"}, "named 'dimer'")):
        values["studies"] = {"bad": STUDIES["classes"] | broken}
        with pytest.raises(ConfigError, match=message):
            config.parse(sections.ConfigWithStudies, values, "test")
    values["studies"] = {"bad": STUDIES["symmetry"] | {"runs": []}}
    with pytest.raises(ConfigError, match="at least one of `runs` or `models`"):
        config.parse(sections.ConfigWithStudies, values, "test")
    elsewhere = Layout(layout.root / "elsewhere")
    with pytest.raises(ModelFileError, match="lorem-openmm evaluate small"):
        run_study(loaded, "table1", elsewhere)


@pytest.mark.slow
def test_the_cumulene_study_is_a_graph_of_its_trainings(tmp_path):
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    command = [sys.executable, "-m", "snakemake", "--snakefile", ROOT / "Snakefile", "--directory", tmp_path]
    command += ["paper_all", "-n", "--cores", "1", "--configfile", ROOT / "config" / "cumulene.yaml"]
    run = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert run.returncode == 0, run.stdout[-2000:] + run.stderr[-4000:]
    counts = dict(line.split() for line in run.stdout.splitlines() if len(line.split()) == 2)
    assert {job: counts[job] for job in ("label", "prepare", "train", "study")} == {
        "label": "4",
        "prepare": "4",
        "train": "23",
        "study": "7",
    }


def test_data_of_a_study_reach_as_far_as_its_models():
    values = settings().model_dump(mode="json", exclude_defaults=True)
    values["datasets"]["curve"] = {"structures": "curve.xyz"}
    values["models"]["far"] = {"cutoff": 6.0}
    values["runs"]["near"] = {"datasets": ["curve"], "model": "tiny", "training": "short"}
    values["runs"]["far"] = {"datasets": ["dimers"], "model": "far", "training": "short"}
    assert largest_cutoff(config.parse(sections.ConfigWithStudies, values, "test"), "curve") == 4.0
    values["studies"] = {"curve": {"kind": "distance", "runs": ["far"], "dataset": "curve"}}
    assert largest_cutoff(config.parse(sections.ConfigWithStudies, values, "test"), "curve") == 6.0
