"""Sums over the neighbours of atoms in rows of slots: the layout of dynamics."""

from typing import List, NamedTuple

import torch


class NearRows(NamedTuple):
    """Neighbours of the atoms ``first`` … ``first + n − 1``.

    Attributes:
        first: first atom.
        neighbors: [n·S] atom each slot sends from; any atom in empty slots.
        distances: [n, S] Å; beyond the cutoff in empty slots.
    """

    first: int
    neighbors: torch.Tensor
    distances: torch.Tensor


def sum_over_neighbors(rows: List[NearRows], weights: List[torch.Tensor], values: torch.Tensor) -> torch.Tensor:
    """Returns Σ_j w_ij v_j [n, n_channels].

    Args:
        rows: of all atoms in order.
        weights: w [n, S] of each of the rows.
        values: v [n, n_channels].
    """
    sent = values.t().contiguous()
    sums: List[torch.Tensor] = []
    for near, w in zip(rows, weights):  # noqa: B905 (not in TorchScript)
        sums.append((at_slots(near, sent) * w).sum(dim=2))
    return torch.cat(sums, dim=1).t()


def pair_products(rows: List[NearRows], received: torch.Tensor, sent: torch.Tensor) -> List[torch.Tensor]:
    """Returns Σ_c g_ic v_jc [n, S] of each of the rows.

    Args:
        rows: of all atoms in order.
        received: g [n, n_channels].
        sent: v [n, n_channels].
    """
    g, v = received.t().contiguous(), sent.t().contiguous()
    products: List[torch.Tensor] = []
    for near in rows:
        products.append((at_slots(near, v) * g.narrow(1, near.first, near.distances.shape[0]).unsqueeze(2)).sum(dim=0))
    return products


def at_slots(near: NearRows, sent: torch.Tensor) -> torch.Tensor:
    """Returns v_j [n_channels, n, S] of values v [n_channels, n_atoms]."""
    return sent.index_select(1, near.neighbors).view(sent.shape[0], near.distances.shape[0], near.distances.shape[1])
