"""Times one energy-and-forces call of a random-weight model: python benchmarks/model_call.py --threads 1

Medians over paired repetitions, peak memory, as JSON. Absolute times depend on the machine; compare ratios of one run.
"""

import argparse
import json
import platform
import resource
import statistics
import time

import torch
from ase import Atoms
from ase.build import molecule

from lorem_openmm.config import Model
from lorem_openmm.integrations.verlet import VerletGraph
from lorem_openmm.model import Lorem
from lorem_openmm.potential import Potential


def sn2() -> Atoms:
    """Cl⁻ + CH₃Cl, 6 atoms."""
    atoms = molecule("CH3Cl") + Atoms("Cl", [[0.0, 0.0, 3.5]])
    atoms.rattle(0.05, seed=0)
    return atoms


def dimer() -> Atoms:
    """Ethanol and methanol, 15 atoms."""
    other = molecule("CH3OH")
    other.positions += [4.5, 0.5, 0.3]
    atoms = molecule("CH3CH2OH") + other
    atoms.rattle(0.05, seed=0)
    return atoms


def water(n: int) -> Atoms:
    """A cube of n³ waters at the density of the liquid."""
    atoms = molecule("H2O")
    atoms.set_cell([3.104] * 3)
    atoms.pbc = True
    atoms = atoms.repeat(n)
    atoms.rattle(0.1, seed=0)
    return atoms


SYSTEMS = {"sn2": sn2, "dimer": dimer, "water192": lambda: water(4), "water1536": lambda: water(8)}


def median_seconds(calls: dict, repetitions: int) -> dict[str, float]:
    """Median time of each call, the calls taking turns."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for repetition in range(repetitions + 3):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            if repetition >= 3:  # the first calls compile
                times[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in times.items()}


def main() -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--systems", nargs="+", default=["sn2", "dimer", "water192"], choices=SYSTEMS)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repetitions", type=int, default=20)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    potential = Potential(Lorem(Model()), {1: 0.0, 6: 0.0, 8: 0.0, 17: 0.0}).float().requires_grad_(False)
    scripted = torch.jit.script(potential)
    results = {}
    for name in options.systems:
        atoms = SYSTEMS[name]()
        lists = VerletGraph(torch.tensor(atoms.numbers), potential.cutoff, bool(atoms.pbc.all()))
        graph = lists(torch.tensor(atoms.positions), torch.tensor(atoms.cell[:]))
        calls = {"eager": lambda g=graph: potential.evaluate(g), "scripted": lambda g=graph: scripted.evaluate(g)}
        seconds = median_seconds(calls, options.repetitions)
        results[name] = {
            "n_atoms": len(atoms),
            "milliseconds": {key: round(1e3 * value, 3) for key, value in seconds.items()},
            "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        }
    versions = {"torch": torch.__version__, "python": platform.python_version()}
    print(json.dumps({"threads": options.threads, "versions": versions, "results": results}, indent=2))


if __name__ == "__main__":
    main()
