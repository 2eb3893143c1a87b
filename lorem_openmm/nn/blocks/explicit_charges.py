"""Coulomb's law between charges in e, beside LOREM's messages between neutral equivariant charges."""

import torch

from lorem_openmm.config import Model
from lorem_openmm.config.long_range import ExplicitCharges
from lorem_openmm.nn.blocks.equivariant_charges import EquivariantChargesBlock
from lorem_openmm.nn.blocks.registry import long_range_block
from lorem_openmm.nn.scalar import MLP, Update
from lorem_openmm.units import COULOMB_EV_ANGSTROM

INITIAL_CHARGES = 0.1  # e, about that of atoms in molecules; charges of 1 e would begin with energies of keV


@long_range_block(ExplicitCharges)
class ExplicitChargesBlock(EquivariantChargesBlock):
    """E = k q V_q + MLP(Update([k u_q ; u_0 ; T_l ‖(W u^lm) ⊗ x^lm‖])), u_i = Σ_j w_ij (V_i − V_j).

    Without ``neutral`` u = V for the latent charges.

    Args:
        hyperparameters: of the model.
    """

    explicit_charge = True

    def __init__(self, hyperparameters: Model):
        super().__init__(hyperparameters)
        h = hyperparameters
        self.add_net_channels(1)
        self.net_charges = MLP([h.num_features, 2 * h.num_features, 1])
        with torch.no_grad():
            next(self.net_charges.layers[-1].parameters()).mul_(INITIAL_CHARGES)
        self.update = Update(h.num_features, 2 + (h.max_degree + 1) * h.num_spherical_features)
        self.constant = COULOMB_EV_ANGSTROM

    def charges(self, x: torch.Tensor, spherical: torch.Tensor, atomic_numbers: torch.Tensor) -> torch.Tensor:
        """Returns q [n_atoms, 2 + (L_charge+1)²], the charge in e first."""
        return torch.cat([self.net_charges(x), self.latent_charges(x, spherical)], dim=1)

    def receive(
        self,
        x: torch.Tensor,
        spherical: torch.Tensor,
        charges: torch.Tensor,
        potentials: torch.Tensor,
        atomic_numbers: torch.Tensor,
    ) -> torch.Tensor:
        """Returns the long-range atomic energies [n_atoms] eV of V_q and what is felt of all [n_atoms, 3 + …]."""
        return self.coulomb_and_messages(x, spherical, charges, potentials)

    def coulomb_and_messages(
        self, x: torch.Tensor, spherical: torch.Tensor, charges: torch.Tensor, potentials: torch.Tensor
    ) -> torch.Tensor:
        """Returns k q V_q + MLP(Update(x, …)) [n_atoms] eV."""
        coulomb = self.constant * charges[:, 0] * potentials[:, 0]
        scalars = torch.cat([self.constant * potentials[:, 1:2], potentials[:, 2:3]], dim=1)
        message = torch.cat([scalars, self.norm(self.messages(spherical, potentials))], dim=1)
        return coulomb + self.readout(self.update(x, message)).squeeze(1)

    def messages(self, spherical: torch.Tensor, potentials: torch.Tensor) -> torch.Tensor:
        """Returns (W u^lm) ⊗ x^lm [n_atoms, s, (L+1)²]."""
        return self.mixed(spherical, potentials[:, 3:])
