"""Scalar layers against the network's, their gradients against autograd through the network."""

import pytest
import torch
from made_rows import assert_close, naive_pullback, random, randomize

from lorem_openmm.inference.layers import Normalization, Norms, Perceptron, ResidualUpdate
from lorem_openmm.nn.equivariant import DegreeNorm
from lorem_openmm.nn.scalar import MLP, Update


@pytest.mark.parametrize("sizes", [[5, 3], [5, 8, 1], [4, 6, 7, 2]])
def test_perceptron(sizes):
    mlp = randomize(MLP(sizes))
    module, x, gradient = Perceptron(mlp), random(9, sizes[0]), random(9, sizes[-1], seed=1)
    found, hidden = module(x)
    assert_close(found, mlp(x))
    (expected,) = naive_pullback(lambda x: [mlp(x)], [x], [gradient])
    assert_close(module.pullback(hidden, gradient), expected)


def test_normalization():
    norm = randomize(torch.nn.LayerNorm(6, eps=1e-6))
    module, x, gradient = Normalization(norm), random(9, 6), random(9, 6, seed=1)
    found, saved = module(x)
    centered = x - x.mean(dim=1, keepdim=True)
    naive = centered / torch.sqrt((centered**2).mean(dim=1, keepdim=True) + 1e-6) * norm.weight + norm.bias
    assert_close(found, naive)
    (expected,) = naive_pullback(lambda x: [norm(x)], [x], [gradient])
    assert_close(module.pullback(saved, gradient), expected)


@pytest.mark.parametrize("zero_start", [False, True])
def test_residual_update(zero_start):
    update = randomize(Update(6, 4))
    x = torch.zeros(9, 6, dtype=torch.float64) if zero_start else random(9, 6)
    module, message, gradient = ResidualUpdate(update), random(9, 4, seed=1), random(9, 6, seed=2)
    found, saved = module(x, message)
    assert_close(found, update(x, message))
    expected = naive_pullback(lambda x, y: [update(x, y)], [x, message], [gradient])
    for a, b in zip(module.pullback(saved, gradient), expected, strict=True):
        assert float(b.abs().max()) > 1e-3
        assert_close(a, b)


@pytest.mark.parametrize("smoothing", [0.0, 1e-3, 0.5])
@pytest.mark.parametrize("max_degree", range(5))
def test_norms(max_degree, smoothing):
    norm = DegreeNorm(max_degree, smoothing).double()
    module, x = Norms(norm), random(3, (max_degree + 1) ** 2, 9)
    x[0, :, 2] = 0.0  # an isolated atom
    gradient = random(9, (max_degree + 1) * 3, seed=1)
    found, slopes = module(x)
    assert_close(found, norm(x.permute(2, 0, 1)))
    (expected,) = naive_pullback(lambda x: [norm(x.permute(2, 0, 1))], [x], [gradient])
    pulled = module.pullback(x, slopes, gradient)
    assert_close(pulled, expected)
    assert not pulled[0, :, 2].any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("size", [0.0, 1e-30, 1e-20, 1e-12])
def test_norms_of_vanishing_features_stay_finite(size, dtype):
    norm = DegreeNorm(2).to(dtype)
    x = size * random(3, 9, 4).to(dtype)
    found, slopes = Norms(norm)(x)
    pulled = Norms(norm).pullback(x, slopes, torch.ones_like(found))
    assert bool(torch.isfinite(found).all())
    assert bool(torch.isfinite(pulled).all())
    assert float(pulled.abs().max()) <= 1.5  # T_2 = 5^¼ times a direction
