"""V = K q of all charge channels but for the real-space part, by the sum that suits the structure, and its gradients.

K is symmetric, so that for E(V) with g = dE/dV the derivative with respect to the charges is K g: the same sum.
"""

from typing import List, NamedTuple, Optional, Tuple

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
from lorem_openmm.nn.mesh import mesh_potentials, potentials_on_mesh
from lorem_openmm.nn.mesh_kernel import MeshKernel, mesh_kernel, mesh_settings, mesh_size


class ElectrostaticState(NamedTuple):
    """What the way back needs; one of the sums has a state of its own.

    Attributes:
        positions: [n, 3] Å.
        cell: [3, 3] Å.
        direct: of the direct sum.
        ewald: of the Ewald sum.
        graph: charges, positions and potentials on the mesh, with the graph autograd recorded between them.
    """

    positions: torch.Tensor
    cell: torch.Tensor
    direct: Optional[DirectState]
    ewald: Optional[EwaldState]
    graph: List[torch.Tensor]


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

    _terms: Optional[EwaldTerms]
    _kernel: Optional[MeshKernel]

    def __init__(self, smearing: float, wavelength: float, periodic: bool, max_ewald_atoms: int, mesh_accuracy: float):
        super().__init__()
        self.smearing = smearing
        self.wavelength = wavelength
        self.periodic = periodic
        self.max_ewald_atoms = max_ewald_atoms
        self.mesh_spacing, self.mesh_order = mesh_settings(mesh_accuracy)
        self._cell = torch.zeros(0)
        self._terms = None
        self._kernel = None
        self._sizes = [0, 0, 0]

    def forward(
        self, charges: torch.Tensor, positions: torch.Tensor, cell: torch.Tensor
    ) -> Tuple[torch.Tensor, ElectrostaticState]:
        """Returns V [n, n_channels] for charges [n, n_channels], positions [n, 3] Å and the cell [3, 3] Å."""
        if not self.periodic:
            potentials, direct = direct_forward(charges, positions)
            return potentials, ElectrostaticState(positions, cell, direct, None, [])
        if self._cell.shape != cell.shape or self._cell.device != cell.device or not torch.equal(self._cell, cell):
            self._terms, self._kernel, self._cell = None, None, cell.clone()
        if charges.shape[0] > self.max_ewald_atoms:
            graph = self._on_mesh(charges, positions, cell)
            return graph[2].detach(), ElectrostaticState(positions, cell, None, None, graph)
        potentials, ewald = ewald_forward(charges, positions, self._ewald_terms(cell), self.smearing)
        return potentials, ElectrostaticState(positions, cell, None, ewald, [])

    @torch.jit.export
    def pullback(
        self, state: ElectrostaticState, charges: torch.Tensor, adjoint: torch.Tensor
    ) -> Tuple[torch.Tensor, torch.Tensor]:
        """Returns dE/dq [n, n_channels] and dE/dr [n, 3] of dE/dV [n, n_channels]."""
        direct, ewald = state.direct, state.ewald
        if direct is not None:
            return direct_pullback(direct, charges, adjoint)
        if ewald is not None:
            return ewald_pullback(ewald, charges, adjoint, self._ewald_terms(state.cell), self.smearing)
        outer: List[Optional[torch.Tensor]] = [adjoint]
        found = torch.autograd.grad([state.graph[2]], [state.graph[0], state.graph[1]], outer)
        of_charges, of_positions = found[0], found[1]
        assert of_charges is not None and of_positions is not None  # for TorchScript  # noqa: S101, PT018
        return of_charges, of_positions

    @torch.jit.export
    def strain_gradient(self, state: ElectrostaticState, charges: torch.Tensor, adjoint: torch.Tensor) -> torch.Tensor:
        """Returns dE/dε [3, 3] under r → r (1 + ε), h → h (1 + ε) at fixed charges."""
        direct, ewald = state.direct, state.ewald
        if direct is not None:
            _, of_positions = direct_pullback(direct, charges, adjoint)
            return torch.mm(state.positions.t(), of_positions)
        if ewald is not None:
            return ewald_strain_gradient(ewald, charges, adjoint, self._ewald_terms(state.cell), self.smearing)
        strain = torch.zeros_like(state.cell).requires_grad_(True)
        positions = state.positions + torch.mm(state.positions, strain)
        cell = state.cell + torch.mm(state.cell, strain)
        potentials = mesh_potentials(charges, positions, cell, self.smearing, self.mesh_spacing, self.mesh_order)
        outer: List[Optional[torch.Tensor]] = [adjoint]
        gradient = torch.autograd.grad([potentials], [strain], outer)[0]
        assert gradient is not None  # for TorchScript  # noqa: S101
        return gradient

    def _ewald_terms(self, cell: torch.Tensor) -> EwaldTerms:
        terms = self._terms
        if terms is None:
            terms = ewald_terms(cell, self.smearing, self.wavelength)
            self._terms = terms
        return terms

    def _on_mesh(self, charges: torch.Tensor, positions: torch.Tensor, cell: torch.Tensor) -> List[torch.Tensor]:
        kernel = self._kernel
        if kernel is None:
            self._sizes = mesh_size(cell, self.mesh_spacing * self.smearing)
            kernel = mesh_kernel(cell, self._sizes, self.smearing, self.mesh_order)
            self._kernel = kernel
        q = charges.detach().requires_grad_(True)
        r = positions.detach().requires_grad_(True)
        return [q, r, potentials_on_mesh(q, r, cell, self.smearing, self._sizes, kernel)]
