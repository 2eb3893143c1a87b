"""The published block with hand-derived gradients: charges from features, energies from potentials."""

from typing import List, Tuple, Type

import torch

from lorem_openmm.inference.blocks.bridge import ReceivedGradients
from lorem_openmm.inference.blocks.registry import gradients_by_hand
from lorem_openmm.inference.layers import Norms, Perceptron, ResidualUpdate
from lorem_openmm.inference.neighbors import RowBlock
from lorem_openmm.inference.products import WholeProduct
from lorem_openmm.nn.blocks.equivariant_charges import EquivariantChargesBlock


class Charges(torch.nn.Module):
    """q = [MLP(x) ; (W1 x^lm) ⊗ (W2 x^lm)].

    Args:
        block: of the network.
    """

    dense: torch.Tensor
    dense_transposed: torch.Tensor

    def __init__(self, block: EquivariantChargesBlock):
        super().__init__()
        self.scalar = Perceptron(block.scalar_charges)
        self.product = WholeProduct(block.spherical_charges)
        dense = block.charge_weights().detach().transpose(1, 2).contiguous()
        self.register_buffer("dense", dense, persistent=False)
        self.register_buffer("dense_transposed", self.dense.transpose(1, 2), persistent=False)

    def forward(self, x: torch.Tensor, spherical: torch.Tensor) -> Tuple[torch.Tensor, List[torch.Tensor]]:
        """Returns q [n, 1 + (Lc+1)²] for x [n, d] and spherical features [s, (L+1)², n].

        Also returns both factors of the spherical charges [1, (L+1)², n] and the hidden layers of the scalar one.
        """
        scalar, hidden = self.scalar(x)
        factors = torch.bmm(self.dense, spherical.transpose(0, 1)).transpose(0, 1)
        product = self.product(factors[:1], factors[1:])
        return torch.cat([scalar, product[0].t()], dim=1), [factors[:1], factors[1:]] + hidden  # noqa: RUF005 (no * in TorchScript)

    def pullback(self, state: List[torch.Tensor], gradient: torch.Tensor) -> Tuple[torch.Tensor, torch.Tensor]:
        """Returns dE/dx [n, d] and dE/dx^lm [s, (L+1)², n] of dE/dq [n, 1 + (Lc+1)²]."""
        product = gradient[:, 1:].t().contiguous().unsqueeze(0)
        factors = torch.cat(self.product.pullback(state[0], state[1], product))
        spherical = torch.bmm(self.dense_transposed, factors.transpose(0, 1)).transpose(0, 1)
        return self.scalar.pullback(state[2:], gradient[:, :1]), spherical


class PotentialMessages(torch.nn.Module):
    """x ← Update([V_0 ; T_l ‖(W V^lm) ⊗ x^lm‖]), E = MLP(x).

    Args:
        block: of the network.
        product: class of the tensor product.
    """

    dense: torch.Tensor

    def __init__(self, block: EquivariantChargesBlock, product: Type[torch.nn.Module]):
        super().__init__()
        self.mixing = product(block.mixing)
        self.norms = Norms(block.norm)
        self.update = ResidualUpdate(block.update)
        self.readout = Perceptron(block.readout)
        dense = block.potential_weights().detach().t().unsqueeze(2).contiguous()
        self.register_buffer("dense", dense, persistent=False)

    def forward(
        self, x: torch.Tensor, spherical: torch.Tensor, potentials: torch.Tensor
    ) -> Tuple[torch.Tensor, List[torch.Tensor]]:
        """Returns the long-range atomic energies [n], and what :meth:`pullback` needs.

        Args:
            x: scalar features [n, d].
            spherical: [s, (L+1)², n].
            potentials: V [n, 1 + (Lc+1)²].
        """
        spread = self.dense * potentials[:, 1:].t()
        mixed = self.mixing(spread, spherical)
        norms, slopes = self.norms(mixed)
        x, update = self.update(x, torch.cat([potentials[:, :1], norms], dim=1))
        energies, hidden = self.readout(x)
        return energies.squeeze(1), [spread, mixed, slopes] + hidden + update  # noqa: RUF005

    def pullback(self, state: List[torch.Tensor], spherical: torch.Tensor) -> ReceivedGradients:
        """Returns the derivatives of Σ E_i for a state and the spherical features [s, (L+1)², n] of :meth:`forward`."""
        spread, mixed, slopes = state[0], state[1], state[2]
        n = 3 + self.readout.num_hidden
        gradient = self.readout.pullback(state[3:n], spherical.new_ones((spherical.shape[2], 1)))
        x, message = self.update.pullback(state[n:], gradient)
        of_mixed = self.norms.pullback(mixed, slopes, message[:, 1:])
        of_spread, features = self.mixing.pullback(spread, spherical, of_mixed)
        potentials = (of_spread * self.dense).sum(dim=0).t()
        return ReceivedGradients(None, torch.cat([message[:, :1], potentials], dim=1), x, features)


@gradients_by_hand(EquivariantChargesBlock)
class EquivariantChargesByHand(torch.nn.Module):
    """The published block for the rows of a structure.

    Args:
        block: of the network.
        product: class of the tensor product.
    """

    def __init__(self, block: EquivariantChargesBlock, product: Type[torch.nn.Module]):
        super().__init__()
        self.of_features = Charges(block)
        self.messages = PotentialMessages(block, product)

    def charges(
        self, x: torch.Tensor, spherical: torch.Tensor, rows: RowBlock
    ) -> Tuple[torch.Tensor, List[torch.Tensor]]:
        """Returns q and a state, see :class:`~lorem_openmm.inference.blocks.bridge.AutogradBridge`."""
        return self.of_features(x, spherical)

    def charges_pullback(self, state: List[torch.Tensor], gradient: torch.Tensor) -> Tuple[torch.Tensor, torch.Tensor]:
        """Returns dE/dx and dE/dx^lm."""
        return self.of_features.pullback(state, gradient)

    def receive(
        self,
        x: torch.Tensor,
        spherical: torch.Tensor,
        charges: torch.Tensor,
        potentials: torch.Tensor,
        rows: RowBlock,
    ) -> Tuple[torch.Tensor, List[torch.Tensor]]:
        """Returns E_i and a state."""
        return self.messages(x, spherical, potentials)

    def receive_pullback(self, state: List[torch.Tensor], spherical: torch.Tensor) -> ReceivedGradients:
        """Returns the derivatives of Σ E_i."""
        return self.messages.pullback(state, spherical)
