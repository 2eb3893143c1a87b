"""Losses, schedules, training with Lightning, evaluation."""
