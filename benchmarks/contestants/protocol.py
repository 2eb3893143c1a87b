"""What every contestant answers: a burst of steps of the structure's motion, with the seconds of each call alone."""

import argparse
import json
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from ase import Atoms
from batches import batches
from records import resident_mb
from structures import STRUCTURES, walk

__all__ = ["batches", "peak_memory", "serve", "through_ase"]


def serve(make: Callable[[Atoms, argparse.Namespace], Callable[[Any], None]], **extra: Any) -> None:
    """Runs a contestant: reads first step and number of steps, writes seconds and peak memory.

    Args:
        make: builds, for a structure and the options, the function of new positions [n_atoms, 3] Å that is timed, and
            returns it or a pair of functions (not timed, timed).
        **extra: further options with their defaults.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("structure", choices=STRUCTURES)
    parser.add_argument("--threads", type=int, default=1)
    for name, default in extra.items():
        parser.add_argument(f"--{name}", default=default)
    options = parser.parse_args()
    answers = sys.stdout
    sys.stdout = sys.stderr  # whatever a library prints
    atoms = STRUCTURES[options.structure]()
    base = resident_mb()
    made = make(atoms, options)
    prepare, call = made if isinstance(made, tuple) else (lambda positions: positions, made)
    print(json.dumps({"ready": True, "base_mb": base}), file=answers, flush=True)
    for line in sys.stdin:
        first, count = map(int, line.split())
        seconds = []
        for step in range(first, first + count):
            prepared = prepare(walk(atoms, step))
            start = time.perf_counter()
            call(prepared)
            seconds.append(time.perf_counter() - start)
        print(json.dumps({"seconds": seconds, "peak_mb": peak_memory()}), file=answers, flush=True)


def through_ase(atoms: Atoms) -> Callable[[Any], None]:
    """Returns the call of the calculator attached to the atoms."""

    def call(positions: Any) -> None:
        atoms.positions[:] = positions
        atoms.get_forces()

    return call


def peak_memory() -> float:
    """Largest resident memory of this process so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
