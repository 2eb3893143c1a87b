"""Tensor products against the sum over Clebsch-Gordan coefficients, their gradients against autograd of that sum."""

import pytest
import torch
from made_rows import assert_close, naive_pullback, random

from lorem_openmm.inference.products import Product, WholeProduct, pad_atoms
from lorem_openmm.inference.reflections import ReflectionProduct
from lorem_openmm.nn.equivariant import TensorProduct
from lorem_openmm.ops.spherical import clebsch_gordan, component_order, reflection_classes, spherical_harmonics

DEGREES = [(L, L, L) for L in range(5)] + [(0, 3, 3), (2, 4, 4), (1, 1, 0), (3, 3, 2), (4, 4, 1)]


def naive_coupling(product: TensorProduct, degrees: tuple[int, int, int]) -> torch.Tensor:
    """B_abc = w·C [channels, (L1+1)², (L2+1)², (L3+1)²], filled in e3x's order, returned in the model's."""
    sizes = [(degree + 1) ** 2 for degree in degrees]
    matrix = torch.zeros(product.kernel.shape[3], *sizes, dtype=torch.float64)
    for l1 in range(degrees[0] + 1):
        for l2 in range(degrees[1] + 1):
            for l3 in range(abs(l1 - l2), min(l1 + l2, degrees[2]) + 1):
                if (l1 + l2 + l3) % 2 == 0:
                    a, b, c = (slice(degree**2, (degree + 1) ** 2) for degree in (l1, l2, l3))
                    weights = product.kernel[l1, l2, l3].detach().view(-1, 1, 1, 1)
                    matrix[:, a, b, c] = weights * clebsch_gordan(l1, l2, l3)
    a, b, c = (component_order(degree) for degree in degrees)
    return matrix[:, a][:, :, b][:, :, :, c]


def tensor_product(degrees: tuple[int, int, int], channels: int) -> TensorProduct:
    torch.manual_seed(0)
    return TensorProduct(*degrees, channels).double()


@pytest.mark.parametrize("n_atoms", [1, 16, 19])
@pytest.mark.parametrize("degrees", DEGREES)
@pytest.mark.parametrize(("kind", "channels"), [(Product, 3), (ReflectionProduct, 3), (WholeProduct, 1)])
def test_products_and_gradients(kind, channels, degrees, n_atoms):
    product = tensor_product(degrees, channels)
    matrix = naive_coupling(product, degrees)
    module = kind(product)
    x1, x2, gradient = (random(channels, (degree + 1) ** 2, n_atoms, seed=i) for i, degree in enumerate(degrees))

    def naive(x1: torch.Tensor, x2: torch.Tensor) -> list[torch.Tensor]:
        return [torch.einsum("kabc,kan,kbn->kcn", matrix, x1, x2)]

    assert_close(module(x1, x2), naive(x1, x2)[0])
    assert_close(torch.jit.script(module)(x1, x2), naive(x1, x2)[0])
    for found, expected in zip(
        module.pullback(x1, x2, gradient), naive_pullback(naive, [x1, x2], [gradient]), strict=True
    ):
        assert_close(found, expected)


@pytest.mark.parametrize("degrees", DEGREES)
def test_matrix_holds_weights_times_coefficients(degrees):
    product = tensor_product(degrees, 2)
    expected = naive_coupling(product, degrees).flatten(1)
    assert_close(product.matrix(torch.arange(expected.shape[1])), expected)


@pytest.mark.parametrize("max_degree", range(7))
def test_components_change_sign_as_their_class_says(max_degree):
    directions = random(5, 3)
    directions = directions / directions.norm(dim=1, keepdim=True)
    classes = reflection_classes(max_degree)
    order = component_order(max_degree)
    values = spherical_harmonics(max_degree, directions)[:, order]
    for axis, bit in enumerate([4, 2, 1]):
        mirrored = directions.clone()
        mirrored[:, axis] *= -1.0
        signs = 1.0 - 2.0 * ((classes & bit) > 0).double()
        assert_close(spherical_harmonics(max_degree, mirrored)[:, order], values * signs)


@pytest.mark.parametrize(("n_atoms", "padded"), [(1, 16), (16, 16), (17, 32)])
def test_padding_adds_zeros(n_atoms, padded):
    x = random(2, 3, n_atoms)
    found = pad_atoms(x)
    assert found.shape == (2, 3, padded)
    assert torch.equal(found[:, :, :n_atoms], x)
    assert not found[:, :, n_atoms:].any()
