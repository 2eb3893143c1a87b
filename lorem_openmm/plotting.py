"""Figures: one restrained style, written as PNG and SVG, whole or not at all.

No pyplot: figures are plain objects, so that drawing needs no display and leaves no state behind.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.rcsetup import cycler

from lorem_openmm.files import atomic_path

# Okabe-Ito without its yellow: told apart by colour-blind readers and on a grey print.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
INK = "#333333"
GREY = "#8C8C8C"
BROKEN = "#B00020"  # what must not be taken for a result
FORMATS = ("png", "svg")

STYLE: Any = {  # keys and values of matplotlib's rcParams
    "axes.axisbelow": True,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.labelsize": 9.5,
    "axes.linewidth": 0.8,
    "axes.prop_cycle": cycler(color=list(COLORS)),
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 10,
    "figure.facecolor": "white",
    "figure.labelsize": 9.5,
    "font.size": 9,
    "grid.color": "#E3E3E3",
    "grid.linewidth": 0.6,
    "legend.fontsize": 8.5,
    "legend.frameon": False,
    "lines.linewidth": 1.3,
    "savefig.dpi": 160,
    "svg.fonttype": "path",  # looks the same where the font is missing
    "svg.hashsalt": "lorem-openmm",  # equal figures are equal files
    "text.color": INK,
    "xtick.color": INK,
    "xtick.labelsize": 8.5,
    "ytick.color": INK,
    "ytick.labelsize": 8.5,
}


@contextmanager
def new_figure(
    stem: str | Path, rows: int = 1, columns: int = 1, width: float = 5.2, height: float = 3.2, **subplots: Any
) -> Iterator[tuple[Figure, np.ndarray]]:
    """Yields an empty figure with its axes, and writes it when the block ends without an error.

    Args:
        stem: Path without suffix; ``stem.png`` and ``stem.svg`` are written, each whole or not at all, in a folder
            made if need be.
        rows: Number of panels below each other.
        columns: Number of panels side by side.
        width: Width in inches.
        height: Height in inches.
        **subplots: Passed to :meth:`matplotlib.figure.Figure.subplots`, for example ``sharex=True``.

    Yields:
        The figure and its axes [rows, columns].

    Raises:
        OSError: If the folder cannot be written.
    """
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        yield figure, figure.subplots(rows, columns, squeeze=False, **subplots)
        for kind in FORMATS:
            with atomic_path(Path(f"{stem}.{kind}")) as temporary:
                figure.savefig(temporary, format=kind, metadata={"Date": None} if kind == "svg" else None)


@contextmanager
def new_panels(
    stem: str | Path, titles: Sequence[str], width: float, height: float, x: str, y: str = "", **subplots: Any
) -> Iterator[list[Axes]]:
    """Yields a panel per title, at most three side by side, and writes the figure as :func:`new_figure` does.

    Args:
        stem: Path without suffix.
        titles: Short texts above the panels.
        width: Width of a panel in inches.
        height: Height of a panel in inches.
        x: Name and unit of the abscissa that the panels share.
        y: Name and unit of the ordinate that they share; empty: each has its own.
        **subplots: As in :func:`new_figure`.

    Yields:
        The panels in the order of the titles; those behind them are not seen.
    """
    columns = min(3, max(len(titles), 1))
    rows = max(-(-len(titles) // columns), 1)
    with new_figure(stem, rows, columns, width * columns + 0.6, height * rows + 0.5, **subplots) as (figure, axes):
        panels = list(axes.flat)
        for panel in panels[len(titles) :]:
            panel.set_visible(False)
        for panel, title in zip(panels, titles, strict=False):
            label_axes(panel, "", "", title)
        figure.supxlabel(x)
        if y:
            figure.supylabel(y)
        yield panels


def label_axes(axes: Axes, x: str, y: str, title: str = "") -> None:
    """Names the axes, units included, and draws a light grid behind the data.

    Args:
        axes: The panel.
        x: Name and unit of the abscissa, for example ``time (ps)``.
        y: Name and unit of the ordinate.
        title: Short text above the panel, left-aligned.
    """
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.grid(True)
    if title:
        axes.set_title(title)
