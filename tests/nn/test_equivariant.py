from itertools import product

import numpy as np
import pytest
import torch
from e3nn import o3
from helpers import random_orthogonal

from lorem_openmm.nn.edge_derivatives import AngularBasis
from lorem_openmm.nn.equivariant import DegreeNorm, TensorProduct
from lorem_openmm.ops.spherical import (
    clebsch_gordan,
    component_order,
    degree_of_component,
    spherical_harmonics,
)


def unit_vectors(n=20, seed=0):
    vectors = torch.randn(n, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return vectors / vectors.norm(dim=1, keepdim=True)


def rotation_of_features(max_degree, rotation):
    """The matrix by which spherical components turn, measured from the harmonics themselves."""
    vectors = unit_vectors(200, seed=9)
    angular = AngularBasis(max_degree).double()
    before, after = angular(vectors), angular(vectors @ torch.tensor(rotation).T)
    return torch.linalg.lstsq(before, after).solution


def e3x_order(degree):
    """e3nn's component index for each of e3x's (m = +l, −l, …, 0): e3x_Y(x, y, z) = e3nn_Y(y, z, x)[order]."""
    return [*(degree + sign * m for m in range(degree, 0, -1) for sign in (1, -1)), degree]


@pytest.mark.parametrize("max_degree", range(8))
def test_harmonics_are_those_of_e3nn(max_degree):
    vectors = unit_vectors()
    expected = torch.cat(
        [
            o3.spherical_harmonics(n, vectors[:, [1, 2, 0]], normalize=False, normalization="norm")[:, e3x_order(n)]
            for n in range(max_degree + 1)
        ],
        dim=1,
    )
    torch.testing.assert_close(spherical_harmonics(max_degree, vectors), expected, rtol=1e-12, atol=1e-12)
    by_raising = AngularBasis(max_degree).double()(vectors)
    torch.testing.assert_close(by_raising, expected[:, component_order(max_degree)], rtol=1e-12, atol=1e-12)


def test_couplings_are_those_of_e3nn():
    paths = [n for n in product(range(7), repeat=3) if sum(n) % 2 == 0 and abs(n[0] - n[1]) <= n[2] <= n[0] + n[1]]
    assert len(paths) == 106  # all that keep parity up to degree 6
    for l1, l2, l3 in paths:
        wigner = o3.wigner_3j(l1, l2, l3, dtype=torch.float64)
        expected = (2 * l3 + 1) ** 0.5 * wigner[e3x_order(l1)][:, e3x_order(l2)][:, :, e3x_order(l3)]
        coupling = clebsch_gordan(l1, l2, l3)
        torch.testing.assert_close(coupling, expected, rtol=0.0, atol=1e-13)
        assert torch.equal(coupling != 0.0, expected.abs() > 1e-10)
    with pytest.raises(ValueError, match="must be even, received 1, 1, 1"):
        clebsch_gordan(1, 1, 1)


def test_single_precision_keeps_its_digits():
    vectors = unit_vectors(500)
    exact = AngularBasis(6).double()(vectors)
    single = AngularBasis(6).float()(vectors.float())
    assert (single.double() - exact).abs().max() < 5e-6


def test_first_degrees_are_the_textbook_ones_in_the_order_of_e3x():
    x, y, z = (v := unit_vectors()).unbind(1)
    harmonics = spherical_harmonics(2, v)
    expected = [
        torch.ones_like(x), x, y, z, 3**0.5 / 2 * (x**2 - y**2), 3**0.5 * x * y, 3**0.5 * x * z, 3**0.5 * y * z,
        (3 * z**2 - 1) / 2,
    ]  # fmt: skip
    torch.testing.assert_close(harmonics, torch.stack(expected, dim=1), rtol=1e-12, atol=1e-12)


def test_clebsch_gordan_couples_two_vectors_to_dot_and_traceless_products():
    dot = clebsch_gordan(1, 1, 0)[:, :, 0]
    torch.testing.assert_close(dot.abs(), torch.eye(3, dtype=torch.float64) / 3**0.5, rtol=1e-12, atol=1e-12)
    traceless = torch.einsum("aam->m", clebsch_gordan(1, 1, 2))
    torch.testing.assert_close(traceless, torch.zeros(5, dtype=torch.float64), rtol=0.0, atol=1e-15)


def dense_product(product, x1, x2):
    """The tensor product written as one contraction over the whole Clebsch-Gordan tensor, path by path."""
    L1, L2, L3 = (n - 1 for n in product.kernel.shape[:3])
    degrees = [degree_of_component(L) for L in (L1, L2, L3)]
    slices = [
        [torch.tensor([i for i, d in enumerate(ds) if d == n]) for n in range(L + 1)]
        for ds, L in zip(degrees, (L1, L2, L3), strict=True)
    ]
    y = x1.new_zeros(x1.shape[0], product.kernel.shape[3], len(degrees[2]))
    for l1 in range(L1 + 1):
        for l2 in range(L2 + 1):
            for l3 in range(abs(l1 - l2), min(l1 + l2, L3) + 1):
                if (l1 + l2 + l3) % 2 == 0:
                    y[:, :, slices[2][l3]] += torch.einsum(
                        "nca,ncb,abd,c->ncd",
                        x1[:, :, slices[0][l1]].expand(-1, y.shape[1], -1),
                        x2[:, :, slices[1][l2]],
                        clebsch_gordan(l1, l2, l3),
                        product.kernel[l1, l2, l3],
                    )
    return y


@pytest.mark.parametrize("degrees", [(0, 0, 0), (1, 1, 1), (3, 3, 3), (2, 4, 4), (3, 3, 1), (0, 2, 2)])
def test_blocks_equal_the_dense_contraction(degrees):
    torch.manual_seed(0)
    product = TensorProduct(*degrees, 4).double()
    x1 = torch.randn(5, 4, (degrees[0] + 1) ** 2, dtype=torch.float64)
    x2 = torch.randn(5, 4, (degrees[1] + 1) ** 2, dtype=torch.float64)
    fast = product(x1, x2)
    torch.testing.assert_close(fast, dense_product(product, x1, x2), rtol=1e-12, atol=1e-12)


def test_one_channel_of_the_first_factor_is_shared():
    torch.manual_seed(0)
    product = TensorProduct(2, 3, 3, 4).double()
    x1, x2 = torch.randn(5, 1, 9, dtype=torch.float64), torch.randn(5, 4, 16, dtype=torch.float64)
    torch.testing.assert_close(product(x1, x2), product(x1.expand(-1, 4, -1), x2))


@pytest.mark.parametrize("reflect", [False, True])
def test_product_and_norm_follow_rotations_and_reflections(reflect):
    torch.manual_seed(1)
    L = 4
    turn = rotation_of_features(L, random_orthogonal(3, reflect))
    product, norm = TensorProduct(L, L, L, 2).double(), DegreeNorm(L).double()
    x1, x2 = torch.randn(2, 6, 2, (L + 1) ** 2, dtype=torch.float64)
    before, after = product(x1, x2), product(x1 @ turn, x2 @ turn)
    assert (after - before).abs().max() > 0.1  # the input moved
    torch.testing.assert_close(after, before @ turn, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(norm(after), norm(before), rtol=1e-10, atol=1e-10)


def test_initial_kernel_skips_forbidden_paths_and_scales_with_their_number():
    torch.manual_seed(0)
    kernel = TensorProduct(4, 4, 4, 500).kernel.detach()
    allowed = np.array(
        [[[abs(a - b) <= c <= a + b and (a + b + c) % 2 == 0 for c in range(5)] for b in range(5)] for a in range(5)]
    )
    assert (kernel[torch.tensor(~allowed)] == 0).all()
    paths = allowed.sum(axis=(0, 1))
    for degree in range(5):
        values = kernel[:, :, degree][torch.tensor(allowed[:, :, degree])]
        assert values.std().item() == pytest.approx(paths[degree] ** -0.5, rel=0.05)


def test_smooth_norm_has_a_continuous_slope_where_the_norm_has_a_cusp():
    x = torch.tensor([-1e-6, 1e-6], dtype=torch.float64).view(2, 1, 1).requires_grad_(True)
    for smoothing, jump in ((0.0, 2.0), (0.1, 2e-5)):
        (slope,) = torch.autograd.grad(DegreeNorm(0, smoothing).double()(x).sum(), x)
        assert (slope[1] - slope[0]).item() == pytest.approx(jump, rel=1e-3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("size", [0.0, 1e-20, 1e-15])
def test_norm_of_nothing_has_finite_derivatives(size, dtype):
    x = torch.full((2, 3, 16), size, dtype=dtype, requires_grad=True)
    norms = DegreeNorm(3).to(dtype)(x)
    (first,) = torch.autograd.grad(norms.sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), x, allow_unused=True)
    if size == 0.0:
        assert norms.abs().max() == 0
        assert first.abs().max() == 0
    assert torch.isfinite(first).all()
    assert second is None or torch.isfinite(second).all()
