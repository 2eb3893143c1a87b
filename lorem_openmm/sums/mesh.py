"""Reciprocal space, self and background terms of the Ewald sum on a smooth mesh (P3M), and their gradients.

The reciprocal-space part of the Ewald sum at a cost linear in the number of atoms: charges are spread on a mesh by
B-splines, the mesh is convolved with the kernel by fast Fourier transforms, potentials are read back by the same
B-splines. Splines of even order p have p − 2 continuous derivatives, so forces by differentiation are smooth and
conserve energy. What a mesh gets wrong most is the interaction of a charge with itself, which then depends on where
the atom sits in its mesh cell; here it is known exactly and taken out: a quarter to two thirds of the error is left.

V_i = ½ { Σ_a w_ia φ_a − s_i q_i + b Q/Ω } with φ = K ⊛ Σ_j w_j q_j, s_i = Σ_ab w_ia w_ib K_(a−b) + s₀ and
Q = Σ_j q_j; see :class:`.mesh_terms.MeshTerms`. K is symmetric, hence for E(V) and g = dE/dV

dE/dq = ½ K g, dE/dr_i = ½ Σ_a ∇w_ia Σ_c (g_ic φ[q]_ac + q_ic φ[g]_ac) − ½ (g_i·q_i) ∇s_i.

References:
    R. W. Hockney, J. W. Eastwood, Computer Simulation Using Particles (1988);
    M. Deserno, C. Holm, J. Chem. Phys. 109, 7678 (1998); V. Ballenegger, J. J. Cerdà, C. Holm, J. Chem. Theory
    Comput. 8, 936 (2012).
"""

from typing import List, NamedTuple, Optional, Tuple

import torch

from lorem_openmm.sums.mesh_places import (
    Places,
    charges_on_mesh,
    places_on_mesh,
    plane_weights,
    read_rows,
    rows_of_mesh,
)
from lorem_openmm.sums.mesh_terms import MeshCell, MeshTerms, on_mesh, overlaps, planes, self_terms
from lorem_openmm.sums.own_terms import with_own_terms


class MeshGeometry(NamedTuple):
    """What does not depend on charges, by rank of the atoms.

    Attributes:
        places: of the atoms.
        flat: w_x ⊗ w_y [n, p²].
        overlaps: Σ_m w_m w_(m+t) [p, 3, n] of the spline with itself moved by t points.
        self_term: s [n, 1].
    """

    places: Places
    flat: torch.Tensor
    overlaps: torch.Tensor
    self_term: torch.Tensor


class MeshState(NamedTuple):
    """Rows of φ[q], and ∂/∂z of φ[q] at the atoms [n, n_channels]."""

    table: torch.Tensor
    along_z: torch.Tensor


class MeshSum(torch.nn.Module):
    """V = K q but for the real-space part, of one structure, with gradients by hand."""

    def __init__(self, cell: MeshCell):
        super().__init__()
        self.cell = cell

    def prepare(self, positions: torch.Tensor, terms: MeshTerms) -> MeshGeometry:
        """Computes what does not depend on charges, for positions [n, 3] Å."""
        places = places_on_mesh(torch.mm(positions, terms.scale), terms.sizes, terms.neighborhood.shape[0])
        w = places.weights
        along, self_term = self_terms(w, terms)
        return MeshGeometry(places, plane_weights(w[:, 0], w[:, 1]), along, self_term)

    def potentials(
        self, geometry: MeshGeometry, charges: torch.Tensor, terms: MeshTerms
    ) -> Tuple[torch.Tensor, MeshState]:
        """Returns V [n, n_channels] for charges [n, n_channels]."""
        places = geometry.places
        charges = charges.index_select(0, places.order)
        table = _table(charges, places, terms)
        sums = read_rows(table, places, geometry.flat.unsqueeze(1)).squeeze(1)
        along_z = (sums * places.window_slopes).sum(dim=1)
        return _potentials(charges, sums, geometry, terms), MeshState(table, along_z)

    def pullback(
        self, geometry: MeshGeometry, state: MeshState, charges: torch.Tensor, adjoint: torch.Tensor, terms: MeshTerms
    ) -> Tuple[torch.Tensor, torch.Tensor]:
        """Returns dE/dq [n, n_channels] and dE/dr [n, 3] for g = dE/dV, the adjoint."""
        places = geometry.places
        q, g = charges.index_select(0, places.order), adjoint.index_select(0, places.order)
        w, d = places.weights, places.slopes
        flat = torch.stack([geometry.flat, plane_weights(d[:, 0], w[:, 1]), plane_weights(w[:, 0], d[:, 1])], dim=1)
        sums = read_rows(_table(g, places, terms), places, flat)
        charge_gradient = _potentials(g, sums[:, 0], geometry, terms)

        slopes_q = read_rows(state.table, places, flat[:, 1:])
        x_y = torch.bmm(slopes_q.flatten(2), (places.window * g.unsqueeze(1)).view(g.shape[0], -1, 1))
        x_y = x_y + torch.bmm(sums[:, 1:].flatten(2), (places.window * q.unsqueeze(1)).view(g.shape[0], -1, 1))
        z = (state.along_z * g + (sums[:, 0] * places.window_slopes).sum(dim=1) * q).sum(dim=1, keepdim=True)
        of_itself = (q * g).sum(dim=1, keepdim=True) * _slopes_at_itself(geometry, terms)
        slopes = 0.5 * (torch.cat([x_y.squeeze(2), z], dim=1) - of_itself)
        return charge_gradient, _by_atom(torch.mm(slopes, terms.scale.t()), places)

    def strain(
        self, geometry: MeshGeometry, charges: torch.Tensor, adjoint: torch.Tensor, terms: MeshTerms, cell: torch.Tensor
    ) -> torch.Tensor:
        """Returns dE/dε [3, 3]. Atoms keep their places under strain, so that it acts through the terms alone.

        E = ½ { Σ_k K_k Σ_c Re(ĝ*_kc q̂_kc) / n − Σ_i (g_i·q_i) s_i + b Σ_c G_c Q_c/Ω }, n mesh points. Arguments as in
        :meth:`pullback`, and the cell [3, 3] Å.
        """
        places = geometry.places
        q, g = charges.index_select(0, places.order), adjoint.index_select(0, places.order)
        spectrum_q = torch.view_as_real(torch.fft.rfftn(charges_on_mesh(q, places), dim=[0, 1, 2]))
        spectrum_g = torch.view_as_real(torch.fft.rfftn(charges_on_mesh(g, places), dim=[0, 1, 2]))
        power = (spectrum_q * spectrum_g).sum(dim=[3, 4]) / float(terms.sizes[0] * terms.sizes[1] * terms.sizes[2])
        power[:, :, 1:] *= 2.0  # −k weighs as much as k; the kernel is zero at the frequency that has no partner
        own = (q * g).sum(dim=1)
        x, y, z = geometry.overlaps.unbind(1)
        own_overlaps = torch.mm(own * planes(x, y), z.t())
        totals = (charges.sum(dim=0) * adjoint.sum(dim=0)).sum()
        recording = torch.is_grad_enabled()  # TorchScript has no enable_grad
        torch.set_grad_enabled(True)
        strain = torch.zeros_like(cell).requires_grad_(True)
        strained = self.cell.terms(cell + torch.mm(cell, strain), terms.sizes)
        energy = (power * strained.influence).sum() - (own_overlaps * strained.neighborhood.flatten(0, 1)).sum()
        energy = energy - own.sum() * strained.self_term + totals * strained.background
        outer: List[Optional[torch.Tensor]] = [torch.full_like(energy, 0.5)]
        gradient = torch.autograd.grad([energy], [strain], outer)[0]
        torch.set_grad_enabled(recording)
        assert gradient is not None  # for TorchScript  # noqa: S101
        return gradient


def _table(charges: torch.Tensor, places: Places, terms: MeshTerms) -> torch.Tensor:
    """Rows of φ = K ⊛ Σ_j w_j q_j."""
    spectrum = torch.fft.rfftn(charges_on_mesh(charges, places), dim=[0, 1, 2])
    torch.view_as_real(spectrum).mul_(terms.influence.unsqueeze(3).unsqueeze(4))
    return rows_of_mesh(torch.fft.irfftn(spectrum, s=terms.sizes, dim=[0, 1, 2]), places)


def _potentials(charges: torch.Tensor, sums: torch.Tensor, geometry: MeshGeometry, terms: MeshTerms) -> torch.Tensor:
    waves = 0.5 * (sums * geometry.places.window).sum(dim=1)
    return _by_atom(with_own_terms(waves, charges, geometry.self_term, terms.background), geometry.places)


def _by_atom(values: torch.Tensor, places: Places) -> torch.Tensor:
    return torch.empty_like(values).index_copy_(0, places.order, values)


def _slopes_at_itself(geometry: MeshGeometry, terms: MeshTerms) -> torch.Tensor:
    """∇s [n, 3] with respect to the coordinates in mesh points."""
    spline = geometry.places.weights.permute(2, 1, 0).contiguous()
    slopes = geometry.places.slopes.permute(2, 1, 0).contiguous()
    dx, dy, dz = (overlaps(spline, slopes) + overlaps(slopes, spline)).unbind(1)
    x, y, z = geometry.overlaps.unbind(1)
    return torch.stack([on_mesh(dx, y, z, terms), on_mesh(x, dy, z, terms), on_mesh(x, y, dz, terms)], dim=1)
