"""Charges that act on each other by Coulomb's law, beside the messages of their potentials."""

import torch

from lorem_openmm.config import Model
from lorem_openmm.config.long_range import CoulombCharges
from lorem_openmm.nn.blocks.registry import long_range_block
from lorem_openmm.nn.blocks.scalar_charges import ScalarChargesBlock
from lorem_openmm.units import COULOMB_EV_ANGSTROM


@long_range_block(CoulombCharges)
class CoulombChargesBlock(ScalarChargesBlock):
    """q = MLP(x), x ← Update(V), E = k q V + MLP(x), so that Σ_i k q_i V_i = ½ k Σ_ij q_i q_j / r_ij."""

    explicit_charge = True

    def __init__(self, hyperparameters: Model):
        super().__init__(hyperparameters)
        self.constant = COULOMB_EV_ANGSTROM

    def receive(
        self,
        x: torch.Tensor,
        spherical: torch.Tensor,
        charges: torch.Tensor,
        potentials: torch.Tensor,
        atomic_numbers: torch.Tensor,
    ) -> torch.Tensor:
        """Returns the long-range atomic energies [n_atoms] eV of V [n_atoms, 1] e/Å."""
        return self.constant * (charges * potentials).squeeze(1) + self.message_energies(x, potentials)
