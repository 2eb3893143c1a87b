"""Exponential moving average of the weights."""

from typing import Any

import torch
from lightning.pytorch import Callback, Trainer


class WeightAverage(Callback):
    """w̄_t = Σ_k β^(t−k) w_k / Σ_k β^(t−k) over the weights w_1 … w_t after each step.

    The sum is divided by its weights, so that the average never remembers the initial weights: after the first step it
    is w_1, and later the usual w̄ ← β w̄ + (1 − β) w.

    Validation sees the averaged weights, and they are what is selected. Values are copied, parameters stay the same
    tensors.

    Args:
        decay: β.

    Attributes:
        average: w̄ by name of the model's parameters; empty before the first step.
        n_updates: t.
    """

    def __init__(self, decay: float) -> None:
        self.decay = decay
        self.average: dict[str, torch.Tensor] = {}
        self.n_updates = 0
        self._trained: list[torch.Tensor] = []

    def state_dict(self) -> dict[str, Any]:
        """Returns what the checkpoint keeps."""
        return {"average": self.average, "n_updates": self.n_updates}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes back what the checkpoint kept."""
        self.average, self.n_updates = state_dict["average"], state_dict["n_updates"]

    def on_fit_start(self, trainer: Trainer, pl_module: Any) -> None:
        """Puts a restored average where the weights are."""
        parameters = dict(pl_module.potential.model.named_parameters())
        self.average = {name: value.to(parameters[name]) for name, value in self.average.items()}

    @torch.no_grad()
    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, *arguments: Any) -> None:
        """Takes in the weights after a step."""
        parameters = dict(pl_module.potential.model.named_parameters())
        self.n_updates += 1
        if not self.average:
            self.average = {name: value.detach().clone() for name, value in parameters.items()}
            return
        weight = (1 - self.decay) / (1 - self.decay**self.n_updates)
        torch._foreach_lerp_(list(self.average.values()), [parameters[name] for name in self.average], weight)

    @torch.no_grad()
    def on_validation_start(self, trainer: Trainer, pl_module: Any) -> None:
        """Puts the average into the model."""
        model = pl_module.potential.model
        self._trained = [model.get_parameter(name).clone() for name in self.average]
        for name, value in self.average.items():
            model.get_parameter(name).copy_(value)

    @torch.no_grad()
    def on_validation_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Puts the trained weights back."""
        for name, value in zip(self.average, self._trained, strict=True):
            pl_module.potential.model.get_parameter(name).copy_(value)
        self._trained = []
