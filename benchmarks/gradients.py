"""What gradients by hand buy: the same forward code with pullbacks by hand, and differentiated by autograd.

Example: python benchmarks/gradients.py --structures sn2 dimer24 --repeats 15 --output benchmarks/results/gradients.json

Both compute energy and forces from positions by the layers of ``lorem_openmm/inference``, one neighbour list, one
thread, random weights of the default model, float32. Each runs eagerly, as TorchScript (as dynamics does), and
compiled by ``torch.compile``, the gradient traced to plain operations before. (With the settings of
``inference/compiled.py``, which suit the gradients by hand, torch 2.9.1 gives wrong forces for the trace of autograd.)
They take turns, and the processor's time counts, so that other programs disturb little.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from records import machine
from structures import STRUCTURES
from torch.fx.experimental.proxy_tensor import make_fx

from lorem_openmm.ambient import script
from lorem_openmm.config import Model
from lorem_openmm.files import write_json
from lorem_openmm.inference.dynamics import Dynamics
from lorem_openmm.inference.features import Features
from lorem_openmm.inference.model import InferenceModel
from lorem_openmm.inference.neighbors import NeighborTable
from lorem_openmm.inference.verlet import Neighborhood
from lorem_openmm.model import Lorem
from lorem_openmm.potential import Potential
from lorem_openmm.sums.near import NearRows

Call = Callable[[torch.Tensor], Any]


class ByHand(torch.nn.Module):
    """Energy and forces as dynamics computes them."""

    def __init__(self, model: InferenceModel):
        super().__init__()
        self.model = model

    def forward(
        self, positions: torch.Tensor, table: NeighborTable, offsets: list[torch.Tensor], cell: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns E [] and F [3, n_atoms] for positions [3, n_atoms]."""
        with torch.no_grad():
            found = self.model(table, offsets, positions, cell)
        return found.short_range_energies.sum() + found.long_range_energies.sum(), found.forces


class ByAutograd(torch.nn.Module):
    """The same with the forward methods alone, differentiated by autograd."""

    def __init__(self, model: InferenceModel):
        super().__init__()
        assert model.long_range is not None
        self.features, self.block, self.operator = model.features, model.long_range.block, model.long_range.operator

    def forward(
        self, positions: torch.Tensor, table: NeighborTable, offsets: list[torch.Tensor], cell: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns E [] and F [3, n_atoms] for positions [3, n_atoms]."""
        r = positions.detach().requires_grad_(True)
        states: list[Features] = []
        rows: list[NearRows] = []
        charges: list[torch.Tensor] = []
        energies: list[torch.Tensor] = []
        for i, block in enumerate(table.blocks):
            state = self.features(r, offsets[i], block)
            states.append(state)
            rows.append(NearRows(block.first, block.neighbors, state.edges.distances))
            charges.append(self.block.charges(state.x, state.spherical, block)[0])
            energies.append(state.energies.sum())
        potentials = self.operator(torch.cat(charges), r.t(), cell, rows)[0]
        for i, block in enumerate(table.blocks):
            felt = potentials.narrow(0, block.first, block.size)
            energies.append(self.block.receive(states[i].x, states[i].spherical, charges[i], felt, block)[0].sum())
        energy = torch.stack(energies).sum()
        gradient = torch.autograd.grad([energy], [r])[0]
        assert gradient is not None  # for TorchScript
        return energy.detach(), -gradient


def evaluate(module: torch.nn.Module, near: Neighborhood, positions: torch.Tensor) -> Any:
    """Calls one of the modules."""
    return module(positions, near.table, near.offsets, near.cell)


def compiled(call: Call, positions: torch.Tensor) -> Call:
    """Compiles a function of positions of one shape."""
    traced = make_fx(call)(positions)
    for node in traced.graph.find_nodes(op="call_function", target=torch.ops.aten.view.default):
        node.target = torch.ops.aten.reshape.default  # the compiler chooses strides of its own
    traced.recompile()
    call = torch.compile(traced, dynamic=False)
    call(positions)
    return call


def contestants(name: str) -> tuple[dict[str, Call], torch.Tensor]:
    """Returns what is timed, by form and kind of gradient, and the positions [3, n_atoms]."""
    torch.manual_seed(0)
    atoms = STRUCTURES[name]()
    numbers = atoms.numbers.tolist()
    potential = Potential(Lorem(Model()), dict.fromkeys(numbers, 0.0)).float().requires_grad_(False)
    dynamics = Dynamics(potential, numbers, bool(atoms.pbc.all()))
    near = dynamics.lists(torch.tensor(atoms.positions)[dynamics.order], torch.tensor(atoms.cell[:]))
    positions = near.positions.t().contiguous()
    found: dict[str, Call] = {}
    for kind, form in {"by hand": ByHand, "autograd": ByAutograd}.items():
        module = form(dynamics.model)
        found[f"eager, {kind}"] = eager = partial(evaluate, module, near)
        found[f"scripted, {kind}"] = partial(evaluate, script(module), near)
        eager(positions)  # keeps what depends on the cell
        # The cell stays, and comparing it could not be traced.
        operator = dynamics.model.long_range.operator
        operator._forget_other_cell = lambda _cell: None
        found[f"compiled, {kind}"] = compiled(eager, positions)
        del operator._forget_other_cell
    return found, positions


def measure(found: dict[str, Call], positions: torch.Tensor, repeats: int, seconds: float) -> dict[str, list[float]]:
    """Returns milliseconds of the processor per call, of every turn of each contestant."""
    times: dict[str, list[float]] = {name: [] for name in found}
    counts: dict[str, int] = {}
    with torch.jit.optimized_execution(False):  # as dynamics sets it
        expected = found["eager, by hand"](positions)
        for name, call in found.items():
            for value, reference in zip(call(positions), expected, strict=True):
                torch.testing.assert_close(value, reference, rtol=1e-4, atol=1e-4 * float(reference.abs().max()))
            start = time.process_time()
            call(positions)
            counts[name] = max(3, int(seconds / (time.process_time() - start)))
        for _ in range(repeats):
            for name, call in found.items():
                call(positions)
                start = time.process_time()
                for _ in range(counts[name]):
                    call(positions)
                times[name].append(1e3 * (time.process_time() - start) / counts[name])
    return times


def main() -> None:
    """Times, prints, writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--structures", nargs="+", default=["sn2", "dimer24", "water192"], choices=STRUCTURES)
    parser.add_argument("--repeats", type=int, default=11, help="turns of each contestant")
    parser.add_argument("--seconds", type=float, default=0.15, help="of the processor, per turn")
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/gradients.json"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    results: dict[str, Any] = {"machine": machine(1), "structures": {}}
    for name in options.structures:
        times = measure(*contestants(name), options.repeats, options.seconds)
        results["structures"][name] = times
        write_json(options.output, results)
        print(f"\n{name}, ms of the processor per call\n\n| | by hand | autograd | ratio, turn by turn |")
        print("|---|---|---|---|")
        for form in ("eager", "scripted", "compiled"):
            pair = times[f"{form}, by hand"], times[f"{form}, autograd"]
            ratio = statistics.median(b / a for a, b in zip(*pair, strict=True))
            hand, auto = map(statistics.median, pair)
            print(f"| {form} | {hand:.2f} | {auto:.2f} | {ratio:.2f} |", flush=True)


if __name__ == "__main__":
    main()
