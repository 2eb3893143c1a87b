"""Scalar layers with hand-derived gradients: perceptron, residual update, degree-wise norms.

Each ``pullback`` takes the derivative of the energy with respect to the layer's output and returns that with respect to
its input; ``saved`` holds what ``forward`` computed on the way.
"""

from typing import List, Tuple

import torch

from lorem_openmm.nn.equivariant import DegreeNorm
from lorem_openmm.nn.scalar import MLP, Update
from lorem_openmm.ops.norms import norms_and_slopes


class Affine(torch.nn.Module):
    """W [n_out, n_in] and b of y = x Wᵀ + b."""

    weight: torch.Tensor
    transposed: torch.Tensor
    bias: torch.Tensor

    def __init__(self, linear: torch.nn.Linear):
        super().__init__()
        self.register_buffer("weight", linear.weight.detach(), persistent=False)
        self.register_buffer("transposed", linear.weight.detach().t(), persistent=False)
        self.register_buffer("bias", linear.bias.detach(), persistent=False)


class Perceptron(torch.nn.Module):
    """y = W_n silu(… silu(W_1 x + b_1) …) + b_n."""

    def __init__(self, mlp: MLP):
        super().__init__()
        self.layers = torch.nn.ModuleList([Affine(layer) for layer in mlp.layers])
        self.from_last = torch.nn.ModuleList(list(self.layers)[::-1])
        self.num_hidden = len(self.layers) - 1

    def forward(self, x: torch.Tensor) -> Tuple[torch.Tensor, List[torch.Tensor]]:
        """Returns y [n_atoms, n_out] for x [n_atoms, n_in], and the values before each silu."""
        hidden: List[torch.Tensor] = []
        for i, layer in enumerate(self.layers):
            if i > 0:
                hidden.append(x)
                x = torch.nn.functional.silu(x)
            x = torch.addmm(layer.bias, x, layer.transposed)
        return x, hidden

    def pullback(self, hidden: List[torch.Tensor], gradient: torch.Tensor) -> torch.Tensor:
        """Returns dE/dx = W_1ᵀ (silu'(h_1) ∘ W_2ᵀ (…)) [n_atoms, n_in] of dE/dy."""
        for i, layer in enumerate(self.from_last):
            if i > 0:
                gradient = torch.ops.aten.silu_backward(gradient, hidden[len(hidden) - i])
            gradient = torch.mm(gradient, layer.weight)
        return gradient


class Normalization(torch.nn.Module):
    """Layer norm, see :class:`torch.nn.LayerNorm`."""

    weight: torch.Tensor
    bias: torch.Tensor

    def __init__(self, norm: torch.nn.LayerNorm):
        super().__init__()
        self.width = norm.weight.shape[0]
        self.epsilon = norm.eps
        self.register_buffer("weight", norm.weight.detach(), persistent=False)
        self.register_buffer("bias", norm.bias.detach(), persistent=False)

    def forward(self, x: torch.Tensor) -> Tuple[torch.Tensor, List[torch.Tensor]]:
        """Returns y [n_atoms, d], and x, its means and inverse deviations."""
        y, mean, inverse = torch.native_layer_norm(x, [self.width], self.weight, self.bias, self.epsilon)
        return y, [x, mean, inverse]

    def pullback(self, saved: List[torch.Tensor], gradient: torch.Tensor) -> torch.Tensor:
        """Returns dE/dx [n_atoms, d] of dE/dy."""
        x, mean, inverse = saved[0], saved[1], saved[2]
        return torch.ops.aten.native_layer_norm_backward(
            gradient, x, [self.width], mean, inverse, self.weight, self.bias, [True, False, False]
        )[0]


class ResidualUpdate(torch.nn.Module):
    """x ← norm(x + MLP(y)); x ← norm(x + MLP(x))."""

    def __init__(self, update: Update):
        super().__init__()
        self.message = Perceptron(update.message)
        self.norm_1 = Normalization(update.norm_1)
        self.refine = Perceptron(update.refine)
        self.norm_2 = Normalization(update.norm_2)

    def forward(self, x: torch.Tensor, message: torch.Tensor) -> Tuple[torch.Tensor, List[torch.Tensor]]:
        """Returns the new x [n_atoms, d] for x [n_atoms, d] and y [n_atoms, n_in], and what the way back needs."""
        change, message_hidden = self.message(message)
        x, norm_1 = self.norm_1(x + change)
        change, refine_hidden = self.refine(x)
        x, norm_2 = self.norm_2(x + change)
        return x, message_hidden + norm_1 + refine_hidden + norm_2

    def pullback(self, saved: List[torch.Tensor], gradient: torch.Tensor) -> Tuple[torch.Tensor, torch.Tensor]:
        """Returns dE/dx [n_atoms, d] and dE/dy [n_atoms, n_in]."""
        n, m = self.message.num_hidden, self.refine.num_hidden
        message_hidden, norm_1 = saved[:n], saved[n : n + 3]
        refine_hidden, norm_2 = saved[n + 3 : n + 3 + m], saved[n + 3 + m :]
        gradient = self.norm_2.pullback(norm_2, gradient)
        gradient = gradient + self.refine.pullback(refine_hidden, gradient)
        gradient = self.norm_1.pullback(norm_1, gradient)
        return gradient, self.message.pullback(message_hidden, gradient)


class Norms(torch.nn.Module):
    """n_cl = T_l (√(‖x_c^l‖² + ε²) − ε), see :class:`lorem_openmm.nn.equivariant.DegreeNorm`."""

    membership: torch.Tensor
    factors: torch.Tensor
    degrees: torch.Tensor

    def __init__(self, norm: DegreeNorm):
        super().__init__()
        self.smoothing = float(norm.smoothing)
        self.register_buffer("membership", norm.membership.t().contiguous().unsqueeze(0), persistent=False)
        self.register_buffer("factors", norm.factors.view(1, -1, 1).clone(), persistent=False)
        self.register_buffer("degrees", norm.membership.argmax(dim=1), persistent=False)

    def forward(self, x: torch.Tensor) -> Tuple[torch.Tensor, torch.Tensor]:
        """Returns n [n_atoms, (L+1)·channels], degree-major, for x [channels, (L+1)², n_atoms].

        Also returns the slopes dn_cl/d(½‖x_c^l‖²) [channels, L+1, n_atoms].
        """
        squares = torch.bmm(self.membership.expand(x.shape[0], -1, -1), x * x)
        norms, slopes = norms_and_slopes(squares, self.factors, self.smoothing)
        return norms.permute(2, 1, 0).flatten(1), slopes

    def pullback(self, x: torch.Tensor, slopes: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
        """Returns dE/dx_c^lm = dE/dn_cl s_cl x_c^lm [channels, (L+1)², n_atoms] of dE/dn."""
        by_degree = gradient.view(gradient.shape[0], slopes.shape[1], slopes.shape[0]).permute(2, 1, 0)
        return (slopes * by_degree).index_select(1, self.degrees) * x
