"""Shares of batches: the gradients of all processes make that of one; and what devices can be asked for."""

import os
import select
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from ase.io import write
from small_training import settings

from lorem_openmm import config
from lorem_openmm.data.baseline import as_table
from lorem_openmm.data.batching import StructureSet
from lorem_openmm.data.prepare import prepare_dataset
from lorem_openmm.data.store import joint_baseline, read_store
from lorem_openmm.errors import ConfigError
from lorem_openmm.training import devices
from lorem_openmm.training.devices import Processes, choose_device, find_processes
from lorem_openmm.training.losses import loss, residuals
from lorem_openmm.training.module import TrainingBatches
from lorem_openmm.training.shares import SharedSet, share_of_loss, shares
from lorem_openmm.training.train import initial_potential


@pytest.fixture(scope="module")
def mixed(dimer_store: Path, tmp_path_factory: pytest.TempPathFactory) -> StructureSet:
    """Dimers without stress and boxes with it, in float64."""
    from helpers import rattled_box

    folder, random, frames = tmp_path_factory.mktemp("boxes"), np.random.default_rng(0), []
    for seed in range(6):
        atoms = rattled_box(seed)
        atoms.numbers[atoms.numbers == 17] = 6
        atoms.info |= {"energy": float(len(atoms)), "stress": 0.01 * np.eye(3) * random.normal()}
        atoms.arrays["forces"] = random.normal(size=(len(atoms), 3))
        frames.append(atoms)
    write(folder / "boxes.xyz", frames, format="extxyz")
    dataset = config.Dataset(train=str(folder / "boxes.xyz"), stress_key="stress", split={"validation_fraction": 0.0})
    prepare_dataset(dataset, "boxes", None, 4.0, folder / "boxes.safetensors")
    data = [read_store(dimer_store), read_store(folder / "boxes.safetensors")]
    return StructureSet(data, "train", 4.0, as_table(joint_baseline(data).energies), dtype=torch.float64)


@pytest.mark.parametrize("n_processes", [2, 3, 5])
@pytest.mark.parametrize("weights", [(0.5, 0.5, 2.0, 3.0), (0.0, 1.0, 0.0, 0.0), (1.0, 0.0, 0.0, 0.0)])
def test_gradients_of_the_shares_average_to_that_of_the_batch(
    mixed: StructureSet, n_processes: int, weights: tuple[float, ...]
) -> None:
    names = ("energy_weight", "force_weight", "stress_weight", "net_charge_weight")
    training = config.Training(**dict(zip(names, weights, strict=True)))
    potential = initial_potential(settings().models["tiny"], {1: 0.0, 6: 0.0, 8: 0.0}, seed=0).double()
    parameters = list(potential.parameters())

    def evaluate(structures: StructureSet | SharedSet, batch: list[int]) -> tuple[float, torch.Tensor]:
        graph, labels = structures.batch(batch)
        prediction = potential(graph, compute_stress=True, create_graph=True)
        difference = residuals(prediction, graph, labels, with_stress=True)
        value = share_of_loss(difference, training, labels.whole)
        if isinstance(structures, StructureSet):
            assert value == loss(difference, training)
        gradients = torch.autograd.grad(value, parameters, allow_unused=True, materialize_grads=True)
        return value.item(), torch.cat([gradient.flatten() for gradient in gradients])

    n = len(mixed)
    for batch in ([0, 3, n - 1, 7, n - 2, 11, n - 6], [n - 3, 5, 2, 1], [4, n - 4], [6]):  # fewer than processes, too
        expected, gradient = evaluate(mixed, batch)
        parts = [evaluate(SharedSet(mixed, rank, n_processes), batch) for rank in range(n_processes)]
        assert sum(part[0] for part in parts) == pytest.approx(expected, rel=1e-12)
        total = torch.stack([part[1] for part in parts]).sum(0)
        assert (total - gradient).abs().max() < 1e-12 * gradient.abs().max()


def test_processes_see_the_batches_of_one_in_the_same_order(mixed: StructureSet) -> None:
    training = config.Training(batch_size=9, seed=4)
    whole = [labels.structures for _, labels in TrainingBatches(mixed, training, lambda: 2)]
    divided = [
        list(TrainingBatches(SharedSet(mixed, rank, 3), training, lambda: 2))  # type: ignore[arg-type]
        for rank in range(3)
    ]
    assert [len(batches) for batches in divided] == [len(whole)] * 3
    for number, structures in enumerate(whole):
        labels = [batches[number][1] for batches in divided]
        found = torch.cat([part.structures for part in labels if not part.whole.is_idle])
        assert sorted(found.tolist()) == sorted(structures.tolist())
        assert {part.whole.n_structures for part in labels} == {len(structures)}


def test_shares_are_balanced() -> None:
    costs = np.random.default_rng(0).integers(5, 50, size=64)
    loads = [costs[share].sum() for share in shares(costs, 4)]
    assert max(loads) - min(loads) < 10
    assert sorted(np.concatenate(shares(costs, 4)).tolist()) == list(range(64))
    assert [len(share) for share in shares(np.array([5, 50]), 3)] == [1, 1, 0]


def test_who_starts_the_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_processes() == find_processes(1, 1) == Processes()
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert find_processes(4) == Processes(4, 1, 0, 3)
    for name, value in {"MASTER_ADDR": "a", "MASTER_PORT": "1", "NODE_RANK": "1"}.items():
        with pytest.raises(ConfigError, match=f"{name}.* not set"):
            find_processes(4, 2)
        monkeypatch.setenv(name, value)
    assert find_processes(4, 2).rank == 7


def test_srun_and_torchrun_must_agree_with_what_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    step = {"SLURM_STEP_NUM_TASKS": "8", "SLURM_STEP_NUM_NODES": "2", "SLURM_NODEID": "1", "SLURM_LOCALID": "2"}
    for name, value in step.items():
        monkeypatch.setenv(name, value)
    assert find_processes(4, 2) == Processes(4, 2, 1, 2, "srun")
    assert find_processes() == Processes()
    with pytest.raises(ConfigError, match="srun started 8 tasks on 2 node"):
        find_processes(8)
    started = {"WORLD_SIZE": "6", "LOCAL_WORLD_SIZE": "3", "LOCAL_RANK": "1", "GROUP_RANK": "1"}
    for name, value in {**started, "TORCHELASTIC_RUN_ID": "x"}.items():
        monkeypatch.setenv(name, value)
    assert find_processes() == find_processes(3, 2) == Processes(3, 2, 1, 1, "torchrun")
    with pytest.raises(ConfigError, match="Leave --devices and --nodes out"):
        find_processes(2)


def test_more_devices_than_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="1 or more"):
        find_processes(0)
    with pytest.raises(ConfigError, match="processes need as many cores"):
        choose_device("cpu", Processes(100_000))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert choose_device("cuda", Processes(2, local_rank=1)) == torch.device("cuda", 1)
    with pytest.raises(ConfigError, match=r"3 GPUs were asked for on each node, but 2 .* fewer\.$"):
        choose_device("auto", Processes(3))
    with pytest.raises(ConfigError, match="--gpus-per-node"):
        choose_device("auto", Processes(3, launcher="srun"))
    with pytest.raises(ConfigError, match="CUDA_VISIBLE_DEVICES"):
        choose_device("cuda:1", Processes(2))


def test_threads_are_shared_out(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen: list[int] = []
    monkeypatch.delenv("OMP_NUM_THREADS")
    monkeypatch.setattr(devices, "available_cores", lambda: 12)
    monkeypatch.setattr(torch, "set_num_threads", chosen.append)
    choose_device("cpu")
    choose_device("cpu", Processes(4))
    assert chosen == [8, 3]


@pytest.mark.slow
def test_a_started_process_ends_with_its_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(devices.LAUNCHER_PID, "")
    reading, writing = os.pipe()
    launcher = os.fork()
    if launcher == 0:
        devices.end_with_launcher(Processes(2))
        if os.fork() == 0:
            devices.end_with_launcher(Processes(2, local_rank=1))
            os.write(writing, b"started")
            time.sleep(60)
        time.sleep(60)
        os._exit(0)
    os.close(writing)
    assert os.read(reading, 7) == b"started"
    os.kill(launcher, signal.SIGKILL)
    os.waitpid(launcher, 0)
    assert select.select([reading], [], [], 10)[0], "it still runs"
    assert os.read(reading, 1) == b""
    os.close(reading)
