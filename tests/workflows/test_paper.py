"""The paper's workflow: its whole graph without data and without network, and a published set put by hand for real."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from published_formats import biodimers_text, cumulene_arrays, save

from lorem_openmm import whole_config
from lorem_openmm.cli import main
from lorem_openmm.data.prepare import prepare_dataset
from lorem_openmm.data.splits import TEST
from lorem_openmm.data.store import read_store
from lorem_openmm.model import Lorem
from lorem_openmm.published.fetch import convert

ROOT = Path(__file__).resolve().parents[2]
PAPER = ROOT / "config" / "paper.yaml"
SETS = ("mgo_surface", "nacl_cluster", "cumulene", "biodimers", "sn2_reactions")


def snakemake(folder, *arguments):
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    # A proxy that is not there: whatever asks the network fails.
    offline = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")
    return subprocess.run(
        [sys.executable, "-m", "snakemake", "--snakefile", ROOT / "Snakefile", "--directory", folder, *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "PATH": path, **offline},
        check=False,
    )


def edges(mermaid):
    names = dict(re.findall(r"(id\d+)\[(\w+)\]", mermaid))
    return {(names[first], names[second]) for first, second in re.findall(r"(id\d+) --> (id\d+)", mermaid)}


@pytest.mark.slow
def test_a_dry_run_shows_every_stage_of_every_set_and_run(tmp_path):
    settings = whole_config.load(PAPER)
    run = snakemake(tmp_path, "train_all", "-n", "--cores", "2", "--configfile", PAPER)
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-3000:]
    text = run.stdout + run.stderr
    jobs = {name: int(count) for name, count in re.findall(r"^(\w+) +(\d+)$", text, flags=re.MULTILINE)}
    n_runs = len(settings.runs)
    expected = {"fetch": len(SETS), "prepare": len(SETS), "train": n_runs, "evaluate": n_runs, "export": n_runs}
    assert jobs.items() >= expected.items()
    assert all(f"downloads/{name}.xyz" in text for name in SETS)
    assert [path.name for path in tmp_path.iterdir() if path.name != ".snakemake"] == []


@pytest.mark.slow
def test_a_file_given_takes_the_place_of_the_default_configuration(tmp_path):
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "config.yaml").write_text((ROOT / "config" / "config.yaml").read_text())
    run = snakemake(tmp_path, "train_all", "-n", "--cores", "2", "--configfile", PAPER)
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-3000:]
    assert "biodimers" in run.stdout
    assert "dimers_xtb" not in run.stdout
    default = snakemake(tmp_path, "train_all", "-n", "--cores", "2")
    assert "dimers_xtb" in default.stdout
    assert "biodimers" not in default.stdout


@pytest.mark.slow
def test_the_picture_in_the_documentation_is_this_graph(tmp_path):
    run = snakemake(tmp_path, "train_all", "--rulegraph", "mermaid-js", "--cores", "1", "--configfile", PAPER)
    (shown,) = re.findall(r"```mermaid\n(.*?)```", (ROOT / "docs" / "paper.md").read_text(), flags=re.DOTALL)
    assert len(edges(run.stdout)) > 10
    assert edges(shown) == edges(run.stdout), "paste the graph anew: the command stands above it in docs/paper.md"


def test_the_settings_are_those_of_the_papers_table():
    """Table of arXiv:2507.19382v2: optimiser, rate, epochs, batch, weights; splits of its appendix."""
    settings = whole_config.load(PAPER)
    table = {
        "mgo_surface": (4e-4, 4000, 32, 1000.0, 1.0, "linear"),
        "biodimers": (1e-4, 4000, 32, 0.5, 0.5, "linear"),
        "cumulene": (1e-3, 2000, 32, 0.5, 0.5, "linear"),
        "nacl_cluster": (1e-3, 8000, 64, 0.5, 0.5, "exponential"),
        "sn2_reactions": (1e-4, 500, 32, 0.5, 0.5, "linear"),
    }
    for name, run in settings.runs.items():
        t = settings.training[run.training]
        found = (t.learning_rate, t.epochs, t.batch_size, t.energy_weight, t.force_weight, t.schedule)
        assert found == table[run.datasets[0]], name
        assert (t.constant_epochs, t.min_learning_rate) == (10, 1e-6)
        assert t.seed == (1 if name.endswith("_seed1") else 0)
    variants = {"lorem", "lorem_l1", "lorem_l0", "lorem_short"}
    for name in SETS[:-1]:
        assert {run.model for run in settings.runs.values() if run.datasets == [name]} == variants
    counts = {"lorem": 1_021_198, "lorem_l1": 1_020_749, "lorem_l0": 1_020_300, "lorem_short": 839_129}
    for name, count in counts.items():
        assert sum(parameter.numel() for parameter in Lorem(settings.models[name]).parameters()) == count
    splits = {name: settings.datasets[name].split for name in SETS}
    assert [splits["mgo_surface"].validation_fraction, splits["mgo_surface"].test_fraction] == [0.1, 0.0]
    assert [splits["nacl_cluster"].validation_fraction, splits["nacl_cluster"].test_fraction] == [0.1, 0.0]
    assert splits["biodimers"].test_above == {"separation_growth": 4.0}
    assert (splits["biodimers"].validation_fraction, settings.datasets["biodimers"].class_key) == (0.2, "label")
    for name, expected in (("cumulene", [2000, 500, 2000]), ("sn2_reactions", [405_000, 5_000, 42_708])):
        assert [splits[name].train_count, splits[name].validation_count, splits[name].test_count] == expected


def prepared_dimers(folder, text):
    (folder / "bio_dimers.xyz").write_text(text)
    convert("biodimers", folder / "bio_dimers.xyz", folder / "dimers.xyz")
    dataset = whole_config.load(PAPER).datasets["biodimers"]
    report = prepare_dataset(dataset, "biodimers", folder / "dimers.xyz", 5.0, folder / "dimers.safetensors")
    return report, read_store(folder / "dimers.safetensors")


def test_dimers_are_divided_by_growth_and_then_class_by_class(tmp_path):
    report, store = prepared_dimers(tmp_path, biodimers_text(60))  # 7 of 10 frames are grown by at most 4 Å
    assert report["counts"] == {"all": 600, "train": 336, "validation": 84, "test": 180}
    assert set(report["classes"]) == {"AA", "CA", "CC", "CP", "PA", "PP"}
    assert all(counts == {"train": 56, "validation": 14, "test": 30} for counts in report["classes"].values())
    growth = store["info.separation_growth"]
    assert growth[store["split"] == TEST].min() > 4.0 >= growth[store["split"] != TEST].max()


@pytest.mark.reference_data
def test_published_dimers_give_seven_near_and_six_far_frames_each(tmp_path, reference_data):
    """As many as the paper has of 2,291 dimers: 16,040 and 13,743."""
    folder = reference_data / "biodimers_curves"
    names = [f"{split}-id{index}.xyz" for index in (0, 2, 3) for split in ("train", "test")]
    report, _ = prepared_dimers(tmp_path, "".join((folder / name).read_text() for name in names))
    assert report["counts"]["test"] == 18
    assert report["counts"]["train"] + report["counts"]["validation"] == 21
    assert report["periodic"] == 39


@pytest.mark.slow
def test_a_published_set_put_by_hand_goes_through_the_workflow(tmp_path, monkeypatch):
    settings = {
        "downloads": "published",
        "datasets": {
            "chains": {"registry": "cumulene", "split": {"train_count": 6, "validation_count": 2, "test_count": 3}}
        },
        "models": {"tiny": {"cutoff": 3.0}},
        "training": {"brief": {"epochs": 1}},
        "runs": {"chains": {"datasets": ["chains"], "model": "tiny", "training": "brief"}},
    }
    (tmp_path / "chains.yaml").write_text(yaml.safe_dump(settings))
    save(tmp_path / "published" / "zenodo-17130729" / "cumulene.npz", cumulene_arrays(12))
    run = snakemake(tmp_path, "fetch_all", "--cores", "1", "--configfile", tmp_path / "chains.yaml")
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-3000:]
    monkeypatch.chdir(tmp_path)
    assert main(["prepare", "chains", "--config", "results/config.json"]) == 0  # as the rule `prepare` does
    report = json.loads((tmp_path / "results" / "data" / "chains.json").read_text())
    assert report["counts"] == {"all": 11, "train": 6, "validation": 2, "test": 3}
    assert report["split"]["seed"] == 0
    assert report["elements"] == {"H": 44, "C": 99}
    assert np.all(np.array(list(report["baseline"]["energies"].values())) < 0)
    assert (tmp_path / "published" / "checksums.json").is_file()
