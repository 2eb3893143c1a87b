"""What a training says while it runs: metrics.csv, train.log, TensorBoard, a progress bar on a terminal."""

import csv
import io
import math
import re
import sys
import time
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, Trainer
from tqdm import tqdm

from lorem_openmm.files import write_text
from lorem_openmm.training.module import TrainingModule

ROW, EPOCH_LINE = re.compile(r"(\d+),"), re.compile(r"epoch +(\d+)/")  # of metrics.csv and of train.log


class History(Callback):
    """Writes one row and one line per epoch, and keeps the bar.

    Rows and lines of epochs after the checkpoint from which a killed training continues are dropped first, so that
    every epoch is there once. Of several processes, one writes.

    Args:
        output: Folder of the run.
        epochs: Number of epochs in all.
        done: Number of epochs already trained.
        header: First line of the log.
        validates: Whether there is a validation set.
        show_bar: Whether to draw a progress bar, if there is a terminal.
        writes: Whether this process is the one that writes.

    Attributes:
        row: metrics of the latest epoch by name; ``score`` is R²(energy) + R²(forces) of the validation set.
    """

    def __init__(
        self, output: Path, epochs: int, done: int, header: str, validates: bool, show_bar: bool, writes: bool
    ) -> None:
        self.output, self.epochs, self.done = output, epochs, done
        self.validates, self.writes = validates, writes
        self.show_bar = show_bar and writes and sys.stderr.isatty()
        self.row: dict[str, Any] = {}
        self._bar: tqdm[Any] | None = None
        self._started = 0.0
        if writes:
            _prune(output / "metrics.csv", ROW, done)
            _prune(output / "train.log", EPOCH_LINE, done)
        self.note(f"continued after epoch {done}" if done else header)

    def note(self, text: str) -> None:
        """Adds a line to the log that is not an epoch's.

        Args:
            text: What to say.
        """
        if self.writes:
            with (self.output / "train.log").open("a", encoding="utf-8") as log:
                log.write(f"# {text}\n")

    def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
        """Draws the bar."""
        self._bar = tqdm(
            total=self.epochs,
            initial=self.done,
            desc=f"train {self.output.name}",
            unit="epoch",
            disable=not self.show_bar,
            dynamic_ncols=True,
        )

    def on_train_epoch_start(self, trainer: Trainer, pl_module: Any) -> None:
        """Starts the clock."""
        self._started = time.perf_counter()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Writes the epoch."""
        self.row = self._collect(trainer, pl_module)
        if not self.writes:
            return
        _append_row(self.output / "metrics.csv", self.row)
        line = _format_row(self.row, self.epochs)
        with (self.output / "train.log").open("a", encoding="utf-8") as log:
            log.write(line + "\n")
        if trainer.logger is not None:
            values = {name: value for name, value in self.row.items() if value != "" and name != "epoch"}
            trainer.logger.log_metrics(values, step=self.row["epoch"])
        if self._bar is not None:
            self._bar.set_postfix_str(_bar_text(self.row), refresh=False)
            self._bar.update()

    def teardown(self, trainer: Trainer, pl_module: Any, stage: str) -> None:
        """Closes the bar."""
        if self._bar is not None:
            self._bar.close()

    def _collect(self, trainer: Trainer, module: TrainingModule) -> dict[str, Any]:
        training = module.training_metrics.summary()
        row: dict[str, Any] = {
            "epoch": trainer.current_epoch + 1,
            "step": trainer.global_step,
            "learning_rate": trainer.optimizers[0].param_groups[0]["lr"],
            "seconds": round(time.perf_counter() - self._started, 3),
            "train_loss": float(module.loss_sum) / module.steps_per_epoch,
        }
        row |= {f"train_{name}": value for name, value in training.items()}
        validated = module.validation_metrics.summary() if module.validated else {}
        names = training if self.validates else []
        row |= {f"validation_{name}": validated.get(name, "") for name in names}
        selecting = validated if self.validates else training
        row["score"] = _score(selecting) if selecting else ""
        return row


def _score(metrics: dict[str, float]) -> float:
    """Returns R²(energy) + R²(forces), by which weights are selected.

    An R² that is not defined, as for the energies of a set with only one structure, counts as 0.
    """
    return sum(0.0 if math.isnan(metrics[name]) else metrics[name] for name in ("energy_r2", "forces_r2"))


def _format_row(row: dict[str, Any], epochs: int) -> str:
    """Returns an epoch as one line of the log."""
    width = len(str(epochs))
    parts = [
        f"epoch {row['epoch']:{width}d}/{epochs}  lr {row['learning_rate']:.2e}  loss {row['train_loss']:.3e}",
        f"train E {row['train_energy_rmse']:.3f} meV/atom F {row['train_forces_rmse']:.2f} meV/Å",
    ]
    if row.get("validation_energy_rmse", "") != "":
        parts.append(
            f"validation E {row['validation_energy_rmse']:.3f} meV/atom F {row['validation_forces_rmse']:.2f} meV/Å"
        )
    if row["score"] != "":
        parts.append(f"R2 sum {row['score']:.6f}")
    return "  ".join([*parts, f"{row['seconds']:.2f} s"])


def _bar_text(row: dict[str, Any]) -> str:
    """Returns what the bar says of an epoch."""
    part = "validation" if row.get("validation_energy_rmse", "") != "" else "train"
    return f"{part} E {row[part + '_energy_rmse']:.2f} meV/atom, F {row[part + '_forces_rmse']:.1f} meV/Å"


def _append_row(path: Path, row: dict[str, Any]) -> None:
    """Adds a row to a table, and the names of its columns before the first one."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(row), lineterminator="\n")
    if not path.exists() or path.stat().st_size == 0:
        writer.writeheader()
    writer.writerow(row)
    with path.open("a", encoding="utf-8") as stream:
        stream.write(text.getvalue())


def _prune(path: Path, numbered: re.Pattern[str], last: int) -> None:
    """Drops the lines of epochs after ``last``, and a line that was cut off; others stay. Where it is 0, drops all."""
    if not path.exists():
        return
    kept = []
    for line in path.read_text(encoding="utf-8").splitlines(keepends=True):
        match = numbered.match(line)
        if line.endswith("\n") and (match is None or int(match[1]) <= last):
            kept.append(line)
    write_text(path, "".join(kept) if last else "")
