"""K, which makes potentials of charges, for one structure: V = K q with K_ij = ½ k(r_ij), summed over all images.

K is symmetric, so that for E(V) with g = dE/dV the derivative with respect to the charges is K g: the same sum.
"""

from typing import List, NamedTuple, Optional, Tuple

import torch

from lorem_openmm.kernels.pair import PairKernel
from lorem_openmm.sums.direct import DirectGeometry, DirectSum
from lorem_openmm.sums.ewald import EwaldSum, EwaldTerms
from lorem_openmm.sums.mesh import MeshGeometry, MeshState, MeshSum
from lorem_openmm.sums.mesh_points import mesh_settings
from lorem_openmm.sums.mesh_terms import MeshCell, MeshTerms
from lorem_openmm.sums.near import NearRows, pair_products, sum_over_neighbors
from lorem_openmm.sums.real_space import RealSpace


class PairGeometry(NamedTuple):
    """What does not depend on charges; one of the sums has a geometry of its own.

    Attributes:
        positions: [n, 3] Å.
        cell: [3, 3] Å.
        rows: neighbours of all atoms in order.
        weights: of the real-space part, [n, S] of each of the rows; none in vacuum and for smooth kernels.
        direct: of the direct sum.
        phases: of the Ewald sum.
        mesh: of the mesh.
    """

    positions: torch.Tensor
    cell: torch.Tensor
    rows: List[NearRows]
    weights: List[torch.Tensor]
    direct: Optional[DirectGeometry]
    phases: Optional[torch.Tensor]
    mesh: Optional[MeshGeometry]


class PairState(NamedTuple):
    """What the way back needs of the charges: structure factors of the Ewald sum, or the state of the mesh."""

    geometry: PairGeometry
    structure: Optional[torch.Tensor]
    mesh: Optional[MeshState]


class PairGradients(NamedTuple):
    """Derivatives of an energy with respect to what makes the potentials.

    Attributes:
        charges: dE/dq [n, n_channels].
        positions: dE/dr [n, 3] but for the real-space part.
        distances: dE/dr_ij [n, S] of the real-space part for each of the rows; none in vacuum and for smooth kernels.
    """

    charges: torch.Tensor
    positions: torch.Tensor
    distances: List[torch.Tensor]


class PairOperator(torch.nn.Module):
    """Direct sum in vacuum; in a periodic cell the Ewald sum or, for more atoms, the mesh.

    Geometry is prepared once for any number of charges. What depends on the cell alone is kept until the cell changes.
    Gradients are by hand (:meth:`pullback`, :meth:`strain`); for autograd, which needs a cell's terms anew each time,
    there is :class:`lorem_openmm.sums.batched.BatchedPairSum`.

    Args:
        kernel: between two charges.
        cutoff: of the real-space part, in Å.
        wavelength: shortest one of the Ewald sum, in Å.
        periodic: in all three directions, or in vacuum.
        max_ewald_atoms: structures of more atoms use the mesh.
        mesh_accuracy: relative rms error of the forces on the mesh.
    """

    _ewald_terms: Optional[EwaldTerms]
    _mesh_terms: Optional[MeshTerms]

    def __init__(
        self,
        kernel: PairKernel,
        cutoff: float,
        wavelength: float,
        periodic: bool,
        max_ewald_atoms: int,
        mesh_accuracy: float,
    ):
        super().__init__()
        self.periodic = periodic
        self.max_ewald_atoms = max_ewald_atoms
        self.real_space = RealSpace(kernel, cutoff)
        self.direct = DirectSum(kernel)
        self.ewald = EwaldSum(kernel, wavelength)
        self.mesh = MeshSum(MeshCell(kernel, *mesh_settings(mesh_accuracy)))
        self._cell = torch.zeros(0)
        self._ewald_terms = None
        self._mesh_terms = None

    def forward(
        self, charges: torch.Tensor, positions: torch.Tensor, cell: torch.Tensor, rows: List[NearRows]
    ) -> Tuple[torch.Tensor, PairState]:
        """Returns V [n, n_channels] of charges [n, n_channels]; see :meth:`prepare` and :meth:`potentials`."""
        return self.potentials(self.prepare(positions, cell, rows), charges)

    @torch.jit.export
    def prepare(self, positions: torch.Tensor, cell: torch.Tensor, rows: List[NearRows]) -> PairGeometry:
        """Computes what does not depend on charges.

        Args:
            positions: [n, 3] Å.
            cell: [3, 3] Å.
            rows: neighbours of all atoms in order; without any, the real-space part is left out. Not used in vacuum.
        """
        weights: List[torch.Tensor] = []
        if not self.periodic:
            direct = self.direct.prepare(positions)
            return PairGeometry(positions, cell, rows, weights, direct, None, None)
        if self.real_space.kernel.has_real_space:
            for near in rows:
                weights.append(self.real_space.weights(near.distances))
        if positions.shape[0] > self.max_ewald_atoms:
            mesh = self.mesh.prepare(positions, self._mesh(cell))
            return PairGeometry(positions, cell, rows, weights, None, None, mesh)
        phases = self.ewald.phases(positions, self._ewald(cell))
        return PairGeometry(positions, cell, rows, weights, None, phases, None)

    @torch.jit.export
    def potentials(self, geometry: PairGeometry, charges: torch.Tensor) -> Tuple[torch.Tensor, PairState]:
        """Returns V [n, n_channels] of charges [n, n_channels]."""
        direct, phases, mesh = geometry.direct, geometry.phases, geometry.mesh
        if direct is not None:
            return self.direct.potentials(direct, charges), PairState(geometry, None, None)
        if phases is not None:
            values, structure = self.ewald.potentials(phases, charges, self._ewald(geometry.cell))
            return values + self._near(geometry, charges), PairState(geometry, structure, None)
        assert mesh is not None  # for TorchScript  # noqa: S101
        values, mesh_state = self.mesh.potentials(mesh, charges, self._mesh(geometry.cell))
        return values + self._near(geometry, charges), PairState(geometry, None, mesh_state)

    @torch.jit.export
    def pullback(self, state: PairState, charges: torch.Tensor, adjoint: torch.Tensor) -> PairGradients:
        """Returns the gradients for the charges q and g = dE/dV [n, n_channels] each."""
        geometry = state.geometry
        direct, phases, mesh = geometry.direct, geometry.phases, geometry.mesh
        structure, mesh_state = state.structure, state.mesh
        if direct is not None:
            of_charges, of_positions = self.direct.pullback(direct, charges, adjoint)
            return PairGradients(of_charges, of_positions, geometry.weights)
        if phases is not None and structure is not None:
            of_waves = self.ewald.pullback(phases, structure, charges, adjoint, self._ewald(geometry.cell))
        else:
            assert mesh is not None and mesh_state is not None  # for TorchScript  # noqa: S101, PT018
            of_waves = self.mesh.pullback(mesh, mesh_state, charges, adjoint, self._mesh(geometry.cell))
        of_charges, of_positions = of_waves
        of_charges = of_charges + self._near(geometry, adjoint)
        return PairGradients(of_charges, of_positions, self._near_slopes(geometry, charges, adjoint))

    @torch.jit.export
    def strain(self, state: PairState, charges: torch.Tensor, adjoint: torch.Tensor) -> torch.Tensor:
        """Returns dE/dε [3, 3] but for the real-space part, under r → r (1 + ε), h → h (1 + ε) at fixed charges.

        The real-space part adds Σ_ij r_ij ⊗ dE/dr_ij: whoever has the vectors r_ij adds it.
        """
        geometry = state.geometry
        direct, phases, mesh = geometry.direct, geometry.phases, geometry.mesh
        structure = state.structure
        if direct is not None:
            _, of_positions = self.direct.pullback(direct, charges, adjoint)
            return torch.mm(geometry.positions.t(), of_positions)
        if phases is not None and structure is not None:
            return self.ewald.strain(phases, structure, charges, adjoint, self._ewald(geometry.cell))
        assert mesh is not None  # for TorchScript  # noqa: S101
        return self.mesh.strain(mesh, charges, adjoint, self._mesh(geometry.cell), geometry.cell)

    def _near(self, geometry: PairGeometry, charges: torch.Tensor) -> torch.Tensor:
        """½ Σ_j w_ij q_j [n, n_channels]; zeros without rows."""
        if len(geometry.weights) == 0:
            return torch.zeros_like(charges)
        return sum_over_neighbors(geometry.rows, geometry.weights, 0.5 * charges)

    def _near_slopes(self, geometry: PairGeometry, charges: torch.Tensor, adjoint: torch.Tensor) -> List[torch.Tensor]:
        """½ dw/dr_ij Σ_c g_ic q_jc [n, S] of each of the rows."""
        if len(geometry.weights) == 0:
            return geometry.weights
        slopes = pair_products(geometry.rows, adjoint, 0.5 * charges)
        for i, near in enumerate(geometry.rows):
            slopes[i] = self.real_space.slopes(near.distances, geometry.weights[i]) * slopes[i]
        return slopes

    def _ewald(self, cell: torch.Tensor) -> EwaldTerms:
        self._forget_other_cell(cell)
        terms = self._ewald_terms
        if terms is None:
            terms = self.ewald.terms(cell)
            self._ewald_terms = terms
        return terms

    def _mesh(self, cell: torch.Tensor) -> MeshTerms:
        self._forget_other_cell(cell)
        terms = self._mesh_terms
        if terms is None:
            terms = self.mesh.cell.terms(cell, self.mesh.cell.sizes(cell))
            self._mesh_terms = terms
        return terms

    def _forget_other_cell(self, cell: torch.Tensor) -> None:
        kept = self._cell
        if kept.dtype != cell.dtype or kept.device != cell.device or not torch.equal(kept, cell):
            self._ewald_terms, self._mesh_terms, self._cell = None, None, cell.clone()
