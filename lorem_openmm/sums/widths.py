"""Gaussian charges of their own widths: what they feel within the cutoff beside charges of the Ewald sum's width.

Near the cutoff both are 1/r but for 1e-4; a switch takes the rest to zero, so that forces have no step.
"""

import math
from typing import List

import torch

from lorem_openmm.sums.near import NearRows


class WidthCorrection(torch.nn.Module):
    """c(r) = s(r) [erf(r / √2γ_ij) − erf(r / √2σ)] / r, γ_ij² = a_i² + a_j² with widths a ≤ σ/√2.

    The switch s falls from 1 at 0.8 r_c to 0 at r_c, with two continuous derivatives.

    Args:
        smearing: σ in Å.
        cutoff: r_c in Å.
    """

    def __init__(self, smearing: float, cutoff: float):
        super().__init__()
        self.smearing = smearing
        self.cutoff = cutoff

    def weights(self, distances: torch.Tensor, squares: torch.Tensor) -> torch.Tensor:
        """Returns c of distances and γ² of the same shape; zero from the cutoff on."""
        return self._switch(distances) * self._difference(self._within(distances), squares)

    def slopes(self, distances: torch.Tensor, squares: torch.Tensor) -> torch.Tensor:
        """Returns dc/dr of distances and γ²."""
        r = self._within(distances)
        own = torch.rsqrt(squares) * torch.exp(-0.5 * r * r / squares)
        common = torch.exp(-0.5 * r * r / (self.smearing * self.smearing)) / self.smearing
        difference = self._difference(r, squares)
        slopes = (math.sqrt(2.0 / math.pi) * (own - common) - difference) / r
        t = self._place(distances)
        return self._switch(distances) * slopes - (150.0 / self.cutoff) * (t * (1.0 - t)).square() * difference

    def _difference(self, r: torch.Tensor, squares: torch.Tensor) -> torch.Tensor:
        return (torch.erfc(r / (math.sqrt(2.0) * self.smearing)) - torch.erfc(r * torch.rsqrt(2.0 * squares))) / r

    def _within(self, distances: torch.Tensor) -> torch.Tensor:
        """Returns r, and 1 Å for coincident atoms, on which nothing depends."""
        return torch.where(distances > 0, distances, torch.ones_like(distances))

    def _place(self, distances: torch.Tensor) -> torch.Tensor:
        """Returns t, 0 up to 0.8 r_c and 1 from r_c on."""
        return (5.0 / self.cutoff * distances - 4.0).clamp(0.0, 1.0)

    def _switch(self, distances: torch.Tensor) -> torch.Tensor:
        """Returns s = 1 − 10 t³ + 15 t⁴ − 6 t⁵."""
        t = self._place(distances)
        return 1.0 - t.pow(3) * (10.0 - 15.0 * t + 6.0 * t * t)

    @torch.jit.export
    def squares(self, widths: torch.Tensor, rows: List[NearRows]) -> List[torch.Tensor]:
        """Returns γ² [n, S] of each of the rows, for widths a [n_atoms] Å."""
        own = widths * widths
        found: List[torch.Tensor] = []
        for near in rows:
            of_neighbors = own.index_select(0, near.neighbors).view_as(near.distances)
            found.append(of_neighbors + own.narrow(0, near.first, near.distances.shape[0]).unsqueeze(1))
        return found


def own_hardness(elements: torch.Tensor, constant: float) -> torch.Tensor:
    """Returns η + k / (√π a) [n] eV/e², the second derivative of an atom's own energy with respect to its charge.

    Args:
        elements: η in eV/e² and a in Å [n, 2].
        constant: k, Coulomb's constant.
    """
    return elements[:, 0] + constant / (math.sqrt(math.pi) * elements[:, 1])
