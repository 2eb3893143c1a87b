"""Dry runs with the profiles: which resources the jobs ask for and what they call."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
PROFILES = ROOT / "config" / "profiles"
pytestmark = pytest.mark.slow
TINY = Path(__file__).with_name("tiny.yaml")


def dry_run(folder: Path, profile: Path, configuration: Path = TINY) -> dict[str, str]:
    """The text of one job of each rule, of each run for trainings (``train dimers``)."""
    options = ("--configfile", configuration, "--directory", folder, "--profile", profile, "--cores", "32")
    run = subprocess.run(
        [sys.executable, "-m", "snakemake", "train_all", "-n", "-p", "--snakefile", ROOT / "Snakefile", *options],
        capture_output=True,
        text=True,
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"},
        check=False,
    )
    assert run.returncode == 0, run.stdout[-2000:] + run.stderr[-2000:]
    jobs: dict[str, str] = {}
    for part in (run.stdout + run.stderr).split("\nrule ")[1:]:
        jobs[part.partition(":")[0]] = part
        if "wildcards: run=" in part:
            jobs[f"{part.partition(':')[0]} {part.partition('run=')[2].split()[0]}"] = part
    return jobs


def changed(source: Path, folder: Path, **resources: dict[str, int]) -> Path:
    """A copy of a profile with other resources of some rules."""
    profile = yaml.safe_load((source / "config.yaml").read_text())
    for rule, values in resources.items():
        profile["set-resources"][rule].update(values)
    folder.mkdir()
    (folder / "config.yaml").write_text(yaml.safe_dump(profile))
    return folder


@pytest.mark.skipif(not find_spec("snakemake_executor_plugin_slurm"), reason="needs the extra `slurm`")
def test_slurm(tmp_path: Path) -> None:
    profile = changed(PROFILES / "slurm", tmp_path / "profile", train={"gpu": 4})
    jobs = dry_run(tmp_path, profile)
    for rule in ("train", "evaluate", "simulate", "window", "free_energy"):
        assert "slurm_partition=gpu" in jobs[rule]
        assert "gpu=" in jobs[rule]
    for rule in ("label", "prepare", "analyze", "compare"):
        assert "slurm_partition=cpu" in jobs[rule]
        assert "gpu=" not in jobs[rule]
    assert "threads: 32" in jobs["label"]
    assert "threads: 8" in jobs["train"]
    assert all("slurm_account=my_account" in job and "runtime=" in job for job in jobs.values())
    for text in ("gpu=4", "nodes=1", "runtime=1440", "mem_mb=64000", "--devices 4"):
        assert text in jobs["train"]


def test_local_gpu_and_initial_models(tmp_path: Path) -> None:
    settings = yaml.safe_load(TINY.read_text())
    settings["runs"]["tuned"] = {**settings["runs"]["dimers"], "initial_model": "results/models/both.safetensors"}
    settings["runs"]["from_jax"] = {**settings["runs"]["dimers"], "initial_model": "checkpoint"}
    (tmp_path / "checkpoint" / "model").mkdir(parents=True)
    for name in ("model.yaml", "model.msgpack", "baseline.yaml"):
        (tmp_path / "checkpoint" / "model" / name).touch()
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(settings))
    jobs = dry_run(tmp_path, PROFILES / "local-gpu", tmp_path / "c.yaml")
    for rule in ("train", "evaluate", "simulate", "window", "free_energy"):
        assert "gpu=1" in jobs[rule]
    assert "gpu=" not in jobs["label"]
    assert "--devices 1" in jobs["train"]
    assert "results/models/both.safetensors" in jobs["train tuned"].partition("output:")[0]
    assert "checkpoint/model/model.msgpack" in jobs["train from_jax"].partition("output:")[0]
    assert "models" not in jobs["train both"].partition("output:")[0]
