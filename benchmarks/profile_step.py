"""Where one step spends its time: the parts of the model, and PyTorch's operations.

Example: python benchmarks/profile_step.py --structure water192 --threads 1
"""

import argparse
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import torch
from structures import STRUCTURES, walk
from torch.profiler import ProfilerActivity, profile

from lorem_openmm.config import Model
from lorem_openmm.inference import basis, electrostatics, layers, long_range, products, reflections, short_range, verlet
from lorem_openmm.inference.dynamics import Dynamics
from lorem_openmm.model import Lorem
from lorem_openmm.potential import Potential

PARTS = [
    basis.RadialFunctions,
    basis.AngularFunctions,
    short_range.DensityFunctions,
    products.Product,
    products.WholeProduct,
    reflections.ReflectionProduct,
    layers.Perceptron,
    layers.Normalization,
    layers.Norms,
    electrostatics.Electrostatics,
    long_range.RealSpace,
    verlet.VerletList,
]


def main() -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--structure", default="water192", choices=STRUCTURES)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--steps", type=int, default=20)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    atoms = STRUCTURES[options.structure]()
    potential = Potential(Lorem(Model()), {int(n): 0.0 for n in set(atoms.numbers)}).float().requires_grad_(False)
    times: dict[str, float] = defaultdict(float)
    for part in PARTS:
        for name in ("forward", "pullback", "weights", "slopes", "pair_products"):
            if name in vars(part):
                setattr(part, name, timed(getattr(part, name), part.__name__, times))
    module = Dynamics(potential, atoms.numbers.tolist(), bool(atoms.pbc.all()))
    cell = torch.tensor(atoms.cell[:])
    for step in range(3):
        module(torch.from_numpy(walk(atoms, step)), cell)
    times.clear()
    start, rebuilds = time.perf_counter(), module.lists.rebuilds
    for step in range(options.steps):
        module(torch.from_numpy(walk(atoms, 3 + step)), cell)
    total = time.perf_counter() - start
    print(f"{options.structure}: {1e3 * total / options.steps:.2f} ms per step, {options.threads} threads")
    for name, seconds in sorted(times.items(), key=lambda item: -item[1]):
        print(f"  {name:20s} {1e3 * seconds / options.steps:8.3f} ms {100 * seconds / total:5.1f} %")
    print(f"  {'the rest':20s} {1e3 * (total - sum(times.values())) / options.steps:8.3f} ms")
    rebuilds = module.lists.rebuilds - rebuilds
    print(f"lists made anew in {rebuilds} of {options.steps} steps; {padding(module):.0f} % of slots empty")
    with profile(activities=[ProfilerActivity.CPU]) as found:
        for step in range(options.steps):
            module(torch.from_numpy(walk(atoms, step)), cell)
    print(found.key_averages().table(sort_by="self_cpu_time_total", row_limit=20, max_name_column_width=40))


def timed(function: Callable[..., Any], name: str, times: dict[str, float]) -> Callable[..., Any]:
    """Adds the time of a method to its class's."""

    def call(*args: Any) -> Any:
        start = time.perf_counter()
        result = function(*args)
        times[name] += time.perf_counter() - start
        return result

    return call


def padding(module: Dynamics) -> float:
    """Share of the slots that hold no pair, in percent."""
    blocks = module.lists._table.blocks
    empty = sum(int((block.empty[0] > 0).sum()) for block in blocks)
    return 100 * empty / sum(block.neighbors.shape[0] for block in blocks)


if __name__ == "__main__":
    main()
