"""Learning rates by step, as optax (and so lorem-jax) defines them.

References:
    DeepMind, optax, ``schedules.linear_schedule``, ``exponential_decay``, ``warmup_cosine_decay_schedule``.
"""

import math

import torch

from lorem_openmm.config import Training


def learning_rate(step: int, steps_per_epoch: int, training: Training) -> float:
    """η(step), the learning rate of a step counted from 0.

    With b the first step of the decay, T the last of the training and x = (step − b) / (T − b) clipped to [0, 1]:
    ``linear``: η = η_0 + x (η_1 − η_0); ``exponential``: η = η_0 (η_1 / η_0)^x, both constant before b =
    ``constant_epochs``; ``warmup_cosine``: linear from η_1 to η_0 until b = ``warmup_epochs``, then
    η = η_1 + ½ (η_0 − η_1) (1 + cos πx).

    Args:
        step: number of updates made so far.
        steps_per_epoch: batches per epoch.
        training: epochs, initial (η_0) and final (η_1) learning rate, kind of decay.
    """
    start, end = training.learning_rate, training.min_learning_rate
    warmup = training.schedule == "warmup_cosine"
    begin = (training.warmup_epochs if warmup else training.constant_epochs) * steps_per_epoch
    last = training.epochs * steps_per_epoch
    if step < begin:
        return end + (start - end) * step / begin if warmup else start
    if begin >= last:
        return start
    x = min((step - begin) / (last - begin), 1.0)
    if training.schedule == "linear":
        return start + x * (end - start)
    if training.schedule == "exponential":
        return float(start * (end / start) ** x)
    return end + 0.5 * (start - end) * (1.0 + math.cos(math.pi * x))


def make_scheduler(
    optimizer: torch.optim.Optimizer, steps_per_epoch: int, training: Training
) -> torch.optim.lr_scheduler.LambdaLR:
    """Returns the scheduler, to be stepped after each update; the optimiser must start from ``learning_rate``.

    Args:
        optimizer: Optimiser whose learning rate is set.
        steps_per_epoch: batches per epoch.
        training: kind of decay.
    """
    return torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: learning_rate(step, steps_per_epoch, training) / training.learning_rate
    )
