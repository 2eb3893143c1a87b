"""Figures of the studies."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from lorem_openmm.paper.curves import Curve, minimum, shifted
from lorem_openmm.plotting import COLORS, GREY, INK, label_axes, new_figure, new_panels
from lorem_openmm.units import MEV_PER_EV

LINES = ("-", "--", ":", "-.")


def curves_figure(stem: Path, curves: Sequence[Curve], x_label: str, zero: str, mark_minima: bool = False) -> None:
    """Draws energies along a coordinate, one panel per curve: the reference grey, one line per run.

    Args:
        stem: Path without suffix.
        curves: Curves with predictions.
        x_label: Name and unit of the coordinate.
        zero: What each line is measured from: minimum, farthest or nearest.
        mark_minima: Whether to mark the minimum of each line with a diamond.
    """
    with new_panels(stem, [curve.name for curve in curves], 3.1, 2.5, x_label, "energy (eV)") as panels:
        for panel, curve in zip(panels, curves, strict=False):
            _draw_curve(panel, curve, zero, mark_minima)
        panels[0].legend(fontsize=7.5)


def _draw_curve(panel: Axes, curve: Curve, zero: str, mark_minima: bool) -> None:
    for number, (run, energy) in enumerate(curve.lines.items()):
        y = shifted(curve.x, energy, zero)
        style = {"color": GREY, "linewidth": 3.0} if number == 0 else _line_style(number - 1)
        panel.plot(curve.x, y, label=run, zorder=number, **style)
        if mark_minima:
            place, lowest = minimum(curve.x, energy)
            level = lowest - (energy - y)[0]
            panel.plot([place], [level], "D", markersize=5, color=style["color"], markeredgecolor=INK, zorder=30)


def _line_style(number: int) -> dict[str, Any]:
    """Returns colour and dashes of the n-th line of a panel, different for as many lines as a reader can follow."""
    return {"color": COLORS[number % len(COLORS)], "linestyle": LINES[number // len(COLORS) % len(LINES)]}


def class_bars(stem: Path, names: Sequence[str], errors: Mapping[str, Sequence[float]]) -> None:
    """Draws force errors by class, one bar per run.

    Args:
        stem: Path without suffix.
        names: The classes.
        errors: [n_classes] meV/Å by run; NaN: none.
    """
    width = 0.8 / len(errors)
    places = np.arange(len(names))
    with new_figure(stem, width=0.9 * len(names) + 1.8, height=3.0) as (_, axes):
        panel = axes[0, 0]
        for number, (run, values) in enumerate(errors.items()):
            color = COLORS[number % len(COLORS)]
            panel.bar(places + (number - (len(errors) - 1) / 2) * width, values, width, color=color, label=run)
        panel.set_xticks(places, names)
        label_axes(panel, "", "force MAE (meV/Å)")
        panel.legend()


def receptive_figure(stem: Path, curve: Curve, groups: Mapping[str, Mapping[str, str]], x_label: str) -> None:
    """Draws the profiles of many models, one panel per cutoff.

    Lines that are flat are drawn once, as the paper does.

    Args:
        stem: Path without suffix.
        curve: The profile, with predictions of all runs.
        groups: Title of a panel → run → name in the legend.
        x_label: Name and unit of the coordinate.
    """
    options = {"sharex": True, "sharey": True}
    with new_figure(stem, 1, len(groups), 3.0 * len(groups) + 0.6, 3.9, **options) as (figure, axes):
        for panel, (title, runs) in zip(axes[0], groups.items(), strict=True):
            panel.plot(
                curve.x, shifted(curve.x, curve.reference, "minimum"), color=GREY, linewidth=3.0, label="reference"
            )
            flat: list[str] = []
            for number, (run, name) in enumerate(runs.items()):
                energy = curve.predicted[run]
                if _is_flat(energy, curve.reference):
                    flat.append(name)
                    continue
                panel.plot(curve.x, shifted(curve.x, energy, "minimum"), label=name, **_line_style(number))
            if flat:
                panel.axhline(0.0, color=INK, linewidth=1.3, label="flat: " + "; ".join(flat))
            label_axes(panel, "", "", title)
            panel.legend(loc="upper center", bbox_to_anchor=(0.5, -0.12), fontsize=7.5)
        figure.supxlabel(x_label)
        axes[0, 0].set_ylabel("energy (eV)")


def _is_flat(energy: np.ndarray, reference: np.ndarray) -> bool:
    """Whether a profile varies by less than a hundredth of the reference's range."""
    return float(np.ptp(energy)) < 0.01 * float(np.ptp(reference))


def symmetry_figure(stem: Path, errors: Mapping[str, np.ndarray]) -> None:
    """Draws how the errors of rotated structures are distributed.

    Args:
        stem: Path without suffix.
        errors: |ΔE| in eV by model and precision, any shape.
    """
    with new_figure(stem, width=5.2, height=0.5 * len(errors) + 1.2) as (_, axes):
        panel = axes[0, 0]
        for number, (name, values) in enumerate(errors.items()):
            shown = np.maximum(values.ravel(), 1e-17 * MEV_PER_EV)
            panel.plot(shown, np.full(len(shown), number), "|", color=COLORS[number % len(COLORS)], label=name)
            panel.plot([shown.mean()], [number], "D", color=INK, markersize=4)
        panel.set_yticks(range(len(errors)), list(errors))
        panel.set_xscale("log")
        label_axes(panel, "change of the energy (meV); diamond: mean", "")
