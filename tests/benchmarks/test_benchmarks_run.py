"""The benchmarks run and write what figures and tables read; how long anything takes is not a test."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


def run(script: str, *options: str) -> str:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    found = subprocess.run(
        [sys.executable, str(BENCHMARKS / script), *options],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
        timeout=300,
    )
    assert found.returncode == 0, found.stderr[-2000:]
    return found.stdout


def test_table_scale_and_figures(tmp_path):
    names = ["model call", "ASE", "OpenMM PythonForce"]
    short = ["--bursts", "2", "--length", "2", "--threads", "1"]
    printed = run(
        "table.py", "--structures", "sn2", "--contestants", *names, *short, "--output", str(tmp_path / "table.json")
    )
    results = json.loads((tmp_path / "table.json").read_text())
    assert results["machine"]["versions"]["ours"]["torch"]
    for name in names:
        found = results["structures"]["sn2"]["contestants"][name]
        assert len(found["seconds"]) == 2
        assert min(found["seconds"]) > 0
        assert found["peak_mb"] > found["base_mb"] > 0
        assert f"| {name} |" in printed
    scale = ["--structures", "sn2", "water192", "--bursts", "1", "--threads", "1"]
    run("scale.py", *scale, "--output", str(tmp_path / "scale.json"))
    results = json.loads((tmp_path / "scale.json").read_text())
    assert results["exponent"] > 0
    assert [row["n_atoms"] for row in results["sizes"]] == [6, 192]
    run("figures.py", "--results", str(tmp_path), "--output", str(tmp_path))
    assert (tmp_path / "performance-table.png").stat().st_size > 1000
    assert (tmp_path / "performance-scale.png").stat().st_size > 1000


def test_long_run(tmp_path):
    run("steady.py", "--steps", "100", "--output", str(tmp_path / "steady.json"))
    results = json.loads((tmp_path / "steady.json").read_text())
    assert len(results["blocks"]) == 50
    assert results["rss_mb_last_over_first"] > 0


def test_profile_names_the_parts(tmp_path):
    output = str(tmp_path / "profile.json")
    printed = run("profile_step.py", "--structure", "sn2", "--steps", "2", "--output", output)
    assert json.loads(Path(output).read_text())["parts_ms"]["Perceptron"] > 0
    assert "ReflectionProduct" in printed
    assert "aten::bmm" in printed


def test_optimizers_take_turns(tmp_path):
    printed = run("optimizer_step.py", "--structures", "2", "--turns", "1", "--output", str(tmp_path / "step.json"))
    times = json.loads((tmp_path / "step.json").read_text())["times"]
    assert min(found["fastest_ms"] for found in times.values()) > 0
    assert all(f"| {name} |" in printed for name in ("adam", "lamb", "muon", "rotation of a batch"))


@pytest.mark.parity
def test_lorem_jax_takes_its_turns(tmp_path):
    python = Path(os.environ.get("LOREM_JAX_PYTHON", BENCHMARKS.parent / ".venv-parity/bin/python"))
    if not python.exists():
        pytest.skip("no lorem-jax environment: make parity-env")
    options = ["--contestants", "lorem-jax, ASE", "ASE", "--bursts", "2", "--length", "2"]
    printed = run("table.py", "--structures", "sn2", *options, "--output", str(tmp_path / "table.json"))
    assert "×" in printed


def test_training_steps(tmp_path):
    options = ["--contestants", "lorem-openmm", "--threads", "1", "--bursts", "1", "--length", "2"]
    printed = run("training.py", "--batches", "cumulenes", *options, "--output", str(tmp_path / "training.json"))
    found = json.loads((tmp_path / "training.json").read_text())["batches"]["cumulenes"]
    assert found["batch_size"] == 32
    assert found["contestants"]["lorem-openmm"]["seconds"][0] > 0
    assert "structures/s" in printed
