"""A folder with a configuration and its data, and trainings in it through the command line."""

import csv
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import yaml

from lorem_openmm import config
from lorem_openmm.layout import Layout

started: list[subprocess.Popen[str]] = []  # for a failing test to be cleaned up after
LAUNCHERS = ("SLURM_", "RANK", "LOCAL_", "WORLD_SIZE", "MASTER_", "NODE_RANK", "GROUP_", "TORCHELASTIC_")


def project(folder: Path, store: Path, chosen: config.Config) -> Layout:
    """Writes ``folder/small.yaml`` for the run ``small`` on a store, and puts the store in its place."""
    layout = Layout(folder / "results")
    layout.store("dimers").parent.mkdir(parents=True)
    layout.store("dimers").symlink_to(store)
    content = chosen.model_dump(mode="json") | {"output": str(layout.root)}
    (folder / "small.yaml").write_text(yaml.safe_dump(content))
    return layout


def start(folder: Path, *arguments: str, launcher: tuple[str, ...] = (), **environment: str) -> subprocess.Popen[str]:
    """Starts ``lorem-openmm train small`` on the CPU."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(LAUNCHERS)}
    command = [*launcher, "-m", "lorem_openmm.cli", "train", "small", "--config", folder / "small.yaml"]
    process = subprocess.Popen(
        [sys.executable, *command, "--device", "cpu", *arguments],
        env={**clean, "PYTHONPATH": os.pathsep.join(sys.path), **environment},
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    started.append(process)
    return process


def finish(*processes: subprocess.Popen[str]) -> str:
    """Waits for the end of trainings, which must be a good one, and returns what they said."""
    said = [process.communicate(timeout=120)[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * len(processes), "\n".join(said)
    return "".join(said)


def rows(output: Path) -> list[dict[str, str]]:
    table = output / "metrics.csv"
    return list(csv.DictReader(table.open())) if table.exists() else []


def wait_for_epoch(process: subprocess.Popen[str], output: Path, epoch: int) -> None:
    while len(rows(output)) < epoch:
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.01)


def free_port() -> str:
    with socket.socket() as stream:
        stream.bind(("127.0.0.1", 0))
        return str(stream.getsockname()[1])
