"""Trains one run of the configuration; killed at any moment, the same call continues it."""

import logging
import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.loggers import TensorBoardLogger

from lorem_openmm import config
from lorem_openmm.ambient import building
from lorem_openmm.data.baseline import as_table
from lorem_openmm.data.batching import BatchSource, StructureSet
from lorem_openmm.data.fields import get
from lorem_openmm.data.store import Store, read_store
from lorem_openmm.errors import ConfigError
from lorem_openmm.model import Lorem
from lorem_openmm.outputs import claim, set_aside
from lorem_openmm.potential import Potential
from lorem_openmm.training.averaging import WeightAverage
from lorem_openmm.training.checkpoints import (
    BEST,
    AtomicCheckpointIO,
    CheckpointWriter,
    changes,
    find_resumable,
    flatten,
    save_best,
)
from lorem_openmm.training.devices import Processes, choose_device, end_with_launcher, find_processes, interruptible
from lorem_openmm.training.history import History
from lorem_openmm.training.initial import check_initial, choose_baseline, initial_identity, notes
from lorem_openmm.training.module import OrderedBatches, TrainingBatches, TrainingModule
from lorem_openmm.training.shares import SharedSet, SumsOverProcesses
from lorem_openmm.training.stopping import EarlyStop

UNUSED = "find_unused_parameters=True was specified"  # some shares have unused parameters, the first may not


@dataclass(frozen=True)
class Result:
    """How a training ended.

    Attributes:
        output: Folder of the run.
        epoch: Number of the selected epoch, counted from 1.
        metrics: Its row of metrics.csv.
        rank: Number of the process; process 0 has written the files.
    """

    output: Path
    epoch: int
    metrics: dict[str, Any]
    rank: int = 0


@building()
def train(
    settings: config.Config,
    run_name: str,
    stores: Sequence[str | Path],
    output: str | Path,
    device: str = "auto",
    progress: bool = True,
    devices: int | None = None,
    nodes: int | None = None,
    initial: Potential | None = None,
) -> Result:
    """Trains a model, or continues a training that was begun with the same settings and data.

    A training of other settings or data that is found in the folder is moved to ``OUTPUT.old-1`` (or -2, ...), and a
    new one begins. One process at a time may train in a folder.

    Writes ``checkpoints/best.ckpt`` (selected by R²(energy) + R²(forces) on the validation set, or on the training
    set where there is none), ``checkpoints/last.ckpt`` (everything needed to continue), ``metrics.csv``,
    ``train.log`` and ``tensorboard/``. On a CPU, a training that was killed ends with the same bits as one that was
    not. A training that has ended is not repeated.

    On several devices, each process has a share of each batch and the result is that of one process to rounding. The
    other processes of this node are started by running the present command line again.

    Args:
        settings: The whole configuration.
        run_name: Name of an entry of ``runs``.
        stores: The prepared data sets of the run, in its order.
        output: Folder of the run.
        device: cpu, cuda, cuda:1, …, or auto.
        progress: Whether to draw a progress bar if there is a terminal.
        devices: How many of this node to use, one process each; default: 1, or as many as torchrun started.
        nodes: How many nodes take part; default likewise.
        initial: The model that ``initial_model`` of the run names, whose weights the training starts from.

    Raises:
        ConfigError: If another process trains in the folder, or it cannot be written; if there are fewer devices than
            asked for; if the initial model has other hyper-parameters.
        DataError: If a data set is missing, damaged or empty, or the model uses the total charge and a structure states
            none.
        ModelFileError: If no checkpoint of the folder can be read.
        TrainingError: If the loss is no longer a number.
    """
    output, processes = Path(output), find_processes(devices, nodes)
    place = choose_device(device, processes)
    with claim(output) if processes.rank == 0 else nullcontext():
        return _train(settings, run_name, stores, output, place, processes, progress, initial)


def _train(
    settings: config.Config,
    run_name: str,
    stores: Sequence[str | Path],
    output: Path,
    place: torch.device,
    processes: Processes,
    progress: bool,
    initial: Potential | None,
) -> Result:
    run = settings.runs[run_name]
    model, training = settings.models[run.model], settings.training[run.training]
    check_initial(run, run_name, model, initial)
    data = [read_store(path) for path in stores]
    identity = _run_identity(model, training, data) | flatten(initial_identity(run, initial))
    folder = output / "checkpoints"
    found = find_resumable(folder)
    differences = changes(found[1]["identity"], identity) if found else ""
    if differences:
        found = None
    done = found[1]["epochs_done"] if found else 0

    baseline = choose_baseline(run, run_name, data, initial)
    training_set, validation_set = (
        StructureSet(data, split, model.cutoff, as_table(baseline), place) for split in ("train", "validation")
    )
    _check_labels(run.training, training, training_set)
    potential = initial_potential(model, baseline, training.seed, initial)
    if potential.model.needs_total_charge:
        for store in data:
            store.check_total_charges()
    module = TrainingModule(potential, training, math.ceil(len(training_set) / training.batch_size))
    header = _header(run_name, potential, training_set, validation_set, module.steps_per_epoch, place, processes)
    writes = processes.rank == 0
    if differences and writes:  # not before all that is new has been read
        set_aside(output, f"was trained with other settings or data, so the training starts anew:\n{differences}")
    if writes:
        folder.mkdir(parents=True, exist_ok=True)
    history = History(output, training.epochs, done, header, len(validation_set) > 0, progress, writes)
    if initial is not None and not done:
        history.note("; ".join(notes(baseline, initial)))
    constants = {"hyperparameters": model.model_dump(), "baseline": baseline, "identity": identity}
    average = [WeightAverage(training.ema_decay)] if training.ema_decay > 0 else []
    sums = [SumsOverProcesses({**identity, "epochs done": done})] if processes.number > 1 else []
    checkpoints = CheckpointWriter(folder, history, constants, *average)
    callbacks = [*average, *sums, history, checkpoints, EarlyStop(training.patience, checkpoints, history)]
    trainer = _make_trainer(output, training, place, done, callbacks, processes)
    parts: list[BatchSource] = [training_set, validation_set]
    if processes.number > 1:
        parts = [SharedSet(part, processes.rank, processes.number) for part in (training_set, validation_set)]
    end_with_launcher(processes)
    with _quiet(), interruptible():
        trainer.fit(
            module,
            TrainingBatches(parts[0], training, lambda: trainer.current_epoch),
            OrderedBatches(parts[1], training.batch_size) if len(validation_set) else None,
            ckpt_path=found[0] if found else None,
            weights_only=True,
        )
    if writes:
        save_best(folder / BEST, checkpoints.best)
    return Result(output, checkpoints.best["epoch"], checkpoints.best["metrics"], processes.rank)


@building()
def initial_potential(
    model: config.Model, baseline: dict[int, float], seed: int, initial: Potential | None = None
) -> Potential:
    """Returns a potential in float32 to be trained: with random weights, the same for the same seed, or given ones.

    Args:
        model: Hyper-parameters.
        baseline: eV by atomic number.
        seed: Seed of the weights.
        initial: Where to take the weights from instead.
    """
    torch.default_generator.manual_seed(seed)  # of the CPU alone, which is put back
    potential = Potential(Lorem(model), baseline).float()
    if initial is not None:
        potential.model.load_state_dict(initial.model.state_dict())
    return potential


def _run_identity(model: config.Model, training: config.Training, data: Sequence[Store]) -> dict[str, Any]:
    """Returns everything that decides how a training goes, by dotted name; of the data the hash of their content."""
    return flatten(
        {
            "model": model.model_dump(),
            "training": training.model_dump(),
            "data": {f"{index} (sha256)": store.content_hash for index, store in enumerate(data)},
        }
    )


def _make_trainer(
    output: Path, training: config.Training, place: torch.device, done: int, callbacks: list[Any], processes: Processes
) -> Trainer:
    logger = TensorBoardLogger(
        output, name="tensorboard", version="", default_hp_metric=False, purge_step=done + 1, flush_secs=10
    )
    with _quiet():
        return Trainer(
            accelerator="gpu" if place.type == "cuda" else "cpu",
            devices=[place.index or 0] if place.type == "cuda" and processes.number == 1 else processes.per_node,
            num_nodes=processes.nodes,
            strategy=processes.strategy(),
            use_distributed_sampler=False,
            max_epochs=training.epochs,
            check_val_every_n_epoch=training.validate_every,
            gradient_clip_val=training.gradient_clip or None,
            callbacks=callbacks,
            logger=logger,
            plugins=[AtomicCheckpointIO(), processes.environment()],
            default_root_dir=output,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            log_every_n_steps=1,
            inference_mode=False,  # forces are gradients, in validation too
        )


def _check_labels(name: str, training: config.Training, structures: StructureSet) -> None:
    needs = {"net_charge_weight": "total_charge", "dipole_weight": "dipole", "born_charge_weight": "born_charges"}
    for weight, field in needs.items():
        value = getattr(training, weight)
        if value > 0 and not bool(structures[field].isfinite().any()):
            unit, aliases = get(field).unit, get(field).aliases[:2]
            raise ConfigError(
                f"training.{name}.{weight}: is {value:g}, but no training structure says its "
                f"{field.replace('_', ' ')}; add {' or '.join(aliases)} (in {unit}) to the data, or set the weight to 0"
            )


def _header(
    run_name: str,
    potential: Potential,
    training_set: StructureSet,
    validation_set: StructureSet,
    steps_per_epoch: int,
    place: torch.device,
    processes: Processes,
) -> str:
    n_parameters = sum(parameter.numel() for parameter in potential.parameters())
    where = f"{torch.get_num_threads()} CPU threads" if place.type == "cpu" else torch.cuda.get_device_name(place)
    several = f"{processes.number} processes of " if processes.number > 1 else ""
    return (
        f"{run_name}: {n_parameters} parameters, {len(training_set)} training and {len(validation_set)} validation "
        f"structures, {steps_per_epoch} steps per epoch, {several}{where}, lorem-openmm {version('lorem-openmm')}"
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps Lightning's remarks about hardware, workers and advertisements from the terminal."""
    loggers = [logging.getLogger(f"lightning.{part}") for part in ("pytorch", "fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            for text in (
                ".*many workers.*",
                ".*the logging interval.*",
                ".*no `val_dataloader`.*",
                "Grad strides.*",
                UNUSED,
            ):
                warnings.filterwarnings("ignore", message=text)
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
