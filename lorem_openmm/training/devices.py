"""Where a training runs: on which device, with how many threads, in how many processes, and which of them this is."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import torch
from lightning.pytorch.plugins.environments import (
    ClusterEnvironment,
    LightningEnvironment,
    SLURMEnvironment,
    TorchElasticEnvironment,
)
from lightning.pytorch.strategies import DDPStrategy

from lorem_openmm.data.workers import available_cores
from lorem_openmm.devices import find_device
from lorem_openmm.errors import ConfigError

MAX_THREADS = 8  # batches of small molecules do not feed more
LAUNCHER_PID = "LOREM_OPENMM_LAUNCHER_PID"


@dataclass(frozen=True)
class Processes:
    """The processes of a training, one per device, and this one among them.

    Attributes:
        per_node: processes on each node.
        nodes: number of nodes.
        node: number of this node.
        local_rank: number of this process on its node.
        launcher: who starts them: ``own`` (this package), ``srun`` or ``torchrun``.
    """

    per_node: int = 1
    nodes: int = 1
    node: int = 0
    local_rank: int = 0
    launcher: str = "own"

    @property
    def number(self) -> int:
        """Returns how many there are."""
        return self.per_node * self.nodes

    @property
    def rank(self) -> int:
        """Returns the number of this process among all; process 0 writes the files."""
        return self.node * self.per_node + self.local_rank

    def environment(self) -> ClusterEnvironment:
        """Returns what tells Lightning of them.

        A single process never asks a cluster: inside a SLURM job of several tasks it is still alone.
        """
        if self.number == 1:
            alone = LightningEnvironment()
            alone.set_global_rank(0)  # Lightning takes SLURM's number of the task otherwise, and logs on number 0 only
            return alone
        if self.launcher == "srun":
            return SlurmStep(auto_requeue=False)
        return TorchElasticEnvironment() if self.launcher == "torchrun" else LightningEnvironment()

    def strategy(self) -> "str | DDPStrategy":
        """Returns how Lightning joins them: one gradient, averaged over the processes after each step."""
        if self.number == 1:
            return "auto"
        # A share of single atoms has no pairs, whose weights then have no part in its loss; and without the energies in
        # the loss, no share has use for the constants of the readouts.
        return DDPStrategy(find_unused_parameters=True, gradient_as_bucket_view=True, broadcast_buffers=False)


class SlurmStep(SLURMEnvironment):
    """The tasks of the present ``srun``, which may be fewer than those of the job."""

    @property
    def main_address(self) -> str:
        """Returns the node of process 0."""
        nodes = os.environ.get("SLURM_STEP_NODELIST", os.environ.get("SLURM_NODELIST", "127.0.0.1"))
        return os.environ.setdefault("MASTER_ADDR", self.resolve_root_node_address(nodes))

    def world_size(self) -> int:
        """Returns the number of tasks."""
        return int(os.environ["SLURM_STEP_NUM_TASKS"])

    def validate_settings(self, num_devices: int, num_nodes: int) -> None:
        """Does nothing: :func:`find_processes` has compared with the step, Lightning would with the job."""


def find_processes(devices: int | None = None, nodes: int | None = None) -> Processes:
    """Returns the processes of a training by what was asked for and by who started this one.

    Under ``torchrun`` their number is its own. Under ``srun`` with several tasks they are its tasks if that many were
    asked for; with one task, and without either, this process starts the others of its node.

    Args:
        devices: Devices per node; default: 1, or as many as torchrun started.
        nodes: Nodes; default likewise.

    Raises:
        ConfigError: If what was asked for does not agree with what was started, or a node does not know its place.
    """
    for name, value in (("devices", devices), ("nodes", nodes)):
        if value is not None and value < 1:
            raise ConfigError(f"{name}: must be 1 or more, received {value}.")
    if torch.distributed.is_torchelastic_launched():
        return _torchrun(devices, nodes)
    wanted = Processes(devices or 1, nodes or 1)
    if wanted.number == 1:
        return wanted
    if int(os.environ.get("SLURM_STEP_NUM_TASKS", "1")) > 1:
        return _srun(wanted)
    if wanted.nodes > 1:
        missing = [name for name in ("MASTER_ADDR", "MASTER_PORT", "NODE_RANK") if name not in os.environ]
        if missing:
            raise ConfigError(
                f"nodes: {wanted.nodes} nodes need to be started by srun (one task per device), by torchrun, or one by "
                f"one with MASTER_ADDR, MASTER_PORT and NODE_RANK set; here {', '.join(missing)} is not set. See "
                "docs/devices.md."
            )
    node, local_rank = int(os.environ.get("NODE_RANK", "0")), int(os.environ.get("LOCAL_RANK", "0"))
    return Processes(wanted.per_node, wanted.nodes, node if wanted.nodes > 1 else 0, local_rank)


def _torchrun(devices: int | None, nodes: int | None) -> Processes:
    value = {name: int(os.environ[name]) for name in ("WORLD_SIZE", "LOCAL_WORLD_SIZE", "LOCAL_RANK", "GROUP_RANK")}
    per_node = value["LOCAL_WORLD_SIZE"]
    found = Processes(
        per_node, value["WORLD_SIZE"] // per_node, value["GROUP_RANK"], value["LOCAL_RANK"], launcher="torchrun"
    )
    if (devices or per_node, nodes or found.nodes) != (per_node, found.nodes):
        raise ConfigError(
            f"devices: torchrun started {per_node} process(es) on each of {found.nodes} node(s), but {devices or 1} "
            f"device(s) on {nodes or 1} node(s) were asked for. Leave --devices and --nodes out, or make them agree."
        )
    return found


def _srun(wanted: Processes) -> Processes:
    tasks, nodes = int(os.environ["SLURM_STEP_NUM_TASKS"]), int(os.environ.get("SLURM_STEP_NUM_NODES", "1"))
    if (wanted.number, wanted.nodes) != (tasks, nodes):
        raise ConfigError(
            f"devices: srun started {tasks} tasks on {nodes} node(s), but {wanted.per_node} device(s) on "
            f"{wanted.nodes} node(s) were asked for. Start one task per device: srun --nodes={wanted.nodes} "
            f"--ntasks-per-node={wanted.per_node}, or one task alone for several devices of one node."
        )
    node, local_rank = int(os.environ["SLURM_NODEID"]), int(os.environ["SLURM_LOCALID"])
    return Processes(wanted.per_node, wanted.nodes, node, local_rank, launcher="srun")


def choose_device(name: str, processes: Processes | None = None) -> torch.device:
    """Returns the device of this process, and sets the number of threads on a CPU.

    Args:
        name: cpu, cuda, cuda:1, …, or auto: CUDA if it is there.
        processes: Those that share the devices of this node; default: this one alone.

    Raises:
        ConfigError: If the device is not there, or not as many devices as processes.
    """
    processes = processes or Processes()
    place = find_device(name)
    if place.type == "cuda":
        return place if processes.number == 1 else _own_gpu(place, processes)
    cores = available_cores()
    if processes.per_node > max(cores, 1):
        raise ConfigError(
            f"devices: {processes.per_node} processes need as many cores, but there are {cores} here and no GPU is "
            "used. Ask for fewer."
        )
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max(1, min(cores // processes.per_node, MAX_THREADS)))
        if processes.number > 1:  # or Lightning sets another number
            os.environ["OMP_NUM_THREADS"] = str(torch.get_num_threads())
    return place


def _own_gpu(place: torch.device, processes: Processes) -> torch.device:
    if place.index is not None:
        raise ConfigError(
            f"device: one GPU cannot be named for {processes.number} processes, received '{place}'. Use cuda, and "
            "choose among the GPUs with CUDA_VISIBLE_DEVICES."
        )
    seen = torch.cuda.device_count()
    if seen < processes.per_node:
        hint = " Under srun, ask with --gpus-per-node: with --gpus-per-task each task sees its own GPU alone."
        raise ConfigError(
            f"devices: {processes.per_node} GPUs were asked for on each node, but {seen} can be seen here. Ask for "
            f"fewer.{hint if processes.launcher == 'srun' else ''}"
        )
    return torch.device("cuda", processes.local_rank)


@contextmanager
def interruptible() -> Iterator[None]:
    """Hands on an interruption from the keyboard, where Lightning ends the process with code 1 and blocks others."""
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as end:
        if not isinstance(end.__context__, KeyboardInterrupt):
            raise
        with suppress(ValueError):  # not in the main thread
            signal.signal(signal.SIGINT, handler)
        raise KeyboardInterrupt from None


def end_with_launcher(processes: Processes) -> None:
    """Makes the processes that process 0 of a node starts end with it, even if it is killed.

    They would wait for it otherwise, up to half an hour, and hold the memory of their GPUs.

    Args:
        processes: Processes of the training.
    """
    if processes.launcher != "own" or processes.number == 1:
        return
    if processes.local_rank == 0:
        os.environ[LAUNCHER_PID] = str(os.getpid())
        return
    launcher = int(os.environ.get(LAUNCHER_PID, os.getppid()))

    def watch() -> None:
        while os.getppid() == launcher:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
