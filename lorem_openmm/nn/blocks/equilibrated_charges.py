"""Charges that settle where the energy is least, for a given total charge; beside LOREM's messages."""

import math

import torch

from lorem_openmm.config import Model
from lorem_openmm.config.long_range import EquilibratedCharges
from lorem_openmm.nn.blocks.explicit_charges import ExplicitChargesBlock
from lorem_openmm.nn.blocks.registry import long_range_block
from lorem_openmm.sums.widths import own_hardness

NUM_ELEMENTS = 100  # rows of the tables, as of the species embedding
INITIAL_HARDNESS = 10.0  # eV/e², about that of hydrogen, carbon, nitrogen and oxygen


@long_range_block(EquilibratedCharges)
class EquilibratedChargesBlock(ExplicitChargesBlock):
    """E = χ q + ½ (η_Z + k/√π a_Z) q² + k q V_q + messages as in :class:`ExplicitChargesBlock`, χ = MLP(x).

    Args:
        hyperparameters: of the model.

    References:
        CELLI, arXiv:2501.19179; T. W. Ko et al., Nat. Commun. 12, 398 (2021).
    """

    needs_total_charge = True
    is_equilibrated = True

    def __init__(self, hyperparameters: Model):
        super().__init__(hyperparameters)
        h = hyperparameters
        self.log_hardness = torch.nn.Parameter(torch.zeros(NUM_ELEMENTS))
        self.logit_width = torch.nn.Parameter(torch.zeros(NUM_ELEMENTS))
        self.initial_hardness = INITIAL_HARDNESS
        self.largest_width = h.smearing_in_force / math.sqrt(2.0)  # that of charges in the smooth kernel

    def elements(self, atomic_numbers: torch.Tensor) -> torch.Tensor:
        """Returns η = 10 eV/e² · exp(parameter), a = σ/√2 · sigmoid(1 + parameter) Å [n_atoms, 2]."""
        hardness = self.initial_hardness * torch.exp(self.log_hardness[atomic_numbers])
        widths = self.largest_width * torch.sigmoid(1.0 + self.logit_width[atomic_numbers])
        return torch.stack([hardness, widths], dim=1)

    def receive(
        self,
        x: torch.Tensor,
        spherical: torch.Tensor,
        charges: torch.Tensor,
        potentials: torch.Tensor,
        atomic_numbers: torch.Tensor,
    ) -> torch.Tensor:
        """Returns the long-range atomic energies [n_atoms] eV."""
        q, hardness = charges[:, 0], own_hardness(self.elements(atomic_numbers), self.constant)
        own = (self.net_charges(x).squeeze(1) + 0.5 * hardness * q) * q
        return own + self.coulomb_and_messages(x, spherical, charges, potentials)
