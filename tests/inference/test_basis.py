"""Radial and angular functions against their formulas, their gradients against autograd of these."""

import math

import pytest
import torch
from made_rows import assert_close, naive_pullback, random

from lorem_openmm.nn.edge_derivatives import AngularFunction, RadialFunction
from lorem_openmm.ops.angular import AngularFunctions, raising_matrix
from lorem_openmm.ops.radial import RadialFunctions, cosine_cutoff, smooth_cutoff
from lorem_openmm.ops.spherical import component_order, spherical_harmonics

BASES = ["basic_bernstein", "basic_gaussian", "basic_fourier", "basic_chebyshev"]
CUTOFFS = ["cosine_cutoff", "smooth_cutoff"]


def radial(basis: str, cutoff_function: str, num_radial: int = 7) -> RadialFunctions:
    return RadialFunctions(4.0, num_radial, basis, cutoff_function).double()


def naive_radial(basis: str, cutoff_function: str, num_radial: int, distances: torch.Tensor) -> torch.Tensor:
    """ρ [n, K, S] of distances [n, S], function by function."""
    x, n = distances / 4.0, num_radial - 1
    formulas = {
        "basic_bernstein": lambda k: math.comb(n, k) * x**k * (1.0 - x) ** (n - k),
        "basic_gaussian": lambda k: torch.exp(-math.sqrt(2 * num_radial) * n * (x - k / max(n, 1)) ** 2),
        "basic_fourier": lambda k: torch.cos(math.pi * k * x),
        "basic_chebyshev": lambda k: torch.cos(k * torch.arccos(2.0 * x - 1.0)),
    }
    f = (cosine_cutoff if cutoff_function == "cosine_cutoff" else smooth_cutoff)(x)
    return torch.stack([formulas[basis](k) * f for k in range(num_radial)], dim=1)


def unit_vectors() -> torch.Tensor:
    """[3, 4, 5]."""
    vectors = random(3, 4, 5)
    return vectors / vectors.norm(dim=0)


@pytest.mark.parametrize("cutoff_function", CUTOFFS)
@pytest.mark.parametrize("basis", BASES)
@pytest.mark.parametrize("num_radial", [1, 2, 7, 32])
def test_radial_functions_and_slopes(basis, cutoff_function, num_radial):
    module = radial(basis, cutoff_function, num_radial)
    distances = torch.linspace(0.2, 3.95, 24, dtype=torch.float64).view(4, 6)
    found, gradient = module(distances), random(4, num_radial, 6)

    def naive(r: torch.Tensor) -> list[torch.Tensor]:
        return [naive_radial(basis, cutoff_function, num_radial, r)]

    assert_close(found, naive(distances)[0])
    (slope,) = naive_pullback(naive, [distances], [gradient])
    assert float(slope.abs().max()) > 1e-2
    assert_close(module.pullback(distances, found, gradient), slope)


@pytest.mark.parametrize("cutoff_function", CUTOFFS)
@pytest.mark.parametrize("basis", BASES)
def test_radial_functions_in_single_precision(basis, cutoff_function):
    distances = torch.linspace(0.2, 3.95, 24, dtype=torch.float64).view(4, 6)
    gradient = random(4, 32, 6)

    def naive(r: torch.Tensor) -> list[torch.Tensor]:
        return [naive_radial(basis, cutoff_function, 32, r)]

    (expected,) = naive_pullback(naive, [distances], [gradient])
    single = radial(basis, cutoff_function, 32).float()
    rounded = distances.float()
    found = single(rounded)
    assert_close(found.double(), naive(distances)[0], 1e-5)
    assert_close(single.pullback(rounded, found, gradient.float()).double(), expected, 1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("cutoff_function", CUTOFFS)
@pytest.mark.parametrize("basis", BASES)
def test_radial_functions_end_at_the_cutoff_and_stay_finite(basis, cutoff_function, dtype):
    module = radial(basis, cutoff_function).to(dtype)
    distances = torch.tensor([[1e-15, 4.0, 4.0 + 1e-6, 8.0, 1e4]], dtype=dtype)
    found = module(distances)
    slopes = module.pullback(distances, found, torch.ones_like(found))
    assert bool(torch.isfinite(found).all())
    assert bool(torch.isfinite(slopes).all())
    assert float(found[:, :, 1:].abs().max()) < 1e-30
    assert float(slopes[:, 1:].abs().max()) < (1e-6 if dtype == torch.float32 else 1e-14)


@pytest.mark.parametrize("max_degree", range(7))
def test_angular_functions_and_gradients(max_degree):
    module, directions = AngularFunctions(max_degree).double(), unit_vectors()
    flat = directions.flatten(1).t()
    expected = spherical_harmonics(max_degree, flat)[:, component_order(max_degree)]
    found = module(directions)
    assert_close(found, expected.view(4, 5, -1).transpose(1, 2))

    def naive(vectors: torch.Tensor) -> list[torch.Tensor]:
        return [spherical_harmonics(max_degree, vectors / vectors.norm(dim=1, keepdim=True))]

    gradient = random(20, (max_degree + 1) ** 2)
    (tangent,) = naive_pullback(naive, [flat], [gradient])
    in_model_order = gradient[:, component_order(max_degree)].view(4, 5, -1).transpose(1, 2)
    pulled = module.pullback(found, in_model_order).transpose(1, 2).reshape(20, 3)
    assert_close(pulled - (pulled * flat).sum(dim=1, keepdim=True) * flat, tangent)


@pytest.mark.parametrize("degree", range(1, 7))
def test_raising_matrix_holds_the_gradients_of_solid_harmonics(degree):
    points = random(9, 3)

    def solid(r: torch.Tensor) -> list[torch.Tensor]:
        length = r.norm(dim=1, keepdim=True)
        return [length**degree * spherical_harmonics(degree, r / length)[:, degree**2 :]]

    gradient = random(9, 2 * degree + 1, seed=1)
    (expected,) = naive_pullback(solid, [points], [gradient])
    lengths = points.norm(dim=1, keepdim=True)
    lower = lengths ** (degree - 1) * spherical_harmonics(degree - 1, points / lengths)[:, (degree - 1) ** 2 :]
    found = degree * torch.einsum("nm,mka,nk->na", gradient, raising_matrix(degree), lower)
    assert_close(found, expected)


@pytest.mark.parametrize("cutoff_function", CUTOFFS)
def test_radial_functions_of_training_agree_with_finite_differences(cutoff_function):
    functions = radial("basic_bernstein", cutoff_function, 4)
    r = torch.tensor([[0.7, 2.1, 3.4]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda r: RadialFunction.apply(r, functions), r)
    assert torch.autograd.gradgradcheck(lambda r: RadialFunction.apply(r, functions), r)


@pytest.mark.parametrize("max_degree", [0, 1, 2, 4])
def test_angular_functions_of_training_agree_with_finite_differences(max_degree):
    functions, directions = AngularFunctions(max_degree).double(), unit_vectors()[:, :1, :2].requires_grad_(True)
    assert torch.autograd.gradcheck(lambda u: AngularFunction.apply(u, functions), directions)
    assert torch.autograd.gradgradcheck(lambda u: AngularFunction.apply(u, functions), directions)
