"""Inverse powers of the distance, k(r) = 1 / r^p: dispersion (p = 6), charges and dipoles (p = 2, 3, 4), Coulomb (1).

With x = r²/2σ², z = σ²k²/2 and a = (3 − p)/2, Q(s, x) = Γ(s, x)/Γ(s):

real(r) = Q(p/2, x) / r^p, reciprocal(k²) = c Γ(a, z)/z^a, c = π^(3/2) (2σ²)^a / Γ(p/2),
long(0) = (2σ²)^(−p/2) / Γ(p/2 + 1), background = −c/a.

For p > 3 the lattice sum of 1/r^p converges whatever the charges add up to, and the background, positive, is the value
of the transform at k = 0. For p < 3 it is negative, that of a uniform background that makes the cell neutral. For p = 3
the sum of charges that are not neutral diverges, no background makes it finite without a choice of length, and none is
added: the result is that of the neutral part of the charges only up to a constant that depends on σ.

References:
    P. Loche et al., J. Chem. Phys. 162, 142501 (2025) (torch-pme; its supporting information for p > 1);
    D. E. Williams, Acta Cryst. A 27, 452 (1971).
"""

import math

import torch
from torchpme.lib import exp1

from lorem_openmm.errors import ConfigError
from lorem_openmm.kernels.pair import PairKernel

LARGEST = 6


class InversePower(PairKernel):
    """k(r) = 1 / r^p.

    The incomplete gamma functions of real space are written out from erfc or exp by a recursion of positive terms.
    torch-pme takes real(r) as the difference k(r) − long(r), which in float32 is right to 3e-4 at r = 4σ and to 4e-2 at
    5σ (p = 1); this form to 7e-7.

    Args:
        smearing: σ in Å.
        exponent: p, 1 to 6.

    Raises:
        ConfigError: If the exponent is not one of these.
    """

    def __init__(self, smearing: float, exponent: int):
        if exponent not in range(1, LARGEST + 1):
            raise ConfigError(f"exponent: must be a whole number from 1 to {LARGEST}; received {exponent!r}")
        half, width = 0.5 * exponent, 2.0 * smearing * smearing
        a = 1.5 - half
        scale = math.pi**1.5 * width**a / math.gamma(half)
        background = 0.0 if exponent == 3 else -scale / a
        super().__init__(smearing, width**-half / math.gamma(half + 1.0), background)
        self.exponent = exponent
        self.scale = scale
        self.gaussian_scale = 2.0 * width**-half / math.gamma(half)

    def with_smearing(self, smearing: float) -> "InversePower":
        """Returns the same kernel, split at another σ in Å."""
        return InversePower(smearing, self.exponent)

    def bare(self, squares: torch.Tensor) -> torch.Tensor:
        """Returns r^−p."""
        return squares.pow(-0.5 * self.exponent)

    def bare_slope(self, squares: torch.Tensor, bare: torch.Tensor) -> torch.Tensor:
        """Returns −½p r^(−p−2)."""
        return (-0.5 * self.exponent) * bare / squares

    def real(self, distances: torch.Tensor) -> torch.Tensor:
        """Returns Q(p/2, x) / r^p with Q(s + 1, x) = Q(s, x) + x^s e^−x / Γ(s + 1).

        Q(½, x) = erfc √x, Q(1, x) = e^−x.
        """
        root = distances / (math.sqrt(2.0) * self.smearing)
        x = root * root
        gaussians = torch.exp(-x)
        if self.exponent % 2 == 1:
            s = 0.5
            tail, term = torch.erfc(root), root * gaussians / math.gamma(1.5)
        else:
            s = 1.0
            tail, term = gaussians, x * gaussians
        for _ in range((self.exponent - 1) // 2):
            tail = tail + term
            s += 1.0
            term = term * x / s
        return tail * distances.pow(-self.exponent)

    def real_slope(self, distances: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
        """Returns −[p real + 2 (2σ²)^(−p/2) e^−x / Γ(p/2)] / r."""
        gaussians = self.gaussian_scale * torch.exp(-distances * distances / (2.0 * self.smearing * self.smearing))
        return -(self.exponent * real + gaussians) / distances

    def reciprocal(self, squares: torch.Tensor) -> torch.Tensor:
        """Returns c G_a(z), G_a = Γ(a, z)/z^a, with G_(a−1) = (e^−z − z G_a) / (1 − a).

        G_1 = e^−z / z, G_½ = √(π/z) erfc √z, G_0 = E1(z).
        """
        z = 0.5 * self.smearing * self.smearing * squares
        gaussians = torch.exp(-z)
        if self.exponent == 1:
            a, values = 1.0, gaussians / z
        elif self.exponent % 2 == 0:
            a, values = 0.5, torch.sqrt(math.pi / z) * torch.erfc(torch.sqrt(z))
        else:
            a, values = 0.0, exponential_integral(z)
        while a > 1.5 - 0.5 * self.exponent:
            values = (gaussians - z * values) / (1.0 - a)
            a -= 1.0
        return self.scale * values

    def reciprocal_slope(self, squares: torch.Tensor, reciprocal: torch.Tensor) -> torch.Tensor:
        """Returns −(c e^−z + a · reciprocal) / k²."""
        gaussians = self.scale * torch.exp(-0.5 * self.smearing * self.smearing * squares)
        return -(gaussians + (1.5 - 0.5 * self.exponent) * reciprocal) / squares


def exponential_integral(z: torch.Tensor) -> torch.Tensor:
    """E1(z) = ∫_z^∞ e^−t / t dt for z > 0.

    Training takes torch-pme's, whose derivative −e^−z / z costs nothing to remember. TorchScript cannot hold it: there
    a series up to z = 1 and a continued fraction beyond, as fine as float64.
    """
    if not torch.jit.is_scripting():
        return exp1(z)
    small, large = z.clamp(max=1.0), z.clamp(min=1.0)
    term = small
    series = small - torch.log(small) - 0.5772156649015329  # Euler's constant
    for n in range(2, 20):
        term = term * small * (-(n - 1.0) / (n * n))
        series = series + term
    fraction = large
    for n in range(90, 0, -1):
        fraction = large + n / (1.0 + n / fraction)
    return torch.where(z < 1.0, series, torch.exp(-large) / fraction)
