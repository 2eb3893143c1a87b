"""Neighbour lists for dynamics: built with a skin, laid out once, reused until atoms or cell have moved too far."""

from typing import List, NamedTuple, Optional

import torch
import vesin_torch  # loads the operators that scripted modules need

from lorem_openmm.inference.finite import check_volume
from lorem_openmm.inference.neighbors import NeighborTable, all_pairs, build_table, sort_half_list

# In vacuum, up to this many atoms, all pairs cost less than searching and laying out lists.
ALL_PAIRS_LIMIT = 32
DEFAULT_SKIN = 0.3  # Å: on a CPU more costs more in edges than it saves in rebuilds


class Neighborhood(NamedTuple):
    """Positions of the rows and their neighbours.

    Attributes:
        positions: [n_atoms, 3] Å by row, near the origin, in the model's dtype.
        cell: [3, 3] Å in the model's dtype.
        table: holds at least every pair within the cutoff.
        offsets: of each block S·h, and in empty slots a vector beyond the cutoff, [3, n·S] Å.
    """

    positions: torch.Tensor
    cell: torch.Tensor
    table: NeighborTable
    offsets: List[torch.Tensor]


class VerletList(torch.nn.Module):
    """Turns positions into neighbour tables that hold at least every pair within the cutoff.

    Slots beyond the cutoff are harmless: the model gives them the weight zero.

    A list made at positions r⁰ and cell h⁰ holds every pair with |v⁰| < cutoff + skin. With D = (h⁰)⁻¹ h and
    displacements u_i = r_i − r⁰_i D, a pair's vector is v = v⁰ D + u_j − u_i, so that a pair left out is longer than
    (1 − ‖D − 1‖) (cutoff + skin) − 2 max|u|. The list is made anew when this bound falls below the cutoff: for a fixed
    cell when an atom has moved by more than skin / 2, and rarely for the small scalings of a barostat.

    Positions may lie several boxes away: whole box vectors are taken off before rounding to the model's precision, so
    that atoms which have diffused far keep their digits. An atom that the caller wraps by a box vector is a large
    displacement, which makes the list anew. In vacuum the centre is taken off instead.

    Args:
        cutoff: Å, of the model.
        periodic: in all three directions, or in vacuum.
        skin: Å; ignored where all pairs are listed (small structures in vacuum).
        dtype: of the tables; lists are made and checked in float64.

    Attributes:
        rebuilds: number of times the list was made.
    """

    identity: torch.Tensor
    _table: Optional[NeighborTable]
    _offsets: List[torch.Tensor]

    def __init__(self, cutoff: float, periodic: bool, skin: float, dtype: torch.dtype):
        super().__init__()
        self.register_buffer("identity", torch.eye(3, dtype=torch.float64), persistent=False)
        self.species_counts: List[int] = []
        self.block_size = 0
        self.all_pairs = False
        self.all_pairs_limit = ALL_PAIRS_LIMIT
        self.cutoff = float(cutoff)
        self.periodic = bool(periodic)
        self.skin = float(skin)
        self.dtype = dtype
        # One thread: the search is a small part of a step, and its order must not depend on the machine.
        self.search = vesin_torch.NeighborList(cutoff=self.cutoff + self.skin, full_list=False, n_threads=1)
        self.rebuilds = 0
        # Plain attributes, empty until the first call: only buffers follow a module to another device.
        self._table = None
        self._offsets = []
        self._offset_cell = torch.zeros(0, 3, dtype=torch.float64)
        self._cell = torch.zeros(0, 3, dtype=dtype)
        self._boxes = torch.zeros(0, 3, dtype=torch.float64)
        self._reference = torch.zeros(0, 3, dtype=torch.float64)
        self._inverse_cell = torch.zeros(3, 3, dtype=torch.float64)

    @torch.jit.export
    def set_rows(self, species_counts: List[int], block_size: int) -> None:
        """Prepares for atoms, which the first call needs."""
        self.species_counts = species_counts
        self.block_size = block_size
        self.all_pairs = not self.periodic and sum(species_counts) <= self.all_pairs_limit
        self._table = None

    def forward(self, positions: torch.Tensor, cell: torch.Tensor) -> Neighborhood:
        """Returns positions and neighbours, on the module's device.

        Args:
            positions: [n_atoms, 3] Å by row, float64, on the module's device, finite.
            cell: [3, 3] Å, rows are the vectors, likewise; ignored in vacuum.

        Raises:
            RuntimeError: If a list has to be made and the cell has no volume.
        """
        if self._table is None:
            local = self._rebuild(positions, cell)
        else:
            local = self._near_origin(positions, cell)
            if not self.all_pairs and self._outdated(local, cell):
                local = self._rebuild(positions, cell)
        table = self._table
        assert table is not None  # for TorchScript, which otherwise sees an Optional  # noqa: S101
        if self.periodic and not torch.equal(self._offset_cell, cell):
            self._move_offsets(table, cell)
        return Neighborhood(local.to(self.dtype), self._cell, table, self._offsets)

    @torch.jit.export
    def forget(self) -> None:
        """Makes the next call make the list anew, as the first call does, whatever came before.

        The order of sums, and with it the last digits of energies and forces, depend on the list.
        """
        self._table = None

    def _near_origin(self, positions: torch.Tensor, cell: torch.Tensor) -> torch.Tensor:
        if self.periodic:
            return torch.addmm(positions, self._boxes, cell, alpha=-1)
        return positions - positions.mean(dim=0, keepdim=True)

    def _outdated(self, local: torch.Tensor, cell: torch.Tensor) -> bool:
        reach = self.cutoff + self.skin
        moved = self._reference
        if self.periodic and not torch.equal(self._offset_cell, cell):
            deformation = torch.mm(self._inverse_cell, cell)
            moved = torch.mm(moved, deformation)
            reach = reach * (1.0 - float(torch.linalg.vector_norm(deformation - self.identity)))
        moved = local - moved
        # Not the same as >: numbers that overflow are outdated.
        return not 2.0 * float((moved * moved).sum(dim=1).max()) ** 0.5 <= reach - self.cutoff

    def _move_offsets(self, table: NeighborTable, cell: torch.Tensor) -> None:
        self._offset_cell, self._cell = cell.clone(), cell.to(self.dtype)
        self._offsets = [torch.addmm(block.empty, self._cell.t(), block.shifts) for block in table.blocks]

    def _rebuild(self, positions: torch.Tensor, cell: torch.Tensor) -> torch.Tensor:
        self._table = None  # boxes and reference belong to the new one: where making it fails, the old one is wrong
        if self.periodic:
            check_volume(cell)
            self._inverse_cell = torch.linalg.inv(cell)
            self._boxes = torch.floor(torch.mm(positions, self._inverse_cell))
        local = self._near_origin(positions, cell)
        self._reference = local
        n_atoms, device = local.shape[0], local.device
        if self.all_pairs:
            pairs = all_pairs(n_atoms, device)
            shifts = torch.zeros_like(pairs[:, :1]).expand(-1, 3)
        else:
            box = cell if self.periodic else torch.zeros_like(cell)
            found = self.search.compute(local.cpu(), box.cpu(), self.periodic, "PS")
            pairs, shifts = found[0].to(device=device, dtype=torch.long), found[1].to(device)
        edges = sort_half_list(pairs, shifts, n_atoms)
        beyond = 2.0 * self.cutoff
        table = build_table(edges, self.species_counts, self.block_size, beyond, self.dtype)
        if self.periodic:
            self._move_offsets(table, cell)
        else:
            self._offsets, self._cell = (
                [block.empty for block in table.blocks],
                torch.zeros_like(cell, dtype=self.dtype),
            )
        self._table = table
        self.rebuilds += 1
        return local
