"""The workflow for real, on a few frames: every stage, a second run that does nothing, and a user's own file."""

import json
import os
import subprocess
import sys
from pathlib import Path

import ase.io
import mdtraj
import pytest
import yaml

import lorem_openmm

ROOT = Path(__file__).resolve().parents[2]
TINY = Path(__file__).with_name("tiny.yaml")

pytestmark = pytest.mark.slow


def snakemake(folder, *arguments):
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    return subprocess.run(
        [sys.executable, "-m", "snakemake", "--snakefile", ROOT / "Snakefile", "--directory", folder, *arguments],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    pytest.importorskip("tblite", reason="the tiny pipeline labels with tblite (extra `label`)")
    folder = tmp_path_factory.mktemp("pipeline")
    run = snakemake(folder, "train_all", "--cores", "2", "--configfile", TINY)
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-6000:]
    return folder


def test_every_stage_leaves_what_it_promises(finished):
    results = finished / "results"
    assert len(ase.io.read(results / "labels" / "sn2.xyz", ":")) > 30
    metrics = json.loads((results / "evaluation" / "dimers" / "metrics.json").read_text())
    assert metrics
    assert list((results / "evaluation" / "dimers").glob("parity*.png"))
    assert list((results / "comparison").glob("*.png"))
    trajectory = mdtraj.load(
        results / "simulations" / "sn2" / "trajectory.dcd", top=results / "simulations" / "sn2" / "topology.pdb"
    )
    assert 1 <= trajectory.n_frames <= 8  # three epochs do not make a model that holds molecules together
    found = json.loads((results / "analysis" / "sn2" / "summary.json").read_text())
    assert found["n_frames"] == trajectory.n_frames
    assert set(found["verdict"]) == {"stable", "reason", "time_ps", "step", "watched"}
    assert list((results / "analysis" / "sn2").glob("*.png"))
    assert {path.name for path in (results / "umbrellas" / "sn2").iterdir()} == {"window-0", "window-1", "window-2"}
    summary = json.loads((results / "free_energy" / "sn2" / "summary.json").read_text())
    assert len(summary["left_out"]) + len(summary.get("windows", [])) == 3
    assert (results / "free_energy" / "sn2" / "profile.png").is_file() == (summary["free_energy"] is not None)
    report = (results / "report.html").read_text()
    verdict = json.loads((results / "verdict" / "verdict.json").read_text())
    assert f"{verdict['headline']}<" in report
    assert verdict["n_missing"] == 0
    assert "1 Verdict" in report
    assert ("5 Free energies" in report) == (summary["free_energy"] is not None)
    assert "What long range buys" in report


def test_model_files_carry_their_training(finished):
    for suffix in (".safetensors", ".pt"):
        potential = lorem_openmm.load(finished / "results" / "models" / f"both{suffix}")
        assert potential.metadata["electrostatics"]["trained_on"] == "vacuum"
        assert potential.metadata["training"]
        assert potential.metadata["metrics"]
        assert set(potential.species) >= {1, 6, 17}


def test_a_second_run_has_nothing_to_do(finished):
    run = snakemake(finished, "train_all", "--cores", "2", "--configfile", TINY)
    assert run.returncode == 0
    assert "Nothing to be done" in run.stdout + run.stderr


def test_a_users_own_file_trains_through_the_configuration_alone(finished, tmp_path):
    frames = ase.io.read(finished / "results" / "labels" / "dimers.xyz", ":")
    for atoms in frames:
        atoms.info = {"total": atoms.get_potential_energy(), "config_type": atoms.info["label"]}
        atoms.arrays["dft_forces"] = atoms.get_forces()
        atoms.calc = None
    ase.io.write(tmp_path / "mine.xyz", frames)
    settings = yaml.safe_load((ROOT / "config" / "custom.yaml").read_text())
    settings["datasets"]["mine"].update(energy_key="total", forces_key="dft_forces", class_key="config_type")
    settings["models"]["small"].update(max_degree=2, num_features=16, num_radial=8)
    settings["training"]["quick"].update(epochs=2, constant_epochs=0)
    (tmp_path / "my.yaml").write_text(yaml.safe_dump(settings))
    run = snakemake(tmp_path, "train_all", "--cores", "1", "--configfile", tmp_path / "my.yaml")
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-6000:]
    assert (tmp_path / "results-mine" / "models" / "mine.pt").is_file()


def test_water_goes_from_labels_to_a_density(tmp_path):
    pytest.importorskip("tblite", reason="the water is labelled with tblite (extra `label`)")
    run = snakemake(tmp_path, "train_all", "--cores", "2", "--configfile", TINY.with_name("tiny_water.yaml"))
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-6000:]
    results = tmp_path / "results"
    store = json.loads((results / "data" / "water.json").read_text())
    assert store["with_stress"] == store["counts"]["all"] == store["periodic"] == 8
    summary = json.loads((results / "analysis" / "npt" / "summary.json").read_text())["liquid"]
    assert not summary["fixed_box"]
    assert 0.2 < summary["quantities"]["density"]["value"] < 5.0
    assert (results / "analysis" / "npt" / "density.png").is_file()
    assert "liquid.csv" in (results / "report.html").read_text()


def test_a_misspelt_key_stops_before_any_work(tmp_path):
    settings = yaml.safe_load(TINY.read_text())
    settings["models"]["tiny"]["cuttoff"] = 3.0
    (tmp_path / "bad.yaml").write_text(yaml.safe_dump(settings))
    run = snakemake(tmp_path, "train_all", "--cores", "1", "--configfile", tmp_path / "bad.yaml")
    assert run.returncode != 0
    assert "models.tiny.cuttoff: unknown key. Did you mean 'cutoff'?" in run.stdout + run.stderr
    assert not (tmp_path / "results").exists()
