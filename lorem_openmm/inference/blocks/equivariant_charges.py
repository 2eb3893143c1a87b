"""The published block with hand-derived gradients: charges from features, energies from potentials."""

from typing import List, Tuple, Type

import torch

from lorem_openmm.inference.blocks.bridge import ReceivedGradients
from lorem_openmm.inference.blocks.registry import gradients_by_hand
from lorem_openmm.inference.layers import Norms, Perceptron, ResidualUpdate
from lorem_openmm.inference.neighbors import RowBlock
from lorem_openmm.inference.products import WholeProduct, pad_atoms
from lorem_openmm.nn.blocks.equivariant_charges import EquivariantChargesBlock


@gradients_by_hand(EquivariantChargesBlock)
class EquivariantChargesByHand(torch.nn.Module):
    """q = [MLP(x) ; (W1 x^lm) ⊗ (W2 x^lm)]; x ← Update([V_0 ; T_l ‖(W V^lm) ⊗ x^lm‖]), E = MLP(x).

    Methods as those of :class:`~lorem_openmm.inference.blocks.bridge.AutogradBridge`.

    Args:
        block: of the network.
        product: class of the tensor product.
    """

    charge_dense: torch.Tensor
    potential_dense: torch.Tensor

    def __init__(self, block: EquivariantChargesBlock, product: Type[torch.nn.Module]):
        super().__init__()
        self.scalar_charges = Perceptron(block.scalar_charges)
        self.spherical_charges = WholeProduct(block.spherical_charges)
        self.mixing = product(block.mixing)
        self.norms = Norms(block.norm)
        self.update = ResidualUpdate(block.update)
        self.readout = Perceptron(block.readout)
        charge_dense = block.charge_weights().detach().transpose(1, 2).contiguous()
        potential_dense = block.potential_weights().detach().t().unsqueeze(2).contiguous()
        self.register_buffer("charge_dense", charge_dense, persistent=False)
        self.register_buffer("potential_dense", potential_dense, persistent=False)

    def charges(
        self, x: torch.Tensor, spherical: torch.Tensor, rows: RowBlock
    ) -> Tuple[torch.Tensor, List[torch.Tensor]]:
        """Returns q, and what the way back needs."""
        return self.latent_charges(x, spherical)

    def latent_charges(self, x: torch.Tensor, spherical: torch.Tensor) -> Tuple[torch.Tensor, List[torch.Tensor]]:
        """Returns q, and both factors of the spherical charges with the hidden layers of the scalar one."""
        scalar, hidden = self.scalar_charges(x)
        factors = torch.bmm(self.charge_dense, spherical.transpose(0, 1)).transpose(0, 1)
        first, second = factors[:1], factors[1:]
        product = self.spherical_charges(first, second)
        return torch.cat([scalar, product[0].t()], dim=1), [first, second] + hidden  # noqa: RUF005 (no * in TorchScript)

    def charges_pullback(self, state: List[torch.Tensor], gradient: torch.Tensor) -> Tuple[torch.Tensor, torch.Tensor]:
        """Returns dE/dx and dE/dx^lm."""
        return self.latent_charges_pullback(state, gradient)

    def latent_charges_pullback(
        self, state: List[torch.Tensor], gradient: torch.Tensor
    ) -> Tuple[torch.Tensor, torch.Tensor]:
        """Returns the same of the state of :meth:`latent_charges`."""
        product = gradient[:, 1:].t().unsqueeze(0)
        factors = torch.cat(self.spherical_charges.pullback(state[0], state[1], product))
        spherical = torch.bmm(self.charge_dense.transpose(1, 2), factors.transpose(0, 1)).transpose(0, 1)
        return self.scalar_charges.pullback(state[2:], gradient[:, :1]), spherical

    def receive(
        self,
        x: torch.Tensor,
        spherical: torch.Tensor,
        charges: torch.Tensor,
        potentials: torch.Tensor,
        rows: RowBlock,
    ) -> Tuple[torch.Tensor, List[torch.Tensor]]:
        """Returns E_i, and what the way back needs."""
        return self.message_energies(x, spherical, potentials[:, :1], potentials[:, 1:])

    def receive_pullback(self, state: List[torch.Tensor]) -> ReceivedGradients:
        """Returns the derivatives of Σ E_i."""
        scalars, felt, x, spherical = self.message_energies_pullback(state, 1)
        return ReceivedGradients(None, torch.cat([scalars, felt], dim=1), x, spherical)

    def message_energies(
        self, x: torch.Tensor, spherical: torch.Tensor, scalars: torch.Tensor, felt: torch.Tensor
    ) -> Tuple[torch.Tensor, List[torch.Tensor]]:
        """Returns MLP(Update([scalars ; T_l ‖(W V^lm) ⊗ x^lm‖])) [n], and what the way back needs.

        Args:
            x: scalar features [n, d].
            spherical: [s, (L+1)², n].
            scalars: [n, n_scalars].
            felt: V^lm [n, (Lc+1)²].
        """
        spherical = pad_atoms(spherical)
        spread = self.potential_dense * pad_atoms(felt.t())
        mixed = self.mixing(spread, spherical).narrow(2, 0, x.shape[0])
        norms, slopes = self.norms(mixed)
        x, update = self.update(x, torch.cat([scalars, norms], dim=1))
        energies, hidden = self.readout(x)
        return energies.squeeze(1), [spread, spherical, mixed, slopes] + hidden + update  # noqa: RUF005

    def message_energies_pullback(
        self, state: List[torch.Tensor], n_scalars: int
    ) -> Tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """Returns the derivatives of the sum of these energies with respect to scalars, V^lm, x and x^lm."""
        spread, spherical, mixed, slopes = state[0], state[1], state[2], state[3]
        n_atoms, n = mixed.shape[2], 4 + self.readout.num_hidden
        gradient = self.readout.pullback(state[4:n], mixed.new_ones((n_atoms, 1)))
        x, message = self.update.pullback(state[n:], gradient)
        of_mixed = pad_atoms(self.norms.pullback(mixed, slopes, message[:, n_scalars:]))
        of_spread, features = self.mixing.pullback(spread, spherical, of_mixed)
        felt = (of_spread * self.potential_dense).sum(dim=0).narrow(1, 0, n_atoms).t()
        return message[:, :n_scalars], felt, x, features.narrow(2, 0, n_atoms)
