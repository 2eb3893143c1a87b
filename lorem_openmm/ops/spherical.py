"""Real spherical harmonics from their formula, the order of their components, and how they couple."""

import math

import numpy as np
import torch


def degree_sequence(max_degree: int) -> list[int]:
    """Degrees in the model's order: even ones first, then odd.

    With this order every tensor product that keeps parity acts on contiguous blocks.
    """
    return [*range(0, max_degree + 1, 2), *range(1, max_degree + 1, 2)]


def degree_of_component(max_degree: int) -> list[int]:
    """Degree l of each spherical component in the model's order."""
    return [degree for degree in degree_sequence(max_degree) for _ in range(2 * degree + 1)]


def parity_counts(max_degree: int) -> list[int]:
    """Numbers of components of even and of odd degree."""
    even = sum(2 * degree + 1 for degree in range(0, max_degree + 1, 2))
    return [even, (max_degree + 1) ** 2 - even]


def component_order(max_degree: int) -> list[int]:
    """Index, in e3x's order (l ascending; m = l, −l, …, 0), of each component in the model's order."""
    return [degree**2 + m for degree in degree_sequence(max_degree) for m in range(2 * degree + 1)]


def spherical_harmonics(max_degree: int, vectors: torch.Tensor) -> torch.Tensor:
    """Y [n, (max_degree+1)²] of unit vectors [n, 3], in e3x's order and normalisation |Y_l|² = 1.

    Y_l,±m = √((2 − δ_m0)·(l−m)!/(l+m)!) · dᵐP_l(z)/dzᵐ · {Re, Im}(x + iy)ᵐ with the Legendre polynomials P_l.
    """
    x, y, z = vectors.unbind(1)
    cosine, sine = [torch.ones_like(x)], [torch.zeros_like(x)]  # times the m-th power of the sine of the polar angle
    for _ in range(max_degree):
        c, s = cosine[-1], sine[-1]
        cosine.append(c * x - s * y)
        sine.append(c * y + s * x)
    parts = []
    for degree in range(max_degree + 1):
        for m in range(degree, 0, -1):
            scale = math.sqrt(2.0 * math.factorial(degree - m) / math.factorial(degree + m))
            along = scale * _legendre_derivative(degree, m, z)
            parts += [along * cosine[m], along * sine[m]]
        parts.append(_legendre_derivative(degree, 0, z))
    return torch.stack(parts, dim=1)


def _legendre_derivative(degree: int, order: int, z: torch.Tensor) -> torch.Tensor:
    """dᵐP_l(z)/dzᵐ = Σ_k (−1)ᵏ 2⁻ˡ (l over k) (2l−2k over l) (l−2k)!/(l−2k−m)! z^(l−2k−m), for [n] values."""
    total = torch.zeros_like(z)
    for k in range((degree - order) // 2 + 1):
        power = degree - 2 * k
        factor = (-1) ** k * math.comb(degree, k) * math.comb(2 * degree - 2 * k, degree) * math.perm(power, order)
        total = total * z * z + factor / 2**degree
    return total * z if (degree - order) % 2 else total


def reflection_classes(max_degree: int) -> torch.Tensor:
    """Returns 4 s_x + 2 s_y + s_z of each component, s_x = 1 if it changes its sign under x → −x, [(L+1)²]."""
    direction = torch.tensor([0.36, 0.48, 0.8], dtype=torch.float64)
    mirrored = direction * (1.0 - 2.0 * torch.eye(3, dtype=torch.float64))
    values = spherical_harmonics(max_degree, torch.cat([direction.unsqueeze(0), mirrored]))
    signs = (values[1:] * values[:1] < 0.0).long()
    return (4 * signs[0] + 2 * signs[1] + signs[2])[torch.tensor(component_order(max_degree))]


def clebsch_gordan(degree_1: int, degree_2: int, degree_3: int) -> torch.Tensor:
    """C [2·l1+1, 2·l2+1, 2·l3+1] in float64, in e3x's order, for an even sum of the degrees.

    C = √(2·l3 + 1)·G/‖G‖, G = ∫ Y_l1 ⊗ Y_l2 ⊗ Y_l3 dΩ: three degrees have one invariant, which is this integral unless
    it vanishes. The quadrature (Gauss-Legendre along z, equal angles around it) is exact. The sign is that of e3x and
    of e3nn's Wigner 3j.

    Raises:
        ValueError: If the sum of the degrees is odd: there the integral vanishes.
    """
    total = degree_1 + degree_2 + degree_3
    if total % 2:
        raise ValueError(f"degrees: their sum must be even, received {degree_1}, {degree_2}, {degree_3}")
    heights, weights = np.polynomial.legendre.leggauss(total // 2 + 1)
    angles = 2.0 * math.pi / (total + 1) * np.arange(total + 1)
    z, phi = (grid.ravel() for grid in np.meshgrid(heights, angles, indexing="ij"))
    radius = np.sqrt(1.0 - z**2)
    directions = torch.from_numpy(np.stack([radius * np.cos(phi), radius * np.sin(phi), z], axis=1))
    harmonics = spherical_harmonics(max(degree_1, degree_2, degree_3), directions)
    first, second, third = (harmonics[:, degree**2 : (degree + 1) ** 2] for degree in (degree_1, degree_2, degree_3))
    weighted = torch.from_numpy(np.repeat(weights, total + 1))[:, None] * first
    integrals = torch.einsum("na,nb,nc->abc", weighted, second, third)
    integrals[integrals.abs() < 1e-12 * integrals.abs().max()] = 0.0  # rounding
    return (2 * degree_3 + 1) ** 0.5 / integrals.norm() * integrals


def axial_coupling(degree: int) -> torch.Tensor:
    """C [2l+1, 2l+1, 3] in float64 of two equal degrees l > 0 and an axial vector, which the integral above leaves out.

    C_a = √3·T/‖T‖, T_mna = Σ_pbc ε_abc G_pmb G_pnc with the coupling G of degrees l − 1, l and 1: there is one such
    invariant, antisymmetric in m and n. The sign is that of e3x and of e3nn's Wigner 3j.
    """
    coupling = clebsch_gordan(degree - 1, degree, 1)
    product = torch.einsum("pmb,pnc->mnbc", coupling, coupling)
    parts = [product[..., b, c] - product[..., c, b] for b, c in ((1, 2), (2, 0), (0, 1))]
    axial = torch.stack(parts, dim=-1)
    return 3**0.5 / axial.norm() * axial
