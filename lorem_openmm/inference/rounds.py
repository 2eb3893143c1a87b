"""Message-passing rounds, differentiated by autograd between the explicit parts before and after them."""

from typing import List, NamedTuple, Optional, Tuple

import torch

from lorem_openmm.graph import AtomGraph
from lorem_openmm.inference.neighbors import RowBlock
from lorem_openmm.inference.short_range import Edges
from lorem_openmm.model import Lorem
from lorem_openmm.nn.message_passing import RoundWeights


class RoundsState(NamedTuple):
    """Inputs and outputs of the rounds, with the graph autograd recorded between them."""

    inputs: List[torch.Tensor]
    outputs: List[torch.Tensor]


class Rounds(torch.nn.Module):
    """x, x^lm, E ← rounds of :class:`lorem_openmm.nn.message_passing.MessagePassingRound`."""

    weights: List[RoundWeights]

    def __init__(self, model: Lorem):
        super().__init__()
        self.rounds = model.rounds
        self.weights = self._fold()

    def _fold(self) -> List[RoundWeights]:
        weights: List[RoundWeights] = []
        with torch.no_grad():
            for module in self.rounds:
                weights.append(module.fold())
        return weights

    def forward(
        self, x: torch.Tensor, spherical: torch.Tensor, edges: Edges, block: RowBlock
    ) -> Tuple[torch.Tensor, torch.Tensor, torch.Tensor, RoundsState]:
        """Returns x [n, d], x^lm [s, (L+1)², n], atomic energies [n] and the state for the block of all rows."""
        if self.weights[0].scalar.device != x.device:  # they do not follow a module to another device
            self.weights = self._fold()
        recording = torch.is_grad_enabled()  # TorchScript has no enable_grad
        torch.set_grad_enabled(True)
        inputs = [
            x.detach().requires_grad_(True),
            spherical.permute(2, 0, 1).detach().requires_grad_(True),
            edges.radial.transpose(1, 2).flatten(0, 1).detach().requires_grad_(True),
            edges.angular.transpose(1, 2).flatten(0, 1).detach().requires_grad_(True),
        ]
        graph = edges_as_graph(x, block)
        new_x, new_spherical = inputs[0], inputs[1]
        energies = torch.zeros_like(x[:, 0])
        for i, module in enumerate(self.rounds):
            new_x, new_spherical, more = module(new_x, new_spherical, inputs[2], inputs[3], graph, self.weights[i])
            energies = energies + more
        outputs = [new_x, new_spherical, energies]
        torch.set_grad_enabled(recording)
        state = RoundsState(inputs, outputs)
        return new_x.detach(), new_spherical.detach().permute(1, 2, 0), energies.detach(), state

    def pullback(
        self, state: RoundsState, x_gradient: torch.Tensor, spherical_gradient: torch.Tensor
    ) -> List[torch.Tensor]:
        """Returns dE/dx, dE/dx^lm, dE/dρ [n, K, S] and dE/dY [n, (L+1)², S] of those by the new x and x^lm."""
        outer: List[Optional[torch.Tensor]] = [
            x_gradient,
            spherical_gradient.permute(2, 0, 1),
            torch.ones_like(x_gradient[:, 0]),
        ]
        found = torch.autograd.grad(state.outputs, state.inputs, outer, allow_unused=True)
        gradients: List[torch.Tensor] = []
        for gradient, value in zip(found, state.inputs):  # noqa: B905 (not in TorchScript)
            gradients.append(torch.zeros_like(value) if gradient is None else gradient)
        n_atoms = x_gradient.shape[0]
        gradients[1] = gradients[1].permute(1, 2, 0)
        for i in [2, 3]:
            width = gradients[i].shape[1]
            gradients[i] = gradients[i].view(n_atoms, -1, width).transpose(1, 2)
        return gradients


def edges_as_graph(x: torch.Tensor, block: RowBlock) -> AtomGraph:
    """Returns the slots of a block as the edges of a graph: what the rounds read of it, geometry left out."""
    num_slots = block.neighbors.shape[0] // block.size
    rows = torch.arange(block.size, device=x.device)
    nothing = x.new_zeros((0, 3))
    return AtomGraph(
        positions=nothing,
        atomic_numbers=rows,
        system_index=torch.zeros_like(rows),
        system_sizes=[block.size],
        cell=x.new_zeros((1, 3, 3)),
        periodic=[False],
        centers=rows.repeat_interleave(num_slots),
        neighbors=block.neighbors,
        cell_shifts=nothing,
        pair_types=rows.view(-1, 1)[:0],
        pair_type_counts=[],
        edge_slots=torch.arange(block.size * num_slots, device=x.device),
        num_slots=num_slots,
        system_slots=rows,
        max_size=block.size,
        total_charge=nothing[:, 0],
    )
