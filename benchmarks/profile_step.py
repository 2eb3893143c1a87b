"""Where one step spends its time: the parts of the model, the neighbour lists, and PyTorch's operations.

Example: python benchmarks/profile_step.py --structure water192 --threads 1 --output benchmarks/results/profile.json

The model runs eagerly, not as TorchScript, so that its parts can be timed; the parts call no part of the list.
"""

import argparse
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from records import machine
from structures import STRUCTURES, walk
from torch.profiler import ProfilerActivity, profile

from lorem_openmm.config import Model
from lorem_openmm.files import write_json
from lorem_openmm.inference import (
    edge_maps,
    layers,
    products,
    reflections,
    short_range,
    verlet,
)
from lorem_openmm.inference.dynamics import Dynamics
from lorem_openmm.model import Lorem
from lorem_openmm.ops import angular, radial
from lorem_openmm.potential import Potential
from lorem_openmm.sums.operator import PairOperator

PARTS = [
    radial.RadialFunctions,
    angular.AngularFunctions,
    short_range.DensityFunctions,
    edge_maps.EdgeMaps,
    products.Product,
    products.WholeProduct,
    reflections.ReflectionProduct,
    layers.Perceptron,
    layers.Normalization,
    layers.Norms,
    PairOperator,
    verlet.VerletList,
]
METHODS = ("forward", "pullback")


def main() -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--structure", default="water192", choices=STRUCTURES)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/profile.json"))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    step = Steps(options.structure)
    step.run(3)
    measured = parts(step, options.steps)
    found = {"structure": options.structure, "steps": options.steps, "machine": machine(options.threads), **measured}
    found["operations"] = operations(step, options.steps)
    write_json(options.output, found)
    report(found)


class Steps:
    """A structure in motion, with random weights of the default model."""

    def __init__(self, structure: str):
        torch.manual_seed(0)
        self.atoms = STRUCTURES[structure]()
        numbers = self.atoms.numbers.tolist()
        potential = Potential(Lorem(Model()), dict.fromkeys(numbers, 0.0)).float().requires_grad_(False)
        self.module = Dynamics(potential, numbers, bool(self.atoms.pbc.all()))
        self.cell = torch.tensor(self.atoms.cell[:])
        self.step = 0

    def run(self, steps: int) -> None:
        """Computes the next positions of the motion."""
        for _ in range(steps):
            self.module(torch.from_numpy(walk(self.atoms, self.step)), self.cell)
            self.step += 1


def parts(step: Steps, steps: int) -> dict[str, Any]:
    """Milliseconds of a step by part, steps that made lists anew, and the share of slots that hold no pair."""
    times: dict[str, float] = defaultdict(float)
    whole = {(part, name): vars(part)[name] for part in PARTS for name in METHODS if name in vars(part)}
    for (part, name), function in whole.items():
        setattr(part, name, timed(function, part.__name__, times))
    rebuilds, begin = step.module.lists.rebuilds, time.perf_counter()
    step.run(steps)
    total = time.perf_counter() - begin
    for (part, name), function in whole.items():
        setattr(part, name, function)
    times["the rest"] = total - sum(times.values())
    return {
        "ms_per_step": 1e3 * total / steps,
        "parts_ms": {name: 1e3 * t / steps for name, t in sorted(times.items(), key=lambda item: -item[1])},
        "lists_share": times["VerletList"] / total,
        "rebuilds": step.module.lists.rebuilds - rebuilds,
        "empty_slots": empty_slots(step.module),
    }


def timed(function: Callable[..., Any], name: str, times: dict[str, float]) -> Callable[..., Any]:
    """Adds the time of a method to its class's."""

    def call(*args: Any) -> Any:
        start = time.perf_counter()
        result = function(*args)
        times[name] += time.perf_counter() - start
        return result

    return call


def empty_slots(module: Dynamics) -> float:
    """Share of the slots of the neighbour tables that hold no pair."""
    table = module.lists._table
    assert table is not None
    empty = sum(int((block.empty[0] > 0).sum()) for block in table.blocks)
    return empty / max(1, sum(block.neighbors.shape[0] for block in table.blocks))


def operations(step: Steps, steps: int) -> list[dict[str, Any]]:
    """PyTorch's operations by name: calls and own CPU time of a step, share of all."""
    with profile(activities=[ProfilerActivity.CPU]) as found:
        step.run(steps)
    events = sorted(found.key_averages(), key=lambda event: -event.self_cpu_time_total)
    total = sum(event.self_cpu_time_total for event in events)
    return [
        {
            "name": event.key,
            "calls": event.count / steps,
            "self_ms": event.self_cpu_time_total / 1e3 / steps,
            "share": event.self_cpu_time_total / total,
        }
        for event in events
    ]


def report(found: dict[str, Any]) -> None:
    """Prints markdown."""
    print(f"{found['structure']}: {found['ms_per_step']:.2f} ms per step, {found['machine']['threads']} threads")
    print(f"lists made anew in {found['rebuilds']} of {found['steps']} steps, {found['lists_share']:.1%} of the time")
    print(
        f"{found['empty_slots']:.1%} of the neighbour tables' slots are empty\n\n| part | ms | share |\n|---|---|---|"
    )
    for name, ms in found["parts_ms"].items():
        print(f"| {name} | {ms:.3f} | {ms / found['ms_per_step']:.1%} |")
    print("\n| operation | calls per step | own ms | share |\n|---|---|---|---|")
    for row in found["operations"][:20]:
        print(f"| {row['name']} | {row['calls']:.0f} | {row['self_ms']:.3f} | {row['share']:.1%} |")


if __name__ == "__main__":
    main()
