"""Mesh, splines and influence function of :mod:`.mesh`: what depends on cell and settings, not on the atoms."""

import math
from typing import List, NamedTuple, Tuple

import torch

from lorem_openmm.errors import ConfigError


class MeshKernel(NamedTuple):
    """What depends on the cell alone: may be kept while the cell does not change.

    Attributes:
        influence: [n_x, n_y, n_z // 2 + 1] (4π n / Ω k²) exp(−½σ²k²) / Û(k)², n mesh points, Û transform of the spline.
        neighborhood: [p, p, p] the convolution kernel summed over the signs of each displacement.
        self_potential: (1/Ω) Σ_(k ≠ 0) (4π/k²) exp(−½σ²k²), a Gaussian's potential at its own centre.
    """

    influence: torch.Tensor
    neighborhood: torch.Tensor
    self_potential: torch.Tensor


def mesh_settings(accuracy: float) -> Tuple[float, int]:
    """Chooses the mesh for a relative rms error of the forces.

    Args:
        accuracy: wanted error, 1e-6 or larger; below 1e-5 it takes float64.

    Returns:
        Spacing in units of the smearing, order of the splines.

    Raises:
        ConfigError: if ``accuracy`` is below 1e-6.
    """
    # Rounded up from the largest error measured for ionic melts, water and strongly skewed cells: docs/mesh.md.
    measured = [(1e-3, 0.8, 6), (3e-4, 0.8, 8), (5e-5, 0.7, 8), (1e-5, 0.6, 8), (1e-6, 0.45, 8)]
    for error, spacing, order in measured:
        if accuracy >= error:
            return spacing, order
    raise ConfigError(f"mesh_accuracy: the mesh reaches a relative error of 1e-6, not {accuracy:g}. Use 1e-6 or more.")


def mesh_size(cell: torch.Tensor, spacing: float) -> List[int]:
    """Numbers of mesh points along the rows of the cell: products of 2, 3, 5, 7 that can be cut into blocks.

    Args:
        cell: [3, 3] Å.
        spacing: largest distance of mesh points in Å.
    """
    sizes: List[int] = []
    lengths: List[float] = torch.linalg.vector_norm(cell.detach().double(), dim=1).tolist()
    for length in lengths:
        n = max(1, math.ceil(length / spacing))
        while not _is_smooth(n) or block_width(n) < min(n, 7):
            n += 1
        sizes.append(n)
    return sizes


def _is_smooth(n: int) -> bool:
    for factor in [2, 3, 5, 7]:
        while n % factor == 0:
            n = n // factor
    return n == 1


def block_width(n: int, whole: int = 20, widest: int = 12) -> int:
    """Mesh points of a block along an axis.

    Wide blocks multiply many zeros, narrow ones copy much halo; a block of the whole axis needs no halo.

    Args:
        n: mesh points of the axis.
        whole: largest axis that is one block.
        widest: a longer axis is cut into blocks of its largest divisor up to this.
    """
    if n <= whole:
        return n
    width = widest
    while n % width != 0:
        width -= 1
    return width


def spline_weights(offsets: torch.Tensor, order: int) -> torch.Tensor:
    """Values of the cardinal B-spline M_p at the p mesh points around each atom; they sum to 1.

    M_p(x) = [x M_(p−1)(x) + (p − x) M_(p−1)(x − 1)] / (p − 1), M_1 = 1 in [0, 1).

    Args:
        offsets: [...] place of the atom between two mesh points, −½ to ½.
        order: p, even.

    Returns:
        [..., p], the atom between points p/2 − 1 and p/2.
    """
    # Polynomials in the offset, one per mesh point, times (p − 1)! 2^(p−1): integers, because TorchScript rounds lists
    # of floats to single precision.
    pieces = [[1]]
    scale = 1
    for n in range(2, order + 1):
        higher: List[List[int]] = []
        for k in range(n):
            piece = [0 for _ in range(n)]
            if k > 0:
                for i, value in enumerate(pieces[k - 1]):
                    piece[i] += (2 * (n - k) - 1) * value
                    piece[i + 1] += 2 * value
            if k < n - 1:
                for i, value in enumerate(pieces[k]):
                    piece[i] += (2 * k + 1) * value
                    piece[i + 1] -= 2 * value
            higher.append(piece)
        pieces = higher
        scale = scale * 2 * (n - 1)
    powers = [torch.ones_like(offsets)]
    for _ in range(1, order):
        powers.append(powers[-1] * offsets)
    coefficients = torch.tensor(pieces, device=offsets.device).to(offsets.dtype) / scale
    return torch.matmul(torch.stack(powers, dim=-1), coefficients.t())


def _spectrum(cell: torch.Tensor, frequencies: List[torch.Tensor], smearing: float) -> torch.Tensor:
    """(4π / Ω k²) exp(−½σ²k²) at k = 2π h⁻¹ m, 0 at k = 0; m: all triples of three lists of frequencies."""
    inverse = 2.0 * math.pi * torch.linalg.inv(cell)
    x = (frequencies[0].unsqueeze(1) * inverse[:, 0]).unsqueeze(1)
    y = frequencies[1].unsqueeze(1) * inverse[:, 1]
    z = frequencies[2].unsqueeze(1) * inverse[:, 2]
    k = (x + y).unsqueeze(2) + z
    squares = (k * k).sum(dim=3)
    safe = torch.where(squares > 0, squares, torch.ones_like(squares))
    values = 4.0 * math.pi / torch.abs(torch.linalg.det(cell)) * torch.exp(-0.5 * smearing * smearing * safe) / safe
    return torch.where(squares > 0, values, torch.zeros_like(values))


def _self_potential(cell: torch.Tensor, smearing: float) -> torch.Tensor:
    rounding = 1.2e-7 if cell.dtype == torch.float32 else 2.2e-16
    reach = math.sqrt(-2.0 * math.log(rounding)) / (2.0 * math.pi * smearing)
    lengths: List[float] = torch.linalg.vector_norm(cell.detach().double(), dim=1).tolist()
    frequencies: List[torch.Tensor] = []
    for i, length in enumerate(lengths):
        n = math.ceil(reach * length)
        frequencies.append(torch.arange(0 if i == 2 else -n, n + 1, dtype=cell.dtype, device=cell.device))
    values = _spectrum(cell, frequencies, smearing)
    return 2.0 * values.sum() - values[:, :, 0].sum()  # −k weighs as much as k


def mesh_kernel(cell: torch.Tensor, sizes: List[int], smearing: float, order: int) -> MeshKernel:
    """Computes what depends on the cell alone; differentiable in the cell.

    The influence function is the plain 1/Û². The optimal ones of Hockney and Eastwood or Ballenegger et al. change the
    error by less than 10 % at spacings up to 0.8 σ, where spreading dominates it; the smooth particle-mesh Ewald
    choice |b|² is worse by 10 to 50 %.

    Args:
        cell: [3, 3] Å.
        sizes: numbers of mesh points.
        smearing: σ in Å.
        order: p of the splines.
    """
    frequencies: List[torch.Tensor] = []
    filters: List[torch.Tensor] = []
    for i, n in enumerate(sizes):
        m = torch.arange(n // 2 + 1, dtype=cell.dtype, device=cell.device)
        if i < 2:
            m = torch.cat([m[: n - n // 2], -m[1 : n // 2 + 1].flip(0)])
        # An even axis has a frequency −n/2 without partner: it is left out, its weight is below the error.
        kept = (2.0 * torch.abs(m) < n).to(cell.dtype)
        frequencies.append(m)
        filters.append(kept * torch.sinc(m / n) ** (-2 * order))
    influence = _spectrum(cell, frequencies, smearing) * float(sizes[0] * sizes[1] * sizes[2])
    influence = influence * filters[0].view(-1, 1, 1) * filters[1].view(-1, 1) * filters[2]

    neighborhood = torch.fft.irfftn(torch.complex(influence, torch.zeros_like(influence)), s=sizes, dim=[0, 1, 2])
    steps = torch.arange(order, device=cell.device)
    for i, n in enumerate(sizes):
        shape = [1, 1, 1]
        shape[i] = order
        reflected = neighborhood.index_select(i, (-steps) % n) * (steps > 0).to(cell.dtype).view(shape)
        neighborhood = neighborhood.index_select(i, steps % n) + reflected
    return MeshKernel(influence, neighborhood, _self_potential(cell, smearing))
