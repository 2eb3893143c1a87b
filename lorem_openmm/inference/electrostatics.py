"""V = K q of all charge channels but for the real-space part, by the sum that suits the structure, and its gradients.

K is symmetric, so that for E(V) with g = dE/dV the derivative with respect to the charges is K g: the same sum.
"""

from typing import NamedTuple, Optional, Tuple

import torch

from lorem_openmm.inference.direct_sum import DirectState, direct_forward, direct_pullback
from lorem_openmm.inference.ewald import (
    EwaldState,
    EwaldTerms,
    ewald_forward,
    ewald_pullback,
    ewald_strain_gradient,
    ewald_terms,
)
from lorem_openmm.inference.mesh_sum import (
    MeshState,
    MeshTerms,
    mesh_forward,
    mesh_pullback,
    mesh_strain_gradient,
    mesh_terms,
)
from lorem_openmm.nn.mesh_kernel import mesh_settings


class ElectrostaticState(NamedTuple):
    """What the way back needs; one of the sums has a state of its own.

    Attributes:
        positions: [n, 3] Å.
        cell: [3, 3] Å.
        direct: of the direct sum.
        ewald: of the Ewald sum.
        mesh: of the mesh.
    """

    positions: torch.Tensor
    cell: torch.Tensor
    direct: Optional[DirectState]
    ewald: Optional[EwaldState]
    mesh: Optional[MeshState]


class Electrostatics(torch.nn.Module):
    """Direct sum in vacuum; in a periodic cell the Ewald sum or, for more atoms, the mesh.

    What depends on the cell alone is kept until the cell changes.

    Args:
        smearing: σ in Å.
        wavelength: shortest one of the Ewald sum, in Å.
        periodic: in all three directions, or in vacuum.
        max_ewald_atoms: structures of more atoms use the mesh.
        mesh_accuracy: relative rms error of the forces on the mesh.
    """

    _ewald: Optional[EwaldTerms]
    _mesh: Optional[MeshTerms]

    def __init__(self, smearing: float, wavelength: float, periodic: bool, max_ewald_atoms: int, mesh_accuracy: float):
        super().__init__()
        self.smearing = smearing
        self.wavelength = wavelength
        self.periodic = periodic
        self.max_ewald_atoms = max_ewald_atoms
        self.mesh_spacing, self.mesh_order = mesh_settings(mesh_accuracy)
        self._cell = torch.zeros(0)
        self._ewald = None
        self._mesh = None

    def forward(
        self, charges: torch.Tensor, positions: torch.Tensor, cell: torch.Tensor
    ) -> Tuple[torch.Tensor, ElectrostaticState]:
        """Returns V [n, n_channels] for charges [n, n_channels], positions [n, 3] Å and the cell [3, 3] Å."""
        if not self.periodic:
            potentials, direct = direct_forward(charges, positions)
            return potentials, ElectrostaticState(positions, cell, direct, None, None)
        if charges.shape[0] > self.max_ewald_atoms:
            potentials, mesh = mesh_forward(charges, positions, self._mesh_terms(cell), self.smearing)
            return potentials, ElectrostaticState(positions, cell, None, None, mesh)
        potentials, ewald = ewald_forward(charges, positions, self._ewald_terms(cell), self.smearing)
        return potentials, ElectrostaticState(positions, cell, None, ewald, None)

    @torch.jit.export
    def pullback(
        self, state: ElectrostaticState, charges: torch.Tensor, adjoint: torch.Tensor
    ) -> Tuple[torch.Tensor, torch.Tensor]:
        """Returns dE/dq [n, n_channels] and dE/dr [n, 3] of dE/dV [n, n_channels]."""
        direct, ewald, mesh = state.direct, state.ewald, state.mesh
        if direct is not None:
            return direct_pullback(direct, charges, adjoint)
        if ewald is not None:
            return ewald_pullback(ewald, charges, adjoint, self._ewald_terms(state.cell), self.smearing)
        assert mesh is not None  # for TorchScript  # noqa: S101
        return mesh_pullback(mesh, charges, adjoint, self._mesh_terms(state.cell), self.smearing)

    @torch.jit.export
    def strain_gradient(self, state: ElectrostaticState, charges: torch.Tensor, adjoint: torch.Tensor) -> torch.Tensor:
        """Returns dE/dε [3, 3] under r → r (1 + ε), h → h (1 + ε) at fixed charges."""
        direct, ewald, mesh = state.direct, state.ewald, state.mesh
        if direct is not None:
            _, of_positions = direct_pullback(direct, charges, adjoint)
            return torch.mm(state.positions.t(), of_positions)
        if ewald is not None:
            return ewald_strain_gradient(ewald, charges, adjoint, self._ewald_terms(state.cell), self.smearing)
        assert mesh is not None  # for TorchScript  # noqa: S101
        return mesh_strain_gradient(mesh, charges, adjoint, self._mesh_terms(state.cell), state.cell, self.smearing)

    def _ewald_terms(self, cell: torch.Tensor) -> EwaldTerms:
        self._forget_other_cell(cell)
        terms = self._ewald
        if terms is None:
            terms = ewald_terms(cell, self.smearing, self.wavelength)
            self._ewald = terms
        return terms

    def _mesh_terms(self, cell: torch.Tensor) -> MeshTerms:
        self._forget_other_cell(cell)
        terms = self._mesh
        if terms is None:
            terms = mesh_terms(cell, self.smearing, self.mesh_spacing, self.mesh_order)
            self._mesh = terms
        return terms

    def _forget_other_cell(self, cell: torch.Tensor) -> None:
        kept = self._cell
        if kept.dtype != cell.dtype or kept.device != cell.device or not torch.equal(kept, cell):
            self._ewald, self._mesh, self._cell = None, None, cell.clone()
