"""Times one step of every contestant on the same moving structures, in turn, and prints the table.

Example: python benchmarks/table.py --structures sn2 dimer13 water192 --threads 2 --output benchmarks/results/table.json

Contestants whose environment is missing are left out with a line that says so (make parity-env, make mace-env).
Absolute times depend on the machine and what else it does; the ratios are those of one run.
"""

import argparse
from pathlib import Path
from statistics import fmean, median
from typing import Any

import goals
import numpy as np
from contest import CONTESTANTS, LOREM_JAX, MODEL_CALL, compete, why_absent
from records import machine
from structures import STRUCTURES

from lorem_openmm.files import write_json


def main() -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--structures", nargs="+", default=["sn2", "dimer13", "water192"], choices=STRUCTURES)
    parser.add_argument("--contestants", nargs="+", default=list(CONTESTANTS), choices=CONTESTANTS)
    parser.add_argument("--threads", type=int, default=2, help="also the number of cores each contestant may use")
    parser.add_argument("--bursts", type=int, default=12, help="turns of each contestant")
    parser.add_argument("--length", type=int, help="steps of a turn, two or more; default: by the structure's size")
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/table.json"))
    options = parser.parse_args()
    if options.bursts < 1 or (options.length is not None and options.length < 2):
        parser.error("--bursts must be at least 1 and --length at least 2: the first step of a turn does not count")
    results: dict[str, Any] = {"machine": machine(options.threads), "structures": {}}
    for structure in options.structures:
        n_atoms = len(STRUCTURES[structure]())
        length = options.length or (40 if n_atoms < 100 else 8)
        chosen = [CONTESTANTS[name] for name in options.contestants]
        found: dict[str, dict[str, Any]] = {c.name: {"absent": why_absent(c, n_atoms)} for c in chosen}
        found |= compete(
            [c for c in chosen if not why_absent(c, n_atoms)], structure, options.threads, options.bursts, length
        )
        results["structures"][structure] = {"n_atoms": n_atoms, "steps_per_burst": length, "contestants": found}
        write_json(options.output, results)  # after each structure: a long run that breaks off is not lost
        print(f"\n{structure}, {n_atoms} atoms, {options.bursts} turns of {length} steps, {options.threads} threads\n")
        print("\n".join(rows(found)))
        print("\n".join(["", *goals.rows(goals.of_structure(structure, n_atoms, found))]), flush=True)


def rows(found: dict[str, dict[str, Any]]) -> list[str]:
    """Markdown rows.

    Medians and quartiles are of the bursts' medians; the mean also counts steps that made neighbour lists anew.
    lorem-jax's time over the contestant's is given twice: ratio of the medians, and median of the ratios of bursts
    that computed the same positions.
    """
    lines = [
        "| | median ms | quartiles | mean ms | lorem-jax takes | paired | over model call | peak MB |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, result in found.items():
        if "absent" in result:
            lines.append(f"| {name} | {result['absent']} | | | | | | |")
            continue
        seconds = result["seconds"]
        low, high = np.percentile(seconds, [25, 75])
        cells = [f"{1e3 * median(seconds):.3g}", f"{1e3 * low:.3g}–{1e3 * high:.3g}"]
        cells += [f"{1e3 * fmean(result['mean_seconds']):.3g}"]
        reference = found.get(LOREM_JAX, {})
        if reference.get("seconds"):
            ratio = median(reference["seconds"]) / median(seconds)
            cells += [f"{ratio:.2f}×", f"{goals.paired_ratio(reference, result):.2f}×"]
        else:
            cells += ["–", "–"]
        call = found.get(MODEL_CALL, {})
        cells += [f"{goals.paired_ratio(result, call):.3f}×" if call.get("seconds") else "–"]
        lines.append(f"| {name} | {' | '.join(cells)} | {result['peak_mb']:.0f} |")
    return lines


if __name__ == "__main__":
    main()
