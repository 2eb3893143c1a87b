"""Diffusion of molecules in a periodic box: mean squared displacement, coefficient and its errors."""

from typing import NamedTuple

import mdtraj
import numpy as np

from lorem_openmm.units import ANGSTROM_PER_NANOMETER, JOULE_PER_KELVIN

# The part of the analysed time in which the mean squared displacement is fitted: after rattling in the cage of
# neighbours, and where enough starting times are left to average over.
FIT_FROM, FIT_TO = 0.1, 0.4
FEWEST_FRAMES = 20
SELF_INTERACTION = 2.837297  # ξ, of a cubic lattice
NANO = 1e9


class Diffusion(NamedTuple):
    """A diffusion coefficient from mean squared displacements.

    Attributes:
        coefficient: D in 10⁻⁹ m²/s, of the box as it is.
        error: Its standard error, from the spread over molecules.
        exponent: d ln MSD / d ln t in the fitted range; 1 for diffusion, less while molecules still rattle in place.
        fitted: First and last time in ps of the fit.
        times: [n] ps.
        displacements: [n] mean squared displacement in Å².
        intercept: Intercept of the fitted line at t = 0, in Å².
    """

    coefficient: float
    error: float
    exponent: float
    fitted: tuple[float, float]
    times: np.ndarray
    displacements: np.ndarray
    intercept: float


def centers_of_mass(trajectory: mdtraj.Trajectory, molecules: list[np.ndarray]) -> np.ndarray:
    """Follows the centres of mass of molecules without jumps, the motion of all of them together taken out.

    Steps from frame to frame are taken to the nearest image, so it does not matter whether the trajectory was wrapped
    into its box, as long as no atom moves half a box between two frames.

    Args:
        trajectory: Periodic, [n_frames], with a box that does not change; molecules may be broken by it.
        molecules: Atoms of each molecule.

    Returns:
        [n_frames, n_molecules, 3] Å.
    """
    box = ANGSTROM_PER_NANOMETER * trajectory.unitcell_vectors[0].astype(float)
    positions = ANGSTROM_PER_NANOMETER * trajectory.xyz.astype(float)
    masses = np.array([atom.element.mass for atom in trajectory.topology.atoms])
    for members in molecules:  # whole in the first frame; atoms then keep together by themselves
        first = positions[0, members[0]].copy()
        positions[0, members] = first + _nearest(positions[0, members] - first, box)
    steps = _nearest(np.diff(ANGSTROM_PER_NANOMETER * trajectory.xyz.astype(float), axis=0), box)
    positions[1:] = positions[0] + np.cumsum(steps, axis=0)
    weights = [masses[members] for members in molecules]
    centers = np.stack(
        [np.average(positions[:, members], axis=1, weights=w) for members, w in zip(molecules, weights, strict=True)],
        axis=1,
    )
    return centers - np.average(centers, axis=1, weights=[w.sum() for w in weights])[:, None]


def mean_squared_displacements(positions: np.ndarray) -> np.ndarray:
    """MSD_i(k) = mean over t of |r_i(t + k) − r_i(t)|², all starting times used.

    Args:
        positions: [n_frames, n_particles, 3], without jumps.

    Returns:
        [n_frames, n_particles], the square of the unit of ``positions``.

    References:
        Calandrini et al., Collection SFN 12, 201 (2011): the sum over starting times by Fourier transforms.
    """
    n_frames = len(positions)
    centered = positions - positions.mean(axis=0)
    spectrum = np.fft.rfft(centered, n=2 * n_frames, axis=0)
    products = np.fft.irfft((spectrum * spectrum.conj()).real, n=2 * n_frames, axis=0)[:n_frames].sum(-1)
    squares = (centered**2).sum(-1)
    # Σ_t |r(t)|² + |r(t + k)|² over the pairs that lie k apart.
    later = np.cumsum(squares[::-1], axis=0)[::-1]
    earlier = np.cumsum(squares, axis=0)[::-1]
    counts = n_frames - np.arange(n_frames)[:, None]
    return (later + earlier - 2.0 * products) / counts


def diffusion(positions: np.ndarray, interval: float) -> Diffusion | None:
    """D = (1/6) d MSD / dt, a straight line with intercept through 10 to 40 % of the time.

    Each molecule has its own line; D is their mean, and its standard error their standard deviation divided by the root
    of their number. The error is the statistical one only: it does not tell of a time too short for diffusion (see
    ``exponent``), nor of the thermostat: friction γ of Langevin dynamics lowers D by the factor 1 / (1 + m·γ·D / kT),
    2 % for water at γ = 1/ps.

    Args:
        positions: [n_frames, n_molecules, 3] Å, without jumps.
        interval: Time in ps between frames.

    Returns:
        The coefficient, or None if there are fewer than 20 frames or two molecules.

    References:
        Einstein, Ann. Phys. 322, 549 (1905); Maginn et al., Living J. Comput. Mol. Sci. 1, 6324 (2019).
    """
    n_frames, n_molecules, _ = positions.shape
    if n_frames < FEWEST_FRAMES or n_molecules < 2:
        return None
    each = mean_squared_displacements(positions)
    times = interval * np.arange(n_frames)
    fitted = slice(max(1, int(FIT_FROM * n_frames)), int(FIT_TO * n_frames) + 1)
    slopes, intercepts = np.polyfit(times[fitted], each[fitted], 1)
    mean = each.mean(axis=1)
    exponent = np.polyfit(np.log(times[fitted]), np.log(mean[fitted]), 1)[0] if (mean[fitted] > 0).all() else np.nan
    to_si = 10.0 / 6.0  # 1 Å²/ps is 10 · 10⁻⁹ m²/s
    return Diffusion(
        float(to_si * slopes.mean()),
        float(to_si * slopes.std(ddof=1) / np.sqrt(n_molecules)),
        float(exponent),
        (float(times[fitted][0]), float(times[fitted][-1])),
        times,
        mean,
        float(intercepts.mean()),
    )


def finite_size_correction(temperature: float, edge: float, viscosity: float) -> float:
    """What D of a cubic periodic box lacks to that of an infinite one:  D_∞ − D(L) = ξ·kT / (6π·η·L), ξ = 2.837297.

    A molecule drags the liquid along, and with it its own images.

    Args:
        temperature: T in K.
        edge: L in Å.
        viscosity: η in mPa·s, of the simulated liquid.

    Returns:
        10⁻⁹ m²/s.

    References:
        Yeh, Hummer, J. Phys. Chem. B 108, 15873 (2004).
    """
    return SELF_INTERACTION * JOULE_PER_KELVIN * temperature / (6 * np.pi * viscosity * 1e-3 * edge * 1e-10) * NANO


def _nearest(steps: np.ndarray, box: np.ndarray) -> np.ndarray:
    return steps - np.round(steps @ np.linalg.inv(box)) @ box
