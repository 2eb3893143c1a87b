"""AtomGraph: the one record of tensors that goes into the model; every shape is documented here."""

import math
from collections.abc import Callable
from typing import List, NamedTuple, Optional

import torch


class AtomGraph(NamedTuple):
    """Structures with their neighbour lists, joined into one set of tensors.

    Edges are sorted by the pair of species they join, so that a table of one row per pair type multiplies
    contiguous slices; ``edge_slots`` gives the place of each edge in an array [n_atoms, num_slots] padded by
    receiving atom, so that sums over neighbours are matrix products.

    Attributes:
        positions: [n_atoms, 3] Å.
        atomic_numbers: [n_atoms] integers.
        system_index: [n_atoms] the structure each atom belongs to, sorted ascending.
        system_sizes: number of atoms of each structure.
        cell: [n_systems, 3, 3] Å, rows are the vectors; zeros for structures in vacuum.
        periodic: for each structure, whether it is periodic in all three directions or in vacuum.
        centers: [n_edges] receiving atom i.
        neighbors: [n_edges] sending atom j.
        cell_shifts: [n_edges, 3] integers S in positions' dtype; edge vector = r_j + S·h − r_i.
        pair_types: [n_pair_types, 2] atomic numbers (of i, of j) of each run of edges.
        pair_type_counts: number of edges of each pair type, in the order of ``pair_types``.
        edge_slots: [n_edges] centers·num_slots + rank of the edge among those of its center.
        num_slots: largest number of edges of one atom.
        system_slots: [n_atoms] system_index·max_size + rank of the atom in its structure.
        max_size: number of atoms of the largest structure.
        total_charge: [n_systems] e in positions' dtype; NaN: not stated.
    """

    positions: torch.Tensor
    atomic_numbers: torch.Tensor
    system_index: torch.Tensor
    system_sizes: List[int]
    cell: torch.Tensor
    periodic: List[bool]
    centers: torch.Tensor
    neighbors: torch.Tensor
    cell_shifts: torch.Tensor
    pair_types: torch.Tensor
    pair_type_counts: List[int]
    edge_slots: torch.Tensor
    num_slots: int
    system_slots: torch.Tensor
    max_size: int
    total_charge: torch.Tensor


def build_graph(
    positions: torch.Tensor,
    atomic_numbers: torch.Tensor,
    system_sizes: List[int],
    cell: torch.Tensor,
    periodic: List[bool],
    centers: torch.Tensor,
    neighbors: torch.Tensor,
    cell_shifts: torch.Tensor,
    total_charge: Optional[torch.Tensor] = None,
) -> AtomGraph:
    """Sorts the edges of a neighbour list by pair of species and notes their places (see :class:`AtomGraph`).

    Args:
        positions: [n_atoms, 3] Å.
        atomic_numbers: [n_atoms] integers, 0 < Z < 256.
        system_sizes: number of atoms of each structure, in order.
        cell: [n_systems, 3, 3] Å.
        periodic: one flag per structure.
        centers: [n_edges] receiving atoms of a full list.
        neighbors: [n_edges] sending atoms.
        cell_shifts: [n_edges, 3].
        total_charge: [n_systems] e; None: not stated.
    """
    device = positions.device
    n_atoms = positions.shape[0]
    sizes = torch.tensor(system_sizes, dtype=torch.long, device=device)
    system_index = torch.repeat_interleave(torch.arange(len(system_sizes), device=device), sizes)

    ranks = torch.arange(n_atoms, device=device) - (torch.cumsum(sizes, 0) - sizes)[system_index]

    pair_code = atomic_numbers[centers] * 256 + atomic_numbers[neighbors]
    order = torch.argsort(pair_code, stable=True)
    centers, neighbors, cell_shifts = centers[order], neighbors[order], cell_shifts[order]
    codes, counts = torch.unique_consecutive(pair_code[order], return_counts=True)
    pair_types = torch.stack([torch.div(codes, 256, rounding_mode="floor"), codes % 256], dim=1)

    by_center = torch.argsort(centers, stable=True)
    degree = torch.bincount(centers, minlength=n_atoms)
    first = torch.cumsum(degree, 0) - degree
    rank = torch.empty_like(centers)
    rank[by_center] = torch.arange(centers.shape[0], device=device) - first[centers[by_center]]
    num_slots = int(degree.max()) if centers.shape[0] > 0 else 0
    max_size = max(system_sizes)
    return AtomGraph(
        positions=positions,
        atomic_numbers=atomic_numbers,
        system_index=system_index,
        system_sizes=system_sizes,
        cell=cell,
        periodic=periodic,
        centers=centers,
        neighbors=neighbors,
        cell_shifts=cell_shifts.to(positions.dtype),
        pair_types=pair_types,
        pair_type_counts=counts.tolist(),
        edge_slots=centers * num_slots + rank,
        num_slots=num_slots,
        system_slots=system_index * max_size + ranks,
        max_size=max_size,
        total_charge=positions.new_full([len(system_sizes)], math.nan) if total_charge is None else total_charge,
    )


def map_tensors(graph: AtomGraph, change: Callable[[torch.Tensor], torch.Tensor]) -> AtomGraph:
    """Returns the graph with each of its tensors changed.

    Args:
        graph: structures and neighbour lists.
        change: of one tensor, which keeps its shape.
    """
    return AtomGraph._make(change(part) if torch.is_tensor(part) else part for part in graph)


def with_geometry(graph: AtomGraph, positions: torch.Tensor, cell: torch.Tensor) -> AtomGraph:
    """Returns the graph with other positions [n_atoms, 3] and cell [n_systems, 3, 3], its lists unchanged."""
    return graph._replace(positions=positions, cell=cell)
