"""The end of a training whose score no longer grows."""

from typing import Any

from lightning.pytorch import Callback, Trainer

from lorem_openmm.training.checkpoints import CheckpointWriter
from lorem_openmm.training.history import History


class EarlyStop(Callback):
    """Ends the training at a validated epoch that comes ``patience`` or more epochs after the best one.

    Called again, a training that was ended so does not go on.

    Args:
        patience: Epochs without a better score; 0: never stop.
        checkpoints: Knows the best epoch; runs before this callback.
        history: Knows the present one.
    """

    def __init__(self, patience: int, checkpoints: CheckpointWriter, history: History) -> None:
        self.patience, self.checkpoints, self.history = patience, checkpoints, history

    def on_fit_start(self, trainer: Trainer, pl_module: Any) -> None:
        """Trains no further if the checkpoint is that of an ended training."""
        trainer.should_stop = trainer.strategy.reduce_boolean_decision(self._is_due(self.history.done), all=False)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Ends the training if it is time."""
        row = self.history.row
        is_due = row["score"] != "" and self._is_due(row["epoch"])
        if trainer.strategy.reduce_boolean_decision(is_due, all=False):  # one decision for all processes
            trainer.should_stop = True
            best = self.checkpoints.best["epoch"]
            self.history.note(f"stopped after epoch {row['epoch']}: no better score since epoch {best}")

    def _is_due(self, epoch: int) -> bool:
        best = self.checkpoints.best
        return self.patience > 0 and bool(best) and epoch - best["epoch"] >= self.patience
