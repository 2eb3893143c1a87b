"""What a mesh sum needs of the cell alone: its influence function, and what a charge does to itself on the mesh."""

import math
from typing import List, NamedTuple, Tuple

import torch

from lorem_openmm.kernels.pair import PairKernel
from lorem_openmm.sums.mesh_points import mesh_size


class MeshTerms(NamedTuple):
    """What depends on the cell alone: may be kept while the cell does not change.

    Attributes:
        sizes: numbers n_x, n_y, n_z of mesh points.
        scale: [3, 3] from positions to mesh points.
        influence: [n_x, n_y, n_z // 2 + 1] reciprocal(k²) / Û(k)² · n/Ω, n mesh points, Û transform of the spline.
        neighborhood: [p, p, p] the convolution kernel summed over the signs of each displacement.
        self_term: s₀ = s − (1/Ω) Σ_(k ≠ 0) reciprocal(k²) [], s the self term of the kernel.
        background: b/Ω [], b the background of the kernel.
    """

    sizes: List[int]
    scale: torch.Tensor
    influence: torch.Tensor
    neighborhood: torch.Tensor
    self_term: torch.Tensor
    background: torch.Tensor


class MeshCell(torch.nn.Module):
    """The mesh of a cell, and its convolution kernel.

    The influence function is the plain 1/Û². The optimal ones of Hockney and Eastwood or Ballenegger et al. change the
    error by less than 10 % at spacings up to 0.8 σ, where spreading dominates it; the smooth particle-mesh Ewald
    choice |b|² is worse by 10 to 50 %.

    Args:
        kernel: between two charges.
        spacing: largest distance of mesh points in units of σ, see :func:`.mesh_points.mesh_settings`.
        order: p of the splines: 4, 6 or 8.
    """

    def __init__(self, kernel: PairKernel, spacing: float, order: int):
        super().__init__()
        self.kernel = kernel
        self.spacing = spacing
        self.order = order

    def sizes(self, cell: torch.Tensor) -> List[int]:
        """Returns numbers of mesh points for a cell [3, 3] Å."""
        return mesh_size(cell, self.spacing * self.kernel.smearing)

    def terms(self, cell: torch.Tensor, sizes: List[int]) -> MeshTerms:
        """Returns the terms for a cell [3, 3] Å of any shape; differentiable in the cell."""
        frequencies: List[torch.Tensor] = []
        filters: List[torch.Tensor] = []
        for i, n in enumerate(sizes):
            m = torch.arange(n // 2 + 1, dtype=cell.dtype, device=cell.device)
            if i < 2:
                m = torch.cat([m[: n - n // 2], -m[1 : n // 2 + 1].flip(0)])
            # An even axis has a frequency −n/2 without partner: it is left out, its weight is below the error.
            kept = (2.0 * torch.abs(m) < n).to(cell.dtype)
            frequencies.append(m)
            filters.append(kept * torch.sinc(m / n) ** (-2 * self.order))
        influence = self._spectrum(cell, frequencies) * float(sizes[0] * sizes[1] * sizes[2])
        influence = influence * filters[0].view(-1, 1, 1) * filters[1].view(-1, 1) * filters[2]

        neighborhood = torch.fft.irfftn(torch.complex(influence, torch.zeros_like(influence)), s=sizes, dim=[0, 1, 2])
        steps = torch.arange(self.order, device=cell.device)
        for i, n in enumerate(sizes):
            shape = [1, 1, 1]
            shape[i] = self.order
            reflected = neighborhood.index_select(i, (-steps) % n) * (steps > 0).to(cell.dtype).view(shape)
            neighborhood = neighborhood.index_select(i, steps % n) + reflected
        scale = torch.linalg.inv(cell) * torch.tensor(sizes, device=cell.device)
        self_term = self.kernel.self_term - self._self_potential(cell)
        background = self.kernel.background / torch.abs(torch.linalg.det(cell))
        return MeshTerms(sizes, scale, influence, neighborhood, self_term, background)

    def _spectrum(self, cell: torch.Tensor, frequencies: List[torch.Tensor]) -> torch.Tensor:
        """reciprocal(k²)/Ω at k = 2π h⁻¹ m, 0 at k = 0; m: all triples of three lists of frequencies."""
        inverse = 2.0 * math.pi * torch.linalg.inv(cell)
        x = (frequencies[0].unsqueeze(1) * inverse[:, 0]).unsqueeze(1)
        y = frequencies[1].unsqueeze(1) * inverse[:, 1]
        z = frequencies[2].unsqueeze(1) * inverse[:, 2]
        k = (x + y).unsqueeze(2) + z
        squares = (k * k).sum(dim=3)
        safe = torch.where(squares > 0, squares, torch.ones_like(squares))
        values = self.kernel.reciprocal(safe) / torch.abs(torch.linalg.det(cell))
        return torch.where(squares > 0, values, torch.zeros_like(values))

    def _self_potential(self, cell: torch.Tensor) -> torch.Tensor:
        """(1/Ω) Σ_(k ≠ 0) reciprocal(k²), the long-range potential of a unit charge and its images at its own place."""
        rounding = 1.2e-7 if cell.dtype == torch.float32 else 2.2e-16
        reach = math.sqrt(-2.0 * math.log(rounding)) / (2.0 * math.pi * self.kernel.smearing)
        lengths: List[float] = torch.linalg.vector_norm(cell.detach().double(), dim=1).tolist()
        frequencies: List[torch.Tensor] = []
        for i, length in enumerate(lengths):
            n = math.ceil(reach * length)
            frequencies.append(torch.arange(0 if i == 2 else -n, n + 1, dtype=cell.dtype, device=cell.device))
        values = self._spectrum(cell, frequencies)
        return 2.0 * values.sum() - values[:, :, 0].sum()  # −k weighs as much as k


def overlaps(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Σ_m a_m b_(m+t) for t = 0 to p − 1 [p, 3, n] of weights or slopes of splines [p, 3, n] each."""
    order = a.shape[0]
    return torch.stack([(a[: order - t] * b[t:]).sum(dim=0) for t in range(order)])


def planes(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """X ⊗ y [p², n] of overlaps [p, n] each."""
    return (x.unsqueeze(1) * y.unsqueeze(0)).flatten(0, 1)


def on_mesh(x: torch.Tensor, y: torch.Tensor, z: torch.Tensor, terms: MeshTerms) -> torch.Tensor:
    """Σ_ab w_a w_b K_(a−b) [n], what the mesh makes a unit charge feel of itself, from the overlaps [p, n] each."""
    return (torch.mm(terms.neighborhood.flatten(0, 1).t(), planes(x, y)) * z).sum(dim=0)


def self_terms(weights: torch.Tensor, terms: MeshTerms) -> Tuple[torch.Tensor, torch.Tensor]:
    """Returns Σ_m w_m w_(m+t) [p, 3, n] and s [n, 1] of :func:`.own_terms.with_own_terms`.

    Args:
        weights: of the splines [n, 3, p].
        terms: of the cell.
    """
    spline = weights.permute(2, 1, 0).contiguous()
    along = overlaps(spline, spline)
    x, y, z = along.unbind(1)
    return along, (on_mesh(x, y, z, terms) + terms.self_term).unsqueeze(1)
