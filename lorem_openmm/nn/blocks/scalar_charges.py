"""Charges without direction: what LOREM is compared with."""

import torch

from lorem_openmm.config import Model
from lorem_openmm.config.long_range import ScalarCharges
from lorem_openmm.nn.blocks.block import LongRangeBlock
from lorem_openmm.nn.blocks.registry import long_range_block
from lorem_openmm.nn.scalar import MLP, Update


@long_range_block(ScalarCharges)
class ScalarChargesBlock(LongRangeBlock):
    """q = MLP(x), x ← Update(V), E = MLP(x)."""

    def __init__(self, hyperparameters: Model):
        d, settings = hyperparameters.num_features, hyperparameters.long_range_block
        num_charges = settings.num_charges if isinstance(settings, ScalarCharges) else 1
        super().__init__(num_charges)
        self.scalar_charges = MLP([d, 2 * d, num_charges])
        self.update = Update(d, num_charges)
        self.readout = MLP([d, d, d, 1])

    def charges(self, x: torch.Tensor, spherical: torch.Tensor, atomic_numbers: torch.Tensor) -> torch.Tensor:
        """Returns q [n_atoms, num_charges]."""
        return self.scalar_charges(x)

    def receive(
        self,
        x: torch.Tensor,
        spherical: torch.Tensor,
        charges: torch.Tensor,
        potentials: torch.Tensor,
        atomic_numbers: torch.Tensor,
    ) -> torch.Tensor:
        """Returns the long-range atomic energies [n_atoms] eV of V [n_atoms, num_charges]."""
        return self.message_energies(x, potentials)

    def message_energies(self, x: torch.Tensor, potentials: torch.Tensor) -> torch.Tensor:
        """Returns MLP(Update(x, V)) [n_atoms] eV."""
        return self.readout(self.update(x, potentials)).squeeze(1)
