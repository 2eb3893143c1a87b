"""The share of a process in each batch, so that several processes train as one does.

The gradient of one process is ∇ Σ_k w_k/N_k Σ_n e_kn², with N_k errors of kind k (energies, force components, stress
components) in the batch. Each process has n_k of them and a loss Σ_k (w_k n_k/N_k) · mean of its own e_k², so that the
losses of all processes sum to that of the batch. DistributedDataParallel averages gradients: the number of processes
undoes that.
"""

import heapq
import signal
import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, Trainer

from lorem_openmm.config import Training
from lorem_openmm.data.batching import Labels, StructureSet, WholeBatch
from lorem_openmm.errors import TrainingError
from lorem_openmm.graph import AtomGraph
from lorem_openmm.training.losses import Residuals, loss


class SharedSet:
    """A set of structures of which a process gets its share of each batch.

    The batches and their order are those of a single process; every process has the whole set.

    Args:
        structures: The set.
        rank: Number of the process.
        n_processes: How many there are.

    Attributes:
        device: Where the batches are.
        dtype: Type of positions, cells and forces.
    """

    def __init__(self, structures: StructureSet, rank: int, n_processes: int) -> None:
        self.structures, self.rank, self.n_processes = structures, rank, n_processes
        self.device, self.dtype = structures.device, structures.dtype
        self._sizes = structures.sizes.cpu().numpy()
        self._has_stress = structures["has_stress"].cpu().numpy()

    def __len__(self) -> int:
        return len(self.structures)

    @property
    def costs(self) -> np.ndarray:
        """Returns [n_structures] numbers that order the structures by size."""
        return self.structures.costs

    def batch(self, indices: Sequence[int] | np.ndarray | torch.Tensor) -> tuple[AtomGraph, Labels]:
        """Joins this process's share of a batch into one graph.

        A process for which nothing is left gets the first structure, which then counts nothing: it has to take part
        in the sum over the processes.

        Args:
            indices: [n_systems] places of the structures of the whole batch.
        """
        chosen = np.asarray(indices)
        mine = shares(self._sizes[chosen], self.n_processes)[self.rank]
        graph, labels = self.structures.batch(chosen[mine] if len(mine) else chosen[:1])
        whole = WholeBatch(
            n_structures=len(chosen),
            n_atoms=int(self._sizes[chosen].sum()),
            n_with_stress=int(self._has_stress[chosen].sum()),
            n_processes=self.n_processes,
            is_idle=len(mine) == 0,
        )
        return graph, replace(labels, whole=whole)


def shares(costs: np.ndarray, n_shares: int) -> list[np.ndarray]:
    """Divides items so that the costs of the shares are about equal: the costliest first, each to the smallest share.

    Args:
        costs: [n_items] positive.
        n_shares: How many shares; those beyond the number of items are empty.

    Returns:
        The places of the items of each share, ascending.
    """
    loads = [(0, share) for share in range(n_shares)]
    members: list[list[int]] = [[] for _ in range(n_shares)]
    for item in np.argsort(-np.asarray(costs), kind="stable").tolist():
        load, share = heapq.heappop(loads)
        members[share].append(item)
        heapq.heappush(loads, (load + int(costs[item]), share))
    return [np.sort(np.array(share, dtype=np.int64)) for share in members]


def share_of_loss(difference: Residuals, training: Training, whole: WholeBatch | None) -> torch.Tensor:
    """Σ_k (w_k n_k/N_k) · mean of e_k², the part of the loss of a whole batch that comes from a share of it.

    Args:
        difference: prediction minus label of the share.
        training: the weights w_k.
        whole: what the batch holds in all (N_k); None: the share is all of it.
    """
    if whole is None:
        return loss(difference, training)
    if whole.is_idle:
        return 0.0 * loss(difference, training)
    parts = {
        "energy_weight": difference.energy.shape[0] / whole.n_structures,
        "force_weight": difference.forces.shape[0] / whole.n_atoms,
        "stress_weight": difference.stress.shape[0] / max(whole.n_with_stress, 1),
        "net_charge_weight": difference.net_charge.shape[0] / whole.n_structures,
    }
    weights = training.model_dump()
    scaled = {name: part * weights[name] for name, part in parts.items()}
    return loss(difference, training.model_copy(update=scaled))


class SumsOverProcesses(Callback):
    """Adds up the sums of an epoch over the processes before they are read, and checks that all train the same.

    Every process then has the same metrics, so that all select the same weights and stop for the same reasons.

    Args:
        state: Settings and data by name, and the number of epochs done: what must be equal in all processes.
    """

    def __init__(self, state: dict[str, Any]) -> None:
        self.present = state

    def setup(self, trainer: Trainer, pl_module: Any, stage: str) -> None:
        """Compares with process 0.

        Raises:
            TrainingError: If this process found other settings, data or checkpoints.
        """
        first = trainer.strategy.broadcast(self.present)
        names = [name for name in {**first, **self.present} if first.get(name) != self.present.get(name)]
        if names:
            raise TrainingError(
                f"process {trainer.global_rank}: every process must see the files of process 0, but found other values "
                f"of {', '.join(names)}. Put configuration and `output` on a file system that all nodes share."
            )

    def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
        """Lets SIGTERM end this process at once, which the checkpoints allow at any moment.

        Lightning's own handler would first wait for all processes, which wait for each other in a step. At the end of
        the training Lightning puts back the handlers that were there before it.
        """
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, signal.SIG_DFL)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Adds up loss, training errors and validation errors."""
        sums = [pl_module.loss_sum]
        for metrics in (pl_module.training_metrics, pl_module.validation_metrics)[: 1 + pl_module.validated]:
            sums += [errors.sums for errors in metrics.errors.values()]
        joined = torch.cat([value.to(pl_module.device).flatten() for value in sums])
        total = trainer.strategy.reduce(joined, reduce_op="sum")
        for value, part in zip(sums, total.split([value.numel() for value in sums]), strict=True):
            value.copy_(part.view_as(value))
