"""Reciprocal space, self and background terms of the Ewald sum, and their gradients.

V_i = ½ { Σ_(k half) w_k [cos(k·r_i) C_k + sin(k·r_i) S_k] − q_i √(2/π)/σ − 2πσ² Q/Ω }, w_k = (8π/Ωk²) exp(−½σ²k²),
C_k = Σ_j q_j cos(k·r_j), S_k = Σ_j q_j sin(k·r_j), Q = Σ_j q_j: :func:`lorem_openmm.nn.coulomb.reciprocal_potentials`.
"""

import math
from typing import NamedTuple, Tuple

import torch

from lorem_openmm.nn.coulomb import reciprocal_indices


class EwaldTerms(NamedTuple):
    """What depends on the cell alone.

    Attributes:
        indices: m [n_k, 3] of the half space.
        vectors: k = 2π h⁻¹ m [n_k, 3] 1/Å.
        weights: w_k, once for the cosines and once for the sines [2 n_k].
        inverse_cell: h⁻¹ [3, 3].
        volume: Ω in Å³ [].
    """

    indices: torch.Tensor
    vectors: torch.Tensor
    weights: torch.Tensor
    inverse_cell: torch.Tensor
    volume: torch.Tensor


class EwaldState(NamedTuple):
    """cos(k·r_i) above sin(k·r_i) [2 n_k, n]; C_k before S_k of the charges [n_channels, 2 n_k]."""

    phases: torch.Tensor
    structure: torch.Tensor


def ewald_terms(cell: torch.Tensor, smearing: float, wavelength: float) -> EwaldTerms:
    """Returns the terms for a cell [3, 3] Å.

    Args:
        cell: rows are the vectors.
        smearing: σ in Å.
        wavelength: shortest one, in Å.
    """
    indices = reciprocal_indices(cell, smearing, wavelength)
    inverse = torch.linalg.inv(cell)
    volume = torch.abs(torch.linalg.det(cell))
    vectors = 2.0 * math.pi * torch.mm(indices, inverse.t())
    squares = (vectors * vectors).sum(dim=1)
    weights = 8.0 * math.pi / volume * torch.exp(-0.5 * smearing * smearing * squares) / squares
    return EwaldTerms(indices, vectors, torch.cat([weights, weights]), inverse, volume)


def ewald_forward(
    charges: torch.Tensor, positions: torch.Tensor, terms: EwaldTerms, smearing: float
) -> Tuple[torch.Tensor, EwaldState]:
    """Returns V [n, n_channels] for charges [n, n_channels] and positions [n, 3] Å."""
    fractional = torch.mm(positions, terms.inverse_cell)
    fractional = fractional - torch.floor(fractional)  # small angles keep their digits in float32
    angles = torch.mm(terms.indices, (2.0 * math.pi) * fractional.t())
    phases = torch.cat([torch.cos(angles), torch.sin(angles)])
    structure = torch.mm(charges.t(), phases.t())
    return _potentials(phases, structure, charges, terms, smearing), EwaldState(phases, structure)


def ewald_pullback(
    state: EwaldState, charges: torch.Tensor, adjoint: torch.Tensor, terms: EwaldTerms, smearing: float
) -> Tuple[torch.Tensor, torch.Tensor]:
    """dE/dq = K g and dE/dr_i = ½ Σ_k w_k k Σ_c [cos (q_ic S^g_kc + g_ic S^q_kc) − sin (q_ic C^g_kc + g_ic C^q_kc)].

    Args:
        state: from :func:`ewald_forward`.
        charges: q [n, n_channels].
        adjoint: g = dE/dV [n, n_channels].
        terms: of the cell.
        smearing: σ in Å.

    Returns:
        dE/dq [n, n_channels] and dE/dr [n, 3].
    """
    n_k = terms.vectors.shape[0]
    structure = torch.mm(adjoint.t(), state.phases.t())
    charge_gradient = _potentials(state.phases, structure, adjoint, terms, smearing)
    both = torch.mm(torch.cat([structure, state.structure]).t(), torch.cat([charges, adjoint], dim=1).t())
    slopes = state.phases[:n_k] * both[n_k:] - state.phases[n_k:] * both[:n_k]
    return charge_gradient, 0.5 * torch.mm(slopes.t(), terms.weights[:n_k].unsqueeze(1) * terms.vectors)


def ewald_strain_gradient(
    state: EwaldState, charges: torch.Tensor, adjoint: torch.Tensor, terms: EwaldTerms, smearing: float
) -> torch.Tensor:
    """dE/dε_ab = Σ_k U_k [(σ² + 2/k²) k_a k_b − δ_ab] + δ_ab πσ² Σ_c G_c Q_c/Ω [3, 3], U_k the energy of wave k.

    U_k = ½ w_k Σ_c (C^g C^q + S^g S^q); phases do not change under strain. Arguments as in :func:`ewald_pullback`.
    """
    n_k = terms.vectors.shape[0]
    waves = 0.5 * terms.weights * (torch.mm(adjoint.t(), state.phases.t()) * state.structure).sum(dim=0)
    waves = (waves[:n_k] + waves[n_k:]).unsqueeze(1)
    squares = (terms.vectors * terms.vectors).sum(dim=1, keepdim=True)
    outer = torch.mm((waves * (smearing * smearing + 2.0 / squares) * terms.vectors).t(), terms.vectors)
    background = math.pi * smearing * smearing * (charges.sum(dim=0) * adjoint.sum(dim=0)).sum() / terms.volume
    return outer + torch.eye(3, dtype=outer.dtype, device=outer.device) * (background - waves.sum())


def _potentials(
    phases: torch.Tensor, structure: torch.Tensor, charges: torch.Tensor, terms: EwaldTerms, smearing: float
) -> torch.Tensor:
    # With the channels first: a matrix product with ten columns takes four to six times as long.
    potentials = torch.mm((0.5 * terms.weights) * structure, phases).t()
    background = math.pi * smearing * smearing * charges.sum(dim=0, keepdim=True) / terms.volume
    return potentials - (0.5 * math.sqrt(2.0 / math.pi) / smearing) * charges - background
