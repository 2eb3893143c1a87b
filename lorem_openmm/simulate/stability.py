"""What is said of a simulation at its end: whether it held together, and if not, since when and why."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np


class Verdict(NamedTuple):
    """Whether a simulation is sound.

    Attributes:
        stable: Whether nothing was found.
        reason: What was found, in plain English with atoms, numbers and units; None if nothing was.
        time_ps: Since when, in ps; None if nothing was found.
        step: The same as a step.
        watched: What was looked for.
    """

    stable: bool
    reason: str | None
    time_ps: float | None
    step: int | None
    watched: list[str]

    @classmethod
    def of(cls, entry: Mapping[str, Any]) -> "Verdict":
        """Returns the verdict of a summary's entry ``verdict``."""
        return cls(**{name: entry[name] for name in cls._fields})

    def describe(self) -> str:
        """Returns the verdict in one line."""
        if self.stable:
            return f"stable (watched: {', '.join(self.watched)})"
        return f"UNSTABLE at {self.time_ps:.4g} ps (step {self.step}): {self.reason}"


def sound_rows(steps: np.ndarray, verdict: Verdict) -> np.ndarray:
    """Returns which frames [n_frames] lie before the run fell apart; all of them if it did not.

    Args:
        steps: [n_frames] steps of the frames.
        verdict: Verdict of the run.
    """
    if verdict.stable or verdict.step is None:
        return np.ones(len(steps), dtype=bool)
    return steps < verdict.step
