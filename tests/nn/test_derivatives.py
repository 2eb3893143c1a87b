"""Derivatives by hand against finite differences, and against autograd through plain operations."""

import pytest
import torch

from lorem_openmm.nn import equivariant, neighbor_sum_derivatives, product_derivatives
from lorem_openmm.nn.equivariant import TensorProduct
from lorem_openmm.nn.neighbor_sum_derivatives import PairTypeFunction, SphericalDensityFunction
from lorem_openmm.nn.product_derivatives import TensorProductFunction

COUNTS = [1, 5, 3]  # components of degrees 0, 2, 1


def normal(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64).requires_grad_()


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(3)


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two atoms at a time, so that five atoms make chunks of different sizes."""
    monkeypatch.setattr(product_derivatives, "CACHED_PAIRS", 1)
    monkeypatch.setattr(product_derivatives, "FEWEST_ATOMS", 2)


@pytest.fixture(params=[0, 10**9], ids=["four classes", "two classes"])
def classes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Components sorted by parity and a mirror, or by parity alone."""
    monkeypatch.setattr(equivariant, "MANY_PAIRS", request.param)


def check(function, *inputs: torch.Tensor) -> None:
    assert torch.autograd.gradcheck(function, inputs)
    assert torch.autograd.gradgradcheck(function, inputs)


def plain_operations(product: TensorProduct):
    return lambda a, b: product.by_blocks(a, b, product.fold())


@pytest.mark.usefixtures("small_chunks", "classes")
@pytest.mark.parametrize("degrees", [(2, 1, 2), (1, 2, 1), (0, 2, 2), (3, 0, 3)])
def test_product_agrees_with_finite_differences(degrees: tuple[int, int, int]) -> None:
    product = TensorProduct(*degrees, channels=2).double()
    a, b = (normal(5, 2, (degree + 1) ** 2) for degree in degrees[:2])
    matrices = normal(2, len(product.sorted_entries))
    check(lambda a, b, m: TensorProductFunction.apply(a, b, 1 * m, product.sorting), a, b, matrices)


@pytest.mark.usefixtures("small_chunks", "classes")
@pytest.mark.parametrize("degrees", [(4, 4, 4), (2, 4, 4), (4, 4, 2)])
def test_product_agrees_with_plain_operations_in_a_loss_of_forces(degrees: tuple[int, int, int]) -> None:
    product = TensorProduct(*degrees, channels=3).double()
    inputs = [normal(7, 3, (degree + 1) ** 2) for degree in degrees[:2]]
    weights = [normal(7, 3, (degree + 1) ** 2).detach() for degree in degrees]

    def gradients(multiply) -> list[torch.Tensor]:
        y = multiply(*inputs)
        energy = (weights[2] * torch.tanh(y)).sum()
        forces = torch.autograd.grad(energy, inputs, create_graph=True)
        total = energy + sum((w * f * f).sum() for w, f in zip(weights, forces, strict=False))
        return [y, *forces, *torch.autograd.grad(total, [*inputs, product.kernel])]

    by_hand, plain = gradients(product), gradients(plain_operations(product))
    for one, other in zip(by_hand, plain, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-11, atol=1e-12)


def test_product_spares_the_gradient_of_weights_where_only_positions_are_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    product = TensorProduct(2, 2, 2, channels=2).double()
    a, b = normal(4, 2, 9), normal(4, 2, 9)
    made = []
    for name in ("_differentiable_weights", "_add_weights"):
        original = getattr(product_derivatives, name)
        monkeypatch.setattr(product_derivatives, name, lambda *args, f=original: made.append(f) or f(*args))
    energy = product(a, b).square().sum()
    (force,) = torch.autograd.grad(energy, [a], create_graph=True)
    assert not made
    force.square().sum().backward()
    assert made
    assert product.kernel.grad is not None
    assert torch.any(product.kernel.grad != 0)


def test_gradient_by_weights_can_be_differentiated_too() -> None:
    product = TensorProduct(2, 2, 2, channels=2).double()
    a, b = normal(4, 2, 9), normal(4, 2, 9)

    def second(multiply) -> torch.Tensor:
        energy = torch.tanh(multiply(a, b)).sum()
        (slope,) = torch.autograd.grad(energy, [product.kernel], create_graph=True)
        return torch.cat([g.flatten() for g in torch.autograd.grad(slope.square().sum(), [a, b, product.kernel])])

    torch.testing.assert_close(second(product), second(plain_operations(product)), rtol=1e-10, atol=1e-12)


def test_product_of_one_channel_with_many_and_of_no_atoms() -> None:
    product = TensorProduct(2, 2, 2, channels=3).double()
    a, b = normal(4, 1, 9), normal(4, 3, 9)
    each = product(a.expand(-1, 3, -1), b)
    torch.testing.assert_close(product(a, b), each)
    assert product(a[:0], b[:0]).shape == (0, 3, 9)


@pytest.mark.parametrize("many", [0, 40])
def test_density_agrees_with_finite_differences(many: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbor_sum_derivatives, "MANY_SLOTS", many)
    check(lambda c, y: SphericalDensityFunction.apply(c, y, COUNTS), normal(3, 4, 6), normal(3, 4, 9))


def test_products_by_pair_type_agree_with_finite_differences() -> None:
    check(lambda x, w: PairTypeFunction.apply(x, 1 * w, [2, 0, 4, 1]), normal(7, 3), normal(4, 3, 2))
