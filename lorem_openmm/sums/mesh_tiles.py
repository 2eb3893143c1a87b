"""The mesh sum by tiles, differentiable any number of times: training, and devices where few large operations pay.

The mesh is cut into blocks, and the contributions of a block's atoms to the block and the halo behind it are
Σ_j (w_x w_y)_j ⊗ (w_z q)_j: matrix products. No scattered sums: fast and deterministic on every device.
"""

from typing import List, NamedTuple

import torch

from lorem_openmm.sums.mesh_points import block_width, first_points, spline_weights
from lorem_openmm.sums.mesh_terms import MeshCell, MeshTerms, self_terms
from lorem_openmm.sums.own_terms import with_own_terms


class Tiles(NamedTuple):
    """Atoms sorted into the blocks of the mesh; empty blocks take no part.

    Attributes:
        planes: [n_occupied, capacity, e_x e_y] w_x ⊗ w_y of each atom, zeros in empty slots.
        lines: [n_occupied, capacity, e_z] w_z.
        slots: [n_atoms] rank of the occupied block·capacity + rank of the atom in its block.
        occupied: [n_occupied] blocks that hold atoms.
        blocks: numbers of blocks.
        widths: mesh points of a block.
        extents: of a block with its halo.
    """

    planes: torch.Tensor
    lines: torch.Tensor
    slots: torch.Tensor
    occupied: torch.Tensor
    blocks: List[int]
    widths: List[int]
    extents: List[int]


def sort_into_tiles(first: torch.Tensor, weights: torch.Tensor, sizes: List[int]) -> Tiles:
    """Arguments: first mesh point [n_atoms, 3] within the cell and spline weights [n_atoms, 3, p] of each atom."""
    order = weights.shape[2]
    blocks: List[int] = []
    widths: List[int] = []
    extents: List[int] = []
    block = torch.zeros_like(first[:, 0])
    dense: List[torch.Tensor] = []
    for i, n in enumerate(sizes):
        width = block_width(n)
        along = torch.div(first[:, i], width, rounding_mode="floor")
        block = block * (n // width) + along
        points = (first[:, i] - along * width).unsqueeze(1) + torch.arange(order, device=first.device)
        extent = width + order - 1
        if n == width:
            extent, points = n, points % n
        empty = weights.new_zeros((weights.shape[0], extent))
        dense.append(empty.scatter_add(1, points, weights[:, i]))
        blocks.append(n // width)
        widths.append(width)
        extents.append(extent)

    by_block = torch.argsort(block)
    occupied, counts = torch.unique_consecutive(block[by_block], return_counts=True)
    capacity = int(counts.max())
    empty_before = capacity * torch.arange(occupied.shape[0], device=block.device) - torch.cumsum(counts, 0) + counts
    in_order = torch.arange(block.shape[0], device=block.device) + torch.repeat_interleave(empty_before, counts)
    slots = torch.empty_like(block).index_copy(0, by_block, in_order)
    rows = torch.cat(dense, dim=1)
    padded = rows.new_zeros((occupied.shape[0] * capacity, rows.shape[1])).index_copy(0, slots, rows)
    x, y, z = padded.view(occupied.shape[0], capacity, -1).split(extents, dim=2)
    return Tiles((x.unsqueeze(3) * y.unsqueeze(2)).flatten(2), z, slots, occupied, blocks, widths, extents)


def spread(charges: torch.Tensor, tiles: Tiles) -> torch.Tensor:
    """Charges on the mesh [n_x, n_y, n_z, n_channels]."""
    n_occupied, capacity, n_channels = tiles.planes.shape[0], tiles.planes.shape[1], charges.shape[1]
    padded = charges.new_zeros((n_occupied * capacity, n_channels)).index_copy(0, tiles.slots, charges)
    rows = tiles.lines.unsqueeze(3) * padded.view(n_occupied, capacity, 1, n_channels)
    mesh = torch.bmm(tiles.planes.transpose(1, 2), rows.flatten(2))
    n_blocks = tiles.blocks[0] * tiles.blocks[1] * tiles.blocks[2]
    if n_occupied < n_blocks:
        empty = mesh.new_zeros((n_blocks, mesh.shape[1], mesh.shape[2]))
        mesh = empty.index_copy(0, tiles.occupied, mesh)
    mesh = mesh.view(tiles.blocks + tiles.extents + [n_channels])
    for i in range(3):  # the halo of each block belongs to the block behind it
        width, halo = tiles.widths[i], tiles.extents[i] - tiles.widths[i]
        if halo > 0:
            start, rest, beyond = mesh.split([halo, width - halo, halo], dim=3 + i)
            mesh = torch.cat([start + torch.roll(beyond, 1, i), rest], dim=3 + i)
    nx, ny, nz = mesh.shape[0] * mesh.shape[3], mesh.shape[1] * mesh.shape[4], mesh.shape[2] * mesh.shape[5]
    # Through one flat row between blocks and transforms, the backward pass works on contiguous memory as well.
    return mesh.permute(0, 3, 1, 4, 2, 5, 6).flatten().view(nx, ny, nz, n_channels)


def _read(mesh: torch.Tensor, tiles: Tiles) -> torch.Tensor:
    """Values of a mesh [n_x, n_y, n_z, n_channels] at the atoms, [n_atoms, n_channels]: the transpose of spreading."""
    n_occupied, capacity, n_channels = tiles.planes.shape[0], tiles.planes.shape[1], mesh.shape[3]
    n, b = tiles.blocks, tiles.widths
    mesh = mesh.flatten().view(n[0], b[0], n[1], b[1], n[2], b[2], n_channels).permute(0, 2, 4, 1, 3, 5, 6)
    for i in [2, 1, 0]:
        width, halo = b[i], tiles.extents[i] - b[i]
        if halo > 0:
            start, rest = mesh.split([halo, width - halo], dim=3 + i)
            mesh = torch.cat([start, rest, torch.roll(start, -1, i)], dim=3 + i)
    mesh = mesh.reshape(n[0] * n[1] * n[2], tiles.planes.shape[2], -1)
    if n_occupied < mesh.shape[0]:
        mesh = mesh.index_select(0, tiles.occupied)
    rows = torch.bmm(tiles.planes, mesh)
    values = (rows.view(n_occupied, capacity, -1, n_channels) * tiles.lines.unsqueeze(3)).sum(dim=2)
    return values.flatten(0, 1).index_select(0, tiles.slots)


class TiledGeometry(NamedTuple):
    """Atoms on the mesh: their tiles, and s [n_atoms, 1] of :func:`.own_terms.with_own_terms`."""

    tiles: Tiles
    self_term: torch.Tensor


class TiledMeshSum(torch.nn.Module):
    """V = K q but for the real-space part, of one structure.

    V_i = ½ { Σ_a w_ia (K ⊛ Σ_j w_j q_j)_a − q_i [Σ_ab w_ia w_ib K_(a−b) + s₀] + b Q/Ω } with mesh points a, b, the
    convolution kernel K and Q = Σ_j q_j; see :class:`.mesh_terms.MeshTerms`.
    """

    def __init__(self, cell: MeshCell):
        super().__init__()
        self.cell = cell

    def prepare(self, positions: torch.Tensor, terms: MeshTerms) -> TiledGeometry:
        """Computes what does not depend on charges, for positions [n_atoms, 3] Å inside the cell or not."""
        order = self.cell.order
        first, offsets = first_points(torch.mm(positions, terms.scale), terms.sizes, order)
        weights = spline_weights(offsets, order)
        tiles = sort_into_tiles(first, weights, terms.sizes)
        return TiledGeometry(tiles, self_terms(weights, terms)[1])

    def potentials(self, geometry: TiledGeometry, charges: torch.Tensor, terms: MeshTerms) -> torch.Tensor:
        """Returns V [n_atoms, n_channels] for charges [n_atoms, n_channels], not necessarily neutral."""
        # As pairs of real numbers: a product with complex ones would make the influence function complex first.
        spectrum = torch.view_as_real(torch.fft.rfftn(spread(0.5 * charges, geometry.tiles), dim=[0, 1, 2]))
        spectrum = torch.view_as_complex(spectrum * terms.influence.unsqueeze(3).unsqueeze(4))
        waves = _read(torch.fft.irfftn(spectrum, s=terms.sizes, dim=[0, 1, 2]), geometry.tiles)
        return with_own_terms(waves, charges, geometry.self_term, terms.background)
