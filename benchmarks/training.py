"""Times training steps of this package and of lorem-jax on the same batches, in turns; prints structures per second.

Example: python benchmarks/training.py --batches cumulenes dimers --threads 2 --output benchmarks/results/training.json

Default hyper-parameters, float32, Adam; random labels. Without the lorem-jax environment (make parity-env) only this
package is timed. Absolute times depend on the machine and what else it does; the ratios are those of one run.
"""

import argparse
from pathlib import Path
from statistics import median
from typing import Any

import goals
from batches import BATCHES, PERIODIC_BATCH, SMALL_BATCH
from contest import Contestant, compete, why_absent
from records import machine

from lorem_openmm.files import write_json

OURS, LOREM_JAX = "lorem-openmm", "lorem-jax"
CONTESTANTS = [Contestant(LOREM_JAX, "train_lorem_jax"), Contestant(OURS, "train_ours")]


def main() -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batches", nargs="+", default=list(BATCHES), choices=BATCHES)
    parser.add_argument("--contestants", nargs="+", default=[LOREM_JAX, OURS], choices=[LOREM_JAX, OURS])
    parser.add_argument("--threads", type=int, default=2, help="also the number of cores each contestant may use")
    parser.add_argument("--bursts", type=int, default=7, help="turns of each contestant")
    parser.add_argument("--length", type=int, default=15, help="steps of a turn, two or more; the first does not count")
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/training.json"))
    options = parser.parse_args()
    if options.bursts < 1 or options.length < 2:
        parser.error("--bursts must be at least 1 and --length at least 2: the first step of a turn does not count")
    results: dict[str, Any] = {"machine": machine(options.threads), "batches": {}}
    for kind in options.batches:
        chosen = [c for c in CONTESTANTS if c.name in options.contestants]
        found: dict[str, dict[str, Any]] = {c.name: {"absent": why_absent(c, 0)} for c in chosen}
        present = [c for c in chosen if not why_absent(c, 0)]
        found |= compete(present, kind, options.threads, options.bursts, options.length)
        size = PERIODIC_BATCH if kind == "water192" else SMALL_BATCH
        results["batches"][kind] = {"batch_size": size, "contestants": found}
        write_json(options.output, results)
        turns = f"{options.bursts} turns of {options.length} steps, {options.threads} threads"
        print(f"\n{kind}, batches of {size}, {turns}\n")
        print("\n".join(rows(found, size)), flush=True)


def rows(found: dict[str, dict[str, Any]], batch_size: int) -> list[str]:
    """Markdown rows; the ratio is the median of the ratios of turns that followed one another."""
    lines = ["| | ms per step | structures/s | lorem-jax takes | peak MB |", "|---|---|---|---|---|"]
    for name, result in found.items():
        if "absent" in result:
            lines.append(f"| {name} | {result['absent']} | | | |")
            continue
        seconds = median(result["seconds"])
        reference = found.get(LOREM_JAX, {})
        ratio = f"{goals.paired_ratio(reference, result):.2f}×" if reference.get("seconds") else "–"
        lines.append(
            f"| {name} | {1e3 * seconds:.4g} | {batch_size / seconds:.4g} | {ratio} | {result['peak_mb']:.0f} |"
        )
    return lines


if __name__ == "__main__":
    main()
