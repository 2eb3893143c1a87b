import math

import numpy as np
import pytest
import torch

from lorem_openmm.nn.edge_derivatives import AngularBasis, RadialBasis
from lorem_openmm.ops.radial import cosine_cutoff, smooth_cutoff


def basis(name, cutoff_function="cosine_cutoff", num_radial=7, cutoff=4.0):
    return RadialBasis(cutoff, num_radial, name, cutoff_function).double()


def naive(name, x, k, num_radial):
    n = num_radial - 1
    return {
        "basic_bernstein": lambda: math.comb(n, k) * x**k * (1 - x) ** (n - k),
        "basic_gaussian": lambda: np.exp(-math.sqrt(2 * num_radial) * n * (x - k / n) ** 2),
        "basic_fourier": lambda: np.cos(k * np.pi * x),
        "basic_chebyshev": lambda: np.polynomial.chebyshev.Chebyshev.basis(k)(2 * x - 1),
    }[name]()


@pytest.mark.parametrize("name", ["basic_bernstein", "basic_gaussian", "basic_fourier", "basic_chebyshev"])
@pytest.mark.parametrize(("cutoff_function", "f"), [("cosine_cutoff", cosine_cutoff), ("smooth_cutoff", smooth_cutoff)])
def test_basis_equals_its_formula(name, cutoff_function, f):
    x = np.linspace(0.01, 0.99, 50)
    values = basis(name, cutoff_function)(torch.tensor(4.0 * x))
    expected = np.stack([naive(name, x, k, 7) for k in range(7)], axis=1) * f(torch.tensor(x)).numpy()[:, None]
    np.testing.assert_allclose(values.numpy(), expected, rtol=1e-12, atol=1e-14)


def test_bernstein_polynomials_sum_to_one():
    distances = torch.linspace(0.1, 3.9, 30, dtype=torch.float64)
    total = basis("basic_bernstein", num_radial=32)(distances).sum(dim=1)
    torch.testing.assert_close(total, cosine_cutoff(distances / 4.0), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", ["basic_bernstein", "basic_gaussian", "basic_fourier", "basic_chebyshev"])
@pytest.mark.parametrize("cutoff_function", ["cosine_cutoff", "smooth_cutoff"])
@pytest.mark.parametrize("distance", [0.0, 1e-12, 4.0 - 1e-12, 4.0, 4.0 + 1e-12, 7.0])
def test_ends_are_finite_to_the_second_derivative(name, cutoff_function, distance):
    r = torch.tensor([distance], dtype=torch.float64, requires_grad=True)
    values = basis(name, cutoff_function)(r)
    (first,) = torch.autograd.grad(values.sum(), r, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), r)
    assert torch.isfinite(values).all()
    assert torch.isfinite(first).all()
    assert torch.isfinite(second).all()
    if distance >= 4.0:
        assert values.abs().max() < 1e-300
        assert first.abs().max() < 1e-15


@pytest.mark.parametrize("f", [cosine_cutoff, smooth_cutoff])
def test_cutoff_falls_smoothly_from_one_to_zero(f):
    x = torch.linspace(0, 1.2, 200, dtype=torch.float64, requires_grad=True)
    values = f(x)
    (slopes,) = torch.autograd.grad(values.sum(), x)
    assert values[0].item() == pytest.approx(1.0)
    assert (values[x >= 1] == 0).all()
    assert (slopes <= 1e-12).all()
    assert slopes[x > 0.99].abs().max() < 0.06


def test_no_edges_have_derivatives_too():
    r = torch.zeros(0, dtype=torch.float64, requires_grad=True)
    u = torch.zeros(0, 3, dtype=torch.float64, requires_grad=True)
    total = basis("basic_bernstein")(r).sum() + AngularBasis(4).double()(u).sum()
    for slope in torch.autograd.grad(total, [r, u], create_graph=True):
        assert slope.shape[0] == 0
