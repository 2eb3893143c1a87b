"""Long-range messages: equivariant charges, their potentials, and what the atoms make of them."""

from typing import NamedTuple, Tuple

import torch

from lorem_openmm.graph import AtomGraph
from lorem_openmm.kernels.coulomb import Coulomb
from lorem_openmm.nn.equivariant import (
    DegreeNorm,
    ProductMatrices,
    TensorDense,
    TensorProduct,
    degree_linear,
    mix_channels,
)
from lorem_openmm.nn.scalar import MLP, Update
from lorem_openmm.nn.spherical import component_order, degree_of_component
from lorem_openmm.sums.batched import BatchedPairSum


class LongRangeWeights(NamedTuple):
    """Folded weights of :class:`LongRange`: first maps spread over components, product matrices."""

    charge_dense: torch.Tensor
    charge_product: ProductMatrices
    potential_dense: torch.Tensor
    mixing_product: ProductMatrices


class LongRange(torch.nn.Module):
    """Charges from features, potentials from charges, features and energies from potentials.

    q = [MLP(x) ; (W1 x^lm) ⊗ (W2 x^lm)], V = ½ Σ q / r, x ← Update([V_0 ; T_l ‖(W V^lm) ⊗ x^lm‖]), E = MLP(x).

    Args:
        num_features: width d of the scalar features.
        num_spherical_features: channels s of the spherical features.
        max_degree: degree L of the spherical features.
        max_charge_degree: degree of the charges.
        cutoff: Å.
        smearing: σ in Å of the Ewald sum.
        wavelength: shortest wavelength in Å of the Ewald sum.
        norm_smoothing: ε of the degree-wise norms.
    """

    degrees: torch.Tensor
    charge_degrees: torch.Tensor
    channel_order: torch.Tensor

    def __init__(
        self,
        num_features: int,
        num_spherical_features: int,
        max_degree: int,
        max_charge_degree: int,
        cutoff: float,
        smearing: float,
        wavelength: float,
        norm_smoothing: float,
    ):
        super().__init__()
        d, s, L = num_features, num_spherical_features, max_degree
        self.scalar_charges = MLP([d, 2 * d, 1])
        self.spherical_charges = TensorDense(L, max_charge_degree, s, 1)
        self.coulomb = BatchedPairSum(Coulomb(smearing), cutoff, wavelength)
        self.potential_dense = degree_linear(max_charge_degree, 1, s)
        self.mixing = TensorProduct(max_charge_degree, L, L, s)
        self.norm = DegreeNorm(L, norm_smoothing)
        self.update = Update(d, 1 + (L + 1) * s)
        self.readout = MLP([d, d, d, 1])
        order = torch.argsort(torch.tensor(component_order(max_charge_degree)))
        self.register_buffer("degrees", torch.tensor(degree_of_component(L)), persistent=False)
        self.register_buffer("charge_degrees", torch.tensor(degree_of_component(max_charge_degree)), persistent=False)
        self.register_buffer(
            "channel_order", torch.cat([torch.zeros(1, dtype=order.dtype), order + 1]), persistent=False
        )

    def fold(self) -> LongRangeWeights:
        """Returns the weights in the form :meth:`forward` uses them."""
        return LongRangeWeights(
            self.spherical_charges.dense.index_select(0, self.degrees),
            self.spherical_charges.matrices(),
            self.potential_dense.index_select(0, self.charge_degrees),
            self.mixing.matrices(),
        )

    def charges(self, x: torch.Tensor, spherical: torch.Tensor, weights: LongRangeWeights) -> torch.Tensor:
        """Returns q [n_atoms, 1 + (max_charge_degree+1)²], the scalar charge first."""
        factors = mix_channels(spherical, weights.charge_dense).unbind(1)
        product = self.spherical_charges(factors[0].unsqueeze(1), factors[1].unsqueeze(1), weights.charge_product)
        return torch.cat([self.scalar_charges(x), product.squeeze(1)], dim=1)

    def forward(
        self,
        x: torch.Tensor,
        spherical: torch.Tensor,
        graph: AtomGraph,
        distances: torch.Tensor,
        weights: LongRangeWeights,
    ) -> Tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Returns the long-range atomic energies [n_atoms], the charges and their potentials [n_atoms, n_channels].

        The charges come as [scalar ; degree 0 ; degree 1 ; …], each degree in e3x's order; the potentials, which the
        energies are made of, in that of the spherical features.

        Args:
            x: scalar features [n_atoms, d].
            spherical: spherical features [n_atoms, s, (L+1)²].
            graph: structures.
            distances: [n_edges] Å.
            weights: from :meth:`fold`.
        """
        charges = self.charges(x, spherical, weights)
        potentials = self.coulomb(charges, graph, distances)
        spread = potentials[:, 1:].unsqueeze(1) * weights.potential_dense[:, 0].t()
        mixed = self.mixing(spread, spherical, weights.mixing_product)
        message = torch.cat([potentials[:, :1], self.norm(mixed)], dim=1)
        x = self.update(x, message)
        return self.readout(x).squeeze(1), charges.index_select(1, self.channel_order), potentials
