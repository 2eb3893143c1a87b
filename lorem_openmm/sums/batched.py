"""V = K q for batches of structures, differentiable twice in charges, positions and cells: what training uses."""

from typing import List, NamedTuple, Optional

import torch

from lorem_openmm.graph import AtomGraph
from lorem_openmm.kernels.pair import PairKernel
from lorem_openmm.sums.direct import DirectGeometry, DirectSum
from lorem_openmm.sums.ewald import EwaldSum, EwaldTerms
from lorem_openmm.sums.mesh_points import mesh_settings
from lorem_openmm.sums.mesh_terms import MeshTerms
from lorem_openmm.sums.mesh_tiles import TiledGeometry, TiledMeshSum
from lorem_openmm.sums.real_space import RealSpace


class PaddedStructures(NamedTuple):
    """Structures that share one sum, in arrays padded to ``max_size`` atoms.

    Attributes:
        atoms: [n] atoms of the batch; None: all of them.
        slots: [n] place of each in the flattened array [n_structures · max_size].
        n_structures: number of structures.
        max_size: number of atoms of the largest structure of the batch.
    """

    atoms: Optional[torch.Tensor]
    slots: torch.Tensor
    n_structures: int
    max_size: int


class SumGeometry(NamedTuple):
    """What one sum needs but for the charges: the sum is the one whose geometry is there."""

    structures: PaddedStructures
    direct: Optional[DirectGeometry]
    phases: Optional[torch.Tensor]
    ewald_terms: Optional[EwaldTerms]
    mesh: Optional[TiledGeometry]
    mesh_terms: Optional[MeshTerms]


class BatchedGeometry(NamedTuple):
    """What does not depend on charges.

    Attributes:
        weights: of the real-space part [n_edges, 1]; None if all structures are in vacuum.
        centers: [n_edges].
        neighbors: [n_edges].
        sums: all structures of the batch, shared among sums.
    """

    weights: Optional[torch.Tensor]
    centers: torch.Tensor
    neighbors: torch.Tensor
    sums: List[SumGeometry]


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
        self.mesh = TiledMeshSum(kernel, *mesh_settings(mesh_accuracy))

    def forward(self, charges: torch.Tensor, graph: AtomGraph, distances: torch.Tensor) -> torch.Tensor:
        """Returns V [n_atoms, n_channels] for charges [n_atoms, n_channels] and edge lengths [n_edges]."""
        return self.potentials(self.prepare(graph, distances), charges)

    @torch.jit.export
    def prepare(self, graph: AtomGraph, distances: torch.Tensor) -> BatchedGeometry:
        """Computes what does not depend on charges, for edge lengths [n_edges] Å."""
        sums: List[SumGeometry] = []
        in_cells: List[int] = []
        in_vacuum: List[int] = []
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
        weights: Optional[torch.Tensor] = None
        if len(in_vacuum) < len(graph.periodic):
            weights = self.real_space.weights(distances)
            if len(in_vacuum) > 0:
                flags = torch.tensor(graph.periodic, device=distances.device)[graph.system_index][graph.centers]
                weights = torch.where(flags, weights, torch.zeros_like(weights))
            weights = weights.unsqueeze(1)
        return BatchedGeometry(weights, graph.centers, graph.neighbors, sums)

    @torch.jit.export
    def potentials(self, geometry: BatchedGeometry, charges: torch.Tensor) -> torch.Tensor:
        """Returns V [n_atoms, n_channels] for charges [n_atoms, n_channels]."""
        potentials = torch.zeros_like(charges)
        for part in geometry.sums:
            atoms = part.structures.atoms
            if atoms is None:
                potentials = self._of_one_sum(part, charges)
            else:
                values = self._of_one_sum(part, charges.index_select(0, atoms))
                potentials = potentials.index_copy(0, atoms, values)
        weights = geometry.weights
        if weights is None:
            return potentials
        sent = (0.5 * charges).index_select(0, geometry.neighbors) * weights
        # index_add last: its sums do not depend on what was there before
        return potentials + torch.zeros_like(charges).index_add(0, geometry.centers, sent)

    def _of_one_sum(self, part: SumGeometry, charges: torch.Tensor) -> torch.Tensor:
        mesh, mesh_terms, phases, ewald_terms = part.mesh, part.mesh_terms, part.phases, part.ewald_terms
        if mesh is not None and mesh_terms is not None:
            return self.mesh.potentials(mesh, charges, mesh_terms)
        q = _pad(charges, part.structures)
        if phases is not None and ewald_terms is not None:
            values, _ = self.ewald.potentials(phases, q, ewald_terms)
        else:
            direct = part.direct
            assert direct is not None  # for TorchScript  # noqa: S101
            values = self.direct.potentials(direct, q)
        return values.flatten(0, 1).index_select(0, part.structures.slots)

    def _on_mesh(self, graph: AtomGraph, system: int) -> SumGeometry:
        structures = _structures(graph, [system])
        cell = graph.cell[system]
        terms = self.mesh.cell.terms(cell, self.mesh.cell.sizes(cell))
        geometry = self.mesh.prepare(_of_structures(graph.positions, structures), terms)
        return SumGeometry(structures, None, None, None, geometry, terms)

    def _ewald(self, graph: AtomGraph, systems: List[int]) -> SumGeometry:
        structures = _structures(graph, systems)
        cells = graph.cell
        if structures.atoms is not None:
            cells = cells[torch.tensor(systems, device=cells.device)]
        terms = self.ewald.terms(cells)
        positions = _pad(_of_structures(graph.positions, structures), structures)
        return SumGeometry(structures, None, self.ewald.phases(positions, terms), terms, None, None)

    def _direct(self, graph: AtomGraph, systems: List[int]) -> SumGeometry:
        structures = _structures(graph, systems)
        positions = _of_structures(graph.positions, structures)
        present = _pad(torch.ones_like(positions[:, :1]), structures)
        geometry = self.direct.prepare(_pad(positions, structures), present)
        return SumGeometry(structures, geometry, None, None, None, None)


def _structures(graph: AtomGraph, systems: List[int]) -> PaddedStructures:
    if len(systems) == len(graph.system_sizes):
        return PaddedStructures(None, graph.system_slots, len(systems), graph.max_size)
    starts = [0]
    for size in graph.system_sizes:
        starts.append(starts[-1] + size)
    max_size = max([graph.system_sizes[i] for i in systems])
    device = graph.positions.device
    atoms: List[torch.Tensor] = []
    slots: List[torch.Tensor] = []
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
