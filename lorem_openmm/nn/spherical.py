"""Real spherical harmonics as one matrix product over monomials, from e3nn's definition.

On the unit sphere the monomials x^a y^b z^c with a + b + c = L span all harmonics of degree L, L−2, …, those with
a + b + c = L − 1 all of degree L−1, L−3, …: together (L+1)² monomials for (L+1)² harmonics. The matrix between the
two is solved for once from e3nn's values, and a dozen operations replace the ~150 of a recursion by component.
"""

import math
from fractions import Fraction

import torch
from e3nn import o3

from lorem_openmm.nn.constants import ConstantsModule


def degree_of_component(max_degree: int) -> list[int]:
    """Degree l of each spherical component in the order used inside the model: even degrees first, then odd.

    With this order every tensor product that keeps parity acts on contiguous blocks.
    """
    degrees = [*range(0, max_degree + 1, 2), *range(1, max_degree + 1, 2)]
    return [degree for degree in degrees for _ in range(2 * degree + 1)]


def component_order(max_degree: int) -> list[int]:
    """Index, in e3x's order (l ascending; m = l, −l, …, 0), of each component in the model's order."""
    return [
        degree**2 + m
        for degree in [*range(0, max_degree + 1, 2), *range(1, max_degree + 1, 2)]
        for m in range(2 * degree + 1)
    ]


def e3x_order(degree: int) -> list[int]:
    """e3nn's component index for each of e3x's (m = +l, −l, …, 0) of one degree.

    e3x_Y_l(x, y, z) = e3nn_Y_l(y, z, x)[e3x_order(l)], both with the Racah normalisation (``norm`` in e3nn).
    """
    order = []
    for m in range(degree, 0, -1):
        order += [degree + m, degree - m]
    return [*order, degree]


def spherical_harmonics(max_degree: int, vectors: torch.Tensor) -> torch.Tensor:
    """Y [n, (max_degree+1)²] of unit vectors [n, 3] by e3nn, in e3x's order and normalisation |Y_l|² = 1."""
    turned = vectors[:, [1, 2, 0]]
    parts = [
        o3.spherical_harmonics(degree, turned, normalize=False, normalization="norm")[:, e3x_order(degree)]
        for degree in range(max_degree + 1)
    ]
    return torch.cat(parts, dim=1)


def reflection_classes(max_degree: int) -> torch.Tensor:
    """Returns 4 s_x + 2 s_y + s_z of each component, s_x = 1 if it changes its sign under x → −x, [(L+1)²]."""
    direction = torch.tensor([0.36, 0.48, 0.8], dtype=torch.float64)
    mirrored = direction * (1.0 - 2.0 * torch.eye(3, dtype=torch.float64))
    values = spherical_harmonics(max_degree, torch.cat([direction.unsqueeze(0), mirrored]))
    signs = (values[1:] * values[:1] < 0.0).long()
    return (4 * signs[0] + 2 * signs[1] + signs[2])[torch.tensor(component_order(max_degree))]


def clebsch_gordan(degree_1: int, degree_2: int, degree_3: int) -> torch.Tensor:
    """C [2·l1+1, 2·l2+1, 2·l3+1] in float64 = √(2·l3+1) · e3nn's Wigner 3j, in e3x's order."""
    wigner = o3.wigner_3j(degree_1, degree_2, degree_3, dtype=torch.float64)
    ordered = wigner[e3x_order(degree_1)][:, e3x_order(degree_2)][:, :, e3x_order(degree_3)]
    return (2 * degree_3 + 1) ** 0.5 * ordered


def _snap_to_roots(values: torch.Tensor) -> torch.Tensor:
    """Replaces each number by the root of the nearby fraction it is: all coefficients of harmonics are such roots.

    A least-squares solution differs in its last bits between runs and machines; training that resumes must not.
    """
    fractions = [Fraction(value * value).limit_denominator(100_000) for value in values.flatten().tolist()]
    roots = torch.tensor([math.sqrt(fraction) for fraction in fractions], dtype=torch.float64).view_as(values)
    return torch.copysign(roots, values)


class AngularBasis(ConstantsModule):
    """Y_lm(û) = Σ_abc M_(abc),(lm) x^a y^b z^c for unit vectors û, components in the model's order.

    Args:
        max_degree: L.
    """

    powers_x: torch.Tensor
    powers_y: torch.Tensor
    powers_z: torch.Tensor
    matrix: torch.Tensor

    def __init__(self, max_degree: int):
        super().__init__()
        self.max_degree = max_degree
        exponents = [
            (a, b, total - a - b)
            for total in sorted({max_degree, max(max_degree - 1, 0)}, reverse=True)
            for a in range(total + 1)
            for b in range(total + 1 - a)
        ]
        powers = torch.tensor(exponents, dtype=torch.long)
        generator = torch.Generator().manual_seed(0)
        samples = torch.randn(40 * len(exponents), 3, generator=generator, dtype=torch.float64)
        samples = samples / samples.norm(dim=1, keepdim=True)
        monomials = torch.stack([samples**exponent for exponent in powers.unbind(0)]).prod(dim=2).T
        target = spherical_harmonics(max_degree, samples)[:, component_order(max_degree)]
        matrix = _snap_to_roots(torch.linalg.lstsq(monomials, target).solution)
        self.register_buffer("powers_x", powers[:, 0].clone(), persistent=False)
        self.register_buffer("powers_y", powers[:, 1].clone(), persistent=False)
        self.register_buffer("powers_z", powers[:, 2].clone(), persistent=False)
        self.register_constant("matrix", matrix)

    def forward(self, unit_vectors: torch.Tensor) -> torch.Tensor:
        """Returns Y [n_edges, (L+1)²] for unit vectors [n_edges, 3]."""
        power = torch.ones_like(unit_vectors)
        powers = [power]
        for _ in range(self.max_degree):
            power = power * unit_vectors
            powers.append(power)
        x, y, z = torch.stack(powers).unbind(2)  # each [L+1, n_edges]: rows are gathered as whole lines
        monomials = x.index_select(0, self.powers_x) * y.index_select(0, self.powers_y)
        monomials = monomials * z.index_select(0, self.powers_z)
        return torch.mm(monomials.t(), self.matrix)
