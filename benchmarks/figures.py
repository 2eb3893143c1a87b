"""Draws the figures of docs/performance.md from the results of the other benchmarks.

Example: python benchmarks/figures.py --results benchmarks/results --output docs/figures
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from matplotlib import colormaps

from lorem_openmm.files import read_json
from lorem_openmm.plotting import label_axes, new_figure

TEN_COLORS = colormaps["tab10"]  # more contestants than the usual colours


def main() -> None:
    """Draws what there are results for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=Path("benchmarks/results"))
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results"))
    options = parser.parse_args()
    for path in sorted(options.results.glob("*.json")):
        draw = DRAW.get(path.stem.split("-")[0])  # steady.json, steady-water192.json
        if draw is not None:
            draw(read_json(path), options.output / f"performance-{path.stem}")
            print(options.output / f"performance-{path.stem}.png")


def table(results: dict[str, Any], stem: Path) -> None:
    """Milliseconds per step of every contestant, by structure."""
    structures = list(results["structures"])
    names = list(dict.fromkeys(n for s in structures for n in results["structures"][s]["contestants"]))
    with new_figure(stem, width=7.5, height=3.8) as (_, [[axes]]):
        for i, name in enumerate(names):
            found = [results["structures"][s]["contestants"].get(name, {}).get("seconds") for s in structures]
            bars = [(j + 0.8 * (i / len(names) - 0.5), 1e3 * median(f)) for j, f in enumerate(found) if f]
            if bars:
                places, heights = zip(*bars, strict=True)
                axes.bar(places, heights, 0.8 / len(names), align="edge", label=name, color=TEN_COLORS(i))
        label_axes(axes, "", "time per step (ms)")
        axes.grid(False, axis="x")
        axes.set(yscale="log", xticks=range(len(structures)), xticklabels=structures)
        axes.legend(ncols=2)


def scale(results: dict[str, Any], stem: Path) -> None:
    """Time and memory per atom by size."""
    columns = {"ms_per_atom": "time per atom (ms)", "kb_per_atom": "memory per atom above the base (kB)"}
    with new_figure(stem, columns=2, width=7.5) as (_, [panels]):
        for axes, (key, label) in zip(panels, columns.items(), strict=True):
            axes.plot([row["n_atoms"] for row in results["sizes"]], [row[key] for row in results["sizes"]], "o-")
            label_axes(axes, "atoms", label)
            axes.set(xscale="log", ylim=(0, None))


def steady(results: dict[str, Any], stem: Path) -> None:
    """Time per step and memory of a long run."""
    blocks = results["blocks"]
    steps = [(i + 1) * results["steps"] / len(blocks) for i in range(len(blocks))]
    columns = {"ms_per_step": "time per step (ms)", "rss_mb": "resident memory (MB)"}
    with new_figure(stem, columns=2, width=7.5) as (_, [panels]):
        for axes, (key, label) in zip(panels, columns.items(), strict=True):
            axes.plot(steps, [block[key] for block in blocks])
            label_axes(axes, "step", label)
            axes.set(ylim=(0, None))


def profile(results: dict[str, Any], stem: Path) -> None:
    """Milliseconds of a step by part."""
    parts = dict(reversed(results["parts_ms"].items()))
    with new_figure(stem) as (_, [[axes]]):
        axes.barh(list(parts), list(parts.values()))
        label_axes(axes, "time per step (ms)", "", results["structure"])
        axes.grid(False, axis="y")


DRAW: dict[str, Callable[[dict[str, Any], Path], None]] = {
    "table": table,
    "scale": scale,
    "steady": steady,
    "profile": profile,
}

if __name__ == "__main__":
    main()
