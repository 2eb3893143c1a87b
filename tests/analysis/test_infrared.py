"""Infrared spectra of oscillators whose frequency and intensity are known."""

import numpy as np
import pandas as pd
import pytest

from lorem_openmm.analysis.infrared import infrared_spectrum, write_infrared
from lorem_openmm.errors import ConfigError, DataError
from lorem_openmm.units import CENTIMETER_PER_FEMTOSECOND, EV_FEMTOSECOND_PER_RADIAN, EV_PER_KELVIN

EV_PER_DALTON_SQUARE_ANGSTROM_PER_SQUARE_FEMTOSECOND = 103.642697
DEBYE = 0.20819434  # e·Å
KELVIN = 300.0


def oscillating(wavenumber: float, amplitude: float, timestep: float, n_frames: int = 20_000) -> np.ndarray:
    """A dipole that oscillates in a direction off the axes."""
    time = timestep * np.arange(n_frames)
    along = amplitude * np.cos(2 * np.pi * CENTIMETER_PER_FEMTOSECOND * wavenumber * time + 0.3)
    return along[:, None] * np.array([0.6, 0.0, 0.8]) + np.array([1.0, -2.0, 0.5])


def peak(spectrum: pd.DataFrame) -> float:
    return float(spectrum["wavenumber_per_cm"][spectrum.iloc[:, 1].idxmax()])


def area(spectrum: pd.DataFrame) -> float:
    return float(np.trapezoid(spectrum.iloc[:, 1], spectrum["wavenumber_per_cm"]))


@pytest.mark.parametrize("wavenumber", [400.0, 1650.0, 3700.0])
@pytest.mark.parametrize("timestep", [0.5, 2.0])
def test_the_line_and_its_intensity_are_those_of_a_harmonic_oscillator(wavenumber, timestep):
    """An oscillator with dμ/dQ = 1 D/(Å u^½) at any temperature: 42.2561 km/mol."""
    thermal = EV_PER_KELVIN * KELVIN / EV_PER_DALTON_SQUARE_ANGSTROM_PER_SQUARE_FEMTOSECOND
    omega = 2 * np.pi * CENTIMETER_PER_FEMTOSECOND * wavenumber
    dipoles = oscillating(wavenumber, DEBYE * np.sqrt(2 * thermal) / omega, timestep)
    spectrum = infrared_spectrum(dipoles, timestep, KELVIN, resolution=10.0)
    assert peak(spectrum) == pytest.approx(wavenumber, abs=2.5)
    assert area(spectrum) == pytest.approx(42.2561, rel=2e-3)
    half = spectrum[spectrum.iloc[:, 1] > spectrum.iloc[:, 1].max() / 2]["wavenumber_per_cm"]
    assert half.max() - half.min() == pytest.approx(10.0, abs=3.0)
    boxed = infrared_spectrum(dipoles, timestep, KELVIN, volume=1000.0)
    assert area(boxed) / area(spectrum) == pytest.approx(1e5 / 602.214076, rel=1e-6)


def test_fluxes_give_the_same_spectrum():
    dipoles = oscillating(1650.0, 0.05, 0.25)
    middle = (dipoles[2:] - dipoles[:-2]) / 0.5
    kept, given = (
        infrared_spectrum(x, 0.25, KELVIN, resolution=20.0, is_flux=flux)
        for x, flux in ((dipoles, False), (middle, True))
    )
    assert area(given) == pytest.approx(area(kept), rel=2e-3)


def test_corrections_are_factors():
    dipoles = oscillating(1650.0, 0.05, 0.5)
    x = 2 * np.pi * EV_FEMTOSECOND_PER_RADIAN * CENTIMETER_PER_FEMTOSECOND * 1650.0 / (EV_PER_KELVIN * KELVIN)
    heights = {
        name: infrared_spectrum(dipoles, 0.5, KELVIN, correction=name).iloc[:, 1]
        for name in ("harmonic", "standard", "none")
    }
    place = heights["harmonic"].idxmax()
    assert heights["standard"][place] / heights["harmonic"][place] == pytest.approx(2 * np.tanh(x / 2) / x, rel=5e-3)
    assert heights["none"][place] / heights["harmonic"][place] == pytest.approx((1 - np.exp(-x)) / x, rel=5e-3)
    assert all(values.notna().all() for values in heights.values())


def test_a_diatomic_absorbs_at_its_harmonic_frequency(tmp_path):
    """HCl as two masses on a spring of 32.2 eV/Å^2: √(k/μ)/2πc = 2990 cm^-1; fixed charges; it turns as well."""
    masses, spring, length = np.array([1.008, 34.969]), 32.2, 1.2746
    inertia = masses[:, None] * EV_PER_DALTON_SQUARE_ANGSTROM_PER_SQUARE_FEMTOSECOND
    reduced = EV_PER_DALTON_SQUARE_ANGSTROM_PER_SQUARE_FEMTOSECOND * masses.prod() / masses.sum()
    harmonic = np.sqrt(spring / reduced) / (2 * np.pi * CENTIMETER_PER_FEMTOSECOND)

    def forces(r: np.ndarray) -> np.ndarray:
        bond = r[0] - r[1]
        distance = np.linalg.norm(bond)
        pull = -spring * (distance - length) * bond / distance
        return np.array([pull, -pull])

    r, v, dt = (
        np.array([[length + 0.02, 0, 0], [0, 0, 0]]),
        np.array([[0, 2e-3, 0], [0, -2e-3 * 1.008 / 34.969, 0]]),
        0.25,
    )
    dipoles, f = [], forces(r)
    for step in range(14_000):
        v = v + 0.5 * dt * f / inertia
        r = r + dt * v
        f = forces(r)
        v = v + 0.5 * dt * f / inertia
        if step % 2:
            dipoles.append(0.18 * (r[0] - r[1]))
    spectrum = infrared_spectrum(np.array(dipoles), 2 * dt, KELVIN, resolution=20.0)
    vibration = spectrum[spectrum["wavenumber_per_cm"] > 1500]
    # Turning splits the line in two, at the same distance from it.
    strong = vibration[vibration.iloc[:, 1] > 0.5 * vibration.iloc[:, 1].max()]["wavenumber_per_cm"]
    assert (strong.min() + strong.max()) / 2 == pytest.approx(harmonic, abs=15.0)
    assert harmonic == pytest.approx(2990, abs=10)
    write_infrared(spectrum, tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"infrared.csv", "infrared.png", "infrared.svg"}
    again = pd.read_csv(tmp_path / "out" / "infrared.csv")
    np.testing.assert_allclose(again, spectrum, rtol=1e-6)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"timestep": 0.0}, ConfigError, "timestep: must be positive"),
        ({"volume": -1.0}, ConfigError, "volume: must be positive"),
        ({"correction": "quantum"}, ConfigError, "correction: must be one of harmonic"),
        ({"dipoles": np.zeros(100)}, DataError, r"vectors \[n_frames, 3\]"),
        ({"dipoles": np.full((20_000, 3), np.nan)}, DataError, "finite"),
        ({"dipoles": np.zeros((100, 3))}, DataError, "needs 13345 frames at 0.5 fs, received 100"),
    ],
)
def test_what_cannot_be_analysed(changes, error, message):
    values = {"dipoles": np.zeros((20_000, 3)), "timestep": 0.5, "temperature": KELVIN} | changes
    with pytest.raises(error, match=message):
        infrared_spectrum(**values)
