"""V = K q for batches of structures, differentiable twice in charges, positions and cells: what training uses."""

from collections.abc import Callable
from typing import NamedTuple

import torch

from lorem_openmm.graph import AtomGraph
from lorem_openmm.kernels.pair import PairKernel
from lorem_openmm.sums.direct import DirectSum
from lorem_openmm.sums.ewald import EwaldSum
from lorem_openmm.sums.mesh_points import mesh_settings
from lorem_openmm.sums.mesh_terms import MeshCell
from lorem_openmm.sums.mesh_tiles import TiledMeshSum
from lorem_openmm.sums.real_space import RealSpace


class PaddedStructures(NamedTuple):
    """Structures that share one sum, in arrays padded to ``max_size`` atoms.

    Attributes:
        atoms: [n] atoms of the batch; None: all of them.
        slots: [n] place of each in the flattened array [n_structures · max_size].
        n_structures: number of structures.
        max_size: number of atoms of the largest structure of the batch.
    """

    atoms: torch.Tensor | None
    slots: torch.Tensor
    n_structures: int
    max_size: int


class PreparedSum(NamedTuple):
    """One sum with its geometry at hand, from charges [n, n_channels] of its structures to potentials."""

    structures: PaddedStructures
    potentials: Callable[[torch.Tensor], torch.Tensor]


class BatchedGeometry(NamedTuple):
    """What does not depend on charges.

    Attributes:
        weights: of the real-space part [n_edges, 1]; None if all structures are in vacuum, or the kernel is smooth.
        centers: [n_edges].
        neighbors: [n_edges].
        sums: all structures of the batch, shared among sums.
    """

    weights: torch.Tensor | None
    centers: torch.Tensor
    neighbors: torch.Tensor
    sums: list[PreparedSum]


class BatchedPairSum(torch.nn.Module):
    """V_i = ½ Σ_j k(r_ij) q_j: Ewald sum or mesh for periodic structures, direct sum for those in vacuum.

    Each periodic structure goes to the Ewald sum or to the mesh by its own number of atoms, whatever else is in the
    batch. The two agree within ``mesh_accuracy``.

    Args:
        kernel: between two charges.
        cutoff: of the real-space part, in Å.
        wavelength: shortest wavelength in Å of the Ewald sum.
        max_ewald_atoms: periodic structures of more atoms use the mesh (measured crossover: 100 to 150 atoms).
        mesh_accuracy: relative rms error of the forces on the mesh.
    """

    def __init__(
        self,
        kernel: PairKernel,
        cutoff: float,
        wavelength: float,
        max_ewald_atoms: int = 200,
        mesh_accuracy: float = 5e-5,
    ):
        super().__init__()
        self.kernel = kernel
        self.cutoff = cutoff
        self.smearing = kernel.smearing
        self.wavelength = wavelength
        self.max_ewald_atoms = max_ewald_atoms
        self.mesh_accuracy = mesh_accuracy
        self.real_space = RealSpace(kernel, cutoff)
        self.direct = DirectSum(kernel)
        self.ewald = EwaldSum(kernel, wavelength)
        self.mesh = TiledMeshSum(MeshCell(kernel, *mesh_settings(mesh_accuracy)))

    def forward(self, charges: torch.Tensor, graph: AtomGraph, distances: torch.Tensor) -> torch.Tensor:
        """Returns V [n_atoms, n_channels] for charges [n_atoms, n_channels] and edge lengths [n_edges]."""
        return self.potentials(self.prepare(graph, distances), charges)

    def prepare(self, graph: AtomGraph, distances: torch.Tensor) -> BatchedGeometry:
        """Computes what does not depend on charges, for edge lengths [n_edges] Å."""
        sums: list[PreparedSum] = []
        in_cells: list[int] = []
        in_vacuum: list[int] = []
        for i, size in enumerate(graph.system_sizes):
            if not graph.periodic[i]:
                in_vacuum.append(i)
            elif size > self.max_ewald_atoms:
                sums.append(self._on_mesh(graph, i))
            else:
                in_cells.append(i)
        if len(in_cells) > 0:
            sums.append(self._ewald(graph, in_cells))
        if len(in_vacuum) > 0:
            sums.append(self._direct(graph, in_vacuum))
        weights: torch.Tensor | None = None
        if len(in_vacuum) < len(graph.periodic) and self.kernel.has_real_space:
            weights = self.real_space.weights(distances)
            if len(in_vacuum) > 0:
                flags = torch.tensor(graph.periodic, device=distances.device)[graph.system_index][graph.centers]
                weights = torch.where(flags, weights, torch.zeros_like(weights))
            weights = weights.unsqueeze(1)
        return BatchedGeometry(weights, graph.centers, graph.neighbors, sums)

    def potentials(self, geometry: BatchedGeometry, charges: torch.Tensor) -> torch.Tensor:
        """Returns V [n_atoms, n_channels] for charges [n_atoms, n_channels]."""
        potentials = torch.zeros_like(charges)
        for part in geometry.sums:
            atoms = part.structures.atoms
            if atoms is None:
                potentials = part.potentials(charges)
            else:
                values = part.potentials(charges.index_select(0, atoms))
                potentials = potentials.index_copy(0, atoms, values)
        weights = geometry.weights
        if weights is None:
            return potentials
        sent = (0.5 * charges).index_select(0, geometry.neighbors) * weights
        # index_add last: its sums do not depend on what was there before
        return potentials + torch.zeros_like(charges).index_add(0, geometry.centers, sent)

    def _on_mesh(self, graph: AtomGraph, system: int) -> PreparedSum:
        structures = _structures(graph, [system])
        cell = graph.cell[system]
        terms = self.mesh.cell.terms(cell, self.mesh.cell.sizes(cell))
        geometry = self.mesh.prepare(_of_structures(graph.positions, structures), terms)
        return PreparedSum(structures, lambda q: self.mesh.potentials(geometry, q, terms))

    def _ewald(self, graph: AtomGraph, systems: list[int]) -> PreparedSum:
        structures = _structures(graph, systems)
        cells = graph.cell
        if structures.atoms is not None:
            cells = cells[torch.tensor(systems, device=cells.device)]
        terms = self.ewald.terms(cells)
        positions = _pad(_of_structures(graph.positions, structures), structures)
        phases = self.ewald.phases(positions, terms)

        def potentials(charges: torch.Tensor) -> torch.Tensor:
            return _unpad(self.ewald.potentials(phases, _pad(charges, structures), terms)[0], structures)

        return PreparedSum(structures, potentials)

    def _direct(self, graph: AtomGraph, systems: list[int]) -> PreparedSum:
        structures = _structures(graph, systems)
        positions = _of_structures(graph.positions, structures)
        present = _pad(torch.ones_like(positions[:, :1]), structures)
        geometry = self.direct.prepare(_pad(positions, structures), present)
        return PreparedSum(
            structures, lambda q: _unpad(self.direct.potentials(geometry, _pad(q, structures)), structures)
        )


def _structures(graph: AtomGraph, systems: list[int]) -> PaddedStructures:
    if len(systems) == len(graph.system_sizes):
        return PaddedStructures(None, graph.system_slots, len(systems), graph.max_size)
    starts = [0]
    for size in graph.system_sizes:
        starts.append(starts[-1] + size)
    max_size = max([graph.system_sizes[i] for i in systems])
    device = graph.positions.device
    atoms: list[torch.Tensor] = []
    slots: list[torch.Tensor] = []
    for rank, i in enumerate(systems):
        atoms.append(torch.arange(starts[i], starts[i + 1], device=device))
        slots.append(torch.arange(rank * max_size, rank * max_size + graph.system_sizes[i], device=device))
    return PaddedStructures(torch.cat(atoms), torch.cat(slots), len(systems), max_size)


def _of_structures(values: torch.Tensor, structures: PaddedStructures) -> torch.Tensor:
    atoms = structures.atoms
    if atoms is None:
        return values
    return values.index_select(0, atoms)


def _pad(values: torch.Tensor, structures: PaddedStructures) -> torch.Tensor:
    """Places values [n, m] at their slots: returns [n_structures, max_size, m], zeros elsewhere."""
    n, size = structures.n_structures, structures.max_size
    padded = values.new_zeros((n * size, values.shape[1]))
    return padded.index_copy(0, structures.slots, values).view(n, size, values.shape[1])


def _unpad(values: torch.Tensor, structures: PaddedStructures) -> torch.Tensor:
    return values.flatten(0, 1).index_select(0, structures.slots)
