"""The comparison of learning with lorem-jax runs on tiny settings; what it finds there means nothing."""

import json
import os
import subprocess
import sys
from pathlib import Path

import ase.io
import numpy as np
import pytest
import yaml
from ase import Atoms
from ase.build import molecule
from ase.calculators.morse import MorsePotential
from ase.calculators.singlepoint import SinglePointCalculator

LEARNING = Path(__file__).resolve().parents[2] / "benchmarks" / "learning"
FAST_COMPILATION = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"


def run(script: str, *options: object, fails: bool = False) -> str:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "XLA_FLAGS": FAST_COMPILATION}
    found = subprocess.run(
        [sys.executable, LEARNING / script, *map(str, options)],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
        timeout=900,
    )
    assert (found.returncode != 0) == fails, found.stdout[-1000:] + found.stderr[-2000:]
    return found.stdout + found.stderr


def labelled(name: str, seed: int) -> Atoms:
    atoms = molecule(name)
    atoms.rattle(0.1, seed=seed)
    atoms.set_cell(np.eye(3) * 30)
    atoms.pbc = True
    atoms.calc = MorsePotential(epsilon=0.3, r0=1.4, rho0=2.0, rcut1=3.0, rcut2=3.9)
    energy = atoms.get_potential_energy() - 1000.0 * len(atoms)
    atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=atoms.get_forces())
    return atoms


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A prepared comparison: six structures for training, three for validation, one test structure."""
    frames = [labelled("CH3OH" if seed % 2 else "H2CO", seed) for seed in range(10)]
    (tmp_path / "data" / "tiny").mkdir(parents=True)
    ase.io.write(tmp_path / "data" / "tiny" / "near.xyz", frames[:9], format="extxyz")
    ase.io.write(tmp_path / "data" / "tiny" / "far.xyz", frames[9:], format="extxyz")
    description = {
        "name": "tiny",
        "folder": "tiny",
        "train": ["near.xyz"],
        "validation_frames": [1, 4, 6],
        "test": ["far.xyz"],
        "model": {"cutoff": 3.0, "max_degree": 1, "max_charge_degree": 0, "num_features": 4, "num_radial": 4},
        "training": {"epochs": 4, "batch_size": 3, "constant_epochs": 1, "validate_every": 2},
        "seeds": [2],
    }
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(description))
    options = ("--data", tmp_path / "data", "--output", tmp_path / "runs")
    run("prepare.py", tmp_path / "tiny.yaml", *options)
    description["training"]["batch_size"] = 2
    (tmp_path / "wrong.yaml").write_text(yaml.safe_dump(description))
    refused = run("prepare.py", tmp_path / "wrong.yaml", *options[:2], "--output", tmp_path / "wrong", fails=True)
    assert "batch_size must divide the 6 training structures" in refused
    return tmp_path / "runs"


def check_settings(folder: Path) -> None:
    theirs = yaml.safe_load((folder / "theirs" / "seed-2" / "settings.yaml").read_text())
    assert theirs["batcher"] == {"batch_size": 4, "drop_remainder": False}
    assert theirs["start_decay_after"] == 1
    assert theirs["seed"] == 2
    ours = yaml.safe_load((folder / "ours.yaml").read_text())
    assert ours["training"]["seed_2"]["seed"] == 2
    frames = {split: ase.io.read(folder / "frames" / f"{split}.xyz", ":") for split in ("train", "validation", "test")}
    assert {split: len(found) for split, found in frames.items()} == {"train": 6, "validation": 3, "test": 1}
    assert not any(atoms.pbc.any() for found in frames.values() for atoms in found)
    np.testing.assert_allclose(frames["validation"][1].positions, labelled("H2CO", 4).positions, atol=1e-7)


@pytest.mark.slow
def test_ours_runs(folder):
    check_settings(folder)
    run("run_ours.py", folder)
    output = folder / "ours" / "runs" / "seed_2"
    assert json.loads((output / "record.json").read_text())["seconds"] > 0
    assert (output / "checkpoints" / "best.ckpt").exists()
    assert len((output / "metrics.csv").read_text().splitlines()) == 5


@pytest.mark.parity
@pytest.mark.slow
@pytest.mark.skipif(
    os.environ.get("LOREM_PARITY_FULL", "0") in ("", "0"),
    reason="a minute and a half of compilation by lorem-jax: part of `make parity` (LOREM_PARITY_FULL=1)",
)
def test_both_run_and_compare(folder):
    python = Path(os.environ.get("LOREM_JAX_PYTHON") or LEARNING.parents[1] / ".venv-parity" / "bin" / "python")
    if not python.exists():
        pytest.skip("no lorem-jax environment: make parity-env")
    run("run_ours.py", folder)
    run("run_theirs.py", folder)
    check_comparison(folder, run("compare.py", folder))


def check_comparison(folder: Path, printed: str) -> None:
    assert "| test, force RMSE (meV/Å) |" in printed
    assert (folder / "learning-tiny.png").stat().st_size > 1000
    result = json.loads((folder / "comparison.json").read_text())
    for code in ("ours", "theirs"):
        for found in result[code]:
            assert found["epochs"] == [2, 4]  # the last epoch is validated by both
            assert found["seconds_per_epoch"] > 0
            assert found["epoch"] in (2, 4)
            selected = found["curves"]["validation_forces_rmse"][found["epoch"] // 2 - 1]
            assert found["errors"]["validation"]["forces_rmse"] == pytest.approx(
                selected, rel=1e-2
            )  # logged as 1.23e+02
    for found in result["theirs"]:
        assert found["baseline_off"] < 1e-8
        for name, value in found["reported"].items():
            assert found["errors"]["validation"][name] == pytest.approx(value, rel=1e-3)
