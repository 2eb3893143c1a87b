"""Potentials of charges in vacuum and their gradients, V_i = ½ Σ_(j ≠ i) q_j / r_ij."""

import math
from typing import NamedTuple, Tuple

import torch


class DirectState(NamedTuple):
    """r_i − r_j [n, n, 3] and h_ij = 1 / 2r_ij [n, n], 0 for coincident atoms."""

    vectors: torch.Tensor
    halves: torch.Tensor


def direct_forward(charges: torch.Tensor, positions: torch.Tensor) -> Tuple[torch.Tensor, DirectState]:
    """Returns V [n, n_channels] for charges [n, n_channels] and positions [n, 3] Å."""
    vectors = positions.unsqueeze(1) - positions.unsqueeze(0)
    halves = 0.5 * torch.rsqrt((vectors * vectors).sum(dim=2))
    halves = torch.nan_to_num(halves, nan=math.nan, posinf=0.0)
    return torch.mm(halves, charges), DirectState(vectors, halves)


def direct_pullback(
    state: DirectState, charges: torch.Tensor, adjoint: torch.Tensor
) -> Tuple[torch.Tensor, torch.Tensor]:
    """dE/dq_i = Σ_j h_ij g_j and dE/dr_i = −4 Σ_j h_ij³ (r_i − r_j) Σ_c (g_ic q_jc + q_ic g_jc).

    Args:
        state: from :func:`direct_forward`.
        charges: q [n, n_channels].
        adjoint: g = dE/dV [n, n_channels].

    Returns:
        dE/dq [n, n_channels] and dE/dr [n, 3].
    """
    products = torch.mm(adjoint, charges.t())
    pulls = (products + products.t()) * state.halves.pow(3)
    return torch.mm(state.halves, adjoint), -4.0 * torch.bmm(pulls.unsqueeze(1), state.vectors).squeeze(1)
