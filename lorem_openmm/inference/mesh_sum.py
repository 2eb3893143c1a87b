"""Reciprocal space, self and background terms of the Ewald sum on a mesh, and their gradients.

V_i = ½ { Σ_a w_ia φ_a − s_i q_i − 2πσ² Q/Ω } with φ = K ⊛ Σ_j w_j q_j, s_i = Σ_ab w_ia w_ib K_(a−b) − ψ + √(2/π)/σ:
:func:`lorem_openmm.nn.mesh.mesh_potentials`. K is symmetric, hence for E(V) and g = dE/dV

dE/dq = K g, dE/dr_i = ½ Σ_a ∇w_ia Σ_c (g_ic φ[q]_ac + q_ic φ[g]_ac) − ½ (g_i·q_i) ∇s_i.
"""

import math
from typing import List, NamedTuple, Optional, Tuple

import torch

from lorem_openmm.inference.mesh_places import (
    Places,
    charges_on_mesh,
    places_on_mesh,
    plane_weights,
    read_rows,
    rows_of_mesh,
)
from lorem_openmm.nn.mesh_kernel import MeshKernel, mesh_kernel, mesh_size


class MeshTerms(NamedTuple):
    """What depends on the cell alone.

    Attributes:
        kernel: see there.
        sizes: numbers of mesh points.
        scale: [3, 3] from positions to mesh points.
        volume: Ω in Å³ [].
    """

    kernel: MeshKernel
    sizes: List[int]
    scale: torch.Tensor
    volume: torch.Tensor


class MeshState(NamedTuple):
    """What the way back needs, by rank of the atoms.

    Attributes:
        places: of the atoms.
        table: rows of φ[q].
        along_z: ∂/∂z of φ[q] at the atoms [n, n_channels].
        overlaps: Σ_m w_m w_(m+t) [p, 3, n] of the spline with itself moved by t points.
        at_itself: s [n, 1].
    """

    places: Places
    table: torch.Tensor
    along_z: torch.Tensor
    overlaps: torch.Tensor
    at_itself: torch.Tensor


def mesh_terms(cell: torch.Tensor, smearing: float, spacing: float, order: int) -> MeshTerms:
    """Returns the terms for a cell [3, 3] Å.

    Args:
        cell: rows are the vectors.
        smearing: σ in Å.
        spacing: largest distance of mesh points in units of σ.
        order: p of the splines.
    """
    sizes = mesh_size(cell, spacing * smearing)
    scale = torch.linalg.inv(cell) * torch.tensor(sizes, device=cell.device)
    kernel = mesh_kernel(cell, sizes, smearing, order)
    return MeshTerms(kernel, sizes, scale, torch.abs(torch.linalg.det(cell)))


def mesh_forward(
    charges: torch.Tensor, positions: torch.Tensor, terms: MeshTerms, smearing: float
) -> Tuple[torch.Tensor, MeshState]:
    """Returns V [n, n_channels] for charges [n, n_channels] and positions [n, 3] Å."""
    kernel = terms.kernel
    places = places_on_mesh(torch.mm(positions, terms.scale), terms.sizes, kernel.neighborhood.shape[0])
    charges = charges.index_select(0, places.order)
    table = _table(charges, places, terms)
    w = places.weights
    sums = read_rows(table, places, plane_weights(w[:, 0], w[:, 1]).unsqueeze(1)).squeeze(1)
    along_z = (sums * places.window_slopes).sum(dim=1)
    spline = w.permute(2, 1, 0).contiguous()
    overlaps = _overlaps(spline, spline)
    x, y, z = overlaps.unbind(1)
    at_itself = _on_mesh(x, y, z, kernel) - (kernel.self_potential - math.sqrt(2.0 / math.pi) / smearing)
    state = MeshState(places, table, along_z, overlaps, at_itself.unsqueeze(1))
    return _potentials(charges, sums, state, terms, smearing), state


def mesh_pullback(
    state: MeshState, charges: torch.Tensor, adjoint: torch.Tensor, terms: MeshTerms, smearing: float
) -> Tuple[torch.Tensor, torch.Tensor]:
    """Returns dE/dq [n, n_channels] and dE/dr [n, 3].

    Args:
        state: from :func:`mesh_forward`.
        charges: q [n, n_channels].
        adjoint: g = dE/dV [n, n_channels].
        terms: of the cell.
        smearing: σ in Å.
    """
    places = state.places
    q, g = charges.index_select(0, places.order), adjoint.index_select(0, places.order)
    w, d = places.weights, places.slopes
    planes = torch.stack(
        [plane_weights(w[:, 0], w[:, 1]), plane_weights(d[:, 0], w[:, 1]), plane_weights(w[:, 0], d[:, 1])], dim=1
    )
    sums = read_rows(_table(g, places, terms), places, planes)
    charge_gradient = _potentials(g, sums[:, 0], state, terms, smearing)

    slopes_q = read_rows(state.table, places, planes[:, 1:])
    x_y = torch.bmm(slopes_q.flatten(2), (places.window * g.unsqueeze(1)).view(g.shape[0], -1, 1))
    x_y = x_y + torch.bmm(sums[:, 1:].flatten(2), (places.window * q.unsqueeze(1)).view(g.shape[0], -1, 1))
    z = (state.along_z * g + (sums[:, 0] * places.window_slopes).sum(dim=1) * q).sum(dim=1, keepdim=True)
    of_itself = (q * g).sum(dim=1, keepdim=True) * _slopes_at_itself(state, terms)
    slopes = 0.5 * (torch.cat([x_y.squeeze(2), z], dim=1) - of_itself)
    return charge_gradient, _by_atom(torch.mm(slopes, terms.scale.t()), places)


def mesh_strain_gradient(
    state: MeshState,
    charges: torch.Tensor,
    adjoint: torch.Tensor,
    terms: MeshTerms,
    cell: torch.Tensor,
    smearing: float,
) -> torch.Tensor:
    """Returns dE/dε [3, 3]. Atoms keep their places under strain, so that it acts through kernel and volume alone.

    E = ½ { Σ_k K_k Σ_c Re(ĝ*_kc q̂_kc) / n − Σ_i (g_i·q_i) s_i − 2πσ² Σ_c G_c Q_c/Ω }, n mesh points. Arguments as in
    :func:`mesh_pullback`, and the cell [3, 3] Å.
    """
    places, order = state.places, terms.kernel.neighborhood.shape[0]
    q, g = charges.index_select(0, places.order), adjoint.index_select(0, places.order)
    spectrum_q = torch.view_as_real(torch.fft.rfftn(charges_on_mesh(q, places), dim=[0, 1, 2]))
    spectrum_g = torch.view_as_real(torch.fft.rfftn(charges_on_mesh(g, places), dim=[0, 1, 2]))
    power = (spectrum_q * spectrum_g).sum(dim=[3, 4]) / float(terms.sizes[0] * terms.sizes[1] * terms.sizes[2])
    power[:, :, 1:] *= 2.0  # −k weighs as much as k; the kernel is zero at the frequency that has no partner
    own = (q * g).sum(dim=1)
    x, y, z = state.overlaps.unbind(1)
    overlaps = torch.mm(own * _planes(x, y), z.t())
    both = (charges.sum(dim=0) * adjoint.sum(dim=0)).sum()
    recording = torch.is_grad_enabled()  # TorchScript has no enable_grad
    torch.set_grad_enabled(True)
    strain = torch.zeros_like(cell).requires_grad_(True)
    strained = cell + torch.mm(cell, strain)
    kernel = mesh_kernel(strained, terms.sizes, smearing, order)
    energy = (power * kernel.influence).sum() - (overlaps * kernel.neighborhood.flatten(0, 1)).sum()
    energy = energy + own.sum() * kernel.self_potential
    energy = energy - 2.0 * math.pi * smearing * smearing * both / torch.abs(torch.linalg.det(strained))
    outer: List[Optional[torch.Tensor]] = [torch.full_like(energy, 0.5)]
    gradient = torch.autograd.grad([energy], [strain], outer)[0]
    torch.set_grad_enabled(recording)
    assert gradient is not None  # for TorchScript  # noqa: S101
    return gradient


def _table(charges: torch.Tensor, places: Places, terms: MeshTerms) -> torch.Tensor:
    """Rows of φ = K ⊛ Σ_j w_j q_j."""
    spectrum = torch.fft.rfftn(charges_on_mesh(charges, places), dim=[0, 1, 2])
    torch.view_as_real(spectrum).mul_(terms.kernel.influence.unsqueeze(3).unsqueeze(4))
    return rows_of_mesh(torch.fft.irfftn(spectrum, s=terms.sizes, dim=[0, 1, 2]), places)


def _potentials(
    charges: torch.Tensor, sums: torch.Tensor, state: MeshState, terms: MeshTerms, smearing: float
) -> torch.Tensor:
    background = 2.0 * math.pi * smearing * smearing * charges.sum(dim=0, keepdim=True) / terms.volume
    values = (sums * state.places.window).sum(dim=1) - state.at_itself * charges - background
    return _by_atom(0.5 * values, state.places)


def _by_atom(values: torch.Tensor, places: Places) -> torch.Tensor:
    return torch.empty_like(values).index_copy_(0, places.order, values)


def _overlaps(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Σ_m a_m b_(m+t) for t = 0 to p − 1 [p, 3, n] of weights or slopes [p, 3, n] each."""
    order = a.shape[0]
    return torch.stack([(a[: order - t] * b[t:]).sum(dim=0) for t in range(order)])


def _planes(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return (x.unsqueeze(1) * y.unsqueeze(0)).flatten(0, 1)


def _on_mesh(x: torch.Tensor, y: torch.Tensor, z: torch.Tensor, kernel: MeshKernel) -> torch.Tensor:
    """Σ_ab w_a w_b K_(a−b) [n] from the overlaps along each axis [p, n]."""
    return (torch.mm(kernel.neighborhood.flatten(0, 1).t(), _planes(x, y)) * z).sum(dim=0)


def _slopes_at_itself(state: MeshState, terms: MeshTerms) -> torch.Tensor:
    """∇s [n, 3] with respect to the coordinates in mesh points."""
    spline = state.places.weights.permute(2, 1, 0).contiguous()
    slopes = state.places.slopes.permute(2, 1, 0).contiguous()
    dx, dy, dz = (_overlaps(spline, slopes) + _overlaps(slopes, spline)).unbind(1)
    x, y, z = state.overlaps.unbind(1)
    kernel = terms.kernel
    return torch.stack([_on_mesh(dx, y, z, kernel), _on_mesh(x, dy, z, kernel), _on_mesh(x, y, dz, kernel)], dim=1)
