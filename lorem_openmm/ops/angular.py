"""Spherical harmonics of the edges by a recursion whose gradient needs the harmonics alone."""

from typing import List

import torch

from lorem_openmm.ops.constants import ConstantsModule
from lorem_openmm.ops.spherical import clebsch_gordan, parity_counts, spherical_harmonics


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
        self.parities = parity_counts(max_degree)
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
        first = directions.transpose(0, 1).contiguous()  # joined at once, not one by one
        even = [first.new_ones((first.shape[0], 1, first.shape[2]))]
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
        even, odd = angular.split(self.parities, dim=1)
        of_even, of_odd = gradient.split(self.parities, dim=1)
        result = self._pull(self.lower_odd, even, of_odd)
        if self.max_degree > 1:
            result = result + self._pull(self.lower_even, odd, of_even)
        return result

    def _pull(self, matrix: torch.Tensor, angular: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
        mixed = torch.bmm(matrix.expand(gradient.shape[0], -1, -1), gradient)
        mixed = mixed.view(gradient.shape[0], 3, matrix.shape[1] // 3, gradient.shape[2])
        return (mixed * angular.narrow(1, 0, mixed.shape[2]).unsqueeze(1)).sum(dim=2)


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
