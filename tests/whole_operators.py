"""The pair operator with its real-space part and its gradients put together, for tests of several rooms."""

import torch

from lorem_openmm.data.neighbors import neighbor_list
from lorem_openmm.sums.near import NearRows
from lorem_openmm.sums.operator import PairOperator


def near_rows(positions: torch.Tensor, cell: torch.Tensor, cutoff: float, size: int = 7, periodic: bool = True):
    """Rows of ``size`` atoms each with empty slots, and the edge vectors [n, S, 3] of each."""
    edges = neighbor_list(positions.detach().numpy(), cell.detach().numpy(), periodic, cutoff)
    i, j = torch.tensor(edges.centers), torch.tensor(edges.neighbors)
    shifts = torch.tensor(edges.cell_shifts, dtype=positions.dtype)
    beyond = torch.tensor([2.0 * cutoff, 0.0, 0.0], dtype=positions.dtype)
    rows, vectors = [], []
    for first in range(0, len(positions), size):
        n = min(size, len(positions) - first)
        here = [torch.nonzero(i == first + k).flatten() for k in range(n)]
        slots = max(len(edge) for edge in here) + 1
        neighbors = torch.arange(first, first + n).repeat_interleave(slots).view(n, slots)
        vector = [torch.zeros(0)] * n
        for k, edge in enumerate(here):
            neighbors[k, : len(edge)] = j[edge]
            found = positions[j[edge]] + shifts[edge] @ cell - positions[first + k]
            vector[k] = torch.cat([found, beyond.expand(slots - len(edge), 3)])
        vectors.append(torch.stack(vector))
        rows.append(NearRows(first, neighbors.flatten(), vectors[-1].norm(dim=2)))
    return rows, vectors


def results(operator: PairOperator, charges, positions, cell, adjoint, cutoff=None):
    """V, dE/dq, dE/dr, dE/dε by the gradients by hand; with a cutoff, the real-space part included."""
    rows, vectors = ([], []) if cutoff is None else near_rows(positions, cell, cutoff)
    values, state = operator(charges, positions, cell, rows)
    gradients = operator.pullback(state, charges, adjoint)
    of_positions, strain = gradients.positions.clone(), operator.strain(state, charges, adjoint)
    for near, vector, slopes in zip(rows, vectors, gradients.distances, strict=True):
        pulls = (slopes / near.distances).unsqueeze(2) * vector
        of_positions.index_add_(0, near.neighbors, pulls.flatten(0, 1))
        of_positions[near.first : near.first + len(vector)] -= pulls.sum(dim=1)
        strain = strain + torch.einsum("nsa,nsb->ab", vector, pulls)
    return [values, gradients.charges, of_positions, strain]
