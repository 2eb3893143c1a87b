"""Infrared spectra from dipoles over time."""

from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from lorem_openmm.analysis.csv_files import write_csv
from lorem_openmm.errors import ConfigError, DataError
from lorem_openmm.plotting import COLORS, label_axes, new_figure
from lorem_openmm.units import (
    ANGSTROM_PER_FEMTOSECOND,
    CENTIMETER_PER_FEMTOSECOND,
    COULOMB_EV_ANGSTROM,
    EV_FEMTOSECOND_PER_RADIAN,
    EV_PER_KELVIN,
    KM_PER_MOL_CM_PER_SQUARE_ANGSTROM,
)

Correction = Literal["harmonic", "standard", "none"]
CORRECTIONS = ("harmonic", "standard", "none")
PER_CENTIMETER = 1e8  # of 1/Å
POINTS = 4  # of the table in one resolution
COLUMNS = {False: "absorption_km_per_mol_cm", True: "absorption_per_cm"}
LABELS = {
    "absorption_km_per_mol_cm": "molar absorption\n(km/mol per cm$^{-1}$)",
    "absorption_per_cm": "absorption times\nrefractive index (cm$^{-1}$)",
}


def infrared_spectrum(
    dipoles: np.ndarray,
    timestep: float,
    temperature: float,
    volume: float | None = None,
    resolution: float = 10.0,
    correction: Correction = "harmonic",
    is_flux: bool = False,
) -> pd.DataFrame:
    """α(ω) n(ω) = β/(3 ε₀ c V) · q(βħω) · ∫_0^∞ ⟨μ̇(0)·μ̇(t)⟩ w(t) cos ωt dt.

    The autocorrelation of the flux μ̇ is averaged over all starting times and ends in a Hann window w, which gives every
    line the width of the resolution. The factor q tells how nuclei that move classically stand for quantum ones, with
    x = βħω: `harmonic`, q = 1, exact for harmonic oscillators; `standard`, q = 2 tanh(x/2)/x, from a correlation
    function made to obey detailed balance; `none`, q = (1 − e⁻ˣ)/x.

    Without a volume the structure is one molecule, whose spectrum is given per mole: N_A α n V, the integral of which
    over a band is its intensity in km/mol.

    Args:
        dipoles: [n_frames, 3] e·Å; of a periodic box the flux, Σ_i v_i·Z*_i of Born effective charges.
        timestep: fs between frames; half of 1/(c · timestep) is the highest wavenumber.
        temperature: K.
        volume: Å³ of the box; None: a molecule in vacuum.
        resolution: cm⁻¹.
        correction: `harmonic`, `standard` or `none`.
        is_flux: whether the numbers are fluxes in e·Å/fs rather than dipoles.

    Returns:
        ``wavenumber_per_cm`` and ``absorption_km_per_mol_cm``, (km/mol)/cm⁻¹, or with a volume ``absorption_per_cm``,
        cm⁻¹.

    Raises:
        ConfigError: If a number is not positive, or there is no such correction.
        DataError: If the frames are too few for the resolution, or not finite vectors.

    References:
        R. Ramírez, T. López-Ciudad, P. Kumar, D. Marx, J. Chem. Phys. 121, 3973 (2004), on the corrections.
    """
    numbers = {"timestep": timestep, "temperature": temperature, "volume": volume, "resolution": resolution}
    for name, number in numbers.items():
        if number is not None and not 0 < number < np.inf:
            raise ConfigError(f"{name}: must be positive, received {number!r}")
    if correction not in CORRECTIONS:
        raise ConfigError(f"correction: must be one of {', '.join(CORRECTIONS)}, received {correction!r}")
    values = np.asarray(dipoles, dtype=np.float64)
    if values.ndim != 2 or values.shape[1] != 3 or not np.isfinite(values).all():
        raise DataError(f"dipoles: must be finite vectors [n_frames, 3], received an array {list(values.shape)}")
    flux = values if is_flux else np.diff(values, axis=0) / timestep
    n_lags = int(np.ceil(1.0 / (CENTIMETER_PER_FEMTOSECOND * resolution * timestep)))
    if len(flux) < 2 * n_lags:
        raise DataError(
            f"dipoles: a resolution of {resolution:g} cm^-1 needs {2 * n_lags + 1} frames at {timestep:g} fs, received "
            f"{len(values)}; give more of them, or a coarser resolution"
        )
    correlation = _autocorrelation(flux, n_lags)
    correlation *= np.cos(0.5 * np.pi * np.arange(n_lags) / n_lags) ** 2
    n_points = POINTS * n_lags
    correlation[0] *= 0.5
    integral = timestep * np.fft.rfft(correlation, n_points).real
    wavenumbers = np.fft.rfftfreq(n_points, timestep) / CENTIMETER_PER_FEMTOSECOND
    omega = 2.0 * np.pi * np.fft.rfftfreq(n_points, timestep)
    if not is_flux:  # what differences between frames make smaller than derivatives
        integral /= np.sinc(omega * timestep / (2.0 * np.pi)) ** 2
    thermal = EV_PER_KELVIN * temperature
    scale = 4.0 * np.pi * COULOMB_EV_ANGSTROM / (3.0 * thermal * ANGSTROM_PER_FEMTOSECOND)  # 1/ε₀ = 4π e²·k
    cross_section = scale * _correction(EV_FEMTOSECOND_PER_RADIAN * omega / thermal, correction) * integral
    in_units = PER_CENTIMETER / volume if volume else KM_PER_MOL_CM_PER_SQUARE_ANGSTROM
    return pd.DataFrame({"wavenumber_per_cm": wavenumbers, COLUMNS[volume is not None]: in_units * cross_section})


def write_infrared(spectrum: pd.DataFrame, output: Path, highest: float = 4500.0) -> None:
    """Writes ``infrared.csv`` and ``infrared.png/svg``.

    Args:
        spectrum: from :func:`infrared_spectrum`.
        output: folder.
        highest: cm⁻¹, where the figure ends.
    """
    write_csv(output / "infrared.csv", spectrum)
    wavenumber, column = spectrum.columns
    shown = spectrum[spectrum[wavenumber] <= highest]
    with new_figure(output / "infrared") as (_, axes):
        axes[0, 0].plot(shown[wavenumber], shown[column], color=COLORS[0])
        label_axes(axes[0, 0], "wavenumber (cm$^{-1}$)", LABELS[column])


def _autocorrelation(flux: np.ndarray, n_lags: int) -> np.ndarray:
    """⟨j(0)·j(t)⟩ [n_lags], averaged over all starting times, by the Fourier transform of j padded with zeros."""
    size = 2 ** int(np.ceil(np.log2(len(flux) + n_lags)))
    powers = np.abs(np.fft.rfft(flux, size, axis=0)) ** 2
    sums = np.fft.irfft(powers.sum(axis=1), size)[:n_lags]
    return sums / (len(flux) - np.arange(n_lags))


def _correction(x: np.ndarray, correction: Correction) -> np.ndarray:
    """q(x), and its limit 1 at x = 0."""
    if correction == "harmonic":
        return np.ones_like(x)
    small = np.maximum(x, 1e-12)
    return 2.0 * np.tanh(small / 2.0) / small if correction == "standard" else -np.expm1(-small) / small
