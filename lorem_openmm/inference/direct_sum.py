"""Potentials of charges in vacuum and their gradients, V_i = ½ Σ_(j ≠ i) q_j / r_ij."""

from typing import NamedTuple, Tuple

import torch


class DirectState(NamedTuple):
    """r_i − r_j [n, n, 3] and 1 / r_ij [n, n], 0 for coincident atoms."""

    vectors: torch.Tensor
    inverse: torch.Tensor


def direct_forward(charges: torch.Tensor, positions: torch.Tensor) -> Tuple[torch.Tensor, DirectState]:
    """Returns V [n, n_channels] for charges [n, n_channels] and positions [n, 3] Å."""
    vectors = positions.unsqueeze(1) - positions.unsqueeze(0)
    squares = (vectors * vectors).sum(dim=2)
    inverse = torch.rsqrt(squares).masked_fill(squares == 0.0, 0.0)
    return 0.5 * torch.mm(inverse, charges), DirectState(vectors, inverse)


def direct_pullback(
    state: DirectState, charges: torch.Tensor, adjoint: torch.Tensor
) -> Tuple[torch.Tensor, torch.Tensor]:
    """dE/dq_i = ½ Σ_j g_j / r_ij and dE/dr_i = −½ Σ_jc (g_ic q_jc + q_ic g_jc) (r_i − r_j) / r_ij³.

    Args:
        state: from :func:`direct_forward`.
        charges: q [n, n_channels].
        adjoint: g = dE/dV [n, n_channels].

    Returns:
        dE/dq [n, n_channels] and dE/dr [n, 3].
    """
    products = torch.mm(adjoint, charges.t())
    cubes = state.inverse * state.inverse * state.inverse
    weights = -0.5 * (products + products.t()) * cubes
    return 0.5 * torch.mm(state.inverse, adjoint), (weights.unsqueeze(2) * state.vectors).sum(dim=1)
