"""Charges and messages of the potentials, with hand-derived gradients."""

from typing import List, NamedTuple, Tuple, Type

import torch

from lorem_openmm.inference.layers import Norms, Perceptron, ResidualUpdate, UpdateSaved
from lorem_openmm.inference.products import WholeProduct
from lorem_openmm.nn.long_range import LongRange


class ChargeState(NamedTuple):
    """Hidden layer of the scalar charge and both factors of the spherical ones [1, (L+1)², n]."""

    hidden: List[torch.Tensor]
    factor_1: torch.Tensor
    factor_2: torch.Tensor


class Charges(torch.nn.Module):
    """q = [MLP(x) ; (W1 x^lm) ⊗ (W2 x^lm)].

    Args:
        module: of the network.
        max_degree: L.
        max_charge_degree: Lc.
    """

    dense: torch.Tensor
    dense_transposed: torch.Tensor

    def __init__(self, module: LongRange, max_degree: int, max_charge_degree: int):
        super().__init__()
        self.scalar = Perceptron(module.scalar_charges)
        self.product = WholeProduct(module.spherical_charges, (max_degree, max_degree, max_charge_degree))
        with torch.no_grad():
            dense = module.fold().charge_dense.transpose(1, 2).contiguous()
        self.register_buffer("dense", dense, persistent=False)
        self.register_buffer("dense_transposed", self.dense.transpose(1, 2), persistent=False)

    def forward(self, x: torch.Tensor, spherical: torch.Tensor) -> Tuple[torch.Tensor, ChargeState]:
        """Returns q [n, 1 + (Lc+1)²] for x [n, d] and spherical features [s, (L+1)², n]."""
        scalar, hidden = self.scalar(x)
        factors = torch.bmm(self.dense, spherical.transpose(0, 1)).transpose(0, 1)
        state = ChargeState(hidden, factors[:1], factors[1:])
        return torch.cat([scalar, self.product(state.factor_1, state.factor_2)[0].t()], dim=1), state

    def pullback(self, state: ChargeState, gradient: torch.Tensor) -> Tuple[torch.Tensor, torch.Tensor]:
        """Returns dE/dx [n, d] and dE/dx^lm [s, (L+1)², n] of dE/dq [n, 1 + (Lc+1)²]."""
        product = gradient[:, 1:].t().contiguous().unsqueeze(0)
        factors = torch.cat(self.product.pullback(state.factor_1, state.factor_2, product))
        spherical = torch.bmm(self.dense_transposed, factors.transpose(0, 1)).transpose(0, 1)
        return self.scalar.pullback(state.hidden, gradient[:, :1]), spherical


class MessageState(NamedTuple):
    """What :meth:`PotentialMessages.pullback` needs."""

    spread: torch.Tensor
    mixed: torch.Tensor
    slopes: torch.Tensor
    update: UpdateSaved
    hidden: List[torch.Tensor]


class PotentialMessages(torch.nn.Module):
    """x ← Update([V_0 ; T_l ‖(W V^lm) ⊗ x^lm‖]), E = MLP(x).

    Args:
        module: of the network.
        max_degree: L.
        max_charge_degree: Lc.
        product: class of the tensor product.
    """

    dense: torch.Tensor

    def __init__(self, module: LongRange, max_degree: int, max_charge_degree: int, product: Type[torch.nn.Module]):
        super().__init__()
        self.mixing = product(module.mixing, (max_charge_degree, max_degree, max_degree))
        self.norms = Norms(module.norm)
        self.update = ResidualUpdate(module.update)
        self.readout = Perceptron(module.readout)
        with torch.no_grad():
            dense = module.fold().potential_dense.permute(2, 0, 1).contiguous()
        self.register_buffer("dense", dense, persistent=False)

    def forward(
        self, x: torch.Tensor, spherical: torch.Tensor, potentials: torch.Tensor
    ) -> Tuple[torch.Tensor, MessageState]:
        """Returns the long-range atomic energies [n].

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
        return energies.squeeze(1), MessageState(spread, mixed, slopes, update, hidden)

    def pullback(self, state: MessageState, spherical: torch.Tensor) -> Tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Returns the derivatives of Σ E_i with respect to V, x and x^lm.

        Args:
            state: from :meth:`forward`.
            spherical: [s, (L+1)², n].
        """
        gradient = self.readout.pullback(state.hidden, spherical.new_ones((spherical.shape[2], 1)))
        x, message = self.update.pullback(state.update, gradient)
        mixed = self.norms.pullback(state.mixed, state.slopes, message[:, 1:])
        spread, features = self.mixing.pullback(state.spread, spherical, mixed)
        potentials = (spread * self.dense).sum(dim=0).t()
        return torch.cat([message[:, :1], potentials], dim=1), x, features
