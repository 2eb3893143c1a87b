"""Draws the figures of docs/performance.md from the results of the other benchmarks.

Example: python benchmarks/figures.py --results benchmarks/results --output docs/figures
"""

import argparse
import json
from pathlib import Path
from statistics import median
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt


def main() -> None:
    """Draws what there are results for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=Path("benchmarks/results"))
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results"))
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    for name, draw in {"table": table, "scale": scale, "steady": steady}.items():
        path = options.results / f"{name}.json"
        if path.exists():
            figure = draw(json.loads(path.read_text()))
            figure.savefig(options.output / f"performance-{name}.png", dpi=150)
            print(options.output / f"performance-{name}.png")


def table(results: dict[str, Any]) -> plt.Figure:
    """Milliseconds per step of every contestant, by structure."""
    figure, axes = plt.subplots(figsize=(8, 4), layout="constrained")
    structures = list(results["structures"])
    names = list(dict.fromkeys(n for s in structures for n in results["structures"][s]["contestants"]))
    for i, name in enumerate(names):
        found = [results["structures"][s]["contestants"].get(name) for s in structures]
        places = [j + 0.8 * (i / len(names) - 0.5) for j, f in enumerate(found) if f]
        axes.bar(places, [1e3 * median(f["seconds"]) for f in found if f], 0.8 / len(names), align="edge", label=name)
    axes.set(yscale="log", ylabel="ms per step", xticks=range(len(structures)), xticklabels=structures)
    axes.legend(fontsize="small")
    return figure


def scale(results: dict[str, Any]) -> plt.Figure:
    """Time and memory per atom by size."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(8, 3.2), layout="constrained")
    sizes = results["sizes"]
    for axes, key, label in ((left, "ms_per_atom", "ms per atom"), (right, "kb_per_atom", "kB per atom")):
        axes.plot([row["n_atoms"] for row in sizes], [row[key] for row in sizes], "o-")
        axes.set(xscale="log", xlabel="atoms", ylabel=label, ylim=(0, None))
    return figure


def steady(results: dict[str, Any]) -> plt.Figure:
    """Time per step and memory of a long run."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(8, 3.2), layout="constrained")
    blocks = results["blocks"]
    steps = [(i + 1) * results["steps"] / len(blocks) for i in range(len(blocks))]
    for axes, key, label in ((left, "ms_per_step", "ms per step"), (right, "rss_mb", "resident memory / MB")):
        axes.plot(steps, [block[key] for block in blocks], "o-")
        axes.set(xlabel="step", ylabel=label, ylim=(0, None))
    return figure


if __name__ == "__main__":
    main()
