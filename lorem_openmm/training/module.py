"""One training and one validation step, as Lightning wants them."""

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from lightning.pytorch import LightningModule

from lorem_openmm.config import Training
from lorem_openmm.data.batching import BatchSource, Labels, epoch_batches, ordered_batches
from lorem_openmm.data.rotations import random_orthogonal, turn
from lorem_openmm.graph import AtomGraph
from lorem_openmm.memory import keep_freed_memory
from lorem_openmm.potential import Potential
from lorem_openmm.training.electric_losses import check_electric, electric_loss, electric_residuals, is_electric
from lorem_openmm.training.losses import Channels, residuals
from lorem_openmm.training.metrics import Metrics
from lorem_openmm.training.optimizers import make_optimizer
from lorem_openmm.training.schedules import make_scheduler
from lorem_openmm.training.shares import share_of_loss

Batch = tuple[AtomGraph, Labels]


class TrainingBatches:
    """The batches of an epoch, in an order, and with rotations, that depend on (seed, epoch) alone.

    The structures are in memory on the device, so that joining a batch takes a fraction of a millisecond: worker
    processes would only add the cost of moving it.

    Args:
        structures: The training set.
        training: Batch size, seed, augmentation.
        epoch: Gives the number of the present epoch.
    """

    def __init__(self, structures: BatchSource, training: Training, epoch: Callable[[], int]) -> None:
        self.structures, self.training, self.epoch = structures, training, epoch

    def __len__(self) -> int:
        return math.ceil(len(self.structures) / self.training.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        seed, epoch = self.training.seed, self.epoch()
        rotations = None
        if self.training.rotational_augmentation:
            rotations = random_orthogonal(len(self.structures), seed, epoch)
            rotations = rotations.to(self.structures.device, self.structures.dtype)
        costs = self.structures.costs if self.training.bucket_by_size else None
        for chosen in epoch_batches(len(self.structures), self.training.batch_size, seed, epoch, costs):
            graph, labels = self.structures.batch(chosen)
            yield (graph, labels) if rotations is None else turn(graph, labels, rotations)


class OrderedBatches:
    """All structures of a set, in their order.

    Args:
        structures: The set.
        batch_size: Structures per batch.
    """

    def __init__(self, structures: BatchSource, batch_size: int) -> None:
        self.structures, self.batch_size = structures, batch_size

    def __len__(self) -> int:
        return math.ceil(len(self.structures) / self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        yield from map(self.structures.batch, ordered_batches(len(self.structures), self.batch_size))


class TrainingModule(LightningModule):
    """A potential, its loss, optimiser and schedule.

    Errors are summed on the device while the steps run and read once per epoch, so that nothing waits for them.

    Args:
        potential: What to train.
        training: Losses, optimiser, schedule.
        steps_per_epoch: Batches per epoch.

    Attributes:
        potential: what is trained.
        training_metrics: Training metrics of the epoch that runs, each batch before its update.
        validation_metrics: Validation metrics of the latest validation.
        validated: whether the epoch that runs was validated.
    """

    def __init__(self, potential: Potential, training: Training, steps_per_epoch: int) -> None:
        super().__init__()
        keep_freed_memory()
        self.potential = potential
        self.training_settings = training
        self.steps_per_epoch = steps_per_epoch
        self.with_stress = training.stress_weight > 0
        self.is_electric = is_electric(training)
        check_electric(training, potential.model)
        self.channels = Channels.of(potential.model)
        self.training_metrics = Metrics()
        self.validation_metrics = Metrics()
        self.validated = False
        self.loss_sum = torch.zeros((), dtype=torch.float64)

    def configure_optimizers(self) -> Any:
        """Returns the optimiser and its schedule by step."""
        training = self.training_settings
        optimizer = make_optimizer(self.potential, training)
        scheduler = make_scheduler(optimizer, self.steps_per_epoch, training)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        """Returns the batch as it is: it was made on the device."""
        return batch

    def on_train_epoch_start(self) -> None:
        """Starts the sums of the epoch; the last one is always validated."""
        if self.current_epoch + 1 == self.training_settings.epochs:
            self.trainer.check_val_every_n_epoch = 1
        self.validated = False
        self.training_metrics = Metrics(device=self.device)
        self.loss_sum = torch.zeros((), dtype=torch.float64, device=self.device)

    def training_step(self, batch: Batch, batch_idx: int) -> torch.Tensor:
        """Returns the loss of a batch; of a share of it, times the number of processes, which will be averaged over."""
        graph, labels = batch
        prediction, responses = self.potential.with_responses(graph, self.with_stress)
        felt = responses.potentials if self.training_settings.net_charge_weight > 0 else None
        difference = residuals(prediction, graph, labels, self.with_stress, felt, self.channels)
        whole = labels.whole
        value = share_of_loss(difference, self.training_settings, whole)
        if self.is_electric:
            electric = electric_residuals(prediction, responses, graph, labels)
            value = value + electric_loss(electric, self.training_settings, graph, labels)
            if whole is None or not whole.is_idle:
                self.training_metrics.update_electric(electric)
        self.loss_sum += value.detach()
        if whole is None or not whole.is_idle:
            self.training_metrics.update(difference)
        return value if whole is None else value * whole.n_processes

    def on_validation_epoch_start(self) -> None:
        """Starts the sums of the validation."""
        self.validated = True
        self.validation_metrics = Metrics(device=self.device)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Adds up the errors of a batch."""
        graph, labels = batch
        if labels.whole is not None and labels.whole.is_idle:
            return
        prediction, responses = self.potential.with_responses(graph, self.with_stress, create_graph=False)
        self.validation_metrics.update(residuals(prediction, graph, labels, self.with_stress))
        if self.is_electric:
            self.validation_metrics.update_electric(electric_residuals(prediction, responses, graph, labels))
