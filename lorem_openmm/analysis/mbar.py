"""Free energy along a coordinate from biased simulations: MBAR, the overlap of the windows, and points of a profile."""

from typing import NamedTuple

import numpy as np

from lorem_openmm.analysis.averages import MBAR, timeseries
from lorem_openmm.errors import DataError
from lorem_openmm.units import EV_PER_KELVIN

OUTSIDE = 1e5  # reduced energy of a sample that is not in a bin: its weight is 0


class Samples(NamedTuple):
    """Samples of a coordinate under harmonic biases.

    Attributes:
        coordinates: Coordinates of each window [n_k] Å, uncorrelated.
        centers: Centers of the biases, [n_windows] Å.
        stiffness: Stiffness of the biases, eV/Å².
        temperature: K.
    """

    coordinates: list[np.ndarray]
    centers: np.ndarray
    stiffness: float
    temperature: float


class FreeEnergy(NamedTuple):
    """A free-energy profile.

    Attributes:
        coordinate: Centres of the bins, [n_bins] Å.
        values: [n_bins] eV, the lowest 0; not a number where a bin has no sample.
        errors: [n_bins, n_bins] eV, standard errors of the differences between bins.
        counts: [n_bins] uncorrelated samples.
        overlap: [n_windows, n_windows] probability that a sample of window i belongs to window j.
    """

    coordinate: np.ndarray
    values: np.ndarray
    errors: np.ndarray
    counts: np.ndarray
    overlap: np.ndarray


def inefficiency(coordinate: np.ndarray) -> float:
    """Returns how many frames in a row count as one independent sample (1: all are independent).

    Args:
        coordinate: [n_frames] of one window.

    References:
        Chodera et al., J. Chem. Theory Comput. 3, 26 (2007).
    """
    if np.ptp(coordinate) == 0:
        return float(len(coordinate))
    return float(timeseries.statistical_inefficiency(coordinate))


def independent(coordinate: np.ndarray, g: float) -> np.ndarray:
    """Returns every g-th value [n].

    Args:
        coordinate: [n_frames].
        g: Statistical inefficiency, from :func:`inefficiency`; need not be whole.
    """
    return coordinate[timeseries.subsample_correlated_data(coordinate, g=g)]


def mbar_profile(samples: Samples, edges: np.ndarray, radial: bool = False) -> FreeEnergy:
    """F(ξ) = −kT ln P(ξ), with P the distribution without biases that MBAR puts together.

    P is an average over each bin. If the coordinate is a distance in space, P(r) = 4πr² · exp(−W(r)/kT), and
    W(r) = F(r) + 2·kT ln r is returned: flat where nothing acts between the two ends. The errors are MBAR's asymptotic
    ones.

    Args:
        samples: Samples of all windows.
        edges: [n_bins + 1] of the bins, increasing, in Å.
        radial: Take the growth of spherical shells out.

    Raises:
        DataError: If a window has no sample, or no sample is in any bin.

    References:
        Shirts, Chodera, J. Chem. Phys. 129, 124105 (2008).
    """
    numbers = np.array([len(values) for values in samples.coordinates])
    if (numbers == 0).any():
        raise DataError(f"window {int(np.argmin(numbers))}: must have at least one sample; found none")
    beta = 1.0 / (EV_PER_KELVIN * samples.temperature)
    values = np.concatenate(samples.coordinates)
    # The model's own energy is the same in every window and cancels.
    biases = 0.5 * beta * samples.stiffness * (values[None, :] - samples.centers[:, None]) ** 2
    mbar = MBAR(biases, numbers)
    counts, _ = np.histogram(values, edges)
    filled = np.flatnonzero(counts)
    if len(filled) == 0:
        raise DataError(
            f"coordinate: the windows' samples, {values.min():.2f} to {values.max():.2f} Å, must reach the profile, "
            f"{edges[0]:.2f} to {edges[-1]:.2f} Å; none does. Use stiffer biases"
        )
    bins = np.digitize(values, edges) - 1
    outside = np.where(bins[None, :] == filled[:, None], 0.0, OUTSIDE)
    found = mbar.compute_perturbed_free_energies(outside)
    low, high = edges[:-1], edges[1:]
    middles = 0.5 * (low + high)
    volumes = (high**3 - low**3) / 3.0 if radial else high - low
    profile = np.full(len(middles), np.nan)
    profile[filled] = (found["Delta_f"][0] + np.log(volumes[filled])) / beta
    errors = np.full((len(middles), len(middles)), np.nan)
    errors[np.ix_(filled, filled)] = found["dDelta_f"] / beta
    return FreeEnergy(middles, profile - np.nanmin(profile), errors, counts, mbar.compute_overlap()["matrix"])


class Barrier(NamedTuple):
    """Indices of the points of a profile with one barrier.

    Attributes:
        low: The lowest point at smaller coordinates than the barrier.
        top: The top of the barrier.
        high: The lowest point at larger coordinates.
    """

    low: int
    top: int
    high: int


def find_barrier(values: np.ndarray) -> Barrier | None:
    """Returns the barrier that rises most above the lower points on both its sides, or None if nothing does.

    Args:
        values: [n] energies; points that are not numbers are passed over.
    """
    known = np.flatnonzero(np.isfinite(values))
    v = values[known]
    if len(v) < 3:
        return None
    before, after = np.minimum.accumulate(v), np.minimum.accumulate(v[::-1])[::-1]
    rise = v - np.maximum(before, after)
    top = int(np.argmax(rise))
    if rise[top] <= 0:
        return None
    low, high = int(np.argmin(v[:top])), top + 1 + int(np.argmin(v[top + 1 :]))
    return Barrier(int(known[low]), int(known[top]), int(known[high]))


def neighbor_overlap(overlap: np.ndarray) -> tuple[float, int]:
    """Returns the smallest overlap of a window with the next one, and the number of the former.

    Args:
        overlap: [n_windows, n_windows].
    """
    # Both directions: with unequal numbers of samples the matrix is not symmetric.
    between = np.minimum(np.diagonal(overlap, 1), np.diagonal(overlap, -1))
    worst = int(np.argmin(between))
    return float(between[worst]), worst
