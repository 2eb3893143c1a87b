"""The free-energy profile of an umbrella sampling: table, figures, snapshots and summary."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
import pandas as pd
from ase import Atoms
from scipy.interpolate import CubicSpline

from lorem_openmm import config
from lorem_openmm.analysis import free_energy_figures as figures
from lorem_openmm.analysis.csv_files import write_csv
from lorem_openmm.analysis.mbar import FreeEnergy, Samples, find_barrier, mbar_profile, neighbor_overlap
from lorem_openmm.analysis.windows import Window, read_windows
from lorem_openmm.files import atomic_path, write_json
from lorem_openmm.simulate.scan import StaticProfile, static_profile
from lorem_openmm.units import EV_PER_KELVIN, KJ_PER_MOL_PER_EV

STATIC_STEP = 0.1  # Å, between relaxed structures
FINE_STEP = 0.005  # Å, at which the curve through them is searched for its extremes
SMALLEST_OVERLAP = 0.03  # of neighbouring windows, below which the profile is not to be trusted
FEWEST_WINDOWS = 2  # that did not fall apart
FEWEST_SAMPLES = 20  # independent, per window


def free_energy(
    umbrella: config.Umbrella,
    folders: Sequence[str | Path],
    model: str | Path,
    output: str | Path,
    device: str = "auto",
) -> dict[str, Any]:
    """Puts the windows together and returns the summary, which is also written.

    Written: ``profile.csv`` (coordinate, free energy and its error, static energy), ``profile.png/svg``,
    ``windows.png/svg`` (what each window sampled), ``overlap.png/svg`` and ``overlap.csv``, ``snapshots.xyz`` and
    ``snapshots.png/svg`` (relaxed structures at the extremes), ``static.xyz`` (all relaxed structures) and
    ``summary.json``. In a solvent there is no static profile.

    Energies are relative to the reactants' complex of a reaction (the side where the attacker is far), to the largest
    distance of two molecules.

    A window that fell apart is an error that names it; where ``on_unstable`` is ``report`` it is left out, which
    summary (``left_out``), warnings and figure say. Where fewer than two are left there is no profile: the summary says
    why, its ``free_energy`` is None, and nothing else is written.

    Args:
        umbrella: Settings.
        folders: [num_windows], of the windows' simulations.
        model: Model file, for the static profile.
        output: Folder of tables and figures.
        device: Device, as in :func:`lorem_openmm.simulate.simulation.simulate`.

    Raises:
        DataError: If a window is missing, not finished, was run with other settings, or holds no sample.
        ConfigError: If the structure lacks the coordinate.
        ModelFileError: If the model file is missing or damaged.
    """
    output = Path(output)
    windows, left_out = read_windows(umbrella, [Path(folder) for folder in folders])
    radial = umbrella.coordinate == "center_distance"
    if len(windows) < FEWEST_WINDOWS:
        return _none(output, umbrella, len(windows), left_out)
    profile, halves = _profiles(umbrella, windows, radial)
    static = _static(umbrella, windows, model, device)

    points = _points(profile.coordinate, profile.values, radial)
    reference = points["apart"] if radial else points.get("reactants", int(np.nanargmin(profile.values)))
    values, errors = profile.values - profile.values[reference], profile.errors[:, reference]
    table = pd.DataFrame({"coordinate": profile.coordinate, "free_energy": values, "error": errors})
    summary = _planned(umbrella, left_out) | _describe(umbrella, windows, profile, halves)
    summary["free_energy"] = _energies(profile.coordinate, values, points, profile.errors)
    stationary: dict[str, int] = {}
    if static is not None:
        curve = _Curve(static, radial, profile.coordinate[reference])
        table["static_energy"] = curve.at(profile.coordinate)
        summary["static"] = _energies(curve.coordinate, curve.energy, curve.points)
        stationary = {name: curve.nearest(index) for name, index in curve.points.items()}
        _write_structures(output / "static.xyz", windows[0], static, curve, range(len(static.energy)))
        _write_structures(output / "snapshots.xyz", windows[0], static, curve, stationary.values(), list(stationary))
    summary["warnings"] = _warnings(umbrella, windows, profile, points, summary)
    table["samples"] = profile.counts
    _write_tables(output, table, profile)
    figures.draw_profile(output / "profile", table, umbrella, summary)
    figures.draw_windows(output / "windows", windows, umbrella)
    figures.draw_overlap(output / "overlap", profile.overlap, [window.number for window in windows])
    if static is not None:
        symbols = [atom.element.symbol for atom in windows[0].topology.atoms]
        snapshots = {name: (static.coordinate[k], static.positions[k]) for name, k in stationary.items()}
        figures.draw_snapshots(output / "snapshots", symbols, snapshots)
    write_json(output / "summary.json", summary)
    return summary


def _none(output: Path, umbrella: config.Umbrella, n_sound: int, left_out: dict[int, str]) -> dict[str, Any]:
    """Writes and returns the summary where there are not enough windows for a profile."""
    first = next(iter(left_out))
    reason = (
        f"a free energy needs at least {FEWEST_WINDOWS} windows that are sound, and {n_sound} of "
        f"{umbrella.num_windows} are: window {first} {left_out[first]}"
    )
    summary = _planned(umbrella, left_out) | {"free_energy": None, "reason": reason, "warnings": [reason]}
    write_json(output / "summary.json", summary)
    return summary


def _planned(umbrella: config.Umbrella, left_out: dict[int, str]) -> dict[str, Any]:
    """Returns what a summary says in any case."""
    return {
        "coordinate": umbrella.coordinate,
        "start": umbrella.start,
        "temperature": umbrella.temperature,
        "left_out": [{"window": index, "reason": why} for index, why in left_out.items()],
    }


def _profiles(
    umbrella: config.Umbrella, windows: Sequence[Window], radial: bool
) -> tuple[FreeEnergy, list[FreeEnergy]]:
    """Returns the profile, with values from all frames and errors from independent ones, and those of both halves."""
    low, high = sorted((umbrella.first, umbrella.last))
    # Bins as wide as a free coordinate fluctuates in a window.
    width = np.sqrt(EV_PER_KELVIN * umbrella.temperature / umbrella.stiffness)
    edges = np.linspace(low, high, max(10, int(np.ceil((high - low) / width))) + 1)

    centers = np.array([window.center for window in windows])

    def profile(coordinates: list[np.ndarray]) -> FreeEnergy:
        samples = Samples(coordinates, centers, umbrella.stiffness, umbrella.temperature)
        return mbar_profile(samples, edges, radial)

    whole = profile([window.coordinate for window in windows])
    samples = profile([window.independent() for window in windows])
    halves = [profile([np.array_split(window.coordinate, 2)[half] for window in windows]) for half in (0, 1)]
    return whole._replace(errors=samples.errors, counts=samples.counts, overlap=samples.overlap), halves


def _static(
    umbrella: config.Umbrella, windows: Sequence[Window], model: str | Path, device: str
) -> StaticProfile | None:
    if umbrella.solvent is not None:
        return None
    count = max(10, int(np.ceil(abs(umbrella.last - umbrella.first) / STATIC_STEP)))
    coordinates = np.linspace(umbrella.first, umbrella.last, count + 1).tolist()
    starts = [windows[0].lowest, windows[-1].lowest]
    found = static_profile(umbrella.window(0), model, coordinates, starts, device)
    order = np.argsort(found.coordinate)
    return StaticProfile(*(values[order] for values in found))


class _Curve:
    """The static profile as a smooth curve, zero at its own reference.

    Args:
        static: Relaxed structures, the coordinate increasing.
        radial: Whether the coordinate is a distance of two molecules.
        apart: Å, where the energy is zero in this case.
    """

    def __init__(self, static: StaticProfile, radial: bool, apart: float):
        self.static = static
        self.spline = CubicSpline(static.coordinate, static.energy)
        first, last = static.coordinate[0], apart if radial else static.coordinate[-1]
        self.coordinate = np.linspace(first, last, int((last - first) / FINE_STEP) + 1)
        self.points = _points(self.coordinate, self.spline(self.coordinate), radial)
        zero = self.points.get("apart" if radial else "reactants", int(np.argmin(self.spline(self.coordinate))))
        self.zero = float(self.spline(self.coordinate[zero]))
        self.energy = self.at(self.coordinate)

    def at(self, coordinate: np.ndarray) -> np.ndarray:
        """Returns energies in eV [n]."""
        return self.spline(coordinate) - self.zero

    def nearest(self, point: int) -> int:
        """Returns the number of the relaxed structure nearest to a point of the curve."""
        return int(np.argmin(np.abs(self.static.coordinate - self.coordinate[point])))


def _points(coordinate: np.ndarray, values: np.ndarray, radial: bool) -> dict[str, int]:
    """Returns the points of a profile that have a name, by their indices."""
    if radial:
        return {"contact": int(np.nanargmin(values)), "apart": int(np.flatnonzero(np.isfinite(values))[-1])}
    barrier = find_barrier(values)
    if barrier is None:
        return {}
    return {"reactants": barrier.high, "transition_state": barrier.top, "products": barrier.low}


def _energies(
    coordinate: np.ndarray, values: np.ndarray, points: dict[str, int], errors: np.ndarray | None = None
) -> dict[str, Any]:
    """Returns where the named points are, and the differences between them in eV and kJ/mol."""
    differences = {
        "barrier": ("reactants", "transition_state"),
        "reverse_barrier": ("products", "transition_state"),
        "reaction": ("reactants", "products"),
        "well_depth": ("contact", "apart"),
    }
    result: dict[str, Any] = {name: {"coordinate": float(coordinate[k])} for name, k in points.items()}
    for name, (begin, end) in differences.items():
        if begin in points:
            i, j = points[begin], points[end]
            result[name] = {"ev": float(values[j] - values[i])}
            result[name]["kj_per_mol"] = result[name]["ev"] * KJ_PER_MOL_PER_EV
            if errors is not None:
                result[name]["error_ev"] = float(errors[i, j])
                result[name]["error_kj_per_mol"] = float(errors[i, j]) * KJ_PER_MOL_PER_EV
    return result


def _describe(
    umbrella: config.Umbrella, windows: Sequence[Window], profile: FreeEnergy, halves: Sequence[FreeEnergy]
) -> dict[str, Any]:
    difference = halves[1].values - halves[0].values
    smallest, where = neighbor_overlap(profile.overlap)
    return {
        "time_ps_per_window": umbrella.steps * umbrella.timestep_fs * 1e-3,
        "windows": [
            {
                "window": window.number,
                "center": window.center,
                "mean": float(window.coordinate.mean()),
                "std": float(window.coordinate.std()),
                "n_frames": len(window.coordinate),
                "frames_per_sample": window.inefficiency,
                "n_samples": len(window.independent()),
            }
            for window in windows
        ],
        "n_samples": int(sum(len(window.independent()) for window in windows)),
        "smallest_overlap": {"value": smallest, "windows": [windows[k].number for k in (where, where + 1)]},
        # Where both halves of every window sampled; their mean difference is the zero of the energy.
        "halves_differ_ev": float(np.nanstd(difference)) if np.isfinite(difference).any() else None,
    }


def _warnings(
    umbrella: config.Umbrella,
    windows: Sequence[Window],
    profile: FreeEnergy,
    points: dict[str, int],
    summary: dict[str, Any],
) -> list[str]:
    found = [f"window {entry['window']} is left out: it {entry['reason']}" for entry in summary["left_out"]]
    overlap = summary["smallest_overlap"]
    if overlap["value"] < SMALLEST_OVERLAP:
        first, second = overlap["windows"]
        found.append(
            f"windows {first} and {second} overlap by {overlap['value']:.2g}, less than {SMALLEST_OVERLAP}: the "
            "profile between them is not to be trusted; use more windows or a smaller stiffness"
        )
    few = [window.number for window in windows if len(window.independent()) < FEWEST_SAMPLES]
    if few:
        found.append(
            f"windows {', '.join(map(str, few))} have fewer than {FEWEST_SAMPLES} independent samples: the errors are "
            "rough; use more steps"
        )
    empty = profile.coordinate[profile.counts == 0]
    if len(empty):
        found.append(
            f"no samples in {len(empty)} of {len(profile.counts)} bins, from {empty[0]:.2f} to {empty[-1]:.2f} Å; use "
            "stiffer biases, more windows or another range"
        )
    if umbrella.coordinate == "bond_difference" and not points:
        found.append("the profile has no barrier: extend `first` and `last` beyond the complexes on both sides")
    filled = np.flatnonzero(profile.counts)
    ends = [name for name in ("reactants", "products", "contact") if points.get(name) in (filled[0], filled[-1])]
    if ends:
        found.append(f"the lowest point ({', '.join(ends)}) is at the end of the profile; extend `first` or `last`")
    return found


def _write_tables(output: Path, table: pd.DataFrame, profile: FreeEnergy) -> None:
    table = table.copy()
    for name in ("free_energy", "error", "static_energy"):
        if name in table:
            table[f"{name}_kj_per_mol"] = table[name] * KJ_PER_MOL_PER_EV
    write_csv(output / "profile.csv", table, digits=6)
    write_csv(output / "overlap.csv", pd.DataFrame(profile.overlap), digits=6)


def _write_structures(
    path: Path, window: Window, static: StaticProfile, curve: _Curve, which: Any, names: Sequence[str] = ()
) -> None:
    symbols = [atom.element.symbol for atom in window.topology.atoms]
    structures = []
    for number, k in enumerate(which):
        info: dict[str, Any] = {"name": names[number]} if names else {}
        info |= {"coordinate": float(static.coordinate[k]), "relative_energy": float(static.energy[k] - curve.zero)}
        structures.append(Atoms(symbols, positions=static.positions[k], info=info))
    with atomic_path(path) as temporary:
        ase.io.write(temporary, structures, format="extxyz")
