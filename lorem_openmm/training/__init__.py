"""Losses, schedules, training with Lightning, evaluation."""

from lorem_openmm.extras import needs

needs("training and evaluating a model", "train")
