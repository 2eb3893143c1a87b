"""Optimisers against optax's numbers, stored by tests/parity/make_optimizer_reference.py, and their states."""

import json
from pathlib import Path

import numpy as np
import optimizer_cases as cases
import pytest
import torch

from lorem_openmm.config import Training
from lorem_openmm.training.optimizers import make_optimizer, orthogonalize

STORED = Path(__file__).parents[1] / "parity" / "stored" / "optimizers.json"
DEGREES = [name for name in cases.SHAPES if name.startswith("degrees/")]


class Layers(torch.nn.Module):
    """One layer of each kind of the model, with the parameters of the cases in this package's layout."""

    def __init__(self, arrays: dict[str, np.ndarray]) -> None:
        super().__init__()
        self.linear = torch.nn.ModuleList()
        for index in range(6):
            kernel = arrays[f"Layer_{index}/kernel"]
            self.linear.append(torch.nn.Linear(*kernel.shape, bias=index == 0))
        self.embedding = torch.nn.Embedding(*arrays["Embed_0/embedding"].shape)
        self.degrees = torch.nn.Parameter(torch.empty(len(DEGREES), *arrays[DEGREES[0]].shape))
        self.kernel = torch.nn.Parameter(torch.empty(2, 2, 2, 2))
        self.double()
        with torch.no_grad():
            for parameter, value in zip(self.parameters(), self.layout(arrays), strict=True):
                parameter.copy_(value)

    def layout(self, arrays: dict[str, np.ndarray]) -> list[torch.Tensor]:
        """Arrays by flax's names as tensors in the order of this module's parameters."""
        values = {"kernel": torch.tensor(arrays["Tensor_0/kernel"]).reshape(2, 2, 2, 2)}
        values["degrees"] = torch.tensor(np.stack([arrays[name] for name in DEGREES]))
        values["embedding.weight"] = torch.tensor(arrays["Embed_0/embedding"])
        values["linear.0.bias"] = torch.tensor(arrays["Layer_0/bias"])
        for index in range(6):
            values[f"linear.{index}.weight"] = torch.tensor(arrays[f"Layer_{index}/kernel"]).T
        return [values[name] for name, _ in self.named_parameters()]


def at_start() -> Layers:
    return Layers({name: cases.start(name, shape) for name, shape in cases.SHAPES.items()})


def make(layers: torch.nn.Module, name: str) -> torch.optim.Optimizer:
    return make_optimizer(layers, Training(optimizer=name, learning_rate=cases.rate(0)))


def advance(layers: Layers, optimizer: torch.optim.Optimizer, steps: range) -> None:
    for step in steps:
        gradients = layers.layout({name: cases.gradient(name, shape, step) for name, shape in cases.SHAPES.items()})
        for parameter, gradient in zip(layers.parameters(), gradients, strict=True):
            parameter.grad = gradient.contiguous()
        for group in optimizer.param_groups:
            group["lr"] = cases.rate(step)
        optimizer.step()


@pytest.mark.parametrize("name", cases.OPTIMIZERS)
def test_equals_optax(name: str) -> None:
    stored = json.loads(STORED.read_text(encoding="utf-8"))["optimizers"][name]
    layers, done = at_start(), 0
    optimizer = make(layers, name)
    for step in cases.STORED_STEPS:
        advance(layers, optimizer, range(done, step))
        done = step
        expected = layers.layout({key: np.array(value) for key, value in stored[str(step)].items()})
        for (key, parameter), value, first in zip(
            layers.named_parameters(), expected, at_start().parameters(), strict=True
        ):
            moved = (value - first).abs().max()
            assert moved > 1e-4 or key == "linear.3.weight", key  # the one without gradient
            assert (parameter - value).abs().max() <= 1e-12 * moved, (step, key)


@pytest.mark.parametrize("name", cases.OPTIMIZERS)
def test_continues_from_its_state(name: str) -> None:
    whole, first = at_start(), at_start()
    advance(whole, make(whole, name), range(12))
    optimizer = make(first, name)
    advance(first, optimizer, range(7))
    second = at_start()
    second.load_state_dict(first.state_dict())
    continued = make(second, name)
    continued.load_state_dict(optimizer.state_dict())
    advance(second, continued, range(7, 12))
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), second.parameters(), strict=True))


@pytest.mark.parametrize("name", ["lamb", "muon"])
def test_missing_gradient_counts_as_zero(name: str) -> None:
    zeros, none = at_start(), at_start()
    for layers, missing in ((zeros, torch.zeros_like), (none, lambda p: None)):
        optimizer = make(layers, name)
        advance(layers, optimizer, range(2))
        for parameter in layers.parameters():
            parameter.grad = missing(parameter)
        optimizer.step()
    assert all(torch.equal(a, b) for a, b in zip(zeros.parameters(), none.parameters(), strict=True))


@pytest.mark.parametrize("name", cases.OPTIMIZERS)
def test_frozen_parameters_stay(name: str) -> None:
    layers = at_start()
    for layer in layers.linear:
        layer.requires_grad_(False)
    advance(layers, make(layers, name), range(3))
    before = at_start()
    assert all(torch.equal(a, b) for a, b in zip(layers.linear.parameters(), before.linear.parameters(), strict=True))
    assert not torch.equal(layers.degrees, before.degrees)


@pytest.mark.parametrize("shape", [(6, 6), (6, 9), (9, 6), (4, 30), (30, 4), (1, 5), (5, 1), (1, 1)])
def test_orthogonalize(shape: tuple[int, int]) -> None:
    """Both forms are the iteration as written, and turn singular values, not vectors."""
    matrices = torch.randn(3, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    x = matrices / (torch.linalg.matrix_norm(matrices, keepdim=True) + 1e-8)
    for _ in range(5):
        a = x @ x.mT
        x = 3.4445 * x - 4.7750 * a @ x + 2.0315 * a @ a @ x
    found = orthogonalize(matrices)
    torch.testing.assert_close(found, x, rtol=1e-11, atol=1e-12)
    values = torch.linalg.svdvals(found)
    assert values.max() < 1.25
    assert values.median() > 0.6


def test_orthogonalize_zero() -> None:
    assert torch.equal(orthogonalize(torch.zeros(2, 3, 8)), torch.zeros(2, 3, 8))
