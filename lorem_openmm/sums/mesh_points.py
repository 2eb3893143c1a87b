"""Points and splines of the mesh of a cell."""

import math
from typing import List, Tuple

import torch

from lorem_openmm.errors import ConfigError


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


def block_width(n: int) -> int:
    """Mesh points of a block along an axis of n: all up to 20, else the largest divisor of n up to 12.

    Wide blocks multiply many zeros, narrow ones copy much halo; a block of the whole axis needs no halo.
    """
    if n <= 20:
        return n
    width = 12
    while n % width != 0:
        width -= 1
    return width


def first_points(scaled: torch.Tensor, sizes: List[int], order: int) -> Tuple[torch.Tensor, torch.Tensor]:
    """Returns the first mesh point [n, 3] of the splines of atoms, within the cell, and offsets [n, 3] from −½ to ½.

    Args:
        scaled: positions in mesh points [n, 3], inside the cell or not.
        sizes: numbers of mesh points.
        order: p of the splines, even.
    """
    left = torch.floor(scaled).detach()
    first = (left.to(torch.long) - (order // 2 - 1)) % torch.tensor(sizes, device=scaled.device)
    return first, scaled - left - 0.5


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
