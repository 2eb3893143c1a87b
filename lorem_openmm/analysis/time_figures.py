"""Figures of simulations over time."""

import textwrap
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from lorem_openmm.plotting import BROKEN, COLORS, GREY, INK, label_axes, new_figure
from lorem_openmm.simulate.energy import EnergyConservation
from lorem_openmm.simulate.stability import Verdict, sound_rows
from lorem_openmm.units import MEV_PER_EV

TIME = "time (ps)"
# Above this many points single ones are drawn pale, and their running mean on top.
CROWDED = 400
SOUND = Verdict(True, None, None, None, [])
SMALLEST_STRETCH = 0.03  # of the run, that is shaded where it broke at its end


def draw_energies(
    stem: Path,
    state: pd.DataFrame,
    temperature: float | None,
    conservation: EnergyConservation | None,
    verdict: Verdict = SOUND,
) -> None:
    """Temperature; below it the total energy at constant energy, or the potential energy with a thermostat.

    Args:
        stem: Path without suffix.
        state: Result of :func:`lorem_openmm.simulate.energy.read_state`.
        temperature: Temperature of the thermostat in K, drawn as a line; None: no line.
        conservation: At constant energy, of the part before the run fell apart, else None.
        verdict: On the run.
    """
    with new_figure(stem, rows=2, height=4.2, sharex=True) as (figure, axes):
        upper, lower = axes[:, 0]
        time = state["time"].to_numpy()
        _mark_broken(figure, axes[:, 0], time, verdict)
        _line(upper, time, state["temperature"].to_numpy(), COLORS[1])
        if temperature is not None:
            upper.axhline(temperature, color=INK, linewidth=0.8, linestyle="--")
        upper.set_ylim(bottom=0)
        label_axes(upper, "", "temperature (K)")
        _limit_time(upper, time, verdict)
        if conservation is None:
            potential = state["potential_energy"].to_numpy()
            _line(lower, time, potential - potential[0], COLORS[0])
            label_axes(lower, TIME, "potential energy,\nchange (eV)")
            return
        total, kept = state["total_energy"].to_numpy(), sound_rows(state["step"].to_numpy(), verdict)
        fitted, mean = time[kept], total[kept].mean()
        _line(lower, time, MEV_PER_EV * (total - mean), COLORS[0])
        slope, intercept = np.polyfit(fitted - fitted.mean(), total[kept] - mean, 1)
        lower.plot(fitted, MEV_PER_EV * (intercept + slope * (fitted - fitted.mean())), color=INK, linewidth=0.8)
        text = (
            f"drift {conservation.drift:.2g} ± {conservation.drift_error:.1g} kT/ns/dof, "
            f"fluctuation {MEV_PER_EV * conservation.fluctuation:.2g} meV"
        )
        label_axes(lower, TIME, "total energy,\ndeviation (meV)", text)


def draw_reaction(stem: Path, geometry: pd.DataFrame, attacker: str, leaving: str, verdict: Verdict = SOUND) -> None:
    """The reaction coordinate with its distribution, the two bonds, and the angle of attack.

    Args:
        stem: Path without suffix.
        geometry: Geometry with ``time``, ``sound`` and the columns of
            :func:`lorem_openmm.analysis.geometry.sn2_coordinates`.
        attacker: Name of X, for example ``Cl``.
        leaving: Name of Y; where the names are equal, the attacker's gets a prime.
        verdict: On the run.
    """
    x, y = (attacker, leaving) if attacker != leaving else (f"{attacker}′", leaving)
    columns = {str(name): geometry[name].to_numpy() for name in geometry}
    angles = columns["attack_angle"]
    with _time_rows(stem, columns, 3, verdict) as rows:
        rows[0][0].axhline(0.0, color=INK, linewidth=0.8, linestyle="--")
        _draw(rows[0], columns, {"": columns["reaction_coordinate"]}, COLORS[:1])
        rows[0][0].set_ylabel(f"r(C–{x}) − r(C–{y}) (Å)")
        distances = {f"C–{x}": columns["attacker_distance"], f"C–{y}": columns["leaving_distance"]}
        _draw(rows[1], columns, distances, (COLORS[2], COLORS[1]))
        rows[1][0].set_ylabel("distance (Å)")
        _draw(rows[2], columns, {"": angles}, COLORS[3:4], (max(0.0, angles.min() - 10.0), 180.0))
        rows[2][0].set_ylabel(f"angle {x}–C–{y} (°)")


def draw_molecules(stem: Path, geometry: pd.DataFrame, contact_distance: float, verdict: Verdict = SOUND) -> None:
    """Distance, contacts and relative orientation of two molecules.

    Args:
        stem: Path without suffix.
        geometry: Geometry with ``time``, ``sound``, ``center_distance``, ``closest_distance``, ``contacts`` and,
            where both molecules have an axis, ``axis_angle``.
        contact_distance: Å, below which a pair of atoms counts.
        verdict: On the run.
    """
    columns = {str(name): geometry[name].to_numpy() for name in geometry}
    with _time_rows(stem, columns, 3 if "axis_angle" in columns else 2, verdict) as rows:
        name = f"contact, {contact_distance:g} Å"
        rows[0][0].axhline(contact_distance, color=GREY, linewidth=0.8, linestyle="--", label=name)
        distances = {"centres of mass": columns["center_distance"], "closest heavy atoms": columns["closest_distance"]}
        top = 1.05 * max(contact_distance, *(values.max() for values in distances.values()))
        _draw(rows[0], columns, distances, COLORS[:2], (0.0, top))
        rows[0][0].set_ylabel("distance (Å)")
        contacts = columns["contacts"]
        _draw(rows[1], columns, {"": contacts}, COLORS[2:3], (-0.5, max(1, contacts.max()) + 0.5))
        rows[1][0].yaxis.set_major_locator(MaxNLocator(integer=True))
        rows[1][0].set_ylabel(f"pairs within {contact_distance:g} Å")
        if "axis_angle" in columns:
            _draw(rows[2], columns, {"": columns["axis_angle"]}, COLORS[3:4], (0.0, 90.0))
            rows[2][0].set_yticks([0, 30, 60, 90])
            rows[2][0].set_ylabel("angle of axes (°)")


@contextmanager
def _time_rows(
    stem: Path, columns: dict[str, np.ndarray], n_rows: int, verdict: Verdict
) -> Iterator[list[tuple[Axes, Axes]]]:
    """Yields rows of a wide panel over time and a narrow one for the distribution, sharing their ordinate."""
    time = columns["time"]
    ratios = {"width_ratios": [5, 1], "wspace": 0.03}
    with new_figure(stem, n_rows, 2, 6.0, 1.85 * n_rows, sharey="row", gridspec_kw=ratios) as (figure, axes):
        _mark_broken(figure, axes[:, 0], time, verdict)
        yield [(row[0], row[1]) for row in axes]
        for wide, narrow in axes:
            wide.grid(True)
            wide.tick_params(labelbottom=wide is axes[-1, 0])
            _limit_time(wide, time, verdict)
            narrow.set_xticks([])
            narrow.spines[["bottom", "left"]].set_visible(False)
            narrow.tick_params(left=False, labelleft=False)
        axes[-1, 0].set_xlabel(TIME)


def _draw(
    row: tuple[Axes, Axes],
    columns: dict[str, np.ndarray],
    series: dict[str, np.ndarray],
    colors: Sequence[str],
    limits: tuple[float, float] | None = None,
) -> None:
    """Draws series over time, and the distribution of their sound part."""
    wide, narrow = row
    time, kept = columns["time"], columns["sound"].astype(bool)
    for (label, values), color in zip(series.items(), colors, strict=True):
        _line(wide, time, values, color, label or None)
    if limits is not None:
        wide.set_ylim(limits)
    if len(series) > 1:  # above the panel, where no line runs
        wide.legend(loc="lower left", bbox_to_anchor=(-0.01, 0.97), ncols=3, borderaxespad=0.2)
    for values, color in zip((values[kept] for values in series.values()), colors, strict=True):
        if len(values) == 0:
            continue
        if np.issubdtype(values.dtype, np.integer):
            bins = np.arange(values.min() - 0.5, values.max() + 1.0)
        else:
            bins = np.linspace(*wide.get_ylim(), int(np.clip(len(values) / 10, 8, 50)) + 1)
        narrow.hist(values, bins=bins.tolist(), orientation="horizontal", color=color, alpha=0.6, linewidth=0)


def _mark_broken(figure: Figure, panels: Iterable[Axes], time: np.ndarray, verdict: Verdict) -> None:
    """Shades the stretch in which the run is broken, and says above the figure since when and why."""
    if verdict.stable or verdict.time_ps is None:
        return
    for panel in panels:
        panel.axvspan(verdict.time_ps, _last_time(time, verdict), facecolor=BROKEN, alpha=0.15, linewidth=0)
        panel.axvline(verdict.time_ps, color=BROKEN, linewidth=0.9)
    text = f"Not a sound run: shaded from {verdict.time_ps:.4g} ps on. {verdict.reason}"
    lines = textwrap.wrap(text, int(16 * figure.get_figwidth()))
    figure.suptitle("\n".join(lines), x=0.02, ha="left", fontsize=8.5, color=BROKEN)


def _last_time(time: np.ndarray, verdict: Verdict) -> float:
    """Returns where the abscissa ends: a run that ends as it breaks keeps a stretch to be seen."""
    if verdict.stable or verdict.time_ps is None:
        return float(time[-1])
    return max(float(time[-1]), verdict.time_ps + SMALLEST_STRETCH * max(verdict.time_ps, float(np.ptp(time)), 1e-3))


def _limit_time(panel: Axes, time: np.ndarray, verdict: Verdict) -> None:
    if len(time) > 1 or not verdict.stable:
        panel.set_xlim(min(0.0, time[0]), _last_time(time, verdict))


def _line(panel: Axes, time: np.ndarray, values: np.ndarray, color: str, label: str | None = None) -> None:
    if len(values) <= CROWDED:
        panel.plot(time, values, color=color, label=label, marker="." if len(values) == 1 else None)
        return
    panel.plot(time, values, color=color, alpha=0.35, linewidth=0.6)
    width = max(3, len(values) // 100)
    mean = np.convolve(values, np.full(width, 1.0 / width), mode="valid")
    panel.plot(time[width // 2 : width // 2 + len(mean)], mean, color=color, label=label)
