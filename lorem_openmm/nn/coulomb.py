"""Potentials of latent charges, V_i = ½ Σ_j q_j / r_ij: direct sum in vacuum, Ewald sum in periodic cells.

All charge channels of all structures of a batch go through one call. The ½ and the neutralising background belong to
the model (latent charges are not neutral); units are e/Å.

References:
    P. P. Ewald, Ann. Phys. 369, 253 (1921); P. Loche et al., J. Chem. Phys. 162, 142501 (2025) (torch-pme).
"""

import math
from typing import List

import torch


def pad_by_system(values: torch.Tensor, system_slots: torch.Tensor, n_systems: int, max_size: int) -> torch.Tensor:
    """Places values [n_atoms, n] at their slots: returns [n_systems, max_size, n], zeros elsewhere."""
    padded = values.new_zeros((n_systems * max_size, values.shape[1]))
    return padded.index_copy(0, system_slots, values).view(n_systems, max_size, values.shape[1])


def direct_potentials(charges: torch.Tensor, positions: torch.Tensor, present: torch.Tensor) -> torch.Tensor:
    """V_i = ½ Σ_(j ≠ i) q_j / r_ij over all atoms of each structure, no cutoff.

    Coincident atoms contribute nothing, as in lorem-jax.

    Args:
        charges: [n_systems, max_size, n_channels], zeros where absent.
        positions: [n_systems, max_size, 3] Å.
        present: [n_systems, max_size, 1] 1 for an atom, 0 for padding.

    Returns:
        V [n_systems, max_size, n_channels].
    """
    difference = positions.unsqueeze(2) - positions.unsqueeze(1)
    squares = (difference * difference).sum(dim=3)
    pairs = (present * present.transpose(1, 2) > 0) & (squares > 0)
    inverse = torch.rsqrt(torch.where(pairs, squares, torch.ones_like(squares)))
    return 0.5 * torch.bmm(torch.where(pairs, inverse, torch.zeros_like(inverse)), charges)


def screened_coulomb(distances: torch.Tensor, smearing: float, cutoff: float) -> torch.Tensor:
    """erfc(r / √2σ) / r for r < cutoff, else 0 [n_edges]: the real-space part of the Ewald sum.

    The truncation is the model's, whatever the reach (skin) of the neighbour list.
    """
    positive = (distances > 0) & (distances < cutoff)
    safe = torch.where(positive, distances, torch.ones_like(distances))
    return torch.where(positive, torch.erfc(safe / (math.sqrt(2.0) * smearing)) / safe, torch.zeros_like(safe))


def reciprocal_indices(cell: torch.Tensor, smearing: float, wavelength: float) -> torch.Tensor:
    """Integer triples m of the half space k = 2π h⁻¹ m whose Gaussian weight is above rounding error.

    The box is lorem-jax's: n_a = ceil(|h_a| / wavelength) frequencies along each row of the cell. Of these, weights
    exp(−½σ²k²) below the rounding error of the dtype are left out: with wavelength = σ/2 that is 61 % in float32 and,
    in float64, only corners that weigh less than 1e-15.

    Args:
        cell: [3, 3] Å.
        smearing: σ in Å.
        wavelength: Å.

    Returns:
        m [n_k, 3] in the dtype of the cell.
    """
    with torch.no_grad():
        counts = torch.ceil(torch.linalg.vector_norm(cell, dim=1) / wavelength).to(torch.long)
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
        exponent = 0.5 * smearing * smearing * (k * k).sum(dim=1)
        rounding = 1.2e-7 if cell.dtype == torch.float32 else 2.2e-16
        return m[exponent < -math.log(rounding)]


def reciprocal_potentials(
    charges: torch.Tensor, positions: torch.Tensor, cell: torch.Tensor, smearing: float, wavelength: float
) -> torch.Tensor:
    """Reciprocal-space, self and background terms of the Ewald sum.

    V_i = ½ { (1/Ω) Σ_(k half) 2·4π/k² exp(−½σ²k²) [cos(k·r_i) C_k + sin(k·r_i) S_k] − q_i √(2/π)/σ − 2πσ² Q/Ω }
    with C_k = Σ_j q_j cos(k·r_j), S_k = Σ_j q_j sin(k·r_j), Q = Σ_j q_j.

    Args:
        charges: [n_systems, max_size, n_channels], zeros where there is no atom.
        positions: [n_systems, max_size, 3] Å.
        cell: [n_systems, 3, 3] Å.
        smearing: σ in Å.
        wavelength: Å.

    Returns:
        V [n_systems, max_size, n_channels].
    """
    indices: List[torch.Tensor] = []
    for h in cell.unbind(0):
        indices.append(reciprocal_indices(h, smearing, wavelength))
    m = torch.nn.utils.rnn.pad_sequence(indices, batch_first=True)  # a padding triple (0, 0, 0) gets weight 0
    inverse = torch.linalg.inv(cell)
    volume = torch.abs(torch.linalg.det(cell)).view(-1, 1, 1)
    fractional = torch.bmm(positions, inverse)
    fractional = fractional - torch.floor(fractional).detach()  # small angles keep their digits in float32
    angles = 2.0 * math.pi * torch.bmm(m, fractional.transpose(1, 2))
    k = 2.0 * math.pi * torch.bmm(m, inverse.transpose(1, 2))
    squares = (k * k).sum(dim=2, keepdim=True)
    safe = torch.where(squares > 0, squares, torch.ones_like(squares))
    weights = torch.where(squares > 0, torch.exp(-0.5 * smearing * smearing * safe) / safe, torch.zeros_like(safe))
    weights = 8.0 * math.pi * weights / volume
    cosines, sines = torch.cos(angles), torch.sin(angles)
    potentials = torch.bmm(cosines.transpose(1, 2), weights * torch.bmm(cosines, charges))
    potentials = torch.baddbmm(potentials, sines.transpose(1, 2), weights * torch.bmm(sines, charges))
    total = charges.sum(dim=1, keepdim=True)
    background = 2.0 * math.pi * smearing * smearing * total / volume
    return 0.5 * (potentials - math.sqrt(2.0 / math.pi) / smearing * charges - background)
