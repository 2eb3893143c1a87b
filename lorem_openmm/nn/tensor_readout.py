"""A tensor of rank two per atom, read from its spherical features."""

import torch

from lorem_openmm.nn.equivariant import degree_linear
from lorem_openmm.nn.scalar import lecun_normal_
from lorem_openmm.ops.constants import ConstantsModule
from lorem_openmm.ops.spherical import axial_coupling, clebsch_gordan, degree_of_component


class TensorReadout(ConstantsModule):
    """T_ab = Σ_l D^lm_ab Σ_(l1 l2) w_(l1 l2 l) C^lm_(l1 m1, l2 m2) u^(l1 m1) v^(l2 m2), l ≤ 2, even under inversion.

    u and v are linear maps of features that went through y ← W y + b, y ← sigmoid(y^0) y twice, and a third such map
    (a bias has no direction: degree 0 alone). D couples two vectors to the trace, the antisymmetric and the symmetric
    part, C features of degrees l1 and l2 of one parity to the same.

    Args:
        max_degree: L of the features, at least 1.
        num_spherical_features: s.
        num_features: width of the hidden features.

    References:
        lorem-jax 0.2 (``lorem.models.bec.PerParticleTensorPredictor``), whose numbers this reproduces.
    """

    degrees: torch.Tensor
    coefficients: torch.Tensor

    def __init__(self, max_degree: int, num_spherical_features: int, num_features: int):
        super().__init__()
        L, s, d = max_degree, num_spherical_features, num_features
        widths = ((s, d), (d, d), (d, d), (d, 2))
        self.maps = torch.nn.ParameterList(degree_linear(L, n_in, n_out) for n_in, n_out in widths)
        self.biases = torch.nn.ParameterList(torch.zeros(n_out) for _, n_out in widths)
        self.kernel = torch.nn.Parameter(torch.empty(L + 1, L + 1, 3))
        lecun_normal_(self.kernel.data, L + 1.0)
        degrees = torch.tensor(degree_of_component(L))
        self.register_buffer("degrees", degrees, persistent=False)
        self.register_constant("coefficients", _coefficients(degrees))

    def forward(self, spherical: torch.Tensor) -> torch.Tensor:
        """Returns T [n_atoms, 3, 3] for spherical features [n_atoms, s, (L+1)²]."""
        y = spherical.permute(2, 0, 1)
        for k, weights in enumerate(self.maps):
            y = torch.bmm(y, weights.index_select(0, self.degrees))
            y = torch.cat([y[:1] + self.biases[k], y[1:]])
            if k < 2:
                y = torch.sigmoid(y[:1]) * y
        pairs = torch.einsum("ki,li->ikl", y[..., 0], y[..., 1]).flatten(1)
        weights = self.kernel.index_select(0, self.degrees).index_select(1, self.degrees)
        matrix = torch.einsum("klp,klpab->klab", weights, self.coefficients)
        return torch.mm(pairs, matrix.flatten(2).flatten(0, 1)).view(-1, 3, 3)


def _coefficients(degrees: torch.Tensor) -> torch.Tensor:
    """Returns Σ_m C^lm_(l1 m1, l2 m2) D^lm_ab [(L+1)², (L+1)², 3, 3, 3], the third index l; zero for mixed parity."""
    n = len(degrees)
    found = torch.zeros(n, n, 3, 3, 3, dtype=torch.float64)
    places = [(degrees == degree).nonzero()[:, 0] for degree in range(int(degrees.max()) + 1)]
    for l1, first in enumerate(places):
        for l2, second in enumerate(places):
            for l3 in range(abs(l1 - l2), min(l1 + l2, 2) + 1):
                if (l1 + l2) % 2 == 0:
                    tensor = torch.einsum("klm,abm->klab", _coupling(l1, l2, l3), _coupling(1, 1, l3))
                    found[first[:, None], second, l3] = tensor
    return found


def _coupling(degree_1: int, degree_2: int, degree_3: int) -> torch.Tensor:
    return axial_coupling(degree_1) if degree_3 == 1 else clebsch_gordan(degree_1, degree_2, degree_3)
