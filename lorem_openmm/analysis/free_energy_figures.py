"""Figures of umbrella sampling: the profile, what the windows sampled, their overlap, and snapshots."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from ase.data import atomic_numbers, covalent_radii
from ase.data.colors import jmol_colors
from matplotlib.axes import Axes
from matplotlib.patches import Circle
from matplotlib.ticker import MaxNLocator

from lorem_openmm import config
from lorem_openmm.analysis.windows import Window
from lorem_openmm.plotting import BROKEN, COLORS, GREY, INK, label_axes, new_figure
from lorem_openmm.simulate.molecules import BOND_FACTOR
from lorem_openmm.units import KJ_PER_MOL_PER_EV

WEAK_BOND_FACTOR = 1.6  # of the covalent radii, below which a forming or breaking bond is drawn as a broken line
TITLES = {"transition_state": "transition state"}


def _axis_title(umbrella: config.Umbrella) -> str:
    """Returns the name of the coordinate with its unit, for example ``r(C–Cl) − r(C–Br) (Å)``."""
    if umbrella.coordinate == "center_distance":
        return "distance of the centres of mass (Å)"
    kind, _, rest = umbrella.start.partition(":")
    x, y = (rest.split(",")[:2]) if kind == "sn2" else ("X", "Y")
    return f"r(C–{x}{'′' if x == y else ''}) − r(C–{y}) (Å)"


def draw_profile(stem: Path, table: pd.DataFrame, umbrella: config.Umbrella, summary: Mapping[str, Any]) -> None:
    """Free energy with its standard error, and the static energy.

    Args:
        stem: Path without suffix.
        table: ``coordinate`` Å, ``free_energy``, ``error`` and, unless in solvent, ``static_energy`` in eV.
        umbrella: Settings.
        summary: Summary with ``free_energy``, its named points and differences, and ``left_out`` windows, which are
            shaded.
    """
    columns = {name: table[name].to_numpy() for name in table}
    coordinate, values, errors = columns["coordinate"], columns["free_energy"], columns["error"]
    radial = umbrella.coordinate == "center_distance"
    with new_figure(stem, height=3.6) as (_, axes):
        panel = axes[0, 0]
        if "static_energy" in columns:
            name = "energy, relaxed (static)"
            panel.plot(coordinate, columns["static_energy"], color=COLORS[1], linestyle="--", label=name)
        name = f"{'potential of mean force' if radial else 'free energy'}, {umbrella.temperature:g} K"
        panel.fill_between(coordinate, values - errors, values + errors, color=COLORS[0], alpha=0.25, linewidth=0)
        panel.plot(coordinate, values, color=COLORS[0], label=name)
        shown = values if "static_energy" not in columns else np.concatenate([values, columns["static_energy"]])
        low, high = np.nanmin(shown), np.nanmax(values)
        panel.set_ylim(low - 0.06 * (high - low), high + 0.22 * (high - low))
        label_axes(panel, _axis_title(umbrella), "energy (eV)", _title(summary["free_energy"]))
        _shade_left_out(panel, umbrella, [entry["window"] for entry in summary["left_out"]])
        panel.legend(loc="upper right" if radial else "upper left")
        both_ways = (lambda ev: ev * KJ_PER_MOL_PER_EV, lambda kj_per_mol: kj_per_mol / KJ_PER_MOL_PER_EV)
        right = panel.secondary_yaxis("right", functions=both_ways)
        right.set_ylabel("energy (kJ/mol)")
        right.spines["right"].set_visible(True)


def _shade_left_out(panel: Axes, umbrella: config.Umbrella, indices: Sequence[int]) -> None:
    """Shades where windows that fell apart were held."""
    centers = umbrella.centers()
    half = abs(centers[1] - centers[0]) / 2
    for index in indices:
        name = f"no sound window: {', '.join(map(str, indices))}" if index == indices[0] else None
        panel.axvspan(centers[index] - half, centers[index] + half, facecolor=BROKEN, alpha=0.15, lw=0, label=name)


def _title(energies: Mapping[str, Any]) -> str:
    parts = []
    for name, word in (("barrier", "barrier"), ("reaction", "reaction"), ("well_depth", "well depth")):
        if name in energies:
            parts.append(f"{word} {energies[name]['ev']:.3f} ± {energies[name]['error_ev']:.3f} eV")
    return ", ".join(parts).replace("-", "−")


def draw_windows(stem: Path, windows: Sequence[Window], umbrella: config.Umbrella) -> None:
    """Distribution of the coordinate in each window; ticks below are the centres of the biases.

    Args:
        stem: Path without suffix.
        windows: All of them.
        umbrella: Settings.
    """
    values = np.concatenate([window.coordinate for window in windows])
    edges = np.linspace(values.min(), values.max(), 201)
    with new_figure(stem, width=6.0, height=2.8) as (_, axes):
        panel = axes[0, 0]
        for k, window in enumerate(windows):
            density, _ = np.histogram(window.coordinate, edges, density=True)
            panel.stairs(density, edges, fill=True, color=COLORS[k % len(COLORS)], alpha=0.45, linewidth=0)
            panel.plot(window.center, 0.0, marker="|", color=COLORS[k % len(COLORS)], markersize=12, clip_on=False)
        panel.set_ylim(bottom=0.0)
        label_axes(panel, _axis_title(umbrella), "density (1/Å)")


def draw_overlap(stem: Path, overlap: np.ndarray, names: Sequence[int]) -> None:
    """The overlap matrix: how likely a sample of a row's window belongs to a column's.

    Args:
        stem: Path without suffix.
        overlap: [n_windows, n_windows].
        names: [n_windows] numbers of the windows.
    """
    n = len(overlap)
    size = float(np.clip(0.2 * n + 1.2, 3.0, 6.0))
    with new_figure(stem, width=size + 0.6, height=size) as (figure, axes):
        panel = axes[0, 0]
        image = panel.imshow(overlap, cmap="Blues", vmin=0.0, vmax=max(0.5, float(overlap.max())))
        if n <= 24:
            for (i, j), value in np.ndenumerate(overlap):
                if value >= 0.005:
                    color = "white" if value > 0.35 else INK
                    panel.text(j, i, f"{value:.2f}"[1:], ha="center", va="center", fontsize=4.8, color=color)
        label_axes(panel, "window", "window")
        panel.grid(False)
        for axis in (panel.xaxis, panel.yaxis):
            axis.set_major_locator(MaxNLocator(integer=True))
            axis.set_major_formatter(lambda tick, _: str(names[int(tick)]) if 0 <= tick < n else "")
        figure.colorbar(image, ax=panel, label="overlap", shrink=0.8)


def draw_snapshots(stem: Path, symbols: Sequence[str], snapshots: Mapping[str, tuple[float, np.ndarray]]) -> None:
    """Structures seen from the side on which they are widest, atoms as circles, forming bonds broken.

    Args:
        stem: Path without suffix.
        symbols: [n_atoms] elements.
        snapshots: Coordinate in Å and positions [n_atoms, 3] in Å by name.
    """
    if not snapshots:
        return
    flat = {name: _side_view(positions) for name, (_, positions) in snapshots.items()}
    spans = [np.ptp(points, axis=0) + 2.0 for points, _ in flat.values()]
    tall = max(span[1] for span in spans)
    wide = max(span[0] for span in spans)
    with new_figure(stem, 1, len(flat), 2.6 * len(flat), 2.6 * tall / wide + 0.6) as (_, axes):
        for panel, (name, (points, depth)) in zip(axes[0], flat.items(), strict=True):
            coordinate, positions = snapshots[name]
            _draw_molecule(panel, symbols, positions, points, depth)
            middle = 0.5 * (points.min(axis=0) + points.max(axis=0))
            panel.set_xlim(middle[0] - wide / 2, middle[0] + wide / 2)
            panel.set_ylim(middle[1] - tall / 2, middle[1] + tall / 2)
            panel.set_aspect("equal")
            panel.set_axis_off()
            text = f"{TITLES.get(name, name)}, {coordinate:.2f} Å".replace("-", "−")
            panel.set_title(text, loc="center", fontsize=9)


def _side_view(positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns positions in the plane of the two widest directions [n_atoms, 2] and the height above it [n_atoms]."""
    centered = positions - positions.mean(axis=0)
    axes = np.linalg.svd(centered)[2]
    turned = centered @ axes.T
    turned *= np.where(turned[0] > 0, -1.0, 1.0)  # the first atom at the left and below
    return turned[:, :2], turned[:, 2]


def _draw_molecule(
    panel: Axes, symbols: Sequence[str], positions: np.ndarray, points: np.ndarray, depth: np.ndarray
) -> None:
    numbers = [atomic_numbers[symbol] for symbol in symbols]
    radii = covalent_radii[numbers]
    for i in range(len(symbols)):
        for j in range(i):
            relative = np.linalg.norm(positions[i] - positions[j]) / (radii[i] + radii[j])
            hydrogens = symbols[i] == symbols[j] == "H"
            if relative < (BOND_FACTOR if hydrogens or "H" in (symbols[i], symbols[j]) else WEAK_BOND_FACTOR):
                style = "-" if relative < BOND_FACTOR else (0, (2, 2))
                panel.plot(*points[[i, j]].T, color=GREY, linewidth=2.0, linestyle=style, zorder=0.0)
    order = np.argsort(np.argsort(depth))
    for k, symbol in enumerate(symbols):
        look = {"facecolor": jmol_colors[numbers[k]], "edgecolor": INK, "linewidth": 0.6, "zorder": 1 + order[k]}
        panel.add_patch(Circle(tuple(points[k]), 0.55 * radii[k] + 0.12, **look))
        if symbol != "H":
            x, y = points[k]
            panel.text(x, y, symbol, ha="center", va="center", fontsize=7, zorder=1.5 + order[k])
