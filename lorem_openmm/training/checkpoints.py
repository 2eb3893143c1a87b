"""Checkpoints that survive a kill at any moment: whole files only, the one before kept, never unpickled."""

import math
import shutil
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.plugins.io import CheckpointIO

from lorem_openmm.ambient import building
from lorem_openmm.config import Model, Training, parse
from lorem_openmm.errors import ModelFileError, TrainingError
from lorem_openmm.files import atomic_path
from lorem_openmm.model import Lorem
from lorem_openmm.potential import Potential
from lorem_openmm.training.averaging import WeightAverage
from lorem_openmm.training.history import History

NEWEST, PREVIOUS, BEST = "last.ckpt", "previous.ckpt", "best.ckpt"
BEST_FORMAT = "lorem-openmm best weights"


class AtomicCheckpointIO(CheckpointIO):
    """Writes to a temporary file, flushes, renames; the file that was there becomes ``previous.ckpt``.

    At any moment ``last.ckpt`` or ``previous.ckpt`` is a whole file. Loading runs no code from the file.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Writes a checkpoint, whole or not at all."""
        path = Path(path)
        with atomic_path(path) as temporary:
            torch.save(checkpoint, temporary)
            if path.is_symlink():  # written through, so that the file it leads to cannot be renamed
                shutil.copyfile(path, path.with_name(PREVIOUS))
            elif path.exists():
                path.replace(path.with_name(PREVIOUS))

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = None) -> dict[str, Any]:
        """Reads a checkpoint of tensors and plain values; ``weights_only`` is always on."""
        return read_checkpoint(Path(path), map_location or "cpu")

    def remove_checkpoint(self, path: Any) -> None:
        """Deletes a checkpoint."""
        Path(path).unlink(missing_ok=True)


class CheckpointWriter(Callback):
    """Writes a checkpoint after each validated epoch, and the weights with the highest score so far.

    The best weights are part of the checkpoint, one file, so that a kill between two files cannot leave weights of a
    history that was then trained again; ``best.ckpt`` is written from it.

    Args:
        folder: Folder of the checkpoints.
        history: History whose rows hold the score.
        constants: What to keep with the weights: hyperparameters, baseline, identity.
        average: Average whose weights are selected in place of the model's.

    Attributes:
        best: selected weights with what is needed to use them; empty before the first validation.
    """

    def __init__(
        self, folder: Path, history: History, constants: dict[str, Any], average: WeightAverage | None = None
    ) -> None:
        self.folder, self.history, self.constants, self.average = folder, history, constants, average
        self.best: dict[str, Any] = {}

    @property
    def state_key(self) -> str:
        """Returns the name of this callback's part of a checkpoint: that of earlier versions, whose files continue."""
        return "Keeper"

    def state_dict(self) -> dict[str, Any]:
        """Returns what the checkpoint keeps."""
        return {"best": self.best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes back what the checkpoint kept."""
        self.best = state_dict["best"]

    def on_save_checkpoint(self, trainer: Trainer, pl_module: Any, checkpoint: dict[str, Any]) -> None:
        """Adds by which settings and data the checkpoint was made."""
        checkpoint["identity"] = self.constants["identity"]
        checkpoint["epochs_done"] = self.history.row["epoch"]

    def on_train_epoch_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Selects and writes.

        Raises:
            TrainingError: If the loss is no longer a number.
        """
        row = self.history.row
        if not math.isfinite(row["train_loss"]):
            raise TrainingError(
                f"{self.folder.parent}: the loss must be a finite number, received {row['train_loss']} in epoch "
                f"{row['epoch']}. Lower `learning_rate`, start with less of it (`schedule: warmup_cosine`) or set "
                "`gradient_clip`, and train again."
            )
        if row["score"] == "":
            return
        improved = not self.best or row["score"] > self.best["metrics"]["score"]
        if improved:
            state = pl_module.potential.model.state_dict() | (self.average.average if self.average else {})
            weights = {name: value.detach().cpu().clone() for name, value in state.items()}
            self.best = {"state_dict": weights, "epoch": row["epoch"], "metrics": dict(row), **self.constants}
        trainer.save_checkpoint(self.folder / NEWEST, weights_only=False)
        if improved and trainer.is_global_zero:
            save_best(self.folder / BEST, self.best)


def read_checkpoint(path: Path, map_location: Any = "cpu") -> dict[str, Any]:
    """Reads a checkpoint after checking the checksums of all its parts.

    Args:
        path: The file.
        map_location: Where to put the tensors.

    Raises:
        ModelFileError: If the file is missing, truncated, altered, or holds more than tensors and plain values.
    """
    try:
        with zipfile.ZipFile(path) as archive:  # torch itself does not compare the checksums it writes
            damaged = archive.testzip()
        if damaged is not None:
            raise ValueError(f"checksum of '{damaged}' does not match")
        content = torch.load(path, map_location=map_location, weights_only=True)
    except FileNotFoundError:
        raise ModelFileError(f"{path}: there is no such checkpoint. Train the run first.") from None
    except Exception as error:  # a damaged pickle raises whatever its bytes happen to mean
        raise ModelFileError(
            f"{path}: must be a whole checkpoint of tensors and plain values, but cannot be read "
            f"({type(error).__name__}: {str(error)[:120]}). Delete it, or the folder to train again."
        ) from None
    if not isinstance(content, dict):
        raise ModelFileError(f"{path}: must hold a dictionary, received {type(content).__name__}. Delete it.")
    return content


def find_resumable(folder: Path) -> tuple[Path, dict[str, Any]] | None:
    """Returns the newest readable checkpoint and its content, or nothing where no training was started.

    Temporary files of a killed process are removed.

    Args:
        folder: Folder of the checkpoints.

    Raises:
        ModelFileError: If there are checkpoints but none can be read.
    """
    for leftover in folder.glob(".*.ckpt.*.ckpt"):
        leftover.unlink(missing_ok=True)
    candidates = [path for path in (folder / NEWEST, folder / PREVIOUS) if path.exists()]
    faults = []
    for path in candidates:
        try:
            return path, read_checkpoint(path)
        except ModelFileError as error:
            faults.append(str(error))
            warnings.warn(f"{error} Trying the checkpoint before it.", stacklevel=2)
    if faults:
        raise ModelFileError("\n".join(faults))
    return None


def changes(stored: Mapping[str, Any], present: Mapping[str, Any]) -> str:
    """Returns how a training of a checkpoint differs from the one asked for; empty: it can be continued.

    A key that the checkpoint does not have is newer than the checkpoint: its default is what was done before it.

    Args:
        stored: Settings and hashes of data by dotted name, as kept in it.
        present: Those of the run that is to be continued.
    """
    defaults = flatten({"model": Model().model_dump(), "training": Training().model_dump()})
    stored = {name: defaults[name] for name in defaults.keys() & present.keys()} | dict(stored)
    names = [name for name in {**present, **stored} if stored.get(name) != present.get(name)]
    return "\n".join(f"  {name}: {stored.get(name)!r:.70} there, {present.get(name)!r:.70} now" for name in names)


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Returns nested sections as one level, ``{"model.cutoff": 5.0, …}``.

    Args:
        values: Sections in sections.
        prefix: Put before the names.
    """
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat


def save_best(path: Path, content: dict[str, Any]) -> None:
    """Writes the selected weights with what is needed to use them, whole or not at all.

    Args:
        path: Where to.
        content: state_dict, hyperparameters, baseline, epoch, metrics, identity.
    """
    with atomic_path(path) as temporary:
        torch.save({"format": BEST_FORMAT, **content}, temporary)


@building()
def load_best(output: str | Path) -> tuple[Potential, dict[str, Any]]:
    """Returns the potential selected by validation, in float32 and with fixed weights, and how it did.

    Args:
        output: Folder of the run.

    Returns:
        The potential, and its ``epoch``, validation ``metrics``, and ``identity`` (settings and data hashes).

    Raises:
        ModelFileError: If the run was not trained or its file is damaged.
    """
    path = Path(output) / "checkpoints" / BEST
    content = read_checkpoint(path)
    if content.get("format") != BEST_FORMAT:
        raise ModelFileError(f"{path}: must be written by `lorem-openmm train`. Train the run again.")
    model = Lorem(parse(Model, content["hyperparameters"], str(path)))
    model.load_state_dict(content["state_dict"])
    potential = Potential(model, content["baseline"]).float().requires_grad_(False)
    return potential, {key: content[key] for key in ("epoch", "metrics", "identity")}
