"""A block as it is written, differentiated by autograd between the explicit parts before and after it."""

from typing import List, NamedTuple, Optional, Tuple

import torch

from lorem_openmm.inference.neighbors import RowBlock
from lorem_openmm.nn.blocks import LongRangeBlock


class ReceivedGradients(NamedTuple):
    """Derivatives of Σ E_i with respect to what a block received.

    Attributes:
        charges: q [n, num_channels], apart from what they do through V; None: zero.
        potentials: V [n, num_channels].
        x: scalar features [n, d].
        spherical: [s, (L+1)², n].
    """

    charges: Optional[torch.Tensor]
    potentials: torch.Tensor
    x: torch.Tensor
    spherical: torch.Tensor


class AutogradBridge(torch.nn.Module):
    """Any long-range block for the rows of a structure.

    Each state is the list of inputs that require gradients, followed by the output that autograd recorded from them.

    Args:
        block: of the network.
        species: atomic numbers, in the order of the rows.
    """

    species: torch.Tensor

    def __init__(self, block: LongRangeBlock, species: List[int]):
        super().__init__()
        self.block = block
        self.register_buffer("species", torch.tensor(species), persistent=False)

    def charges(
        self, x: torch.Tensor, spherical: torch.Tensor, rows: RowBlock
    ) -> Tuple[torch.Tensor, List[torch.Tensor]]:
        """Returns q [n, num_channels] and the state for scalar features [n, d] and spherical ones [s, (L+1)², n]."""
        recording = torch.is_grad_enabled()  # TorchScript has no enable_grad
        torch.set_grad_enabled(True)
        state = [x.detach().requires_grad_(True), _atoms_first(spherical)]
        state.append(self.block.charges(state[0], state[1], self.species.index_select(0, rows.species)))
        torch.set_grad_enabled(recording)
        # A copy: frozen modules drop the detach, and what receives the charges would reach through them.
        return state[2].detach().clone(), state

    def charges_pullback(self, state: List[torch.Tensor], gradient: torch.Tensor) -> Tuple[torch.Tensor, torch.Tensor]:
        """Returns dE/dx [n, d] and dE/dx^lm [s, (L+1)², n] of dE/dq [n, num_channels]."""
        found = _gradients(state, gradient)
        return found[0], found[1].permute(1, 2, 0)

    def receive(
        self,
        x: torch.Tensor,
        spherical: torch.Tensor,
        charges: torch.Tensor,
        potentials: torch.Tensor,
        rows: RowBlock,
    ) -> Tuple[torch.Tensor, List[torch.Tensor]]:
        """Returns the long-range atomic energies E_i [n] and the state, for q and V [n, num_channels] each."""
        recording = torch.is_grad_enabled()
        torch.set_grad_enabled(True)
        state = [x.detach().requires_grad_(True), _atoms_first(spherical)]
        state.append(charges.detach().requires_grad_(True))
        state.append(potentials.detach().requires_grad_(True))
        numbers = self.species.index_select(0, rows.species)
        state.append(self.block.receive(state[0], state[1], state[2], state[3], numbers))
        torch.set_grad_enabled(recording)
        return state[4].detach(), state

    def receive_pullback(self, state: List[torch.Tensor]) -> ReceivedGradients:
        """Returns the derivatives of Σ E_i."""
        found = _gradients(state, torch.ones_like(state[4]))
        return ReceivedGradients(found[2], found[3], found[0], found[1].permute(1, 2, 0))


def _atoms_first(spherical: torch.Tensor) -> torch.Tensor:
    return spherical.detach().permute(2, 0, 1).requires_grad_(True)


def _gradients(state: List[torch.Tensor], gradient: torch.Tensor) -> List[torch.Tensor]:
    """Returns the derivatives with respect to all of a state but its last entry, the output."""
    inputs, output = state[:-1], state[-1]
    if not output.requires_grad:  # a constant
        return [torch.zeros_like(value) for value in inputs]
    outer: List[Optional[torch.Tensor]] = [gradient]
    found = torch.autograd.grad([output], inputs, outer, allow_unused=True)
    gradients: List[torch.Tensor] = []
    for value, derivative in zip(inputs, found):  # noqa: B905 (not in TorchScript)
        gradients.append(torch.zeros_like(value) if derivative is None else derivative)
    return gradients
