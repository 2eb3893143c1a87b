"""Simulations and umbrella samplings: alive to their end, as warm as they should be, sampled enough."""

import math
from collections.abc import Iterator
from typing import Any

from lorem_openmm import config
from lorem_openmm.analysis.free_energy import FEWEST_SAMPLES, SMALLEST_OVERLAP
from lorem_openmm.layout import Layout
from lorem_openmm.units import MEV_PER_EV
from lorem_openmm.verdict.lines import Line, Status, at_most, first_figure, number, read_optional
from lorem_openmm.verdict.reactions import PATH_LIMIT

SIMULATIONS, FREE_ENERGIES = "Simulations", "Free energies"
# A structure that was relaxed, then warmed, takes some picoseconds to be as warm as its thermostat.
TEMPERATURE_SHARE = 0.15
STANDARD_ERRORS = 3.0
# Without thermostat, kT/ns per degree of freedom: docs/guide/integrators.md has what time steps and models give.
DRIFT_LIMIT = 1.0


def simulation_lines(settings: config.Config, layout: Layout) -> Iterator[Line]:
    """Yields the lines on all simulations.

    Args:
        settings: The whole configuration.
        layout: Where they and their analyses are.

    Raises:
        DataError: If a file that should be JSON is not.
    """
    for name, simulation in settings.simulations.items():
        summary = read_optional(layout.simulation(name) / "summary.json")
        if summary is None:
            reason = f"not finished: `lorem-openmm simulate {name}`"
            yield Line(SIMULATIONS, name, "alive to its end", "missing", reason=reason)
            continue
        folder = f"analysis/{name}"
        pictures = ("reaction", "molecules", "solvation", "radial", "energies")
        structure = first_figure(layout.root, *(f"{folder}/{picture}.png" for picture in pictures))
        energies = first_figure(layout.root, f"{folder}/energies.png")
        alive = _alive(name, simulation, summary)
        yield alive._replace(figure=structure)
        if alive.status in ("pass", "not checked"):
            warm = _temperature(name, summary) if _friction(summary) > 0 else _drift(name, summary)
            yield warm._replace(figure=energies)


def umbrella_lines(settings: config.Config, layout: Layout) -> Iterator[Line]:
    """Yields the lines on all umbrella samplings.

    Args:
        settings: The whole configuration.
        layout: Where windows and profiles are.

    Raises:
        DataError: If a file that should be JSON is not.
    """
    for name, umbrella in settings.umbrellas.items():
        yield _windows(name, umbrella, layout)
        summary = read_optional(layout.free_energy(name) / "summary.json")
        if summary is None:
            reason = f"no profile yet: `lorem-openmm free-energy {name}`"
            yield Line(FREE_ENERGIES, name, "profile", "missing", reason=reason)
            continue
        if summary["free_energy"] is None:  # too few sound windows
            yield Line(FREE_ENERGIES, name, "profile", "fail", reason=summary["reason"])
            continue
        yield from _profile(name, summary, layout)


def _alive(name: str, planned: config.Dynamics, summary: dict[str, Any]) -> Line:
    """The verdict that the simulation itself wrote."""
    check, verdict = "alive to its end", summary.get("verdict")
    length = planned.steps * planned.timestep_fs * 1e-3
    limit = f"{number(length)} ps"
    if not isinstance(verdict, dict) or not isinstance(verdict.get("stable"), bool):
        reason = "its summary has no verdict; run it again"
        return Line(SIMULATIONS, name, check, "not checked", reason=reason)
    if verdict["stable"] and summary.get("steps") != planned.steps:
        reason = f"of {summary.get('steps')} instead of {planned.steps} steps; run it again"
        return Line(SIMULATIONS, name, check, "missing", reason=reason)
    if verdict["stable"]:
        return Line(SIMULATIONS, name, check, "pass", limit, limit, length, length, "ps")
    time = verdict.get("time_ps")
    value = f"broke at {number(time)} ps" if time is not None else "broke"
    return Line(SIMULATIONS, name, check, "fail", value, limit, time, length, "ps", str(verdict.get("reason") or ""))


def _friction(summary: dict[str, Any]) -> float:
    return float(summary.get("settings", {}).get("friction_per_ps", 0.0))


def _temperature(name: str, summary: dict[str, Any]) -> Line:
    """The mean temperature of the second half, which has few independent values in a short run of few atoms.

    The kinetic energy of n degrees of freedom has a relative standard deviation of √(2/n); a thermostat of friction γ
    makes about 1 + γt/2 independent values of it in the half t/2 of a run.
    """
    target, mean = float(summary["settings"]["temperature"]), float(summary["temperature_mean"])
    independent = 1.0 + _friction(summary) * float(summary["time_ps"]) / 2.0
    spread = math.sqrt(2.0 / max(int(summary["degrees_of_freedom"]), 1) / independent)
    bound = target * max(TEMPERATURE_SHARE, STANDARD_ERRORS * spread)
    value, limit = f"mean {mean:.0f} K", f"{target:.0f} ± {bound:.0f} K"
    if bound > target / 2 and mean <= target + bound:
        reason = "too short, of too few atoms, to have a mean temperature"
        return Line(SIMULATIONS, name, "temperature", "not checked", value, reason=reason)
    status = at_most(abs(mean - target), bound)
    return Line(SIMULATIONS, name, "temperature", status, value, limit, mean - target, bound, "K")


def _drift(name: str, summary: dict[str, Any]) -> Line:
    check, found = "energy conservation", summary.get("energy_conservation")
    if not found:
        reason = "too few lines of energies for a drift"
        return Line(SIMULATIONS, name, check, "not checked", reason=reason)
    unit = "kT/ns per degree of freedom"
    drift, error = float(found["drift"]), float(found["drift_error"])
    status = at_most(abs(drift) - STANDARD_ERRORS * error, DRIFT_LIMIT)
    value = f"{drift:+.2g} ± {error:.1g} {unit}"
    return Line(SIMULATIONS, name, check, status, value, f"≤ {DRIFT_LIMIT:g}", drift, DRIFT_LIMIT, unit)


def _windows(name: str, umbrella: config.Umbrella, layout: Layout) -> Line:
    check, figure = "all windows alive", first_figure(layout.root, f"free_energy/{name}/windows.png")
    missing, broken, unwatched = [], [], 0
    for index in range(umbrella.num_windows):
        summary = read_optional(layout.window(name, index) / "summary.json")
        alive = _alive(name, umbrella, summary) if summary is not None else None
        if alive is None or alive.status == "missing":
            missing.append(str(index))
            continue
        unwatched += alive.status == "not checked"
        if alive.status == "fail":
            broken.append(f"window {index} {alive.value}: {alive.reason}")
    total, good = umbrella.num_windows, umbrella.num_windows - len(missing) - len(broken) - unwatched
    status: Status = "pass"
    reason = ""
    if broken:
        status, reason = "fail", "; ".join(broken)
    elif missing:
        status, reason = "missing", f"not finished: windows {', '.join(missing)}"
    elif unwatched:
        status, reason = "not checked", "their summaries have no verdict; run them again"
    return Line(FREE_ENERGIES, name, check, status, f"{good} of {total}", f"{total}", good, total, "", reason, figure)


def _profile(name: str, summary: dict[str, Any], layout: Layout) -> Iterator[Line]:
    overlap, fewest = summary["smallest_overlap"], min(int(window["n_samples"]) for window in summary["windows"])
    between = "windows {} and {}".format(*overlap["windows"])
    lines = [
        _at_least(name, "overlap of neighbours", float(overlap["value"]), SMALLEST_OVERLAP, "overlap", between, layout),
        _at_least(name, "fewest independent samples", fewest, FEWEST_SAMPLES, "windows", "", layout),
    ]
    yield from lines
    # Each of the two above has a warning of its own; any other says that the profile cannot be read.
    warnings = [str(text) for text in summary.get("warnings", [])]
    readable = len(warnings) <= sum(line.status == "fail" for line in lines)
    yield _height(name, summary["free_energy"], warnings, readable, layout)


def _at_least(name: str, check: str, value: float, bound: float, picture: str, reason: str, layout: Layout) -> Line:
    figure = first_figure(layout.root, f"free_energy/{name}/{picture}.png")
    status: Status = "pass" if value >= bound else "fail"
    limit = f"≥ {number(bound)}"
    return Line(FREE_ENERGIES, name, check, status, number(value), limit, value, bound, "", reason, figure)


def _height(name: str, found: dict[str, Any], warnings: list[str], readable: bool, layout: Layout) -> Line:
    """How sure the barrier, or the depth of the well, is."""
    figure, reason = first_figure(layout.root, f"free_energy/{name}/profile.png"), "; ".join(warnings)
    quantity = next((key for key in ("barrier", "well_depth") if key in found), None)
    limit = f"± {number(PATH_LIMIT)} meV"
    if quantity is None:
        return Line(FREE_ENERGIES, name, "barrier", "fail", "none", limit, reason=reason, figure=figure)
    check, height = quantity.replace("_", " "), MEV_PER_EV * float(found[quantity]["ev"])
    error = MEV_PER_EV * float(found[quantity]["error_ev"])
    value = f"{height:.0f} ± {error:.0f} meV" if math.isfinite(error) else f"{height:.0f} meV, error unknown"
    status = at_most(error, PATH_LIMIT) if readable else "fail"
    return Line(FREE_ENERGIES, name, check, status, value, limit, error, PATH_LIMIT, "meV", reason, figure)
