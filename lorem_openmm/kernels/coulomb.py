"""The Coulomb kernel, k(r) = 1 / r, its long-range part the potential of a Gaussian charge of width σ.

References:
    P. P. Ewald, Ann. Phys. 369, 253 (1921).
"""

import math

import torch

from lorem_openmm.kernels.pair import PairKernel


class Coulomb(PairKernel):
    """real = erfc(r / √2σ) / r, reciprocal = (4π/k²) exp(−½σ²k²), long(0) = √(2/π)/σ, background = −2πσ².

    Args:
        smearing: σ in Å.
    """

    def __init__(self, smearing: float):
        super().__init__(smearing, math.sqrt(2.0 / math.pi) / smearing, -2.0 * math.pi * smearing * smearing)

    def with_smearing(self, smearing: float) -> "Coulomb":
        """Returns the same kernel, split at another σ in Å."""
        return Coulomb(smearing)

    def bare(self, squares: torch.Tensor) -> torch.Tensor:
        """Returns 1/r."""
        return torch.rsqrt(squares)

    def bare_slope(self, squares: torch.Tensor, bare: torch.Tensor) -> torch.Tensor:
        """Returns −1 / 2r³."""
        return -0.5 * bare / squares

    def real(self, distances: torch.Tensor) -> torch.Tensor:
        """Returns erfc(r / √2σ) / r."""
        return torch.erfc(distances / (math.sqrt(2.0) * self.smearing)) / distances

    def real_slope(self, distances: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
        """Returns −[real + (2a/√π) exp(−a²r²)] / r with a = 1 / √2σ."""
        a = 1.0 / (math.sqrt(2.0) * self.smearing)
        gaussians = (2.0 * a / math.sqrt(math.pi)) * torch.exp(-(a * a) * distances * distances)
        return -(real + gaussians) / distances

    def reciprocal(self, squares: torch.Tensor) -> torch.Tensor:
        """Returns (4π/k²) exp(−½σ²k²)."""
        return 4.0 * math.pi * torch.exp(-0.5 * self.smearing * self.smearing * squares) / squares

    def reciprocal_slope(self, squares: torch.Tensor, reciprocal: torch.Tensor) -> torch.Tensor:
        """Returns −(½σ² + 1/k²) · reciprocal."""
        return -(0.5 * self.smearing * self.smearing + 1.0 / squares) * reciprocal
