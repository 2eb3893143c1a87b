"""Neighbour lists for dynamics: built with a skin, laid out once, reused until atoms or cell have moved too far."""

import torch
import vesin_torch  # loads the operators that scripted modules need

from lorem_openmm.graph import AtomGraph, build_graph, with_geometry

# In vacuum, up to this many atoms, all pairs cost less than searching and laying out lists.
ALL_PAIRS_LIMIT = 32
DEFAULT_SKIN = 0.3  # Å: on a CPU more costs more in edges than it saves in rebuilds


class VerletGraph(torch.nn.Module):
    """Turns positions into an :class:`AtomGraph` whose edges hold at least every pair within the cutoff.

    Edges beyond the cutoff are harmless: the model gives them the weight zero.

    A list made at positions r⁰ and cell h⁰ holds every pair with |v⁰| < cutoff + skin. With D = (h⁰)⁻¹ h and
    displacements u_i = r_i − r⁰_i D, a pair's vector is v = v⁰ D + u_j − u_i, so that a pair left out is longer than
    (1 − ‖D − 1‖) (cutoff + skin) − 2 max|u|. The list is made anew when this bound falls below the cutoff: for a fixed
    cell when an atom has moved by more than skin / 2, and rarely for the small scalings of a barostat.

    Positions may lie several boxes away: whole box vectors are taken off before rounding to the model's precision, so
    that atoms which have diffused far keep their digits. An atom that the caller wraps by a box vector is a large
    displacement, which makes the list anew. In vacuum the centre is taken off instead.

    Args:
        atomic_numbers: of the atoms, in order.
        cutoff: Å, of the model.
        periodic: in all three directions, or in vacuum.
        skin: Å; ignored where all pairs are listed (small structures in vacuum).
        dtype: of the graph's tensors; the lists are made and checked in float64.

    Attributes:
        rebuilds: number of times the list was made.
    """

    atomic_numbers: torch.Tensor
    identity: torch.Tensor
    _graph: AtomGraph | None

    def __init__(
        self,
        atomic_numbers: list[int],
        cutoff: float,
        periodic: bool,
        skin: float = DEFAULT_SKIN,
        dtype: torch.dtype = torch.float32,
    ):
        super().__init__()
        self.register_buffer(
            "atomic_numbers", torch.as_tensor(atomic_numbers, dtype=torch.long).clone(), persistent=False
        )
        self.register_buffer("identity", torch.eye(3, dtype=torch.float64), persistent=False)
        self.cutoff = float(cutoff)
        self.periodic = bool(periodic)
        self.skin = float(skin)
        self.dtype = dtype
        self.all_pairs = not periodic and len(atomic_numbers) <= ALL_PAIRS_LIMIT
        # One thread: the search is a small part of a step, and its order must not depend on the machine.
        self.search = vesin_torch.NeighborList(cutoff=self.cutoff + self.skin, full_list=True, sorted=True, n_threads=1)
        self.rebuilds = 0
        # Plain attributes, empty until the first call: only buffers follow a module to another device.
        self._graph = None
        self._offsets = torch.zeros(0, 3, dtype=torch.float64)
        self._reference = torch.zeros(0, 3, dtype=torch.float64)
        self._inverse_cell = torch.zeros(3, 3, dtype=torch.float64)

    def forward(self, positions: torch.Tensor, cell: torch.Tensor) -> AtomGraph:
        """Returns the graph, on the module's device.

        Args:
            positions: [n_atoms, 3] Å.
            cell: [3, 3] Å, rows are the vectors; ignored in vacuum.

        Raises:
            RuntimeError: If a list has to be made and positions are not finite or the cell has no volume.
        """
        positions = positions.detach().to(self.identity)
        cell = cell.detach().to(self.identity)
        graph = self._graph
        if graph is None:
            local = self._rebuild(positions, cell)
        else:
            local = self._near_origin(positions, cell)
            if not self.all_pairs and self._outdated(local, cell):
                local = self._rebuild(positions, cell)
        graph = self._graph
        assert graph is not None  # for TorchScript, which otherwise sees an Optional  # noqa: S101
        return with_geometry(graph, local.to(self.dtype), cell.to(self.dtype).unsqueeze(0))

    def _near_origin(self, positions: torch.Tensor, cell: torch.Tensor) -> torch.Tensor:
        if self.periodic:
            return positions - torch.mm(self._offsets, cell)
        return positions - positions.mean(dim=0, keepdim=True)

    def _outdated(self, local: torch.Tensor, cell: torch.Tensor) -> bool:
        reach = self.cutoff + self.skin
        moved = self._reference
        if self.periodic:
            deformation = torch.mm(self._inverse_cell, cell)
            moved = torch.mm(moved, deformation)
            reach = reach * (1.0 - float(torch.linalg.vector_norm(deformation - self.identity)))
        moved = local - moved
        return 2.0 * float((moved * moved).sum(dim=1).max()) ** 0.5 > reach - self.cutoff

    def _rebuild(self, positions: torch.Tensor, cell: torch.Tensor) -> torch.Tensor:
        if not bool(torch.isfinite(positions).all()):
            raise RuntimeError(
                "positions: must be finite, received NaN or infinity. The simulation has become unstable: "
                "use a shorter time step, or minimise the energy of the starting structure."
            )
        n_atoms = positions.shape[0]
        if self.periodic:
            if not bool(torch.abs(torch.linalg.det(cell)) > 1e-6):
                raise RuntimeError("cell: must have a volume. Set the periodic box vectors of the topology or context.")
            self._inverse_cell = torch.linalg.inv(cell)
            self._offsets = torch.floor(torch.mm(positions, self._inverse_cell))
        local = self._near_origin(positions, cell)
        self._reference = local
        device = local.device
        if self.all_pairs:
            pairs = torch.nonzero(self.identity.new_ones((n_atoms, n_atoms)).fill_diagonal_(0.0))
            shifts = torch.zeros_like(pairs[:, :1]).expand(-1, 3)
        else:
            box = cell if self.periodic else torch.zeros_like(cell)
            found = self.search.compute(local.cpu(), box.cpu(), self.periodic, "PS")
            pairs, shifts = found[0].to(device=device, dtype=torch.long), found[1].to(device)
        self._graph = build_graph(
            local.to(self.dtype),
            self.atomic_numbers,
            [n_atoms],
            cell.to(self.dtype).unsqueeze(0),
            [self.periodic],
            pairs[:, 0].contiguous(),
            pairs[:, 1].contiguous(),
            shifts,
        )
        self.rebuilds += 1
        return local
