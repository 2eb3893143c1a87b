"""Figures of the verdict: how the interactions of pairs of molecules end, and errors along reaction paths."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from lorem_openmm.plotting import COLORS, GREY, INK, new_panels
from lorem_openmm.verdict.accuracy import CHEMICAL_ACCURACY
from lorem_openmm.verdict.reactions import PATH_LIMIT, PathErrors
from lorem_openmm.verdict.tails import RULES, Group, Tails

BAND = "#E2EFE8"
NAMES = ("interaction (meV)", "deviation (% of k·e²/R)", "E / Coulomb")
LONG_NAME = 26
REACH = 4.0  # half the height of a panel in limits, at least


def draw_paths(stem: Path, paths: Sequence[PathErrors], run_name: str) -> None:
    """Draws the errors along reaction paths, and what is allowed at the complexes and beyond the cutoff.

    Args:
        stem: Path without suffix.
        paths: Paths of the run.
        run_name: Its name.
    """
    x_label = f"{run_name}: r(C-X) − r(C-Y) (Å); green: allowed, at the complexes and beyond the cutoff"
    y_label = "error, measured from the top (meV)"
    with new_panels(stem, [path.reaction for path in paths], 2.9, 2.4, x_label, y_label, sharey=True) as panels:
        for panel, path in zip(panels, paths, strict=False):
            x, wells = path.coordinate, path.wells
            for side in (x < 0, x >= 0):
                far = path.is_beyond & side
                panel.fill_between(x[far], -PATH_LIMIT, PATH_LIMIT, color=BAND, linewidth=0)
            panel.errorbar(x[wells], [0, 0], CHEMICAL_ACCURACY, fmt="none", ecolor=COLORS[2], capsize=4)
            panel.axhline(0, color=INK, linewidth=0.7)
            panel.plot(x, path.error, color=COLORS[0], marker="o", markersize=2.2)


def draw_tails(stem: Path, tails: Tails, run_name: str) -> None:
    """Draws a panel per class of pairs: every pair, the worst in colour, and the band that is allowed.

    Neutral pairs as they are, pairs with one ion less the electrostatics of their multipoles, ions as a ratio to it.

    Args:
        stem: Path without suffix.
        tails: Tails of the run.
        run_name: Its name.
    """
    groups = tails.groups()
    x = f"{run_name}: distance of the centres of mass (Å); coloured: the worst; green: allowed, where it is judged"
    with new_panels(stem, [group.name for group in groups], 2.9, 2.5, x, sharex=True) as panels:
        for panel, group in zip(panels, groups, strict=False):
            _draw_tails(panel, tails, group)


def _draw_tails(panel: Axes, tails: Tails, group: Group) -> None:
    rule = RULES[group.n_ions]
    values, middle, bound = tails.deviation(), 0.0, rule.bound
    if group.n_ions == 2:
        values, middle, bound = 1 + values / 100, 1.0, bound / 100
    pair, place = tails.worst(group)
    panel.fill_between([rule.nearest, rule.farthest], middle - bound, middle + bound, color=BAND, linewidth=0)
    panel.axhline(middle, color=INK, linewidth=0.7)
    for line in values[group.members]:
        panel.plot(tails.distances, line, color=GREY, linewidth=0.6, alpha=0.6)
    passes = abs(values[pair, place] - middle) <= bound
    color, marker = (COLORS[0], "o") if passes else (COLORS[1], "s")
    panel.plot(tails.distances, values[pair], color=color, marker=marker, markersize=3)
    farthest = np.abs(values[group.members] - middle)
    reach = max(REACH * bound, 1.15 * float(farthest[np.isfinite(farthest)].max(initial=0.0)))
    panel.set_ylim(middle - reach, middle + reach)
    name = tails.pairs[pair].name
    if len(name) > LONG_NAME:
        name = name.replace(" + ", "\n+ ")
    panel.set_ylabel(NAMES[group.n_ions])
    panel.set_title(f"{group.name}\nworst: {name}", fontsize=8.5)
