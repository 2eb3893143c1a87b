"""Radial basis functions and cutoff functions, as e3x defines them.

References:
    O. T. Unke, H. Maennel, E3x, arXiv:2401.07595, ``e3x.nn.functions``.
"""

import math

import torch

from lorem_openmm.nn.constants import ConstantsModule


def cosine_cutoff(x: torch.Tensor) -> torch.Tensor:
    """f(x) = ½ (cos πx + 1) for x < 1, else 0.

    Args:
        x: [...] distance over cutoff.
    """
    return 0.5 * torch.cos(math.pi * torch.clamp(x, max=1.0)) + 0.5


def smooth_cutoff(x: torch.Tensor) -> torch.Tensor:
    """f(x) = exp(1 − 1 / (1 − x²)) for x < 1, else 0; infinitely differentiable.

    Args:
        x: [...] distance over cutoff.
    """
    inside = x < 1.0
    safe = torch.where(inside, x, torch.zeros_like(x))
    return torch.where(inside, torch.exp(1.0 - 1.0 / (1.0 - safe * safe)), torch.zeros_like(x))


def _resolution(x: torch.Tensor) -> float:
    return 1e-7 if x.dtype == torch.float32 else 1e-15


class RadialBasis(ConstantsModule):
    """ρ_k(r) = b_k(r / cutoff) · f(r / cutoff), k = 0 … num_radial − 1.

    ``basic_bernstein``: b_k(x) = C(K−1, k) x^k (1−x)^(K−1−k), evaluated as the exponential of its logarithm with
    exact binomials; ``basic_gaussian``: exp(−√(2K) (K−1) (x − k/(K−1))²); ``basic_fourier``: cos(kπx);
    ``basic_chebyshev``: cos(k arccos(2x−1)).

    Args:
        cutoff: Å.
        num_radial: K.
        radial_basis: e3x's name of the basis.
        cutoff_function: e3x's name of the cutoff function.
    """

    order: torch.Tensor
    log_binomials: torch.Tensor

    def __init__(self, cutoff: float, num_radial: int, radial_basis: str, cutoff_function: str):
        super().__init__()
        self.cutoff = cutoff
        self.num_radial = num_radial
        self.radial_basis = radial_basis
        self.cutoff_function = cutoff_function
        n = num_radial - 1
        order = torch.arange(num_radial, dtype=torch.float64)
        log_binomials = [math.log(math.comb(n, k)) for k in range(num_radial)]
        self.register_constant("order", order)
        self.register_constant("log_binomials", torch.tensor(log_binomials, dtype=torch.float64))

    def forward(self, distances: torch.Tensor) -> torch.Tensor:
        """Returns ρ [n_edges, num_radial] for distances [n_edges] in Å."""
        x = distances / self.cutoff
        if self.cutoff_function == "cosine_cutoff":
            weights = cosine_cutoff(x)
        else:
            weights = smooth_cutoff(x)
        return self._basis(x) * weights.unsqueeze(-1)

    def _basis(self, x: torch.Tensor) -> torch.Tensor:
        n = self.num_radial - 1
        order = self.order
        if self.radial_basis == "basic_bernstein":
            # Both ends are moved inside (0, 1) by one rounding error so that the logarithms stay finite.
            tiny = _resolution(x)
            inside = torch.clamp(x, min=tiny, max=1.0 - tiny).unsqueeze(-1)
            return torch.exp(self.log_binomials + order * torch.log(inside) + (n - order) * torch.log1p(-inside))
        x = x.unsqueeze(-1)
        if self.radial_basis == "basic_gaussian":
            spacing = 1.0 / max(n, 1)
            return torch.exp(-math.sqrt(2 * self.num_radial) * n * (x - spacing * order) ** 2)
        if self.radial_basis == "basic_fourier":
            return torch.cos(math.pi * order * x)
        # Chebyshev by its angle; the clamp keeps the slope of arccos finite at both ends.
        tiny = _resolution(x)
        return torch.cos(order * torch.arccos(torch.clamp(2.0 * x - 1.0, min=-1.0 + tiny, max=1.0 - tiny)))
