"""What a step of each optimiser costs for the default model, beside a training step; averaging and rotations too.

Example: python benchmarks/optimizer_step.py --threads 1 --output benchmarks/results/optimizers.json

Contestants take turns; on a busy machine the fastest of their times says more than the median. The training step is
energy, forces and the gradient of the loss for a batch of cumulenes, without the optimiser.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from records import machine
from structures import STRUCTURES, walk

from lorem_openmm.config import Model, Training
from lorem_openmm.data.batching import Labels
from lorem_openmm.data.neighbors import neighbor_list
from lorem_openmm.data.rotations import random_orthogonal, turn
from lorem_openmm.files import write_json
from lorem_openmm.graph import AtomGraph, build_graph
from lorem_openmm.model import Lorem
from lorem_openmm.potential import Potential
from lorem_openmm.training.averaging import WeightAverage
from lorem_openmm.training.losses import loss, residuals
from lorem_openmm.training.optimizers import make_optimizer


def batch(n_structures: int, cutoff: float) -> tuple[AtomGraph, Labels]:
    """Cumulenes on their way, with zeros as labels."""
    atoms = STRUCTURES["cumulene"]()
    positions = [walk(atoms, step) for step in range(n_structures)]
    lists = [neighbor_list(frame, np.zeros((3, 3)), False, cutoff) for frame in positions]
    offsets = len(atoms) * np.arange(n_structures)
    graph = build_graph(
        torch.tensor(np.concatenate(positions), dtype=torch.float32),
        torch.tensor(np.tile(atoms.numbers, n_structures), dtype=torch.long),
        [len(atoms)] * n_structures,
        torch.zeros(n_structures, 3, 3),
        [False] * n_structures,
        torch.tensor(np.concatenate([found.centers + k for found, k in zip(lists, offsets, strict=True)])),
        torch.tensor(np.concatenate([found.neighbors + k for found, k in zip(lists, offsets, strict=True)])),
        torch.tensor(np.concatenate([found.cell_shifts for found in lists])),
        torch.zeros(n_structures),
    )
    values = {
        "energy": torch.zeros(n_structures, dtype=torch.float64),
        "forces": torch.zeros_like(graph.positions),
        "stress": torch.zeros(n_structures, 3, 3),
        "has_stress": torch.zeros(n_structures, dtype=torch.bool),
    }
    return graph, Labels(values, structures=torch.arange(n_structures))


def contestants(n_structures: int) -> dict[str, Callable[[], object]]:
    """What is timed, by name."""
    potential = Potential(Lorem(Model()), {1: 0.0, 6: 0.0}).float()
    graph, labels = batch(n_structures, Model().cutoff)

    def gradients() -> None:
        potential.zero_grad()
        loss(residuals(potential(graph, create_graph=True), graph, labels), Training()).backward()

    gradients()
    parts: dict[str, Callable[[], object]] = {}
    for name in ("adam", "lamb", "muon"):
        model = Lorem(Model()).float()
        parts[name] = make_optimizer(model, Training(optimizer=name)).step
        for parameter in model.parameters():
            parameter.grad = torch.randn_like(parameter)
    average, module = WeightAverage(0.999), SimpleNamespace(potential=potential)
    rotations = random_orthogonal(n_structures, 0, 0).float()
    parts["average of the weights"] = lambda: average.on_train_batch_end(None, module)  # type: ignore[arg-type]
    parts["rotation of a batch"] = lambda: turn(graph, labels, rotations)
    parts["10⁵ random rotations"] = lambda: random_orthogonal(100_000, 0, 0)
    parts["training step without optimiser"] = gradients
    return parts


def main() -> None:
    """Times, prints, writes."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--structures", type=int, default=32, help="cumulenes in the batch")
    parser.add_argument("--turns", type=int, default=30)
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/optimizers.json"))
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    record = machine(arguments.threads)
    parts = contestants(arguments.structures)
    seconds: dict[str, list[float]] = {name: [] for name in parts}
    for turn_number in range(arguments.turns + 2):
        for name, call in parts.items():
            start = time.perf_counter()
            call()
            if turn_number >= 2:
                seconds[name].append(time.perf_counter() - start)
    times = {name: (1e3 * statistics.median(values), 1e3 * min(values)) for name, values in seconds.items()}
    print("| | median, ms | fastest, ms |\n|---|---|---|")
    print("\n".join(f"| {name} | {median:.2f} | {fastest:.2f} |" for name, (median, fastest) in times.items()))
    found = {name: {"median_ms": median, "fastest_ms": fastest} for name, (median, fastest) in times.items()}
    write_json(arguments.output, {"machine": record, "structures": arguments.structures, "times": found})


if __name__ == "__main__":
    main()
