"""A long-range block in one file, as a user would write one: dipoles made of vectors, felt through their alignment."""

from typing import Literal

import torch

from lorem_openmm.config import Model
from lorem_openmm.config.long_range import LongRange
from lorem_openmm.config.section import Positive
from lorem_openmm.nn.blocks import LongRangeBlock, long_range_block
from lorem_openmm.nn.scalar import MLP


class ToySettings(LongRange):
    """Charges of each element and of the features."""

    kind: Literal["toy"] = "toy"
    strength: Positive = 1.0


@long_range_block(ToySettings)
class ToyBlock(LongRangeBlock):
    """q = [a_Z tanh MLP(x) ; Σ_c w_c x_c^(1m)], E = (MLP(x) V_0 + (Σ_c w_c x_c^(1m)) · V_1) s."""

    def __init__(self, hyperparameters: Model):
        super().__init__(4, num_scalar_channels=1)
        h = hyperparameters
        d, s = h.num_features, h.num_spherical_features
        self.strength = float(h.long_range.strength)
        self.first = sum(2 * degree + 1 for degree in range(0, h.max_degree + 1, 2))  # of degree 1
        self.of_element = torch.nn.Parameter(torch.ones(100))
        self.scalar = MLP([d, d, 1])
        self.response = MLP([d, d, 1])
        self.mix = torch.nn.Parameter(torch.randn(s) / s**0.5)

    def charges(self, x: torch.Tensor, spherical: torch.Tensor, atomic_numbers: torch.Tensor) -> torch.Tensor:
        scalar = self.of_element[atomic_numbers].unsqueeze(1) * torch.tanh(self.scalar(x))
        return torch.cat([scalar, self.vectors(spherical)], dim=1)

    def receive(
        self,
        x: torch.Tensor,
        spherical: torch.Tensor,
        charges: torch.Tensor,
        potentials: torch.Tensor,
        atomic_numbers: torch.Tensor,
    ) -> torch.Tensor:
        felt = self.response(x).squeeze(1) * potentials[:, 0]
        return self.strength * (felt + (charges[:, 1:] * potentials[:, 1:]).sum(dim=1))

    def vectors(self, spherical: torch.Tensor) -> torch.Tensor:
        return torch.matmul(self.mix, spherical)[:, self.first : self.first + 3]
