"""Radial basis functions and cutoff functions, as e3x defines them, with the gradient by hand.

References:
    O. T. Unke, H. Maennel, E3x, arXiv:2401.07595, ``e3x.nn.functions``.
"""

import math
from typing import List, Optional, Tuple

import torch

from lorem_openmm.ops.constants import ConstantsModule


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


class RadialFunctions(ConstantsModule):
    """ρ_k(r) = b_k(x) · f(x), x = r / cutoff, k = 0 … K − 1, and Σ_k g_k dρ_k/dr.

    ``basic_bernstein``: b_k = C(n, k) x^k (1−x)^(n−k), n = K − 1, with exact binomials; ``basic_gaussian``:
    exp(−√(2K) n (x − k/n)²); ``basic_fourier``: cos(kπx); ``basic_chebyshev``: cos(k arccos(2x−1)).

    Bernstein polynomials, the default, have ln ρ_k = ln C(n, k) + k ln x + (n − k) ln(1 − x) + ln f(x): one small
    matrix product and one exponential; the slope is ρ_k times that of the logarithm. The cosine cutoff is the square of
    s = sin(½π (1 − x)), the smooth one the first power of itself. The other bases are differentiated by autograd.

    Numbers that meet distances are tensors, which at every use saves making one of a Python number.

    Args:
        cutoff: Å.
        num_radial: K.
        radial_basis: e3x's name of the basis.
        cutoff_function: e3x's name of the cutoff function.
    """

    cutoff: torch.Tensor
    quarter_turn: torch.Tensor
    exponents: torch.Tensor
    log_binomials: torch.Tensor

    def __init__(self, cutoff: float, num_radial: int, radial_basis: str, cutoff_function: str):
        super().__init__()
        self.num_radial = num_radial
        self.radial_basis = radial_basis
        self.bernstein = radial_basis == "basic_bernstein"
        self.cosine = cutoff_function == "cosine_cutoff"
        n = num_radial - 1
        k = torch.arange(num_radial, dtype=torch.float64)
        log_binomials = [math.log(math.comb(n, i)) for i in range(num_radial)]
        power = torch.full_like(k, 2.0 if self.cosine else 1.0)
        self.register_constant("cutoff", torch.tensor(cutoff, dtype=torch.float64))
        self.register_constant("quarter_turn", torch.tensor(0.5 * math.pi, dtype=torch.float64))
        self.register_constant("exponents", torch.stack([k, n - k, power], dim=1).unsqueeze(0))
        self.register_constant("log_binomials", torch.tensor(log_binomials, dtype=torch.float64).view(1, -1, 1))

    def forward(self, distances: torch.Tensor) -> torch.Tensor:
        """Returns ρ [n, K, S] for distances [n, S] in Å; beyond the cutoff 0, or less than 1e-34 (Bernstein)."""
        if not self.bernstein:
            x = distances / self.cutoff
            weights = cosine_cutoff(x) if self.cosine else smooth_cutoff(x)
            return self._other_basis(x.unsqueeze(1)) * weights.unsqueeze(1)
        x, complement = self._inside(distances)
        logs = torch.stack([torch.log(x), torch.log(complement), self._log_cutoff(distances, x, complement)], dim=1)
        exponents = self.exponents.expand(x.shape[0], -1, -1)
        # Below the smallest normal number the exponential is five to ten times slower.
        smallest = -80.0 if x.dtype == torch.float32 else -700.0
        return torch.baddbmm(self.log_binomials, exponents, logs).clamp_(min=smallest).exp_()

    def pullback(self, distances: torch.Tensor, radial: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
        """Returns dE/dr [n, S]; for Bernstein polynomials differentiable in all arguments.

        Args:
            distances: r [n, S].
            radial: ρ [n, K, S] from :meth:`forward`.
            gradient: dE/dρ [n, K, S].
        """
        if not self.bernstein:
            return self._autograd(distances, gradient)
        x, complement = self._inside(distances)
        weighted = gradient * radial
        # Σ_k g_k ρ_k times k, n − k and the power of s
        sums = torch.bmm(self.exponents.transpose(1, 2).expand(x.shape[0], -1, -1), weighted)
        first, second, total = sums.unbind(1)
        return (first / x - second / complement - total * self._cutoff_slope(x, complement)) / self.cutoff

    def _inside(self, distances: torch.Tensor) -> Tuple[torch.Tensor, torch.Tensor]:
        """Returns x and 1 − x, moved inside (0, 1) by a rounding error so that logarithms stay finite."""
        tiny = _resolution(distances)
        x = torch.clamp(distances / self.cutoff, min=tiny)
        return x, torch.clamp((self.cutoff - distances) / self.cutoff, min=tiny)

    def _log_cutoff(self, distances: torch.Tensor, x: torch.Tensor, complement: torch.Tensor) -> torch.Tensor:
        """Returns ln s."""
        if not self.cosine:  # beyond the cutoff 1 − x is tiny, and this far below the logarithm of any number
            return 1.0 - 1.0 / (complement * (1.0 + x))
        logs = torch.log(torch.sin(self.quarter_turn * complement))
        return logs.masked_fill_(distances >= self.cutoff, -1e4)

    def _cutoff_slope(self, x: torch.Tensor, complement: torch.Tensor) -> torch.Tensor:
        """Returns d ln s / d(1 − x)."""
        if self.cosine:
            return self.quarter_turn / torch.tan(self.quarter_turn * complement)
        rest = complement * (1.0 + x)
        return 2.0 * x / (rest * rest)

    def _other_basis(self, x: torch.Tensor) -> torch.Tensor:
        """Returns b [n, K, S] for x [n, 1, S]."""
        order = self.exponents[:, :, :1]
        if self.radial_basis == "basic_gaussian":
            n = self.num_radial - 1
            return torch.exp(-math.sqrt(2 * self.num_radial) * n * (x - order / max(n, 1)) ** 2)
        if self.radial_basis == "basic_fourier":
            return torch.cos(math.pi * order * x)
        # Chebyshev by its angle; the clamp keeps the slope of arccos finite at both ends.
        tiny = _resolution(x)
        return torch.cos(order * torch.arccos(torch.clamp(2.0 * x - 1.0, min=-1.0 + tiny, max=1.0 - tiny)))

    def _autograd(self, distances: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
        recording = torch.is_grad_enabled()  # TorchScript has no enable_grad
        torch.set_grad_enabled(True)
        r = distances.detach().requires_grad_(True)
        outer: List[Optional[torch.Tensor]] = [gradient]
        slope = torch.autograd.grad([self.forward(r)], [r], outer)[0]
        torch.set_grad_enabled(recording)
        assert slope is not None  # for TorchScript  # noqa: S101
        return slope


def _resolution(x: torch.Tensor) -> float:
    return 1e-7 if x.dtype == torch.float32 else 1e-15
