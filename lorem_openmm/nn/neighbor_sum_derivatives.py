"""Sums over neighbours with first and second derivatives by hand, for training.

y_e = x_e W_t(e), one matrix per pair of species, is linear in x and in W. Autograd goes back through the slices of x
one by one and fills an array of all edges with zeros for each of them; by hand, the way back is one product a slice.

A_c^lm = Σ_s a_s,lc Y_s,lm of each atom is linear in a and in Y. Autograd goes back through the slices of each degree
and fills arrays of all degrees with zeros for each of them. By hand, the way back is one product per degree and factor;
or, with many neighbours, one product of all degrees with dE/dA spread over blocks on the diagonal.
"""

from typing import Any

import torch
from torch.autograd.function import once_differentiable

from lorem_openmm.nn.product_derivatives import will_be_used

MANY_SLOTS = 40  # neighbours of an atom, from which one product of all degrees is faster than one of each


class PairTypeFunction(torch.autograd.Function):
    """y [n_edges, n_out] of x [n_edges, n_in], sorted by pair type, and W [n_pair_types, n_in, n_out]."""

    @staticmethod
    def forward(ctx: Any, rows: torch.Tensor, table: torch.Tensor, counts: list[int]) -> torch.Tensor:
        ctx.save_for_backward(rows, table)
        ctx.counts = counts
        return _by_type(rows, table, counts)

    @staticmethod
    def backward(ctx: Any, g: torch.Tensor) -> tuple[Any, ...]:
        rows, table = ctx.saved_tensors
        needed = will_be_used(ctx.next_functions[1][0])
        gradient = PairTypeFunction.apply(g, table.transpose(1, 2), ctx.counts)
        return gradient, TableGradientFunction.apply(rows, g, ctx.counts) if needed else None, None


class TableGradientFunction(torch.autograd.Function):
    """dE/dW_t = Σ_(edges of t) x_e ⊗ g_e."""

    @staticmethod
    def forward(ctx: Any, rows: torch.Tensor, g: torch.Tensor, counts: list[int]) -> torch.Tensor:
        ctx.save_for_backward(rows, g)
        ctx.counts = counts
        parts = zip(rows.split(counts), g.split(counts), strict=True)
        return torch.stack([torch.mm(x.t(), y) for x, y in parts])

    @staticmethod
    def backward(ctx: Any, u: torch.Tensor) -> tuple[Any, ...]:
        rows, g = ctx.saved_tensors
        by_rows = PairTypeFunction.apply(g, u.transpose(1, 2), ctx.counts)
        return by_rows, PairTypeFunction.apply(rows, u, ctx.counts), None


def _by_type(rows: torch.Tensor, table: torch.Tensor, counts: list[int]) -> torch.Tensor:
    result = rows.new_empty(rows.shape[0], table.shape[2])
    for x, y, matrix in zip(rows.split(counts), result.split(counts), table.unbind(0), strict=True):
        torch.mm(x, matrix, out=y)
    return result


class SphericalDensityFunction(torch.autograd.Function):
    """A [n_atoms, channels, (L+1)²] of a [n_atoms, slots, degrees·channels] and Y [n_atoms, slots, (L+1)²]."""

    @staticmethod
    def forward(
        ctx: Any, coefficients: torch.Tensor, angular: torch.Tensor, component_counts: list[int]
    ) -> torch.Tensor:
        ctx.save_for_backward(coefficients, angular)
        ctx.component_counts = component_counts
        return _density(coefficients, angular, component_counts)

    @staticmethod
    def backward(ctx: Any, g: torch.Tensor) -> tuple[Any, ...]:
        coefficients, angular = ctx.saved_tensors
        return (*DensityGradientFunction.apply(g, coefficients, angular, ctx.component_counts), None)


class DensityGradientFunction(torch.autograd.Function):
    """dE/da = Σ_m Y_lm g_c^lm and dE/dY = Σ_c a_lc g_c^lm for g = dE/dA."""

    @staticmethod
    def forward(
        ctx: Any, g: torch.Tensor, coefficients: torch.Tensor, angular: torch.Tensor, component_counts: list[int]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        ctx.save_for_backward(g, coefficients, angular)
        ctx.component_counts = component_counts
        return _gradients(g, coefficients, angular, component_counts)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, u: torch.Tensor, v: torch.Tensor) -> tuple[Any, ...]:
        g, coefficients, angular = ctx.saved_tensors
        # Σ_s u Y + a v as one density of twice as many slots.
        doubled = torch.cat([u, coefficients], dim=1), torch.cat([angular, v], dim=1)
        dg = _density(*doubled, ctx.component_counts)
        return (dg, *_gradients(g, u, v, ctx.component_counts), None)


def _density(coefficients: torch.Tensor, angular: torch.Tensor, component_counts: list[int]) -> torch.Tensor:
    channels = coefficients.shape[2] // len(component_counts)
    parts = zip(coefficients.split(channels, dim=2), angular.split(component_counts, dim=2), strict=True)
    return torch.cat([torch.bmm(a.transpose(1, 2), y) for a, y in parts], dim=2)


def _gradients(
    g: torch.Tensor, coefficients: torch.Tensor, angular: torch.Tensor, component_counts: list[int]
) -> tuple[torch.Tensor, torch.Tensor]:
    channels = g.shape[1]
    if coefficients.shape[1] > MANY_SLOTS:
        spread = g.new_zeros(g.shape[0], channels * len(component_counts), g.shape[2])
        first = 0
        for degree, count in enumerate(component_counts):
            rows, columns = slice(degree * channels, (degree + 1) * channels), slice(first, first + count)
            spread[:, rows, columns] = g[:, :, columns]
            first += count
        return torch.bmm(angular, spread.transpose(1, 2)), torch.bmm(coefficients, spread)
    of_degree = g.split(component_counts, dim=2)
    by_a = [torch.bmm(y, d.transpose(1, 2)) for d, y in zip(of_degree, angular.split(component_counts, 2), strict=True)]
    by_y = [torch.bmm(a, d) for d, a in zip(of_degree, coefficients.split(channels, 2), strict=True)]
    return torch.cat(by_a, dim=2), torch.cat(by_y, dim=2)
