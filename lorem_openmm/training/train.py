"""Trains one run of the configuration; killed at any moment, the same call continues it."""

import logging
import math
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.plugins.environments import LightningEnvironment

from lorem_openmm import config
from lorem_openmm.data.baseline import as_table
from lorem_openmm.data.batching import StructureSet
from lorem_openmm.data.store import Store, joint_baseline, read_store
from lorem_openmm.errors import ConfigError
from lorem_openmm.model import Lorem
from lorem_openmm.potential import Potential
from lorem_openmm.training.averaging import WeightAverage
from lorem_openmm.training.checkpoints import (
    BEST,
    AtomicCheckpointIO,
    Keeper,
    check_identity,
    find_resumable,
    flatten,
    load_best,
    save_best,
)
from lorem_openmm.training.history import History, on_terminal
from lorem_openmm.training.module import OrderedBatches, TrainingBatches, TrainingModule
from lorem_openmm.training.stopping import EarlyStop

__all__ = ["Result", "available_cores", "choose_device", "initial_potential", "load_best", "run_identity", "train"]
MAX_THREADS = 8  # batches of small molecules do not feed more


@dataclass(frozen=True)
class Result:
    """How a training ended.

    Attributes:
        output: Folder of the run.
        epoch: Number of the selected epoch, counted from 1.
        metrics: Its row of metrics.csv.
    """

    output: Path
    epoch: int
    metrics: dict[str, Any]


def train(
    settings: config.Config,
    run_name: str,
    stores: Sequence[str | Path],
    output: str | Path,
    device: str = "auto",
    progress: bool = True,
) -> Result:
    """Trains a model, or continues a training that was begun with the same settings and data.

    Writes ``checkpoints/best.ckpt`` (selected by R²(energy) + R²(forces) on the validation set, or on the training
    set where there is none), ``checkpoints/last.ckpt`` (everything needed to continue), ``metrics.csv``,
    ``train.log`` and ``tensorboard/``. On a CPU, a training that was killed ends with the same bits as one that was
    not. A training that has ended is not repeated.

    Args:
        settings: The whole configuration.
        run_name: Which entry of ``runs``.
        stores: The prepared data sets of the run, in its order.
        output: Folder of the run.
        device: cpu, cuda, cuda:1, …, or auto.
        progress: Whether to draw a progress bar if there is a terminal.

    Raises:
        ConfigError: If the folder holds a training of other settings or data, or cannot be written.
        DataError: If a data set is missing, damaged or empty.
        ModelFileError: If no checkpoint of the folder can be read.
        TrainingError: If the loss is no longer a number.
    """
    output, place = Path(output), choose_device(device)
    run = settings.runs[run_name]
    model, training = settings.models[run.model], settings.training[run.training]
    data = [read_store(path) for path in stores]
    identity = run_identity(model, training, data)
    folder = _writable_folder(output / "checkpoints")
    found = find_resumable(folder)
    if found is not None:
        check_identity(found[0], found[1]["identity"], identity)
    done = found[1]["epochs_done"] if found else 0

    baseline = joint_baseline(data).energies
    training_set, validation_set = (
        StructureSet(data, split, model.cutoff, as_table(baseline), place) for split in ("train", "validation")
    )
    potential = initial_potential(model, baseline, training.seed)
    module = TrainingModule(potential, training, math.ceil(len(training_set) / training.batch_size))
    header = _header(run_name, potential, training_set, validation_set, module.steps_per_epoch, place)
    history = History(output, training.epochs, done, header, len(validation_set) > 0, progress and on_terminal())
    constants = {"hyperparameters": model.model_dump(), "baseline": baseline, "identity": identity}
    average = WeightAverage(training.ema_decay) if training.ema_decay > 0 else None
    keeper = Keeper(folder, history, constants, average)
    callbacks = [*([average] if average else []), history, keeper, EarlyStop(training.patience, keeper, history)]
    trainer = _make_trainer(output, training, place, done, callbacks)
    with _quiet():
        trainer.fit(
            module,
            TrainingBatches(training_set, training, lambda: trainer.current_epoch),
            OrderedBatches(validation_set, training.batch_size) if len(validation_set) else None,
            ckpt_path=found[0] if found else None,
            weights_only=True,
        )
    save_best(folder / BEST, keeper.best)
    return Result(output, keeper.best["epoch"], keeper.best["metrics"])


def initial_potential(model: config.Model, baseline: dict[int, float], seed: int) -> Potential:
    """Returns an untrained potential in float32; the same seed gives the same weights.

    Args:
        model: Hyper-parameters.
        baseline: eV by atomic number.
        seed: Of the weights.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Potential(Lorem(model), baseline).float()


def run_identity(model: config.Model, training: config.Training, data: Sequence[Store]) -> dict[str, Any]:
    """Returns everything that decides how a training goes, by dotted name.

    Args:
        model: Hyper-parameters.
        training: Settings of the training.
        data: The data sets; they are known by the hash of their content, not by name.
    """
    return flatten(
        {
            "model": model.model_dump(),
            "training": training.model_dump(),
            "data": {f"{index} (sha256)": store.content_hash for index, store in enumerate(data)},
        }
    )


def choose_device(name: str) -> torch.device:
    """Returns the device to use, and sets the number of threads on a CPU.

    Args:
        name: cpu, cuda, cuda:1, …, or auto: CUDA if it is there.

    Raises:
        ConfigError: If the device is not there.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        place = torch.device(name)
    except RuntimeError:
        raise ConfigError(f"device: must be cpu, cuda, cuda:N or auto, received '{name}'.") from None
    if place.type == "cuda":
        if not torch.cuda.is_available() or (place.index or 0) >= torch.cuda.device_count():
            raise ConfigError(f"device: '{name}' is not available here. Use cpu or auto.")
    elif "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(min(available_cores(), MAX_THREADS))
    return place


def available_cores() -> int:
    """Returns the number of cores this process may use, a container's limit included."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="ascii").split()
        cores = min(cores, max(1, int(quota) // int(period)))
    except (OSError, ValueError):
        pass  # no such file (not Linux), or no limit ("max")
    return cores


def _make_trainer(
    output: Path, training: config.Training, place: torch.device, done: int, callbacks: list[Any]
) -> Trainer:
    logger = TensorBoardLogger(
        output, name="tensorboard", version="", default_hp_metric=False, purge_step=done + 1, flush_secs=10
    )
    with _quiet():
        return Trainer(
            accelerator="gpu" if place.type == "cuda" else "cpu",
            devices=[place.index or 0] if place.type == "cuda" else 1,
            max_epochs=training.epochs,
            check_val_every_n_epoch=training.validate_every,
            gradient_clip_val=training.gradient_clip or None,
            callbacks=callbacks,
            logger=logger,
            plugins=[AtomicCheckpointIO(), LightningEnvironment()],  # no cluster's: this is one process
            default_root_dir=output,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            log_every_n_steps=1,
            inference_mode=False,  # forces are gradients, in validation too
        )


def _writable_folder(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"{folder}: the folder of the run must be writable ({error.strerror}). Change `output` in the "
            "configuration."
        ) from None
    return folder


def _header(
    run_name: str,
    potential: Potential,
    training_set: StructureSet,
    validation_set: StructureSet,
    steps_per_epoch: int,
    place: torch.device,
) -> str:
    n_parameters = sum(parameter.numel() for parameter in potential.parameters())
    where = f"{torch.get_num_threads()} CPU threads" if place.type == "cpu" else torch.cuda.get_device_name(place)
    return (
        f"{run_name}: {n_parameters} parameters, {len(training_set)} training and {len(validation_set)} validation "
        f"structures, {steps_per_epoch} steps per epoch, {where}, lorem-openmm {version('lorem-openmm')}"
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps Lightning's remarks about hardware, workers and advertisements from the terminal."""
    logger = logging.getLogger("lightning.pytorch")
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            for text in (".*many workers.*", ".*the logging interval.*", ".*no `val_dataloader`.*"):
                warnings.filterwarnings("ignore", message=text)
            yield
    finally:
        logger.setLevel(level)
