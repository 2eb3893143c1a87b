"""Conservation of the total energy at constant energy, and the table of energies that a simulation writes."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lorem_openmm.errors import DataError
from lorem_openmm.files import write_text
from lorem_openmm.units import EV_PER_KELVIN, KJ_PER_MOL_PER_EV

# OpenMM's headers -> ours; energies are turned from kJ/mol into eV.
COLUMNS = {
    "Step": "step",
    "Time (ps)": "time",
    "Potential Energy (kJ/mole)": "potential_energy",
    "Kinetic Energy (kJ/mole)": "kinetic_energy",
    "Total Energy (kJ/mole)": "total_energy",
    "Temperature (K)": "temperature",
    "Box Volume (nm^3)": "volume",
    "Speed (ns/day)": "speed",
}
REQUIRED = ("step", "time", "potential_energy", "kinetic_energy", "total_energy", "temperature")
ENERGIES = ("potential_energy", "kinetic_energy", "total_energy")
UNKNOWN = ("", "--")  # what stands for a number: OpenMM has no speed yet, or the program ended within the line


class EnergyConservation(NamedTuple):
    """How well the total energy is kept.

    Attributes:
        drift: Slope of a straight line through the total energy, in kT per ns and degree of freedom.
        drift_error: Standard error of the slope in the same unit; a drift smaller than it is not there, or the run too
            short to see it.
        fluctuation: Root mean square deviation from the line in eV, for the whole system.
    """

    drift: float
    drift_error: float
    fluctuation: float


def nve_drift(total_energies: np.ndarray, times: np.ndarray, temperature: float, dof: int) -> EnergyConservation:
    """Fits a straight line to the total energy.

    E(t) = E₀ + b·t;  drift = b / (k·T·n_dof);  fluctuation = √(mean (E − E₀ − b·t)²).

    The fluctuation falls as the square of the time step, because leapfrog integrators conserve an energy that
    differs from E by O(Δt²); the drift comes from time steps that are too long, from forces that jump, and from
    rounding. The standard error allows for residuals that are correlated over a twentieth of the run (Newey
    and West). Slower changes look like a drift: vibrations of a complex take a picosecond, so run for ten or more.

    Args:
        total_energies: [n] eV.
        times: [n] ps.
        temperature: K, by which the drift is measured.
        dof: Number of degrees of freedom.

    Raises:
        DataError: If there are fewer than three points, times that do not increase, or energies that are not finite.

    References:
        Newey, West, Econometrica 55, 703 (1987).
    """
    energies, times = np.asarray(total_energies, dtype=float), np.asarray(times, dtype=float)
    if energies.shape != times.shape or energies.ndim != 1 or len(energies) < 3:
        raise DataError(
            "total_energies, times: a drift needs at least 3 points, as many energies as times; "
            f"received shapes {energies.shape} and {times.shape}; write energies more often"
        )
    if not (np.isfinite(energies).all() and (np.diff(times) > 0).all()):
        raise DataError("total_energies, times: energies must be finite and times increase; the run is damaged")
    # Centred first: total energies of 10⁵ eV would otherwise cost the digits of the drift.
    t, e = times - times.mean(), energies - energies.mean()
    slope = (t @ e) / (t @ t)
    residuals = e - slope * t
    scores = t * residuals
    reach = max(1, len(t) // 20)
    variance = scores @ scores
    for lag in range(1, reach + 1):
        variance += 2.0 * (1.0 - lag / (reach + 1)) * (scores[lag:] @ scores[:-lag])
    slope_error = np.sqrt(max(variance, 0.0) * len(t) / (len(t) - 2)) / (t @ t)
    unit = EV_PER_KELVIN * temperature * dof / 1000.0  # eV/ps that are 1 kT/ns/dof
    return EnergyConservation(float(slope / unit), float(slope_error / unit), float(np.sqrt(np.mean(residuals**2))))


def read_state(path: str | Path) -> dict[str, np.ndarray]:
    """Reads the table that a simulation writes beside its trajectory.

    Returns:
        Columns [n_frames] by name: ``step``, ``time`` (ps), ``potential_energy``, ``kinetic_energy``,
        ``total_energy`` (eV), ``temperature`` (K), ``volume`` (nm³, periodic systems only), ``speed`` (ns/day). A last
        line that ends before its temperature is whole is left out; what is missing behind it is NaN.

    Raises:
        DataError: If the file is missing, empty, or is not such a table.
    """
    try:
        with open(path, newline="", encoding="utf-8") as file:
            headers, *lines = [line for line in csv.reader(file) if line] or [[]]
    except OSError as error:
        raise DataError(f"{path}: no table of energies ({error.strerror}); run the simulation first") from None
    except (csv.Error, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not a table of energies ({error}); run the simulation again") from None
    names = [COLUMNS.get(header.strip('#"'), header) for header in headers]
    needed = max((index for index, name in enumerate(names) if name in REQUIRED), default=0)
    if lines and len(lines[-1]) < len(names) and len(lines[-1]) <= needed + 1:  # the program ended within this line
        del lines[-1]
    columns = {name: _numbers(lines, index) for index, name in enumerate(names) if name in COLUMNS.values()}
    table = {name: values for name, values in columns.items() if values is not None}
    faults = [name for name in REQUIRED if name not in table]
    if faults or not lines:
        missing = f"columns {', '.join(faults)} are missing or hold something else than numbers"
        fault = missing if faults else "it has no lines"
        raise DataError(f"{path}: not a table of energies, {fault}; run the simulation again")
    table["step"] = table["step"].astype(np.int64)
    for name in ENERGIES:
        table[name] /= KJ_PER_MOL_PER_EV
    return table


def _numbers(lines: Sequence[Sequence[str]], index: int) -> np.ndarray | None:
    """Returns a column [n_lines]; None if it holds a word."""
    words = [line[index] if index < len(line) else "" for line in lines]
    try:
        return np.array([float("nan" if word in UNKNOWN else word) for word in words])
    except ValueError:
        return None


def write_empty_state(path: Path) -> None:
    """Writes a table of energies with step 0, whose energies are not numbers.

    Args:
        path: File, as OpenMM writes it.
    """
    values = {"step": "0", "time": "0.0"}
    lines = [",".join(f'"{header}"' for header in COLUMNS), ",".join(values.get(n, "nan") for n in COLUMNS.values())]
    write_text(path, "#" + "\n".join(lines) + "\n")
