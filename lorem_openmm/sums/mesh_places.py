"""Where atoms sit on the mesh: spreading their charges, reading what the mesh holds.

Spreading is one matrix product per block of the mesh, Σ_j (w_x w_y)_j ⊗ (w_z q)_j, added to the block and the halo
behind it. Reading sums rows of a table: the mesh is laid out in pieces of lines along z that begin at every fourth
point and are long enough for a spline beginning anywhere before the next, so that an atom needs p² rows. The sum along
z comes last.
"""

from typing import List, NamedTuple, Optional, Tuple

import torch

from lorem_openmm.sums.mesh_points import first_points, spline_weights
from lorem_openmm.sums.mesh_tiles import Tiles, sort_into_tiles, spread


class OccupiedBlocks(NamedTuple):
    """OccupiedBlocks of the mesh that hold atoms.

    Attributes:
        widths: mesh points of a block along each axis.
        corners: first mesh point of each occupied block, x, y, z in turn.
        counts: atoms of each occupied block.
        dense: [n, width + p − 1] for each axis: spline weights of each atom on the mesh points of its block and halo.
    """

    widths: List[int]
    corners: List[int]
    counts: List[int]
    dense: List[torch.Tensor]


class Places(NamedTuple):
    """Atoms on the mesh, sorted by block.

    Attributes:
        sizes: numbers of mesh points.
        order: [n] atom of each rank; all below is by rank.
        weights: [n, 3, p] of the spline at its mesh points.
        slopes: [n, 3, p] their derivatives with respect to the coordinate in mesh points.
        window: [n, p + 3, 1] w_z on the points of its row.
        window_slopes: [n, p + 3, 1] the derivatives of w_z there.
        rows: [n, p²] rows of the table an atom reads.
        blocks: for spreading on the CPU.
        tiles: for spreading elsewhere, in few large operations.
    """

    sizes: List[int]
    order: torch.Tensor
    weights: torch.Tensor
    slopes: torch.Tensor
    window: torch.Tensor
    window_slopes: torch.Tensor
    rows: torch.Tensor
    blocks: Optional[OccupiedBlocks]
    tiles: Optional[Tiles]


def places_on_mesh(scaled: torch.Tensor, sizes: List[int], order: int) -> Places:
    """Finds mesh points and weights for splines of even order p.

    Args:
        scaled: positions in mesh points [n, 3].
        sizes: numbers of mesh points.
        order: p.
    """
    widest_block = 10  # wider ones multiply more zeros, narrower ones have more halo
    stride = 4  # from row to row: shorter ones repeat each point more often, longer ones read more points
    widths: List[int] = []
    n_blocks: List[int] = []
    for n in sizes:
        n_blocks.append(_ceil_divide(n, widest_block))
        widths.append(_ceil_divide(n, n_blocks[-1]))
    first, offsets = first_points(scaled, sizes, order)
    block = torch.div(first, torch.tensor(widths, device=scaled.device), rounding_mode="floor")
    number = (block[:, 0] * n_blocks[1] + block[:, 1]) * n_blocks[2] + block[:, 2]
    by_block = torch.argsort(number)
    first = first.index_select(0, by_block)
    weights, slopes = _splines(offsets.index_select(0, by_block), order)
    blocks: Optional[OccupiedBlocks] = None
    tiles: Optional[Tiles] = None
    if scaled.device.type == "cpu":
        blocks = _cut(number, n_blocks, widths, first, weights)
    else:
        tiles = sort_into_tiles(first, weights, sizes)

    points = torch.arange(order, device=scaled.device)
    lines = ((first[:, :1] + points) % sizes[0]).unsqueeze(2) * sizes[1]
    lines = (lines + ((first[:, 1:2] + points) % sizes[1]).unsqueeze(1)).flatten(1)
    piece = torch.div(first[:, 2:], stride, rounding_mode="floor")
    spots = first[:, 2:] - stride * piece + points
    empty = weights.new_zeros((weights.shape[0], order + stride - 1))
    window = empty.scatter(1, spots, weights[:, 2]).unsqueeze(2)
    window_slopes = empty.scatter(1, spots, slopes[:, 2]).unsqueeze(2)
    rows = lines * _ceil_divide(sizes[2], stride) + piece
    return Places(sizes, by_block, weights, slopes, window, window_slopes, rows, blocks, tiles)


def _splines(offsets: torch.Tensor, order: int) -> Tuple[torch.Tensor, torch.Tensor]:
    """Weights and their derivatives [n, 3, p]; M_p' (x) = M_(p−1)(x) − M_(p−1)(x − 1)."""
    lower = spline_weights(offsets, order - 1)
    slopes = torch.nn.functional.pad(lower, [1, 0]) - torch.nn.functional.pad(lower, [0, 1])
    return spline_weights(offsets, order), slopes


def _cut(
    number: torch.Tensor, n_blocks: List[int], widths: List[int], first: torch.Tensor, weights: torch.Tensor
) -> OccupiedBlocks:
    corners: List[int] = []
    counts: List[int] = []
    found: List[int] = torch.bincount(number).tolist()
    for i, count in enumerate(found):
        if count > 0:
            counts.append(count)
            corners.append(i // (n_blocks[1] * n_blocks[2]) * widths[0])
            corners.append(i // n_blocks[2] % n_blocks[1] * widths[1])
            corners.append(i % n_blocks[2] * widths[2])
    order = weights.shape[2]
    points = torch.arange(order, device=weights.device)
    dense: List[torch.Tensor] = []
    for axis, width in enumerate(widths):
        inside = (first[:, axis] % width).unsqueeze(1) + points
        empty = weights.new_zeros((weights.shape[0], width + order - 1))
        dense.append(empty.scatter(1, inside, weights[:, axis]))
    return OccupiedBlocks(widths, corners, counts, dense)


def charges_on_mesh(charges: torch.Tensor, places: Places) -> torch.Tensor:
    """Σ_i w_ia q_i [n_x, n_y, n_z, n_channels] of charges by rank [n, n_channels]."""
    blocks, tiles = places.blocks, places.tiles
    if blocks is None:
        assert tiles is not None  # for TorchScript  # noqa: S101
        return spread(charges, tiles)
    halo = places.weights.shape[2] - 1
    sizes, widths = places.sizes, blocks.widths
    padded = [_ceil_divide(n, widths[i]) * widths[i] + halo for i, n in enumerate(sizes)]
    mesh = charges.new_zeros((padded[0], padded[1], padded[2], charges.shape[1]))
    start = 0
    for i, count in enumerate(blocks.counts):
        x, y, z = [d.narrow(0, start, count) for d in blocks.dense]
        planes = (x.unsqueeze(2) * y.unsqueeze(1)).flatten(1)
        lines = (z.unsqueeze(2) * charges.narrow(0, start, count).unsqueeze(1)).flatten(1)
        here = mesh
        for axis, width in enumerate(widths):
            here = here.narrow(axis, blocks.corners[3 * i + axis], width + halo)
        here.add_(torch.mm(planes.t(), lines).view(here.shape))
        start += count
    for axis, n in enumerate(sizes):  # what lies behind the last point belongs to the first ones
        behind = n
        while behind < n + halo:
            part = min(n, n + halo - behind)
            mesh.narrow(axis, 0, part).add_(mesh.narrow(axis, behind, part))
            behind += part
        mesh = mesh.narrow(axis, 0, n)
    return mesh.contiguous()


def rows_of_mesh(mesh: torch.Tensor, places: Places) -> torch.Tensor:
    """The table of rows [n_x n_y ⌈n_z / stride⌉, (p + 3) n_channels] of a mesh [n_x, n_y, n_z, n_channels]."""
    n, length = mesh.shape[2], places.window.shape[1]
    stride = length - places.weights.shape[2] + 1
    end = (_ceil_divide(n, stride) - 1) * stride + length
    copies = [mesh]
    while end > n:
        copies.append(mesh.narrow(2, 0, min(n, end - n)))
        end -= n
    rows = torch.cat(copies, dim=2).unfold(2, length, stride)
    return rows.permute(0, 1, 2, 4, 3).reshape(-1, length * mesh.shape[3])


def read_rows(table: torch.Tensor, places: Places, planes: torch.Tensor) -> torch.Tensor:
    """Sums over x and y of rows, with k sets of weights [n, k, p²]: [n, k, p + 3, n_channels]."""
    n, k, n_rows = planes.shape[0], planes.shape[1], planes.shape[2]
    indices = places.rows.unsqueeze(1).expand(n, k, n_rows).flatten()
    starts = torch.arange(n * k, device=table.device) * n_rows
    sums = torch.embedding_bag(table, indices, starts, False, 0, False, planes.flatten())[0]
    return sums.view(n, k, places.window.shape[1], -1)


def plane_weights(along_x: torch.Tensor, along_y: torch.Tensor) -> torch.Tensor:
    """a_x ⊗ b_y [n, p²] of weights or slopes [n, p] each."""
    return (along_x.unsqueeze(2) * along_y.unsqueeze(1)).flatten(1)


def _ceil_divide(a: int, b: int) -> int:
    return (a + b - 1) // b
