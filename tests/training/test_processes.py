"""Trainings in two processes, through the command line, are those of one process."""

import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from command_line import finish, free_port, project, rows, start, started, wait_for_epoch
from small_training import BASELINE, dimer, settings

from lorem_openmm import config
from lorem_openmm.data.batching import StructureSet
from lorem_openmm.data.prepare import prepare_dataset
from lorem_openmm.data.store import read_store
from lorem_openmm.data.workers import available_cores
from lorem_openmm.layout import Layout
from lorem_openmm.training.checkpoints import CheckpointWriter
from lorem_openmm.training.module import TrainingBatches
from lorem_openmm.training.shares import SharedSet
from lorem_openmm.training.train import train

EPOCHS = 6
TRAINING = {"batch_size": 5, "learning_rate": 2e-3, "gradient_clip": 0.3}

pytestmark = pytest.mark.skipif(available_cores() < 2, reason="two processes on a CPU need two cores")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Dimers and single atoms, so that some shares have no edge, and one structure for the last batch."""
    folder = tmp_path_factory.mktemp("mixed")
    frames = [dimer(pair, n, growth) for n, pair in enumerate(("OO", "OC", "CC") * 2) for growth in (0.0, 1.0, 3.0)]
    for n in range(17):
        atom = Atoms("COH"[n % 3])
        atom.calc = SinglePointCalculator(atom, energy=BASELINE[atom.numbers[0]], forces=np.zeros((1, 3)))
        frames.append(atom)
    write(folder / "mixed.xyz", frames, format="extxyz")
    dataset = config.Dataset(structures=str(folder / "mixed.xyz"), split=config.Split(validation_fraction=0.1))
    prepare_dataset(dataset, "mixed", None, 4.0, folder / "mixed.safetensors")
    structures = StructureSet([read_store(folder / "mixed.safetensors")], "train", 4.0, np.zeros(119))
    assert len(structures) % TRAINING["batch_size"] == 1
    batches = TrainingBatches(SharedSet(structures, 1, 2), config.Training(**TRAINING), lambda: 0)
    assert any(len(graph.centers) == 0 for graph, _ in batches)
    return folder / "mixed.safetensors"


@pytest.fixture(scope="module")
def one_process(store: Path, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, str]]:
    output = tmp_path_factory.mktemp("one_process")
    train(settings(EPOCHS, **TRAINING), "small", [store], output, device="cpu", progress=False)
    return rows(output)


@pytest.fixture(autouse=True)
def no_process_is_left() -> Iterator[None]:
    yield
    for process in started:
        process.kill()
    started.clear()


def assert_same_curve(output: Path, expected: list[dict[str, str]]) -> None:
    """Row by row to rounding, which Adam amplifies from epoch to epoch."""
    found = rows(output)
    assert [row["epoch"] for row in found] == [row["epoch"] for row in expected]
    for row, other in zip(found, expected, strict=True):
        assert row.keys() == other.keys()
        for name in row.keys() - {"seconds"}:
            tolerance = 1e-5 if row["epoch"] == "1" else 1e-4 if name == "train_loss" else 1e-3
            assert float(row[name]) == pytest.approx(float(other[name]), rel=tolerance), (row["epoch"], name)


def assert_written_once(layout: Layout) -> None:
    output = layout.run("small")
    lines = (output / "train.log").read_text().splitlines()
    assert sum(line.startswith("epoch") for line in lines) == EPOCHS
    assert (output / "result.json").is_file()
    assert not list((output / "checkpoints").glob(".*"))


@pytest.mark.slow
def test_two_processes_killed_and_continued_by_torchrun(
    store: Path, one_process: list[dict[str, str]], tmp_path: Path
) -> None:
    layout = project(tmp_path, store, settings(EPOCHS, **TRAINING))
    first = start(tmp_path, "--devices", "2")
    wait_for_epoch(first, layout.run("small"), 2)
    others = psutil.Process(first.pid).children()
    assert len(others) == 1
    first.terminate()  # at once, with nothing put in order, as SIGKILL would
    assert first.wait(timeout=10) == -signal.SIGTERM, "the training ended before it was killed: give it more epochs"
    assert not psutil.wait_procs(others, timeout=10)[1], "a process is left over"
    first.communicate()
    said = finish(start(tmp_path, launcher=("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")))
    assert said.count("best epoch") == 1
    assert_same_curve(layout.run("small"), one_process)
    assert_written_once(layout)
    log = (layout.run("small") / "train.log").read_text()
    assert "2 processes of 1 CPU threads" in log
    assert "continued after epoch" in log
    events = list((layout.run("small") / "tensorboard").glob("events*"))
    assert len({path.name.split(".")[-2] for path in events}) == len(events) == 2  # one process each time


@pytest.mark.slow
def test_one_process_continued_by_two_tasks_of_slurm(
    store: Path, one_process: list[dict[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = settings(EPOCHS, **TRAINING)
    layout = project(tmp_path, store, chosen)
    whole = CheckpointWriter.on_train_epoch_end

    def stop_after_two(checkpoints: CheckpointWriter, trainer: object, pl_module: object) -> None:
        whole(checkpoints, trainer, pl_module)
        if checkpoints.history.row["epoch"] == 2:
            raise InterruptedError

    with monkeypatch.context() as patch, pytest.raises(InterruptedError):
        patch.setattr(CheckpointWriter, "on_train_epoch_end", stop_after_two)
        train(chosen, "small", [layout.store("dimers")], layout.run("small"), device="cpu", progress=False)
    port = free_port()
    tasks = [
        start(tmp_path, "--devices", "2", **slurm_step(task, 2), MASTER_PORT=port, SLURM_STEP_NODELIST="127.0.0.1")
        for task in range(2)
    ]
    finish(*tasks)
    assert_same_curve(layout.run("small"), one_process)
    assert_written_once(layout)


def slurm_step(task: int, n_tasks: int) -> dict[str, str]:
    """What srun sets for a task, and a job that holds more tasks than the step."""
    return {
        "SLURM_JOB_ID": "1234567",
        "SLURM_JOB_NAME": "train",
        "SLURM_NTASKS": "8",
        "SLURM_NTASKS_PER_NODE": "8",
        "SLURM_NNODES": "1",
        "SLURM_NODELIST": "node[1-2]",
        "SLURM_STEP_NUM_TASKS": str(n_tasks),
        "SLURM_STEP_NUM_NODES": "1",
        "SLURM_PROCID": str(task),
        "SLURM_LOCALID": str(task),
        "SLURM_NODEID": "0",
    }


def test_a_single_process_is_alone_inside_a_slurm_job(store: Path, tmp_path: Path) -> None:
    layout = project(tmp_path, store, settings(1))
    said = finish(start(tmp_path, **slurm_step(3, 4)))  # the last of four tasks, which may train something else each
    assert "best epoch" in said
    assert len(rows(layout.run("small"))) == 1
    assert list((layout.run("small") / "tensorboard").glob("events*"))
