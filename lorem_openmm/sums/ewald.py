"""Reciprocal space, self and background terms of the Ewald sum, and their gradients.

V_i = Σ_(k half) u_k [cos(k·r_i) C_k + sin(k·r_i) S_k] − ½ s q_i + ½ b Q/Ω, u_k = reciprocal(k²) / Ω,
C_k = Σ_j q_j cos(k·r_j), S_k = Σ_j q_j sin(k·r_j), Q = Σ_j q_j, with the self term s and the background b of
the kernel. The ½ of V = ½ K q went into the half space.

Every function takes one structure, or a batch of them in leading dimensions, zeros where there is no atom.

References:
    P. P. Ewald, Ann. Phys. 369, 253 (1921); P. Loche et al., J. Chem. Phys. 162, 142501 (2025) (torch-pme).
"""

import math
from typing import List, NamedTuple, Tuple

import torch

from lorem_openmm.kernels.pair import PairKernel
from lorem_openmm.sums.own_terms import with_own_terms


class EwaldTerms(NamedTuple):
    """What depends on the cell alone.

    Attributes:
        indices: m [..., n_k, 3] of the half space.
        vectors: k = 2π h⁻¹ m [..., n_k, 3] 1/Å.
        weights: u_k, once for the cosines and once for the sines [..., 2 n_k].
        inverse_cell: h⁻¹ [..., 3, 3].
        volume: Ω in Å³ [..., 1, 1].
        self_term: s [].
        background: b/Ω [..., 1, 1].
    """

    indices: torch.Tensor
    vectors: torch.Tensor
    weights: torch.Tensor
    inverse_cell: torch.Tensor
    volume: torch.Tensor
    self_term: torch.Tensor
    background: torch.Tensor


class EwaldSum(torch.nn.Module):
    """V = K q but for the real-space part.

    Args:
        kernel: between two charges.
        wavelength: shortest one, in Å.
    """

    def __init__(self, kernel: PairKernel, wavelength: float):
        super().__init__()
        self.kernel = kernel
        self.wavelength = wavelength

    def terms(self, cell: torch.Tensor) -> EwaldTerms:
        """Returns the terms for cells [..., 3, 3] Å whose rows are the vectors; differentiable in the cell."""
        if cell.dim() == 2:
            indices = self.indices(cell)
        else:
            each: List[torch.Tensor] = []
            for h in cell.unbind(0):
                each.append(self.indices(h))
            indices = torch.nn.utils.rnn.pad_sequence(each, batch_first=True)  # padding (0, 0, 0) gets weight 0
        inverse = torch.linalg.inv(cell)
        volume = torch.abs(torch.linalg.det(cell)).unsqueeze(-1).unsqueeze(-1)
        vectors = 2.0 * math.pi * torch.matmul(indices, inverse.transpose(-1, -2))
        squares = (vectors * vectors).sum(dim=-1)
        safe = torch.where(squares > 0, squares, torch.ones_like(squares))
        weights = torch.where(squares > 0, self.kernel.reciprocal(safe), torch.zeros_like(safe)) / volume.squeeze(-1)
        self_term = torch.full_like(volume.flatten()[0], self.kernel.self_term)
        background = self.kernel.background / volume
        return EwaldTerms(
            indices, vectors, torch.cat([weights, weights], dim=-1), inverse, volume, self_term, background
        )

    def indices(self, cell: torch.Tensor) -> torch.Tensor:
        """Integer triples m of the half space k = 2π h⁻¹ m whose Gaussian weight is above rounding error.

        The box is lorem-jax's: n_a = ceil(|h_a| / wavelength) frequencies along each row of the cell. Of these, weights
        exp(−½σ²k²) below the rounding error of the dtype are left out: with wavelength = σ/2 that is 61 % in float32
        and, in float64, only corners that weigh less than 1e-15.

        Args:
            cell: [3, 3] Å.

        Returns:
            m [n_k, 3] in the dtype of the cell.
        """
        with torch.no_grad():
            counts = torch.ceil(torch.linalg.vector_norm(cell, dim=1) / self.wavelength).to(torch.long)
            axes: List[torch.Tensor] = []
            for i in range(3):
                n = int(counts[i])
                axes.append(torch.arange(-(n // 2), n - n // 2, device=cell.device))
            x, y, z = torch.meshgrid(axes[0][axes[0] >= 0], axes[1], axes[2], indexing="ij")
            # The Nyquist line −n/2 of the first axis has no partner in lorem-jax's half space and is not in x either.
            m = torch.stack([x.reshape(-1), y.reshape(-1), z.reshape(-1)], dim=1)
            half = (m[:, 0] > 0) | ((m[:, 0] == 0) & ((m[:, 1] > 0) | ((m[:, 1] == 0) & (m[:, 2] > 0))))
            m = m[half].to(cell.dtype)
            k = 2.0 * math.pi * torch.mm(m, torch.linalg.inv(cell).t())
            exponent = 0.5 * self.kernel.smearing * self.kernel.smearing * (k * k).sum(dim=1)
            rounding = 1.2e-7 if cell.dtype == torch.float32 else 2.2e-16
            return m[exponent < -math.log(rounding)]

    def phases(self, positions: torch.Tensor, terms: EwaldTerms) -> torch.Tensor:
        """Returns cos(k·r_i) above sin(k·r_i) [..., 2 n_k, n] for positions [..., n, 3] Å."""
        fractional = torch.matmul(positions, terms.inverse_cell)
        fractional = fractional - torch.floor(fractional).detach()  # small angles keep their digits in float32
        angles = torch.matmul(terms.indices, (2.0 * math.pi) * fractional.transpose(-1, -2))
        return torch.cat([torch.cos(angles), torch.sin(angles)], dim=-2)

    def potentials(
        self, phases: torch.Tensor, charges: torch.Tensor, terms: EwaldTerms
    ) -> Tuple[torch.Tensor, torch.Tensor]:
        """Returns V [..., n, n_channels] of charges, and C_k before S_k [..., n_channels, 2 n_k]."""
        structure = structure_factors(phases, charges)
        waves = torch.matmul(terms.weights.unsqueeze(-2) * structure, phases).transpose(-1, -2)
        return with_own_terms(waves, charges, terms.self_term, terms.background), structure

    def pullback(
        self,
        phases: torch.Tensor,
        structure: torch.Tensor,
        charges: torch.Tensor,
        adjoint: torch.Tensor,
        terms: EwaldTerms,
    ) -> Tuple[torch.Tensor, torch.Tensor]:
        """dE/dq = ½ K g, dE/dr_i = Σ_k u_k k Σ_c [cos (q_ic S^g_kc + g_ic S^q_kc) − sin (q_ic C^g_kc + g_ic C^q_kc)].

        g = dE/dV is the adjoint; ``structure`` comes from :meth:`potentials`.

        Returns:
            dE/dq [..., n, n_channels] and dE/dr [..., n, 3].
        """
        n_k = terms.vectors.shape[-2]
        of_charges, structure_g = self.potentials(phases, adjoint, terms)
        structures = torch.cat([structure_g, structure], dim=-2).transpose(-1, -2)
        both = torch.matmul(structures, torch.cat([charges, adjoint], dim=-1).transpose(-1, -2))
        cosines, sines = phases.split(n_k, dim=-2)
        with_cosines, with_sines = both.split(n_k, dim=-2)
        slopes = cosines * with_sines - sines * with_cosines
        weighted = terms.weights[..., :n_k].unsqueeze(-1) * terms.vectors
        return of_charges, torch.matmul(slopes.transpose(-1, -2), weighted)

    def strain(
        self,
        phases: torch.Tensor,
        structure: torch.Tensor,
        charges: torch.Tensor,
        adjoint: torch.Tensor,
        terms: EwaldTerms,
    ) -> torch.Tensor:
        """dE/dε_ab = −Σ_k P_k [2 reciprocal'(k²)/Ω k_a k_b + u_k δ_ab] − δ_ab ½ b Σ_c G_c Q_c/Ω [..., 3, 3].

        P_k = Σ_c (C^g C^q + S^g S^q); phases do not change under strain. Arguments as in :meth:`pullback`.
        """
        n_k = terms.vectors.shape[-2]
        power = (structure_factors(phases, adjoint) * structure).sum(dim=-2)
        power = power[..., :n_k] + power[..., n_k:]
        weights = terms.weights[..., :n_k]
        squares = (terms.vectors * terms.vectors).sum(dim=-1)
        squares = torch.where(squares > 0, squares, torch.ones_like(squares))  # padding
        slopes = self.kernel.reciprocal_slope(squares, weights * terms.volume.squeeze(-1))
        bent = (power * slopes).unsqueeze(-1) * terms.vectors * (-2.0 / terms.volume)
        of_volume = (power * weights).sum(dim=-1).unsqueeze(-1).unsqueeze(-1)
        totals = (charges.sum(dim=-2) * adjoint.sum(dim=-2)).sum(dim=-1).unsqueeze(-1).unsqueeze(-1)
        of_volume = of_volume + 0.5 * terms.background * totals
        identity = torch.eye(3, dtype=bent.dtype, device=bent.device)
        return torch.matmul(bent.transpose(-1, -2), terms.vectors) - identity * of_volume


def structure_factors(phases: torch.Tensor, charges: torch.Tensor) -> torch.Tensor:
    """Returns C_k before S_k [..., n_channels, 2 n_k]; ten columns instead would take four to six times as long."""
    return torch.matmul(charges.transpose(-1, -2), phases.transpose(-1, -2))
