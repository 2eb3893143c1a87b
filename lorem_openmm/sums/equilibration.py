"""Charges at equilibrium: E(q) = χ·q + ½ q·M q is least under Σ_i q_i = Q, with M = diag(η + k/√π a) + k (2K + C).

χ are electronegativities in V, η hardnesses in eV/e², a widths of Gaussian charges in Å, k Coulomb's constant, K the
operator of the smooth kernel and C the correction to the charges' own widths. M is positive definite for η > 0.
M q + μ = −χ is one linear problem; S, with q = Q M⁻¹1 / 1·M⁻¹1 − S χ, is symmetric, so that derivatives are the same
problem once more.

References:
    A. K. Rappe, W. A. Goddard, J. Phys. Chem. 95, 3358 (1991); T. W. Ko et al., Nat. Commun. 12, 398 (2021);
    CELLI, arXiv:2501.19179.
"""

import math
from typing import List, Optional, Tuple

import torch

from lorem_openmm.sums.exchange import Exchange, Exchanged
from lorem_openmm.sums.near import NearRows, pair_products, sum_over_neighbors
from lorem_openmm.sums.operator import PairGeometry, PairGradients, PairOperator
from lorem_openmm.sums.transfer import Transfer
from lorem_openmm.sums.widths import WidthCorrection, own_hardness
from lorem_openmm.units import COULOMB_EV_ANGSTROM

MAX_DENSE_ATOMS = 500  # in vacuum, where the matrix is at hand
MAX_ITERATIONS = 500


def solve_dense(matrix: torch.Tensor, right: torch.Tensor, total: torch.Tensor, present: torch.Tensor) -> torch.Tensor:
    """Solves M q + μ = b, Σ_i q_i = Q: returns q [..., n].

    Args:
        matrix: M [..., n, n]; the unit matrix where there is no atom.
        right: b [..., n]; zero where there is no atom.
        total: Q [...].
        present: [..., n] 1 for an atom, 0 for padding.
    """
    top = torch.cat([matrix, present.unsqueeze(-1)], dim=-1)
    bottom = torch.cat([present, torch.zeros_like(present[..., :1])], dim=-1).unsqueeze(-2)
    bordered = torch.cat([top, bottom], dim=-2)
    return torch.linalg.solve(bordered, torch.cat([right, total.unsqueeze(-1)], dim=-1))[..., :-1]


class EquilibratedExchange(Exchange):
    """As :class:`Exchange`, but the first of the charges made is χ, and acts as the q that belongs to it.

    Args:
        operator: K, of the smooth kernel.
        transfer: L.
        is_neutral: whether latent charges are to be neutral.
        cutoff: Å, of the neighbours.
    """

    def __init__(self, operator: PairOperator, transfer: Transfer, is_neutral: bool, cutoff: float):
        super().__init__(operator, transfer, 1, is_neutral)
        self.correction = WidthCorrection(operator.real_space.kernel.smearing, cutoff)
        self.constant = COULOMB_EV_ANGSTROM
        self.max_dense_atoms, self.max_iterations = MAX_DENSE_ATOMS, MAX_ITERATIONS
        self.kept = torch.zeros(0)

    def settle(
        self, made: torch.Tensor, elements: torch.Tensor, total_charge: float, geometry: PairGeometry
    ) -> Tuple[torch.Tensor, List[torch.Tensor]]:
        """Returns q before t, for χ [n, 1] V before t, and c [n, S] of each of the rows.

        Args:
            made: χ and t [n, n_channels].
            elements: η in eV/e² and a in Å [n, 2].
            total_charge: Q in e.
            geometry: of K.
        """
        squares = self.correction.squares(elements[:, 1], geometry.rows)
        near: List[torch.Tensor] = []
        for of_rows, square in zip(geometry.rows, squares):  # noqa: B905 (not in TorchScript)
            near.append(self.correction.weights(of_rows.distances, square))
        charges = self._solve(geometry, near, elements, -made[:, 0], total_charge, self.kept)
        self.kept = charges
        return torch.cat([charges.unsqueeze(1), made[:, 1:]], dim=1), near

    def of_sums(
        self,
        exchanged: Exchanged,
        of_potentials: torch.Tensor,
        of_charges: Optional[torch.Tensor],
        compute_virial: bool,
    ) -> Tuple[PairGradients, Optional[torch.Tensor]]:
        """Returns the gradients with respect to χ, the latent charges and geometry, and the virial.

        dE/dχ = λ = −S dE/dq, and the geometry's derivative gains λ·dM q.
        """
        geometry, near = exchanged.state.geometry, exchanged.near
        direct = self._potentials(geometry, near, of_potentials[:, 0])
        if of_charges is not None:
            direct = direct + of_charges[:, 0]
        response = self._solve(geometry, near, exchanged.elements, -direct, 0.0, torch.zeros(0))
        acting = of_potentials[:, 0] + (2.0 * self.constant) * response
        of_potentials = torch.cat([acting.unsqueeze(1), of_potentials[:, 1:]], dim=1)
        found, virial = self.of_pairs(exchanged, of_potentials, of_charges, compute_virial)
        charges = torch.cat([response.unsqueeze(1), found.charges[:, 1:]], dim=1)
        products = pair_products(geometry.rows, acting.unsqueeze(1), exchanged.charges[:, :1])
        squares = self.correction.squares(exchanged.elements[:, 1], geometry.rows)
        slopes: List[torch.Tensor] = []
        for i, of_rows in enumerate(geometry.rows):
            slope = self.correction.slopes(of_rows.distances, squares[i])
            slopes.append(0.5 * slope * products[i])
        return PairGradients(charges, found.positions, slopes), virial

    @torch.jit.export
    def forget(self) -> None:
        """Leaves nothing of earlier calls: the next one starts from no charges."""
        self.kept = torch.zeros(0)

    def _solve(
        self,
        geometry: PairGeometry,
        near: List[torch.Tensor],
        elements: torch.Tensor,
        right: torch.Tensor,
        total: float,
        guess: torch.Tensor,
    ) -> torch.Tensor:
        """Solves M q + μ = b, Σ_i q_i = Q: returns q [n]."""
        direct, n = geometry.direct, right.shape[0]
        diagonal = own_hardness(elements, self.constant)
        if direct is None or n > self.max_dense_atoms:
            return self._iterate(geometry, near, diagonal, right, total, guess)
        matrix = direct.values + self._matrix(near, geometry.rows, n)
        matrix = self.constant * matrix + torch.diag(diagonal)
        return solve_dense(matrix, right, torch.full_like(right[0], total), torch.ones_like(right))

    def _iterate(
        self,
        geometry: PairGeometry,
        near: List[torch.Tensor],
        diagonal: torch.Tensor,
        right: torch.Tensor,
        total: float,
        guess: torch.Tensor,
    ) -> torch.Tensor:
        """The same by preconditioned conjugate gradients among charges that add up to nothing."""
        n = right.shape[0]
        q = torch.zeros_like(right)
        if guess.shape[0] == n:
            q = guess.to(q)
        q = q + (total - q.sum()) / n
        inverse = 1.0 / diagonal
        weights = inverse / inverse.sum()
        two = 2.0 * self.constant
        residual = right - diagonal * q - two * self._potentials(geometry, near, q)
        residual = residual - (weights * residual).sum()
        # To the rounding of the electronegativities, or of 1 V where these are about equal.
        precision = 1e-12 if right.dtype == torch.float64 else 1e-6
        limit = precision * (float((right - right.mean()).norm()) + n**0.5)
        step = inverse * residual
        square = (residual * step).sum()
        for _ in range(self.max_iterations):
            size = float(residual.norm())
            if size <= limit:
                return q
            if not math.isfinite(size):
                raise RuntimeError("charges: are not finite; look at the structure, and at the weights of the model")
            applied = diagonal * step + two * self._potentials(geometry, near, step)
            length = square / (step * applied).sum()
            q = q + length * step
            residual = residual - length * applied
            residual = residual - (weights * residual).sum()
            preconditioned = inverse * residual
            new = (residual * preconditioned).sum()
            step = preconditioned + (new / square) * step
            square = new
        raise RuntimeError(
            f"charges: {self.max_iterations} iterations do not settle those of {n} atoms to {limit} V; look at the "
            "structure, and at the hardnesses of the model"
        )

    def _potentials(self, geometry: PairGeometry, near: List[torch.Tensor], q: torch.Tensor) -> torch.Tensor:
        """Returns (K + ½ C) q [n]."""
        charges = q.unsqueeze(1)
        values = self.operator.potentials(geometry, charges)[0]
        return (values + sum_over_neighbors(geometry.rows, near, 0.5 * charges))[:, 0]

    def _matrix(self, near: List[torch.Tensor], rows: List[NearRows], n: int) -> torch.Tensor:
        """Returns C [n, n]."""
        parts: List[torch.Tensor] = []
        for of_rows, weights in zip(rows, near):  # noqa: B905 (not in TorchScript)
            blank = torch.zeros([weights.shape[0], n], dtype=weights.dtype, device=weights.device)
            parts.append(blank.scatter_add(1, of_rows.neighbors.view_as(weights), weights))
        return torch.cat(parts)
