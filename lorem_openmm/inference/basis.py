"""Radial and angular basis of the edges with their hand-derived gradients, laid out [rows, functions, slots]."""

import math
from typing import List, Optional, Tuple

import torch

from lorem_openmm.nn.constants import ConstantsModule
from lorem_openmm.nn.equivariant import num_even
from lorem_openmm.nn.radial import RadialBasis
from lorem_openmm.nn.spherical import clebsch_gordan, spherical_harmonics


class RadialFunctions(ConstantsModule):
    """ρ_k(r) and Σ_k g_k dρ_k/dr, see :class:`lorem_openmm.nn.radial.RadialBasis`.

    Bernstein polynomials, the default, have ln ρ_k = ln C(n, k) + k ln x + (n − k) ln(1 − x) + ln f(x), x = r / cutoff,
    n = K − 1: one small matrix product and one exponential; the slope is ρ_k times that of the logarithm. Other bases
    are differentiated by autograd.

    Args:
        basis: the basis of the model.
    """

    exponents: torch.Tensor
    log_binomials: torch.Tensor

    def __init__(self, basis: RadialBasis):
        super().__init__()
        self.basis = basis
        self.cutoff = basis.cutoff
        self.bernstein = basis.radial_basis == "basic_bernstein"
        self.cosine = basis.cutoff_function == "cosine_cutoff"
        k = torch.arange(basis.num_radial, dtype=torch.float64)
        n = basis.num_radial - 1
        log_binomials = [math.log(math.comb(n, i)) for i in range(n + 1)]
        self.register_constant("exponents", torch.stack([k, n - k, torch.ones_like(k)], dim=1).unsqueeze(0))
        self.register_constant("log_binomials", torch.tensor(log_binomials, dtype=torch.float64).view(1, -1, 1))

    def forward(self, distances: torch.Tensor) -> torch.Tensor:
        """Returns ρ [n, K, S] for distances [n, S] in Å."""
        if not self.bernstein:
            rows = self.basis(distances.flatten())
            return rows.view(distances.shape[0], distances.shape[1], -1).transpose(1, 2).contiguous()
        x, complement = self._inside(distances)
        logs = torch.stack([torch.log(x), torch.log(complement), self._log_cutoff(distances, x, complement)], dim=1)
        exponents = self.exponents.expand(x.shape[0], -1, -1)
        # Below the smallest normal number the exponential is five to ten times slower.
        smallest = -80.0 if x.dtype == torch.float32 else -700.0
        return torch.baddbmm(self.log_binomials, exponents, logs).clamp_(min=smallest).exp_()

    def pullback(self, distances: torch.Tensor, radial: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
        """Returns dE/dr [n, S].

        Args:
            distances: r [n, S].
            radial: ρ [n, K, S] from :meth:`forward`.
            gradient: dE/dρ [n, K, S].
        """
        if not self.bernstein:
            return self._autograd(distances, gradient)
        x, complement = self._inside(distances)
        weighted = gradient * radial
        # Σ_k g_k ρ_k times k, n − k and 1
        sums = torch.bmm(self.exponents.transpose(1, 2).expand(x.shape[0], -1, -1), weighted)
        first, second, total = sums.unbind(1)
        slope = first / x - second / complement + total * self._cutoff_slope(x, complement)
        return slope / self.cutoff

    def _inside(self, distances: torch.Tensor) -> Tuple[torch.Tensor, torch.Tensor]:
        """Returns x and 1 − x, moved inside (0, 1) by a rounding error so that logarithms stay finite."""
        tiny = 1e-7 if distances.dtype == torch.float32 else 1e-15
        x = torch.clamp(distances / self.cutoff, min=tiny)
        return x, torch.clamp(1.0 - x, min=tiny)

    def _log_cutoff(self, distances: torch.Tensor, x: torch.Tensor, complement: torch.Tensor) -> torch.Tensor:
        if not self.cosine:  # beyond the cutoff 1 − x is tiny, and this far below the logarithm of any number
            return 1.0 - 1.0 / (complement * (1.0 + x))
        logs = 2.0 * torch.log(torch.sin(0.5 * math.pi * complement))  # ½ (1 + cos πx) = sin² (½π (1 − x))
        return logs.masked_fill(distances >= self.cutoff, -1e4)

    def _cutoff_slope(self, x: torch.Tensor, complement: torch.Tensor) -> torch.Tensor:
        """Returns d ln f / dx."""
        if self.cosine:
            return -math.pi / torch.tan(0.5 * math.pi * complement)
        rest = complement * (1.0 + x)
        return -2.0 * x / (rest * rest)

    def _autograd(self, distances: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
        recording = torch.is_grad_enabled()  # TorchScript has no enable_grad
        torch.set_grad_enabled(True)
        r = distances.detach().requires_grad_(True)
        outer: List[Optional[torch.Tensor]] = [gradient]
        slope = torch.autograd.grad([self.forward(r)], [r], outer)[0]
        torch.set_grad_enabled(recording)
        assert slope is not None  # for TorchScript  # noqa: S101
        return slope


def raising_matrix(degree: int) -> torch.Tensor:
    """P [2l+1, 2l−1, 3] with Y_l(û) = Σ P Y_(l−1)(û) û, for l = ``degree`` > 0, in e3x's order.

    Both sides are harmonic polynomials of the same degree, so that the gradient of the solid harmonic is
    ∂_a Y_lm = l Σ_m' P_(m m' a) Y_(l−1, m').
    """
    coupling = clebsch_gordan(degree - 1, 1, degree).permute(2, 0, 1)
    direction = torch.tensor([[0.36, 0.48, 0.8]], dtype=torch.float64)
    lower, upper = spherical_harmonics(degree, direction).split([degree**2, 2 * degree + 1], dim=1)
    unscaled = torch.einsum("abc,b,c->a", coupling, lower[0, (degree - 1) ** 2 :], direction[0])
    largest = unscaled.abs().argmax()
    return coupling * (upper[0, largest] / unscaled[largest])


class AngularFunctions(ConstantsModule):
    """Y_l(û) = P_l (Y_(l−1)(û) ⊗ û) and Σ g ∂Y/∂û, components in the model's order (even degrees first).

    Args:
        max_degree: L.
    """

    lower_even: torch.Tensor
    lower_odd: torch.Tensor

    def __init__(self, max_degree: int):
        super().__init__()
        self.max_degree = max_degree
        evens, odds = list(range(0, max_degree + 1, 2)), list(range(1, max_degree + 1, 2))
        self.num_even = num_even(max_degree)
        self.raising = torch.nn.ModuleList([Raising(degree) for degree in range(2, max_degree + 1)])
        self.register_constant("lower_even", self._lowering(evens, odds))
        self.register_constant("lower_odd", self._lowering(odds, evens))

    def _lowering(self, degrees: List[int], others: List[int]) -> torch.Tensor:
        """[1, 3·components of degrees − 1, components]: gradients of harmonics as combinations of lower ones."""
        used = [degree for degree in others if degree + 1 in degrees]
        matrix = torch.zeros(3, sum(2 * d + 1 for d in used), sum(2 * d + 1 for d in degrees), dtype=torch.float64)
        for degree in degrees:
            if degree > 0:
                row = sum(2 * d + 1 for d in used if d < degree - 1)
                column = sum(2 * d + 1 for d in degrees if d < degree)
                block = degree * raising_matrix(degree).permute(2, 1, 0)
                matrix[:, row : row + 2 * degree - 1, column : column + 2 * degree + 1] = block
        return matrix.flatten(0, 1).unsqueeze(0)

    def forward(self, directions: torch.Tensor) -> torch.Tensor:
        """Returns Y [n, (L+1)², S] for unit vectors [3, n, S]."""
        first = directions.transpose(0, 1)
        even = [torch.ones_like(first[:, :1])]
        odd = [first]
        last = first
        for i, module in enumerate(self.raising):
            last = module(last, first)
            if i % 2 == 0:
                even.append(last)
            else:
                odd.append(last)
        if self.max_degree == 0:
            return even[0]
        return torch.cat(even + odd, dim=1)

    def pullback(self, angular: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
        """Returns dE/dû [n, 3, S], its part along û included (the caller removes it).

        Args:
            angular: Y [n, (L+1)², S].
            gradient: dE/dY [n, (L+1)², S].
        """
        if self.max_degree == 0:
            return torch.zeros_like(gradient).expand(-1, 3, -1)
        result = self._pull(self.lower_odd, angular[:, : self.num_even], gradient[:, self.num_even :])
        if self.max_degree > 1:
            result = result + self._pull(self.lower_even, angular[:, self.num_even :], gradient[:, : self.num_even])
        return result

    def _pull(self, matrix: torch.Tensor, angular: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
        mixed = torch.bmm(matrix.expand(gradient.shape[0], -1, -1), gradient)
        mixed = mixed.view(gradient.shape[0], 3, -1, gradient.shape[2])
        return (mixed * angular[:, : mixed.shape[2]].unsqueeze(1)).sum(dim=2)


class Raising(ConstantsModule):
    """Y_l = P_l (Y_(l−1) ⊗ û), see :func:`raising_matrix`.

    Args:
        degree: l.
    """

    matrix: torch.Tensor

    def __init__(self, degree: int):
        super().__init__()
        self.register_constant("matrix", raising_matrix(degree).flatten(1).unsqueeze(0))

    def forward(self, lower: torch.Tensor, directions: torch.Tensor) -> torch.Tensor:
        """Returns Y_l [n, 2l+1, S] for Y_(l−1) [n, 2l−1, S] and û [n, 3, S]."""
        products = (lower.unsqueeze(2) * directions.unsqueeze(1)).flatten(1, 2)
        return torch.bmm(self.matrix.expand(products.shape[0], -1, -1), products)
