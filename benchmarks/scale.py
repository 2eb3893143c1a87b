"""Time and memory per atom by size, each size in a fresh process.

Example: python benchmarks/scale.py --structures water192 water1536 water12288 --output benchmarks/results/scale.json

Memory is the peak of the resident memory above that of the smallest system (libraries, weights). The largest system
that fits is extrapolated from the memory per atom of the largest one measured.
"""

import argparse
import json
from pathlib import Path
from statistics import median
from typing import Any

import goals
import numpy as np
from contest import CONTESTANTS, MODEL_CALL, ContestantError, compete
from records import machine
from structures import STRUCTURES

from lorem_openmm.files import write_json

SMALLEST = "sn2"
GIB = 2**30


def main() -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = ["water192", "water1536", "water5184", "water12288"]
    parser.add_argument("--structures", nargs="+", default=default, choices=STRUCTURES)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--bursts", type=int, default=4)
    parser.add_argument("--length", type=int, default=3, help="steps of a turn; the first does not count")
    parser.add_argument("--memory-gib", type=float, nargs="+", default=[24, 80, 141])
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/scale.json"))
    options = parser.parse_args()
    base = measure(SMALLEST, options.threads, 1, 5)["peak_mb"]
    results: dict[str, Any] = {"machine": machine(options.threads), "base_mb": base, "sizes": []}
    for structure in options.structures:
        n_atoms = len(STRUCTURES[structure]())
        found = measure(structure, options.threads, options.bursts, options.length)
        seconds = median(found["seconds"])
        row = {
            "n_atoms": n_atoms,
            "seconds": seconds,
            "ms_per_atom": 1e3 * seconds / n_atoms,
            "peak_mb": found["peak_mb"],
            "kb_per_atom": 1024 * (found["peak_mb"] - base) / n_atoms,
        }
        results["sizes"].append(row)
        results |= summary(results["sizes"], options.memory_gib, base)
        write_json(options.output, results)
        print(structure, json.dumps(row), flush=True)
    print(json.dumps({key: results[key] for key in ("exponent", "largest")}))
    print("\n".join(goals.rows(goals.of_sizes(results["sizes"]))))


def measure(structure: str, threads: int, bursts: int, length: int) -> dict[str, Any]:
    """Returns the model call's times and memory.

    Raises:
        ContestantError: If its process stopped, for example for want of memory.
    """
    found = compete([CONTESTANTS[MODEL_CALL]], structure, threads, bursts, length)[MODEL_CALL]
    if "absent" in found:
        raise ContestantError(f"{structure}: {found['error']}")
    return found


def summary(sizes: list[dict[str, float]], memory_gib: list[float], base_mb: float) -> dict[str, Any]:
    """Scaling exponent of the time (least squares of the logarithms) and the largest systems by memory."""
    if len(sizes) < 2:
        return {"exponent": None, "largest": {}}
    logs = np.log([[row["n_atoms"], row["seconds"]] for row in sizes])
    exponent = float(np.polyfit(logs[:, 0], logs[:, 1], 1)[0])
    per_atom = max(sizes, key=lambda row: row["n_atoms"])["kb_per_atom"] * 1024
    if per_atom <= 0:  # too small to tell from the libraries
        return {"exponent": exponent, "largest": {}}
    largest = {f"{gib:g} GiB": int((gib * GIB - base_mb * 2**20) / per_atom) for gib in memory_gib}
    return {"exponent": exponent, "largest": largest}


if __name__ == "__main__":
    main()
