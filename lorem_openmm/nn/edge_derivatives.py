"""Radial and angular basis of the edges, for training: the formulas of ``ops/`` as functions of autograd.

Their backward is the pullback by hand, made of plain operations on what the forward returned, so that autograd
differentiates it once more by going through the same function again. It never sees the recursion and the logarithms.
"""

from typing import Any

import torch

from lorem_openmm.ops.angular import AngularFunctions
from lorem_openmm.ops.radial import RadialFunctions


class RadialBasis(torch.nn.Module):
    """ρ_k(r), see :class:`lorem_openmm.ops.radial.RadialFunctions`.

    Args:
        cutoff: Å.
        num_radial: K.
        radial_basis: e3x's name of the basis.
        cutoff_function: e3x's name of the cutoff function.
    """

    def __init__(self, cutoff: float, num_radial: int, radial_basis: str, cutoff_function: str):
        super().__init__()
        self.functions = RadialFunctions(cutoff, num_radial, radial_basis, cutoff_function)

    def forward(self, distances: torch.Tensor) -> torch.Tensor:
        """Returns ρ [n_edges, K] for distances [n_edges] in Å."""
        slots = distances.unsqueeze(0)
        if not self.functions.bernstein:
            return self.functions(slots)[0].t()
        return RadialFunction.apply(slots, self.functions)[0].t()


class AngularBasis(torch.nn.Module):
    """Y_lm(û), see :class:`lorem_openmm.ops.angular.AngularFunctions`.

    Args:
        max_degree: L.
    """

    def __init__(self, max_degree: int):
        super().__init__()
        self.functions = AngularFunctions(max_degree)

    def forward(self, unit_vectors: torch.Tensor) -> torch.Tensor:
        """Returns Y [n_edges, (L+1)²] for unit vectors [n_edges, 3]."""
        return AngularFunction.apply(unit_vectors.t().unsqueeze(1), self.functions)[0].t()


class RadialFunction(torch.autograd.Function):
    """ρ [n, K, S] of r [n, S]."""

    @staticmethod
    def forward(ctx: Any, distances: torch.Tensor, functions: RadialFunctions) -> torch.Tensor:
        radial = functions(distances)
        ctx.save_for_backward(distances, radial)
        ctx.functions = functions
        return radial

    @staticmethod
    def backward(ctx: Any, g: torch.Tensor) -> tuple[Any, ...]:
        distances, radial = ctx.saved_tensors
        return ctx.functions.pullback(distances, radial, g), None


class AngularFunction(torch.autograd.Function):
    """Y [n, (L+1)², S] of û [3, n, S]."""

    @staticmethod
    def forward(ctx: Any, directions: torch.Tensor, functions: AngularFunctions) -> torch.Tensor:
        angular = functions(directions)
        ctx.save_for_backward(angular)
        ctx.functions = functions
        return angular

    @staticmethod
    def backward(ctx: Any, g: torch.Tensor) -> tuple[Any, ...]:
        (angular,) = ctx.saved_tensors
        return ctx.functions.pullback(angular, g).transpose(0, 1), None
