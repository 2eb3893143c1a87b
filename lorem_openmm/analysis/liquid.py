"""Analysis of a periodic liquid: radial distribution functions, density, diffusion, each with its standard error."""

from itertools import combinations_with_replacement
from pathlib import Path
from typing import Any, NamedTuple

import mdtraj
import numpy as np
import pandas as pd

from lorem_openmm.analysis import liquid_figures
from lorem_openmm.analysis.averages import average
from lorem_openmm.analysis.csv_files import write_csv
from lorem_openmm.analysis.diffusion import Diffusion, centers_of_mass, diffusion, finite_size_correction
from lorem_openmm.analysis.trajectory import SimulationData
from lorem_openmm.units import ANGSTROM_PER_NANOMETER, DALTON_PER_CUBIC_ANGSTROM

BIN_WIDTH = 0.05  # Å, of radial distribution functions
N_BLOCKS = 5  # of a trajectory, whose spread gives the errors of radial distribution functions
MINIMUM_WITHIN = 1.6  # the minimum behind the first peak lies within this multiple of its position
WATER_VISCOSITY = 0.854  # mPa·s, real water at 300 K


def analyze_liquid(data: SimulationData, output: Path) -> dict[str, Any]:
    """Writes tables and figures of a periodic liquid and returns what belongs into the summary.

    ``radial.csv`` and ``radial.png/svg``; with a barostat ``density.csv`` and ``density.png/svg``; with a fixed box
    ``diffusion.csv`` and ``diffusion.png/svg``; and ``liquid.csv`` with all numbers and their standard errors. The
    beginning of the run is left out of all of them until energy (and volume) have settled, at most half.

    Diffusion is taken from runs with a fixed box only: a barostat moves all atoms in proportion to their distance from
    the origin, which is no diffusion and grows with the way an atom has gone.

    Args:
        data: Data of a periodic simulation.
        output: Folder.
    """
    density = densities(data)
    equilibrated = average(data.state["potential_energy"].to_numpy()).start
    fixed_box = bool(np.ptp(density) <= 1e-6 * density.mean())
    mean_density = average(density)
    start = max(equilibrated, mean_density.start)
    rows = [Row("density", mean_density.mean, mean_density.error, "g/cm³", "fixed" if fixed_box else "")]
    if not fixed_box:
        table = pd.DataFrame({"time": data.state["time"], "density": density, "volume": data.state["volume"]})
        write_csv(output / "density.csv", table)
        liquid_figures.draw_density(output / "density", table, mean_density)
    used = data.trajectory[start:]
    radial = radial_distributions(used)
    write_csv(output / "radial.csv", radial)
    liquid_figures.draw_radial_distributions(output / "radial", radial)
    rows += _shell_rows(used, radial)
    moved = _diffusion(data, start, output) if fixed_box else None
    rows += _diffusion_rows(data, start, moved)
    table = pd.DataFrame(rows)
    write_csv(output / "liquid.csv", table)
    return {
        "fixed_box": fixed_box,
        "equilibration_ps": float(data.state["time"].iloc[start] - data.state["time"].iloc[0]),
        "analyzed_ps": float(data.state["time"].iloc[-1] - data.state["time"].iloc[start]),
        "n_independent_densities": None if fixed_box else mean_density.n_independent,
        "diffusion_fit_ps": moved.fitted if moved else None,
        "quantities": {row.quantity: _entry(row) for row in rows},
    }


class Row(NamedTuple):
    """A line of ``liquid.csv``."""

    quantity: str
    value: float
    standard_error: float
    unit: str
    note: str = ""


def densities(data: SimulationData) -> np.ndarray:
    """Returns the mass density of each frame [n_frames] in g/cm³."""
    masses = sum(atom.element.mass for atom in data.trajectory.topology.atoms)
    boxes = data.trajectory.unitcell_vectors.astype(float) * ANGSTROM_PER_NANOMETER
    return masses / np.abs(np.linalg.det(boxes)) / DALTON_PER_CUBIC_ANGSTROM


Groups = dict[str, tuple[np.ndarray, np.ndarray]]


def radial_distributions(
    trajectory: mdtraj.Trajectory, groups: Groups | None = None, bin_width: float = BIN_WIDTH, n_blocks: int = N_BLOCKS
) -> pd.DataFrame:
    """g(r) of pairs of atoms, up to half the box.

    g_ab(r) = V / (N_a · N_b) · ⟨Σ_ij δ(r − r_ij)⟩ / (4π r²)

    Args:
        trajectory: Periodic, [n_frames].
        groups: Atoms a and b by name; None: each pair of elements, hydrogens only where there is nothing else.
        bin_width: Å.
        n_blocks: Number of consecutive parts of the trajectory, whose spread gives the standard errors.

    Returns:
        ``distance`` in Å, one column per pair, for example ``O–O``, and, if there are at least ``n_blocks`` frames, its
        standard error, ``O–O error``.
    """
    heights = 1.0 / np.linalg.norm(np.linalg.inv(trajectory.unitcell_vectors), axis=1)
    options = {"r_range": (0.0, float(heights.min() / 2)), "bin_width": bin_width / ANGSTROM_PER_NANOMETER}
    blocks = np.array_split(np.arange(len(trajectory)), n_blocks) if len(trajectory) >= n_blocks else []
    columns: dict[str, np.ndarray] = {}
    errors: dict[str, np.ndarray] = {}
    for name, (first, second) in (groups or _element_groups(trajectory.topology)).items():
        pairs = trajectory.topology.select_pairs(first, second)
        if len(pairs) == 0:
            continue
        distances, values = mdtraj.compute_rdf(trajectory, pairs, **options)
        columns["distance"] = ANGSTROM_PER_NANOMETER * distances
        columns[name] = values
        if blocks:
            parts = np.stack([mdtraj.compute_rdf(trajectory[block], pairs, **options)[1] for block in blocks])
            errors[f"{name} error"] = parts.std(axis=0, ddof=1) / np.sqrt(len(parts))
    return pd.DataFrame(columns | errors)


def _element_groups(topology: mdtraj.Topology) -> Groups:
    symbols = np.array([atom.element.symbol for atom in topology.atoms])
    elements = sorted(set(symbols) - {"H"}) or ["H"]
    return {
        f"{first}–{second}": (np.flatnonzero(symbols == first), np.flatnonzero(symbols == second))
        for first, second in combinations_with_replacement(elements, 2)
    }


class Shell(NamedTuple):
    """The first shell of neighbours.

    Attributes:
        position: Distance in Å of the first peak.
        height: g there.
        minimum: Distance in Å of the minimum behind it.
        neighbors: Number of neighbours up to the minimum.
    """

    position: float
    height: float
    minimum: float
    neighbors: float


def first_shell(distances: np.ndarray, values: np.ndarray, number_density: float) -> Shell:
    """Finds the highest peak by a parabola through five points;  n = 4π·ρ ∫ g(r)·r² dr up to the minimum behind it.

    Args:
        distances: [n] Å, evenly spaced.
        values: [n] g(r).
        number_density: ρ of the second element in 1/Å³.
    """
    top = int(np.clip(np.argmax(values), 2, len(values) - 3))
    around = slice(top - 2, top + 3)
    a, b, c = np.polyfit(distances[around] - distances[top], values[around], 2)
    shift = float(np.clip(-b / (2 * a), -BIN_WIDTH, BIN_WIDTH)) if a < 0 else 0.0
    position, height = distances[top] + shift, (a * shift + b) * shift + c
    behind = np.flatnonzero((distances > position) & (distances < MINIMUM_WITHIN * position))
    smooth = np.convolve(values, np.full(5, 0.2), mode="same")
    minimum = behind[np.argmin(smooth[behind])] if len(behind) else top
    inner = slice(0, minimum + 1)
    counted = 4 * np.pi * number_density * np.trapezoid(values[inner] * distances[inner] ** 2, distances[inner])
    return Shell(float(position), float(height), float(distances[minimum]), float(counted))


def _shell_rows(trajectory: mdtraj.Trajectory, radial: pd.DataFrame) -> list[Row]:
    symbols = [atom.element.symbol for atom in trajectory.topology.atoms]
    volume = float(np.mean(trajectory.unitcell_volumes)) * ANGSTROM_PER_NANOMETER**3
    rows = []
    blocks = np.array_split(np.arange(len(trajectory)), N_BLOCKS) if len(trajectory) >= N_BLOCKS else []
    tables = [radial_distributions(trajectory[block], n_blocks=len(block) + 1) for block in blocks]
    for pair in (name for name in radial.columns if "–" in name and "error" not in name):
        density = symbols.count(pair.split("–")[1]) / volume
        best = first_shell(radial["distance"].to_numpy(), radial[pair].to_numpy(), density)
        spread = [first_shell(table["distance"].to_numpy(), table[pair].to_numpy(), density) for table in tables]
        errors = np.std(spread, axis=0, ddof=1) / np.sqrt(N_BLOCKS) if spread else np.full(len(best), np.nan)
        rows += [
            Row(f"{pair} first peak", best.position, float(errors[0]), "Å"),
            Row(f"{pair} first peak height", best.height, float(errors[1]), ""),
            Row(f"{pair} neighbors", best.neighbors, float(errors[3]), "", f"up to {best.minimum:.2f} Å"),
        ]
    return rows


def _diffusion(data: SimulationData, start: int, output: Path) -> Diffusion | None:
    times = data.trajectory.time[start:]
    if len(times) < 2:
        return None
    centers = centers_of_mass(data.trajectory[start:], data.molecules)
    moved = diffusion(centers, float(times[1] - times[0]))
    if moved is not None:
        table = pd.DataFrame({"time": moved.times, "mean_squared_displacement": moved.displacements})
        write_csv(output / "diffusion.csv", table)
        liquid_figures.draw_diffusion(output / "diffusion", moved)
    return moved


def _diffusion_rows(data: SimulationData, start: int, moved: Diffusion | None) -> list[Row]:
    if moved is None:
        return []
    unit = "10⁻⁹ m²/s"
    note = f"this box; MSD grows as t^{moved.exponent:.2f} from {moved.fitted[0]:.1f} to {moved.fitted[1]:.1f} ps"
    rows = [Row("diffusion", moved.coefficient, moved.error, unit, note)]
    symbols = [atom.element.symbol for atom in data.trajectory.topology.atoms]
    if all(sorted(symbols[k] for k in members) == ["H", "H", "O"] for members in data.molecules):
        temperature = float(data.state["temperature"].iloc[start:].mean())
        edge = float(np.mean(data.trajectory.unitcell_volumes) ** (1 / 3)) * ANGSTROM_PER_NANOMETER
        correction = finite_size_correction(temperature, edge, WATER_VISCOSITY)
        note = f"Yeh-Hummer, with the viscosity of real water, {WATER_VISCOSITY} mPa·s; to be added"
        rows.append(Row("diffusion, finite-size correction", correction, float("nan"), unit, note))
    return rows


def _entry(row: Row) -> dict[str, Any]:
    error = None if np.isnan(row.standard_error) else row.standard_error
    return {"value": row.value, "standard_error": error, "unit": row.unit, "note": row.note}
