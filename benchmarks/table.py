"""Times one step of every contestant on the same moving structures, in turn, and prints the table.

Example: python benchmarks/table.py --structures sn2 dimer13 water192 --threads 2 --output benchmarks/results/table.json

Contestants whose environment is missing are left out with a line that says so (make parity-env, make mace-env).
Absolute times depend on the machine and what else it does; the ratios are those of one run.
"""

import argparse
import json
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from contest import CONTESTANTS, available, compete, machine
from structures import STRUCTURES

# Largest structures: lorem-jax asks for 25 GB at 1,536 atoms.
LARGEST = {"lorem-jax, ASE": 500, "MACE, ASE": 2000}


def main() -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--structures", nargs="+", default=["sn2", "dimer13", "water192"], choices=STRUCTURES)
    parser.add_argument("--contestants", nargs="+", default=list(CONTESTANTS), choices=CONTESTANTS)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--bursts", type=int, default=12, help="turns of each contestant")
    parser.add_argument("--length", type=int, help="steps of a turn; default: by the size of the structure")
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/table.json"))
    options = parser.parse_args()
    for name in options.contestants:
        if not available(CONTESTANTS[name]):
            print(f"{name}: no environment, left out (make parity-env, make mace-env)")
    results: dict[str, Any] = {"machine": machine(options.threads), "structures": {}}
    for structure in options.structures:
        n_atoms = len(STRUCTURES[structure]())
        length = options.length or (40 if n_atoms < 100 else 3)
        contestants = [CONTESTANTS[name] for name in options.contestants]
        contestants = [c for c in contestants if available(c) and n_atoms <= LARGEST.get(c.name, n_atoms)]
        found = compete(contestants, structure, options.threads, options.bursts, length)
        results["structures"][structure] = {"n_atoms": n_atoms, "contestants": found}
        print(f"{structure}, {n_atoms} atoms, {options.bursts} turns of {length} steps", flush=True)
        for line in rows(found):
            print(line, flush=True)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    temporary = options.output.with_suffix(".part")
    temporary.write_text(json.dumps(results, indent=1))
    temporary.replace(options.output)


def rows(found: dict[str, Any], reference: str = "lorem-jax, ASE") -> list[str]:
    """Markdown rows: median, quartiles, ratio of the reference's seconds to each contestant's, paired by step."""
    lines = ["| | median ms | quartiles | lorem-jax takes | peak MB |", "|---|---|---|---|---|"]
    for name, result in found.items():
        seconds = result["seconds"]
        low, _, high = quantiles(seconds, n=4)
        ratio = "–"
        if reference in found:
            ratios = [a / b for a, b in zip(found[reference]["seconds"], seconds, strict=True)]
            ratio = f"{median(ratios):.1f}×"
        times = f"{1e3 * median(seconds):.2f} | {1e3 * low:.2f}–{1e3 * high:.2f}"
        lines.append(f"| {name} | {times} | {ratio} | {result['peak_mb']:.0f} |")
    return lines


if __name__ == "__main__":
    main()
