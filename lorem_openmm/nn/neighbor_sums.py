"""Sums over neighbours as matrix products.

Edges come sorted by pair of species and with their slot in an array padded by receiving atom (see ``graph``), so that
a table of one matrix per species pair multiplies contiguous runs of edges, and a sum of products over the neighbours
of each atom is a batched matrix product instead of a scatter of the products.
"""

from typing import List

import torch

from lorem_openmm.nn.neighbor_sum_derivatives import PairTypeFunction


def multiply_by_pair_type(rows: torch.Tensor, table: torch.Tensor, counts: List[int]) -> torch.Tensor:
    """y_e = x_e · W_t(e): returns [n_edges, n_out].

    Args:
        rows: x [n_edges, n_in], sorted by pair type.
        table: W [n_pair_types, n_in, n_out].
        counts: edges of each pair type.
    """
    if len(counts) == 0:
        return rows.new_zeros((0, table.shape[2]))
    if len(counts) == 1:
        return torch.mm(rows, table[0])
    return PairTypeFunction.apply(rows, table, counts)


def pad_by_center(edge_values: torch.Tensor, edge_slots: torch.Tensor, n_atoms: int, num_slots: int) -> torch.Tensor:
    """Places edge values [n_edges, n] in their slots: returns [n_atoms, num_slots, n], zeros elsewhere."""
    padded = edge_values.new_zeros((n_atoms * num_slots, edge_values.shape[1]))
    return padded.index_copy(0, edge_slots, edge_values).view(n_atoms, num_slots, edge_values.shape[1])
