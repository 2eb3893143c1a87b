"""The published block of LOREM: equivariant charges, and messages of their potentials."""

import torch

from lorem_openmm.config import Model
from lorem_openmm.config.long_range import EquivariantCharges
from lorem_openmm.nn.blocks.block import LongRangeBlock
from lorem_openmm.nn.blocks.registry import long_range_block
from lorem_openmm.nn.equivariant import DegreeNorm, TensorDense, TensorProduct, degree_linear, mix_channels
from lorem_openmm.nn.scalar import MLP, Update
from lorem_openmm.ops.spherical import component_order, degree_of_component


@long_range_block(EquivariantCharges)
class EquivariantChargesBlock(LongRangeBlock):
    """q = [MLP(x) ; (W1 x^lm) ⊗ (W2 x^lm)], x ← Update([V_0 ; T_l ‖(W V^lm) ⊗ x^lm‖]), E = MLP(x).

    The charges are reported as [scalar ; degree 0 ; degree 1 ; …], each degree in e3x's order.

    References:
        arXiv:2507.19382; lorem-jax 0.2 (``lorem.models.mlip.Lorem``), whose numbers this block reproduces.
    """

    degrees: torch.Tensor
    charge_degrees: torch.Tensor

    def __init__(self, hyperparameters: Model):
        h = hyperparameters
        d, s, L, L_charge = h.num_features, h.num_spherical_features, h.max_degree, h.max_charge_degree
        order = torch.argsort(torch.tensor(component_order(L_charge)))
        reported = torch.cat([torch.zeros(1, dtype=order.dtype), order + 1])
        # that of the scalar features, and degree 0 of the spherical ones
        super().__init__(1 + (L_charge + 1) ** 2, reported, num_scalar_channels=2)
        self.max_charge_degree = L_charge
        self.scalar_charges = MLP([d, 2 * d, 1])
        self.spherical_charges = TensorDense(L, L_charge, s, 1)
        self.potential_dense = degree_linear(L_charge, 1, s)
        self.mixing = TensorProduct(L_charge, L, L, s)
        self.norm = DegreeNorm(L, h.norm_smoothing)
        self.update = Update(d, 1 + (L + 1) * s)
        self.readout = MLP([d, d, d, 1])
        self.register_buffer("degrees", torch.tensor(degree_of_component(L)), persistent=False)
        self.register_buffer("charge_degrees", torch.tensor(degree_of_component(L_charge)), persistent=False)

    def charge_weights(self) -> torch.Tensor:
        """Returns W1 and W2 side by side for each component [(L+1)², s, 2]."""
        return self.spherical_charges.dense.index_select(0, self.degrees)

    def potential_weights(self) -> torch.Tensor:
        """Returns W for each component [(L_charge+1)², s]."""
        return self.potential_dense.index_select(0, self.charge_degrees)[:, 0]

    def charges(self, x: torch.Tensor, spherical: torch.Tensor, atomic_numbers: torch.Tensor) -> torch.Tensor:
        """Returns q [n_atoms, 1 + (L_charge+1)²], the scalar charge first."""
        return self.latent_charges(x, spherical)

    def latent_charges(self, x: torch.Tensor, spherical: torch.Tensor) -> torch.Tensor:
        """Returns the same; blocks that add charges call it, as TorchScript knows no super()."""
        factors = mix_channels(spherical, self.charge_weights()).unbind(1)
        product = self.spherical_charges(factors[0].unsqueeze(1), factors[1].unsqueeze(1))
        return torch.cat([self.scalar_charges(x), product.squeeze(1)], dim=1)

    def messages(self, spherical: torch.Tensor, potentials: torch.Tensor) -> torch.Tensor:
        """Returns (W V^lm) ⊗ x^lm [n_atoms, s, (L+1)²]."""
        return self.mixed(spherical, potentials[:, 1:])

    def mixed(self, spherical: torch.Tensor, felt: torch.Tensor) -> torch.Tensor:
        """Returns the same for V^lm [n_atoms, (L_charge+1)²]."""
        return self.mixing(felt.unsqueeze(1) * self.potential_weights().t(), spherical)

    def receive(
        self,
        x: torch.Tensor,
        spherical: torch.Tensor,
        charges: torch.Tensor,
        potentials: torch.Tensor,
        atomic_numbers: torch.Tensor,
    ) -> torch.Tensor:
        """Returns the long-range atomic energies [n_atoms] eV of V [n_atoms, 1 + (L_charge+1)²]."""
        message = torch.cat([potentials[:, :1], self.norm(self.messages(spherical, potentials))], dim=1)
        return self.readout(self.update(x, message)).squeeze(1)
