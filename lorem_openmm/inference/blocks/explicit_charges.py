"""Charges in e beside the published ones, with hand-derived gradients."""

from typing import List, Tuple, Type

import torch

from lorem_openmm.inference.blocks.bridge import ReceivedGradients
from lorem_openmm.inference.blocks.equivariant_charges import EquivariantChargesByHand
from lorem_openmm.inference.blocks.registry import gradients_by_hand
from lorem_openmm.inference.layers import Perceptron
from lorem_openmm.inference.neighbors import RowBlock
from lorem_openmm.nn.blocks.explicit_charges import ExplicitChargesBlock


@gradients_by_hand(ExplicitChargesBlock)
class ExplicitChargesByHand(EquivariantChargesByHand):
    """q = [MLP(x) ; latent charges]; E = k q V_q + MLP(Update([k u_q ; u_0 ; T_l ‖(W u^lm) ⊗ x^lm‖])).

    Args:
        block: of the network.
        product: class of the tensor product.
    """

    def __init__(self, block: ExplicitChargesBlock, product: Type[torch.nn.Module]):
        super().__init__(block, product)
        self.net_charges = Perceptron(block.net_charges)
        self.constant = block.constant

    def charges(
        self, x: torch.Tensor, spherical: torch.Tensor, rows: RowBlock
    ) -> Tuple[torch.Tensor, List[torch.Tensor]]:
        """Returns q, and what the way back needs."""
        net, hidden = self.net_charges(x)
        latent, state = self.latent_charges(x, spherical)
        return torch.cat([net, latent], dim=1), hidden + state

    def charges_pullback(self, state: List[torch.Tensor], gradient: torch.Tensor) -> Tuple[torch.Tensor, torch.Tensor]:
        """Returns dE/dx and dE/dx^lm."""
        n = self.net_charges.num_hidden
        x, spherical = self.latent_charges_pullback(state[n:], gradient[:, 1:])
        return x + self.net_charges.pullback(state[:n], gradient[:, :1]), spherical

    def receive(
        self,
        x: torch.Tensor,
        spherical: torch.Tensor,
        charges: torch.Tensor,
        potentials: torch.Tensor,
        rows: RowBlock,
    ) -> Tuple[torch.Tensor, List[torch.Tensor]]:
        """Returns E_i, and what the way back needs."""
        scalars = torch.cat([self.constant * potentials[:, 1:2], potentials[:, 2:3]], dim=1)
        energies, state = self.message_energies(x, spherical, scalars, potentials[:, 3:])
        coulomb = self.constant * charges[:, 0] * potentials[:, 0]
        return energies + coulomb, [charges, potentials] + state  # noqa: RUF005 (no * in TorchScript)

    def receive_pullback(self, state: List[torch.Tensor]) -> ReceivedGradients:
        """Returns the derivatives of Σ E_i."""
        charges, potentials = state[0], state[1]
        scalars, felt, x, spherical = self.message_energies_pullback(state[2:], 2)
        of_net = self.constant * potentials[:, :1]
        of_charges = torch.cat([of_net, torch.zeros_like(charges[:, 1:])], dim=1)
        of_potentials = torch.cat(
            [self.constant * charges[:, :1], self.constant * scalars[:, :1], scalars[:, 1:], felt], dim=1
        )
        return ReceivedGradients(of_charges, of_potentials, x, spherical)
