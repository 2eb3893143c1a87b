"""Figures of periodic liquids."""

from pathlib import Path

import numpy as np
import pandas as pd

from lorem_openmm.analysis.averages import Average
from lorem_openmm.analysis.diffusion import Diffusion
from lorem_openmm.plotting import COLORS, GREY, INK, label_axes, new_figure


def draw_radial_distributions(stem: Path, table: pd.DataFrame) -> None:
    """g(r) of each pair of elements, in a band of one standard error.

    Args:
        stem: Path without suffix.
        table: Result of :func:`lorem_openmm.analysis.liquid.radial_distributions`.
    """
    with new_figure(stem) as (_, axes):
        panel = axes[0, 0]
        panel.axhline(1.0, color=GREY, linewidth=0.8, linestyle="--")
        for name in (name for name in table.columns.drop("distance") if not name.endswith(" error")):
            (line,) = panel.plot(table["distance"], table[name], label=name)
            if f"{name} error" in table:
                low, high = (table[name] + sign * table[f"{name} error"] for sign in (-1, 1))
                panel.fill_between(table["distance"], low, high, color=line.get_color(), alpha=0.25, linewidth=0)
        panel.set_ylim(bottom=0.0)
        panel.set_xlim(0.0, table["distance"].iloc[-1])
        panel.legend()
        label_axes(panel, "distance (Å)", "g(r)")


def draw_density(stem: Path, table: pd.DataFrame, mean: Average) -> None:
    """Density over time; the mean over the part that is used, in a band of one standard error.

    Args:
        stem: Path without suffix.
        table: Table with ``time`` in ps and ``density`` in g/cm³.
        mean: Mean of the densities.
    """
    time, density = table["time"].to_numpy(), table["density"].to_numpy()
    with new_figure(stem, width=6.0, height=2.8) as (_, axes):
        panel = axes[0, 0]
        panel.plot(time, density, color=COLORS[0], linewidth=0.8, marker="." if len(time) == 1 else None)
        panel.plot([time[mean.start], time[-1]], [mean.mean] * 2, color=INK, linewidth=1.0)
        text = f"mean {mean.mean:.3f} g/cm³"
        if np.isfinite(mean.error):
            span = (mean.mean - mean.error, mean.mean + mean.error)
            panel.fill_between([time[mean.start], time[-1]], *span, color=INK, alpha=0.2, linewidth=0)
            text = f"mean {mean.mean:.3f} ± {mean.error:.3f} g/cm³ after {time[mean.start]:.1f} ps"
        if len(time) > 1:
            panel.set_xlim(min(0.0, time[0]), time[-1])
        label_axes(panel, "time (ps)", "density (g/cm³)", text)


def draw_diffusion(stem: Path, result: Diffusion) -> None:
    """Mean squared displacement with the fitted line.

    Args:
        stem: Path without suffix.
        result: Result of :func:`lorem_openmm.analysis.diffusion.diffusion`.
    """
    shown = result.times <= 1.5 * result.fitted[1]  # beyond, few starting times are left
    first, last = result.fitted
    with new_figure(stem) as (_, axes):
        panel = axes[0, 0]
        panel.axvspan(first, last, color=GREY, alpha=0.15, linewidth=0)
        panel.plot(result.times[shown], result.displacements[shown], color=COLORS[0])
        ends = np.array([0.0, 1.5 * last])
        panel.plot(ends, result.intercept + 0.6 * result.coefficient * ends, color=INK, linewidth=0.8, linestyle="--")
        panel.set_xlim(0.0, result.times[shown][-1])
        panel.set_ylim(bottom=0.0)
        text = f"D = {result.coefficient:.2f} ± {result.error:.2f} · 10⁻⁹ m²/s, MSD ∝ t^{result.exponent:.2f}"
        label_axes(panel, "time (ps)", "mean squared displacement (Å²)", text)
