"""Charges that act on each other by Coulomb's law, beside the messages of their potentials."""

import torch

from lorem_openmm.config import Model
from lorem_openmm.config.long_range import CoulombCharges
from lorem_openmm.nn.blocks.block import LongRangeBlock
from lorem_openmm.nn.blocks.registry import long_range_block
from lorem_openmm.nn.scalar import MLP, Update
from lorem_openmm.units import COULOMB_EV_ANGSTROM


@long_range_block(CoulombCharges)
class CoulombChargesBlock(LongRangeBlock):
    """q = MLP(x), x ← Update(V), E = k q V + MLP(x), so that Σ_i k q_i V_i = ½ k Σ_ij q_i q_j / r_ij.

    Args:
        hyperparameters: of the model.
    """

    def __init__(self, hyperparameters: Model):
        super().__init__(1)
        d = hyperparameters.num_features
        self.constant = COULOMB_EV_ANGSTROM
        self.scalar_charges = MLP([d, 2 * d, 1])
        self.update = Update(d, 1)
        self.readout = MLP([d, d, d, 1])

    def charges(self, x: torch.Tensor, spherical: torch.Tensor, atomic_numbers: torch.Tensor) -> torch.Tensor:
        """Returns q [n_atoms, 1] in e."""
        return self.scalar_charges(x)

    def receive(
        self, x: torch.Tensor, spherical: torch.Tensor, potentials: torch.Tensor, atomic_numbers: torch.Tensor
    ) -> torch.Tensor:
        """Returns the long-range atomic energies [n_atoms] eV of V [n_atoms, 1] e/Å."""
        energy = self.constant * self.scalar_charges(x) * potentials
        return (energy + self.readout(self.update(x, potentials))).squeeze(1)
