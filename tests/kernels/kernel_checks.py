"""What every pair kernel must fulfil, for the tests of each."""

import math

import torch
from scipy.integrate import quad

from lorem_openmm.kernels.pair import PairKernel

DISTANCES = torch.linspace(0.3, 9.0, 60, dtype=torch.float64)
SQUARED_WAVES = torch.linspace(0.01, 40.0, 80, dtype=torch.float64)


def all_values(kernel: PairKernel, distances: torch.Tensor, waves: torch.Tensor) -> list[torch.Tensor]:
    """Every method of a kernel."""
    squares = distances * distances
    bare, real, reciprocal = kernel.bare(squares), kernel.real(distances), kernel.reciprocal(waves)
    slopes = [
        kernel.bare_slope(squares, bare),
        kernel.real_slope(distances, real),
        kernel.reciprocal_slope(waves, reciprocal),
    ]
    return [bare, real, reciprocal, *slopes]


class Methods(torch.nn.Module):
    """Calls every method from TorchScript."""

    def __init__(self, kernel: PairKernel):
        super().__init__()
        self.kernel = kernel

    def forward(self, distances: torch.Tensor, waves: torch.Tensor):
        squares = distances * distances
        bare, real, reciprocal = self.kernel.bare(squares), self.kernel.real(distances), self.kernel.reciprocal(waves)
        slopes = self.kernel.bare_slope(squares, bare), self.kernel.real_slope(distances, real)
        return bare, real, reciprocal, slopes[0], slopes[1], self.kernel.reciprocal_slope(waves, reciprocal)


def check_slopes(kernel: PairKernel) -> None:
    """The slopes are those of autograd, and a second derivative passes the check by differences."""
    squares, distances = (DISTANCES**2).requires_grad_(), DISTANCES.clone().requires_grad_()
    waves = SQUARED_WAVES.clone().requires_grad_()
    pairs = [
        (kernel.bare, kernel.bare_slope, squares),
        (kernel.real, kernel.real_slope, distances),
        (kernel.reciprocal, kernel.reciprocal_slope, waves),
    ]
    for function, slope, x in pairs:
        values = function(x)
        (expected,) = torch.autograd.grad(values.sum(), x)
        torch.testing.assert_close(slope(x, values), expected, rtol=1e-10, atol=1e-14)
        assert torch.autograd.gradgradcheck(lambda t, f=function: f(t).sum(), (x.detach()[5:9].requires_grad_(),))


def check_split(kernel: PairKernel) -> None:
    """k − real is what the transform gives back, at r = 0 too: (1/2π²) ∫ k² reciprocal(k²) sin(kr)/(kr) dk."""
    end = 9.0 / kernel.smearing

    def long(r: float) -> float:
        def integrand(k: float) -> float:
            value = float(kernel.reciprocal(torch.tensor(k * k, dtype=torch.float64)))
            return k * k * value * (math.sin(k * r) / (k * r) if r > 0 else 1.0)

        return quad(integrand, 1e-12, end, epsabs=1e-13, epsrel=1e-11, limit=400)[0] / (2.0 * math.pi**2)

    for distance in (0.5, 1.3, 3.1):
        r = torch.tensor(distance, dtype=torch.float64)
        expected = float(kernel.bare(r * r) - kernel.real(r))
        assert abs(long(distance) - expected) < 1e-9 * max(1.0, float(kernel.bare(r * r)))
    assert abs(long(0.0) - kernel.self_term) < 1e-9 * kernel.self_term


def check_scripted(kernel: PairKernel) -> None:
    """TorchScript gives what Python gives."""
    found = torch.jit.script(Methods(kernel))(DISTANCES, SQUARED_WAVES)
    for value, expected in zip(found, all_values(kernel, DISTANCES, SQUARED_WAVES), strict=True):
        torch.testing.assert_close(value, expected, rtol=1e-13, atol=1e-16)


def check_other_smearing(kernel: PairKernel) -> None:
    """The same k(r), split elsewhere."""
    other = kernel.with_smearing(2.0 * kernel.smearing)
    assert other.smearing == 2.0 * kernel.smearing
    torch.testing.assert_close(other.bare(DISTANCES), kernel.bare(DISTANCES), rtol=0, atol=0)
    assert bool((other.real(DISTANCES) > kernel.real(DISTANCES)).all())


CHECKS = [check_slopes, check_split, check_scripted, check_other_smearing]
