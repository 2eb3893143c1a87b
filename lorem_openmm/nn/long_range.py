"""Long-range messages: equivariant charges, their potentials, and what the atoms make of them."""

from typing import List, NamedTuple, Tuple

import torch

from lorem_openmm.graph import AtomGraph
from lorem_openmm.nn.coulomb import direct_potentials, pad_by_system, reciprocal_potentials, screened_coulomb
from lorem_openmm.nn.equivariant import (
    DegreeNorm,
    ProductMatrices,
    TensorDense,
    TensorProduct,
    degree_linear,
    mix_channels,
)
from lorem_openmm.nn.mesh import mesh_potentials
from lorem_openmm.nn.mesh_kernel import mesh_settings
from lorem_openmm.nn.neighbor_sums import sum_over_neighbors
from lorem_openmm.nn.scalar import MLP, Update
from lorem_openmm.nn.spherical import component_order, degree_of_component


class CoulombPotentials(torch.nn.Module):
    """V_i = ½ Σ_j q_j / r_ij: Ewald sum or mesh for periodic structures, direct sum for those in vacuum.

    Each periodic structure goes to the Ewald sum or to the mesh by its own number of atoms, whatever else is in the
    batch. The two agree within ``mesh_accuracy``.

    Args:
        cutoff: of the real-space part, in Å.
        smearing: σ in Å of the Ewald sum.
        wavelength: shortest wavelength in Å of the Ewald sum.
        max_ewald_atoms: periodic structures of more atoms use the mesh (measured crossover: 100 to 150 atoms).
        mesh_accuracy: relative rms error of the forces on the mesh.
    """

    def __init__(
        self,
        cutoff: float,
        smearing: float,
        wavelength: float,
        max_ewald_atoms: int = 200,
        mesh_accuracy: float = 5e-5,
    ):
        super().__init__()
        self.cutoff = cutoff
        self.smearing = smearing
        self.wavelength = wavelength
        self.max_ewald_atoms = max_ewald_atoms
        self.mesh_accuracy = mesh_accuracy
        self.mesh_spacing, self.mesh_order = mesh_settings(mesh_accuracy)

    def forward(self, charges: torch.Tensor, graph: AtomGraph, distances: torch.Tensor) -> torch.Tensor:
        """Returns V [n_atoms, n_channels] for charges [n_atoms, n_channels] and edge lengths [n_edges]."""
        on_mesh = False
        for periodic, size in zip(graph.periodic, graph.system_sizes):  # noqa: B905 (not in TorchScript)
            on_mesh = on_mesh or (periodic and size > self.max_ewald_atoms)
        if on_mesh:
            potentials = self._one_by_one(charges, graph)
        else:
            potentials = self._batched(charges, graph)
        if not any(graph.periodic):
            return potentials
        real_space = self._real_space(charges, graph, distances)
        if not all(graph.periodic):
            flags = torch.tensor(graph.periodic, device=charges.device)[graph.system_index].unsqueeze(1)
            real_space = torch.where(flags, real_space, torch.zeros_like(real_space))
        return real_space + potentials

    def _batched(self, charges: torch.Tensor, graph: AtomGraph) -> torch.Tensor:
        n_systems = len(graph.system_sizes)
        present = torch.ones_like(charges[:, :1])
        fields = torch.cat([charges, graph.positions, present], dim=1)
        padded = pad_by_system(fields, graph.system_slots, n_systems, graph.max_size)
        q, positions, present = padded.split([charges.shape[1], 3, 1], dim=2)
        in_vacuum: List[int] = []
        in_cell: List[int] = []
        for i, periodic in enumerate(graph.periodic):
            if periodic:
                in_cell.append(i)
            else:
                in_vacuum.append(i)
        if len(in_cell) == 0:
            return self._gather(direct_potentials(q, positions, present), graph)
        if len(in_vacuum) == 0:
            ewald = reciprocal_potentials(q, positions, graph.cell, self.smearing, self.wavelength)
            return self._gather(ewald, graph)
        cells = torch.tensor(in_cell, device=charges.device)
        vacua = torch.tensor(in_vacuum, device=charges.device)
        ewald = reciprocal_potentials(q[cells], positions[cells], graph.cell[cells], self.smearing, self.wavelength)
        direct = direct_potentials(q[vacua], positions[vacua], present[vacua])
        return self._gather(torch.zeros_like(q).index_copy(0, cells, ewald).index_copy(0, vacua, direct), graph)

    def _one_by_one(self, charges: torch.Tensor, graph: AtomGraph) -> torch.Tensor:
        parts: List[torch.Tensor] = []
        start = 0
        for i, size in enumerate(graph.system_sizes):
            q = charges.narrow(0, start, size)
            positions = graph.positions.narrow(0, start, size)
            cell = graph.cell[i]
            if not graph.periodic[i]:
                present = torch.ones_like(q[:, :1]).unsqueeze(0)
                parts.append(direct_potentials(q.unsqueeze(0), positions.unsqueeze(0), present)[0])
            elif size > self.max_ewald_atoms:
                parts.append(mesh_potentials(q, positions, cell, self.smearing, self.mesh_spacing, self.mesh_order))
            else:
                ewald = reciprocal_potentials(
                    q.unsqueeze(0), positions.unsqueeze(0), cell.unsqueeze(0), self.smearing, self.wavelength
                )
                parts.append(ewald[0])
            start += size
        return torch.cat(parts)

    def _real_space(self, charges: torch.Tensor, graph: AtomGraph, distances: torch.Tensor) -> torch.Tensor:
        weights = 0.5 * screened_coulomb(distances, self.smearing, self.cutoff)
        sent = charges.index_select(0, graph.neighbors) * weights.unsqueeze(1)
        return sum_over_neighbors(sent, graph.centers, charges.shape[0])

    def _gather(self, potentials: torch.Tensor, graph: AtomGraph) -> torch.Tensor:
        return potentials.flatten(0, 1).index_select(0, graph.system_slots)


class LongRangeWeights(NamedTuple):
    """Folded weights of :class:`LongRange`: first maps spread over components, product matrices."""

    charge_dense: torch.Tensor
    charge_product: ProductMatrices
    potential_dense: torch.Tensor
    mixing_product: ProductMatrices


class LongRange(torch.nn.Module):
    """Charges from features, potentials from charges, features and energies from potentials.

    q = [MLP(x) ; (W1 x^lm) ⊗ (W2 x^lm)], V = ½ Σ q / r, x ← Update([V_0 ; T_l ‖(W V^lm) ⊗ x^lm‖]), E = MLP(x).

    Args:
        num_features: width d of the scalar features.
        num_spherical_features: channels s of the spherical features.
        max_degree: degree L of the spherical features.
        max_charge_degree: degree of the charges.
        cutoff: Å.
        smearing: σ in Å of the Ewald sum.
        wavelength: shortest wavelength in Å of the Ewald sum.
        norm_smoothing: ε of the degree-wise norms.
    """

    degrees: torch.Tensor
    charge_degrees: torch.Tensor
    channel_order: torch.Tensor

    def __init__(
        self,
        num_features: int,
        num_spherical_features: int,
        max_degree: int,
        max_charge_degree: int,
        cutoff: float,
        smearing: float,
        wavelength: float,
        norm_smoothing: float,
    ):
        super().__init__()
        d, s, L = num_features, num_spherical_features, max_degree
        self.scalar_charges = MLP([d, 2 * d, 1])
        self.spherical_charges = TensorDense(L, max_charge_degree, s, 1)
        self.coulomb = CoulombPotentials(cutoff, smearing, wavelength)
        self.potential_dense = degree_linear(max_charge_degree, 1, s)
        self.mixing = TensorProduct(max_charge_degree, L, L, s)
        self.norm = DegreeNorm(L, norm_smoothing)
        self.update = Update(d, 1 + (L + 1) * s)
        self.readout = MLP([d, d, d, 1])
        order = torch.argsort(torch.tensor(component_order(max_charge_degree)))
        self.register_buffer("degrees", torch.tensor(degree_of_component(L)), persistent=False)
        self.register_buffer("charge_degrees", torch.tensor(degree_of_component(max_charge_degree)), persistent=False)
        self.register_buffer(
            "channel_order", torch.cat([torch.zeros(1, dtype=order.dtype), order + 1]), persistent=False
        )

    def fold(self) -> LongRangeWeights:
        """Returns the weights in the form :meth:`forward` uses them."""
        return LongRangeWeights(
            self.spherical_charges.dense.index_select(0, self.degrees),
            self.spherical_charges.matrices(),
            self.potential_dense.index_select(0, self.charge_degrees),
            self.mixing.matrices(),
        )

    def charges(self, x: torch.Tensor, spherical: torch.Tensor, weights: LongRangeWeights) -> torch.Tensor:
        """Returns q [n_atoms, 1 + (max_charge_degree+1)²], the scalar charge first."""
        factors = mix_channels(spherical, weights.charge_dense).unbind(1)
        product = self.spherical_charges(factors[0].unsqueeze(1), factors[1].unsqueeze(1), weights.charge_product)
        return torch.cat([self.scalar_charges(x), product.squeeze(1)], dim=1)

    def forward(
        self,
        x: torch.Tensor,
        spherical: torch.Tensor,
        graph: AtomGraph,
        distances: torch.Tensor,
        weights: LongRangeWeights,
    ) -> Tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Returns the long-range atomic energies [n_atoms], the charges and their potentials [n_atoms, n_channels].

        The charges come as [scalar ; degree 0 ; degree 1 ; …], each degree in e3x's order; the potentials, which the
        energies are made of, in that of the spherical features.

        Args:
            x: scalar features [n_atoms, d].
            spherical: spherical features [n_atoms, s, (L+1)²].
            graph: structures.
            distances: [n_edges] Å.
            weights: from :meth:`fold`.
        """
        charges = self.charges(x, spherical, weights)
        potentials = self.coulomb(charges, graph, distances)
        spread = potentials[:, 1:].unsqueeze(1) * weights.potential_dense[:, 0].t()
        mixed = self.mixing(spread, spherical, weights.mixing_product)
        message = torch.cat([potentials[:, :1], self.norm(mixed)], dim=1)
        x = self.update(x, message)
        return self.readout(x).squeeze(1), charges.index_select(1, self.channel_order), potentials
