"""Means of series that may begin out of equilibrium."""

import logging
from typing import NamedTuple

import numpy as np

logging.disable(logging.WARNING)  # pymbar recommends JAX when it is imported
from pymbar import MBAR, timeseries  # noqa: E402

logging.disable(logging.NOTSET)

__all__ = ["MBAR", "Average", "average", "timeseries"]

LONGEST_EQUILIBRATION = 0.5  # share of a series that may be left out
FEWEST_VALUES = 10  # below which no standard error is stated


class Average(NamedTuple):
    """The mean of a series that may begin out of equilibrium.

    Attributes:
        mean: Mean of the values used.
        error: Its standard error; nan if there are too few values.
        start: Index of the first value used.
        n_independent: Number of independent values.
    """

    mean: float
    error: float
    start: int
    n_independent: float


def average(values: np.ndarray) -> Average:
    """Averages a correlated series, its beginning left out:  error = σ / √(n / g), g the statistical inefficiency.

    What is left out, at most half, maximises the number of independent values.

    Args:
        values: [n].

    References:
        Chodera, J. Chem. Theory Comput. 12, 1799 (2016).
    """
    values = np.asarray(values, dtype=float)
    if len(values) < FEWEST_VALUES or np.ptp(values) <= 1e-12 * np.abs(values).max():
        error = 0.0 if len(values) >= FEWEST_VALUES else float("nan")
        return Average(float(values.mean()), error, 0, float(len(values)))
    start, inefficiency, _ = timeseries.detect_equilibration(values, nskip=max(1, len(values) // 100))
    start = min(int(start), int(LONGEST_EQUILIBRATION * len(values)))
    used = values[start:]
    inefficiency = timeseries.statistical_inefficiency(used)
    n_independent = len(used) / inefficiency
    return Average(float(used.mean()), float(used.std(ddof=1) / np.sqrt(n_independent)), start, float(n_independent))
