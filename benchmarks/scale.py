"""Time and memory per atom by size, each size in a fresh process.

Example: python benchmarks/scale.py --structures water192 water1536 water12288 --output benchmarks/results/scale.json

Memory is the peak of the resident memory above that of the process before the model was made. The largest system that
fits is extrapolated from the two largest ones measured.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from contest import CONTESTANTS, compete, machine
from structures import STRUCTURES

SMALLEST = "sn2"  # its memory is the base: libraries, weights
GIB = 2**30


def main() -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = ["water192", "water1536", "water5184", "water12288"]
    parser.add_argument("--structures", nargs="+", default=default, choices=STRUCTURES)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--bursts", type=int, default=4)
    parser.add_argument("--memory-gib", type=float, nargs="+", default=[24, 80, 141])
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/scale.json"))
    options = parser.parse_args()
    contestant = CONTESTANTS["model call"]
    base = compete([contestant], SMALLEST, options.threads, 1, 5)[contestant.name]["peak_mb"]
    results: dict[str, Any] = {"machine": machine(options.threads), "base_mb": base, "sizes": []}
    for structure in options.structures:
        n_atoms = len(STRUCTURES[structure]())
        found = compete([contestant], structure, options.threads, options.bursts, 2)[contestant.name]
        seconds = float(np.median(found["seconds"]))
        row = {
            "n_atoms": n_atoms,
            "seconds": seconds,
            "ms_per_atom": 1e3 * seconds / n_atoms,
            "kb_per_atom": 1024 * (found["peak_mb"] - base) / n_atoms,
        }
        results["sizes"].append(row)
        print(structure, json.dumps(row), flush=True)
    results.update(summary(results["sizes"], options.memory_gib, base))
    print(json.dumps({key: results[key] for key in ("exponent", "largest")}, indent=1))
    options.output.parent.mkdir(parents=True, exist_ok=True)
    temporary = options.output.with_suffix(".part")
    temporary.write_text(json.dumps(results, indent=1))
    temporary.replace(options.output)


def summary(sizes: list[dict[str, float]], memory_gib: list[float], base_mb: float) -> dict[str, Any]:
    """Scaling exponent of the time (least squares of the logarithms) and the largest systems by memory."""
    if len(sizes) < 2:
        return {"exponent": None, "largest": {}}
    logs = np.log([[row["n_atoms"], row["seconds"]] for row in sizes])
    exponent = float(np.polyfit(logs[:, 0], logs[:, 1], 1)[0])
    per_atom = sizes[-1]["kb_per_atom"] * 1024
    largest = {f"{gib:g} GiB": int((gib * GIB - base_mb * 2**20) / per_atom) for gib in memory_gib}
    return {"exponent": exponent, "largest": largest}


if __name__ == "__main__":
    main()
