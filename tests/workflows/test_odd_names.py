"""Names, folders and given files that a shell or Snakemake would read otherwise."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import ase.io
import pytest
import yaml
from small_training import dimer

ROOT = Path(__file__).resolve().parents[2]
RULES = sorted((ROOT / "workflows").glob("*.smk"))
NUMBERS = {"threads", "resources.gpu"}  # Snakemake's own, which need no quotes
SHELL = re.compile(r'^    shell:\n((?:        ".*"\n)+)', re.MULTILINE)


def snakemake(folder: Path, *arguments: str) -> str:
    run = subprocess.run(
        [sys.executable, "-m", "snakemake", *arguments],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
        },
        check=False,
    )
    return f"{run.stdout}\nexit code {run.returncode}"


@pytest.mark.parametrize("path", RULES, ids=lambda path: path.stem)
def test_what_goes_into_a_shell_is_quoted(path: Path) -> None:
    text = path.read_text()
    commands = SHELL.findall(text)
    assert len(commands) == text.count("shell:")
    places = [place for command in commands for place in re.findall(r"\{(.*?)\}", command)]
    assert [place for place in places if not place.endswith(":q") and place not in NUMBERS] == []


def write_project(folder: Path, settings: dict[str, object]) -> None:
    folder.mkdir()
    for name in ("Snakefile", "workflows", "envs"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, folder / name)
    frames = [dimer("OO", number, growth) for number in range(4) for growth in (0.0, 0.5, 1.0, 2.0)]
    ase.io.write(folder / "it's mine.xyz", frames, format="extxyz")
    (folder / "start 1.xyz").write_text("3\n\nO 0 0 0\nH 0.76 0.59 0\nH -0.76 0.59 0\n")
    (folder / "a b.yaml").write_text(yaml.safe_dump(settings, allow_unicode=True))


def odd_settings(start: str = "start 1.xyz") -> dict[str, object]:
    data, run, simulation = "da ta's", 'my "run" #1; (é) & `x`', "s @* [1]"
    model = {
        "cutoff": 3.0,
        "max_degree": 1,
        "max_charge_degree": 1,
        "num_features": 8,
        "num_radial": 4,
        "num_spherical_features": 2,
    }
    split = {"validation_fraction": 0.2, "test_fraction": 0.2}
    dynamics = {"run": run, "start": start, "steps": 4, "report_interval": 2, "on_unstable": "report"}
    return {
        "output": "res's (1) [x] & ; ü",
        "datasets": {data: {"structures": "it's mine.xyz", "split": split}},
        "models": {"m m": model},
        "training": {"t'": {"epochs": 1, "batch_size": 4, "constant_epochs": 0}},
        "runs": {run: {"datasets": [data], "model": "m m", "training": "t'"}},
        "simulations": {simulation: dynamics},
    }


@pytest.mark.slow
def test_odd_names_go_through_the_workflow_and_changed_files_are_noticed(tmp_path: Path) -> None:
    folder = tmp_path / "-my proj's (1); &x $HOME"
    write_project(folder, odd_settings())
    run = ("train_all", "--configfile", "a b.yaml", "--cores", "1")
    text = snakemake(folder, *run)
    assert "steps (100%) done" in text, text[-6000:]
    output = folder / "res's (1) [x] & ; ü"
    assert (output / "report.html").is_file()
    assert "Nothing to be done" in snakemake(folder, *run, "-n")
    # Of the same size and older than the results: neither dates nor sizes show it.
    start = folder / "start 1.xyz"
    start.write_text(start.read_text().replace("0.59", "0.60"))
    os.utime(start, (1e9, 1e9))
    text = snakemake(folder, *run, "-n")
    assert "rule simulate:" in text, text[-6000:]
    assert "rule train:" not in text
    with (folder / "it's mine.xyz").open("a") as stream:
        ase.io.write(stream, dimer("OO", 9, 1.0), format="extxyz")
    assert "rule train:" in snakemake(folder, *run, "-n")


@pytest.mark.slow
def test_what_is_wrong_is_said_before_any_work(tmp_path: Path) -> None:
    folder = tmp_path / "project"
    write_project(folder, odd_settings(start="nothere.xyz"))
    text = snakemake(folder, "train_all", "--configfile", "a b.yaml", "--cores", "1")
    assert "simulations.s @* [1].start: there is no file nothere.xyz (relative paths start at" in text
    assert "exit code 1" in text
    (folder / "twice.yaml").write_text("output: a\noutput: b\n" + yaml.safe_dump({**odd_settings(), "seed": 1}))
    assert "output: stands twice, in lines 1 and 2" in snakemake(folder, "-n", "--configfile", "twice.yaml")
    braces = tmp_path / "a {b} c"
    folder.rename(braces)
    assert "must not have braces in its path" in snakemake(braces, "-n", "--configfile", "a b.yaml")
    assert not (braces / "res's (1) [x] & ; ü").exists()
