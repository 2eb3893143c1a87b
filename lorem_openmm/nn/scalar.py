"""Scalar layers: perceptron, residual update, flax's initial weights."""

from itertools import pairwise
from typing import List

import torch

TRUNCATED_STD = 0.87962566103423978  # standard deviation of a unit normal truncated to (-2, 2)


def lecun_normal_(tensor: torch.Tensor, fan_in: float) -> None:
    """Fills ``tensor`` with a normal truncated at two standard deviations, variance 1 / fan_in (flax's default)."""
    std = fan_in**-0.5 / TRUNCATED_STD
    torch.nn.init.trunc_normal_(tensor, std=std, a=-2 * std, b=2 * std)


def linear(n_in: int, n_out: int, bias: bool = True) -> torch.nn.Linear:
    """A linear layer with flax's initial weights: LeCun normal, zero bias."""
    layer = torch.nn.Linear(n_in, n_out, bias=bias)
    lecun_normal_(layer.weight.data, n_in)
    if bias:
        torch.nn.init.zeros_(layer.bias)
    return layer


class MLP(torch.nn.Module):
    """x → W_n silu(… silu(W_1 x + b_1) …) + b_n.

    Args:
        sizes: widths of input, hidden layers and output.
    """

    def __init__(self, sizes: List[int]):
        super().__init__()
        self.layers = torch.nn.ModuleList([linear(a, b) for a, b in pairwise(sizes)])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Returns [..., sizes[-1]] for x [..., sizes[0]]."""
        last = len(self.layers) - 1
        for i, layer in enumerate(self.layers):
            x = layer(x)
            if i < last:
                x = torch.nn.functional.silu(x)
        return x


class Update(torch.nn.Module):
    """x ← norm(x + MLP(y)); x ← norm(x + MLP(x)).

    Args:
        num_features: width of x.
        n_in: width of the message y.
    """

    def __init__(self, num_features: int, n_in: int):
        super().__init__()
        self.message = MLP([n_in, 2 * num_features, num_features])
        self.norm_1 = torch.nn.LayerNorm(num_features, eps=1e-6)
        self.refine = MLP([num_features, 2 * num_features, num_features])
        self.norm_2 = torch.nn.LayerNorm(num_features, eps=1e-6)

    def forward(self, x: torch.Tensor, message: torch.Tensor) -> torch.Tensor:
        """Returns the new x [n_atoms, num_features] for a message [n_atoms, n_in]."""
        x = self.norm_1(x + self.message(message))
        return self.norm_2(x + self.refine(x))
