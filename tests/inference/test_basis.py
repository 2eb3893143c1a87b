"""Radial and angular functions against the network's, their gradients against autograd."""

import pytest
import torch
from made_rows import assert_close, naive_pullback, random

from lorem_openmm.inference.basis import AngularFunctions, RadialFunctions, raising_matrix
from lorem_openmm.nn.radial import RadialBasis
from lorem_openmm.nn.spherical import component_order, spherical_harmonics

BASES = ["basic_bernstein", "basic_gaussian", "basic_fourier", "basic_chebyshev"]
CUTOFFS = ["cosine_cutoff", "smooth_cutoff"]


def radial(basis: str, cutoff_function: str, num_radial: int = 7) -> tuple[RadialBasis, RadialFunctions]:
    naive = RadialBasis(4.0, num_radial, basis, cutoff_function).double()
    return naive, RadialFunctions(naive).double()


def by_slot(naive: RadialBasis, distances: torch.Tensor) -> torch.Tensor:
    return naive(distances.flatten()).view(*distances.shape, -1).transpose(1, 2)


def unit_vectors() -> torch.Tensor:
    """[3, 4, 5]."""
    vectors = random(3, 4, 5)
    return vectors / vectors.norm(dim=0)


@pytest.mark.parametrize("cutoff_function", CUTOFFS)
@pytest.mark.parametrize("basis", BASES)
@pytest.mark.parametrize("num_radial", [1, 2, 7, 32])
def test_radial_functions_and_slopes(basis, cutoff_function, num_radial):
    naive, module = radial(basis, cutoff_function, num_radial)
    distances = torch.linspace(0.2, 3.95, 24, dtype=torch.float64).view(4, 6)
    found, gradient = module(distances), random(4, num_radial, 6)
    assert_close(found, by_slot(naive, distances))
    (slope,) = naive_pullback(lambda r: [by_slot(naive, r)], [distances], [gradient])
    assert float(slope.abs().max()) > 1e-2
    assert_close(module.pullback(distances, found, gradient), slope)


@pytest.mark.parametrize("cutoff_function", CUTOFFS)
@pytest.mark.parametrize("basis", BASES)
def test_radial_functions_in_single_precision(basis, cutoff_function):
    naive, module = radial(basis, cutoff_function, 32)
    distances = torch.linspace(0.2, 3.95, 24, dtype=torch.float64).view(4, 6)
    gradient = random(4, 32, 6)
    expected, single = naive_pullback(lambda r: [by_slot(naive, r)], [distances], [gradient])[0], module.float()
    rounded = distances.float()
    found = single(rounded)
    assert_close(found.double(), by_slot(naive.double(), distances), 1e-5)
    assert_close(single.pullback(rounded, found, gradient.float()).double(), expected, 1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("cutoff_function", CUTOFFS)
@pytest.mark.parametrize("basis", BASES)
def test_radial_functions_end_at_the_cutoff_and_stay_finite(basis, cutoff_function, dtype):
    module = radial(basis, cutoff_function)[1].to(dtype)
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
