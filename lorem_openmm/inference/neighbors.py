"""Padded neighbour tables: each atom's neighbours in rows of equal length, grouped by their species.

Atoms are sorted by species ("rows"), and rows are cut into blocks. In a block the neighbours of every row lie in
``slots``: first those of the first species, then those of the second, each group filled up with empty slots to the
longest one of the block. Sums over the neighbours of one species are then batched matrix products over a slice, rows of
one species are multiplied by one matrix, and memory follows the size of a block.
"""

from typing import List, NamedTuple

import torch


class RowBlock(NamedTuple):
    """Rows ``first`` … ``first + size − 1`` and their slots.

    Attributes:
        first: first row.
        size: number of rows n.
        center_counts: rows of each species.
        slot_counts: slots of each species of neighbours; their sum is S.
        species: [n] index of each row's species.
        slot_species: [S, n_species, 1] 1 for the species of a slot, 0 for others, in the positions' dtype.
        neighbors: [n·S] row of the neighbour; the row itself in empty slots.
        shifts: [3, n·S] integers S of the edge vector r_j + S·h − r_i, in the positions' dtype.
        empty: [3, n·S] a vector beyond the cutoff in empty slots, zero in others.
    """

    first: int
    size: int
    center_counts: List[int]
    slot_counts: List[int]
    species: torch.Tensor
    slot_species: torch.Tensor
    neighbors: torch.Tensor
    shifts: torch.Tensor
    empty: torch.Tensor


class NeighborTable(NamedTuple):
    """Blocks of rows, and the reverse of each edge.

    Attributes:
        blocks: all rows, in order.
        reverse: [total slots] index, over the slots of all blocks, of the slot that holds the edge from j to i.
    """

    blocks: List[RowBlock]
    reverse: torch.Tensor


def join(parts: List[torch.Tensor], dim: int = 0) -> torch.Tensor:
    """Returns what blocks of rows gave, one after the other; that of a single block is not copied."""
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=dim)


def all_pairs(n_atoms: int, device: torch.device) -> torch.Tensor:
    """Returns all pairs i < j [n_pairs, 2] of atoms in vacuum."""
    return torch.combinations(torch.arange(n_atoms, device=device)).view(-1, 2)


def sort_half_list(pairs: torch.Tensor, shifts: torch.Tensor, n_atoms: int) -> List[torch.Tensor]:
    """Makes a full list of a half list, sorted by center, then neighbour.

    Args:
        pairs: i, j [n_pairs, 2], each pair once.
        shifts: S [n_pairs, 3].
        n_atoms: number of atoms.

    Returns:
        centers [n_edges], neighbors [n_edges], shifts [n_edges, 3] and, of each edge, the index of its reverse.
    """
    n_pairs = pairs.shape[0]
    centers = torch.cat([pairs[:, 0], pairs[:, 1]])
    neighbors = torch.cat([pairs[:, 1], pairs[:, 0]])
    order = torch.argsort(centers * n_atoms + neighbors)
    place = torch.empty_like(order)
    place[order] = torch.arange(order.shape[0], device=order.device)
    reverse = torch.cat([place[n_pairs:], place[:n_pairs]])[order]
    shifts = torch.cat([shifts, -shifts])[order]
    return [centers[order], neighbors[order], shifts, reverse]


def build_table(
    edges: List[torch.Tensor], species_counts: List[int], block_size: int, beyond: float, dtype: torch.dtype
) -> NeighborTable:
    """Lays out a full list.

    Args:
        edges: from :func:`sort_half_list`, for atoms sorted by species.
        species_counts: number of atoms of each species, in the order of the rows.
        block_size: largest number of rows of a block.
        beyond: a length beyond the cutoff, for empty slots.
        dtype: of the positions.
    """
    centers, neighbors, shifts, reverse = edges[0], edges[1], edges[2], edges[3]
    device = centers.device
    n_species, n_atoms = len(species_counts), sum(species_counts)
    species = torch.repeat_interleave(torch.tensor(species_counts, device=device))
    group = centers * n_species + species[neighbors]
    sizes = torch.bincount(group, minlength=n_atoms * n_species)
    rank = torch.arange(group.shape[0], device=device) - (torch.cumsum(sizes, 0) - sizes)[group]
    per_row = sizes.view(n_atoms, n_species)
    edge_ends: List[int] = torch.cumsum(per_row.sum(dim=1), 0).tolist()

    blocks: List[RowBlock] = []
    slots: List[torch.Tensor] = []
    total, first_edge = 0, 0
    for first in range(0, n_atoms, block_size):
        size = min(block_size, n_atoms - first)
        n_edges = edge_ends[first + size - 1] - first_edge
        # At least one slot per species, so that no tensor is empty, and filled up to whole vector registers: matrix
        # products with 48 columns take less time than with 45.
        capacities = per_row[first : first + size].max(dim=0)[0].clamp_min(1)
        if size > 32:  # smaller blocks take longer to start than to multiply
            capacities = torch.div(capacities + 7, 8, rounding_mode="floor") * 8
        slot_counts: List[int] = capacities.tolist()
        starts = torch.cumsum(capacities, 0) - capacities
        num_slots = sum(slot_counts)
        neighbor = neighbors.narrow(0, first_edge, n_edges)
        slot = (centers.narrow(0, first_edge, n_edges) - first) * num_slots + starts[species[neighbor]]
        slot = slot + rank.narrow(0, first_edge, n_edges)
        rows = torch.arange(first, first + size, device=device).repeat_interleave(num_slots)
        empty = torch.zeros(3, size * num_slots, dtype=dtype, device=device)
        empty[0] = beyond
        empty[0, slot] = 0.0
        padded_shifts = torch.zeros(3, size * num_slots, dtype=dtype, device=device)
        padded_shifts[:, slot] = shifts.narrow(0, first_edge, n_edges).t().to(dtype)
        rows[slot] = neighbor
        centers_of_block = species[first : first + size]
        center_counts: List[int] = torch.bincount(centers_of_block, minlength=n_species).tolist()
        marks = torch.eye(n_species, dtype=dtype, device=device).repeat_interleave(capacities, dim=0).unsqueeze(2)
        blocks.append(
            RowBlock(first, size, center_counts, slot_counts, centers_of_block, marks, rows, padded_shifts, empty)
        )
        slots.append(slot + total)
        total += size * num_slots
        first_edge += n_edges

    slot_of_edge = torch.cat(slots)
    full_reverse = torch.arange(total, device=device)
    full_reverse[slot_of_edge] = slot_of_edge[reverse]
    return NeighborTable(blocks, full_reverse)
