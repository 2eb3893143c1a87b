"""Rounds of short-range message passing, where the edge MLP sees the features of both atoms.

Nothing of size n_edges × num_radial × num_features is made for the scalar message: with h_ij the hidden layer of the
edge MLP, Σ_j ρ_k(r_ij) h_ij is a batched matrix product over the neighbours, and the second layer acts on it per atom.
The equivariant message Σ_j (f_ij ⊗ x_j) is likewise summed over j before it meets the Clebsch-Gordan coefficients.
"""

from typing import List, NamedTuple, Optional, Tuple

import torch

from lorem_openmm.graph import AtomGraph
from lorem_openmm.nn.equivariant import (
    DegreeNorm,
    TensorProduct,
    degree_linear,
    mix_channels,
)
from lorem_openmm.nn.neighbor_sums import pad_by_center
from lorem_openmm.nn.scalar import MLP, Update, linear
from lorem_openmm.ops.product import multiply
from lorem_openmm.ops.spherical import degree_of_component, parity_counts


class EquivariantWeights(NamedTuple):
    """Folded weights of :class:`EquivariantMessage`."""

    filters: torch.Tensor
    message_product: List[torch.Tensor]
    node_dense: torch.Tensor
    message_dense: torch.Tensor
    product: List[torch.Tensor]


class RoundWeights(NamedTuple):
    """Folded weights of :class:`MessagePassingRound`."""

    scalar: torch.Tensor
    equivariant: Optional[EquivariantWeights]


class EquivariantMessage(torch.nn.Module):
    """x_i^lm ← (W x_i^lm) ⊗ (W' Σ_j f_ij^lm ⊗ x_j^lm) with f_ij^lm = (D' e_ij)_l Y_lm(r̂_ij), mixed over channels.

    Args:
        num_features: d.
        num_radial: K.
        num_spherical_features: s.
        max_degree: L.
    """

    degrees: torch.Tensor

    def __init__(self, num_features: int, num_radial: int, num_spherical_features: int, max_degree: int):
        super().__init__()
        d, s, L = num_features, num_spherical_features, max_degree
        self.num_features, self.num_radial, self.channels = d, num_radial, s
        self.num_degrees = L + 1
        self.parities = parity_counts(L)
        self.spherical_message = linear(d, (L + 1) * s, bias=False)
        self.message_filter = degree_linear(L, s, s)
        self.message = TensorProduct(L, L, L, s)
        self.node_dense = degree_linear(L, s, s)
        self.message_dense = degree_linear(L, s, s)
        self.product = TensorProduct(L, L, L, s)
        self.register_buffer("degrees", torch.tensor(degree_of_component(L)), persistent=False)

    def fold(self, radial: torch.Tensor) -> EquivariantWeights:
        """Returns the weights in the form :meth:`forward` uses them.

        Args:
            radial: second layer of the edge MLP, its bias as one more hidden unit, [K, d, d+1].
        """
        message = self.spherical_message.weight.view(-1, self.channels, self.num_features)
        filters = torch.einsum("lcf,lcg->lgf", message, self.message_filter)
        return EquivariantWeights(
            torch.einsum("kfh,lgf->hklg", radial, filters).reshape(self.num_features + 1, -1),
            self.message.fold(),
            self.node_dense.index_select(0, self.degrees),
            self.message_dense.index_select(0, self.degrees),
            self.product.fold(),
        )

    def forward(
        self,
        spherical: torch.Tensor,
        hidden: torch.Tensor,
        radial: torch.Tensor,
        angular: torch.Tensor,
        graph: AtomGraph,
        weights: EquivariantWeights,
    ) -> torch.Tensor:
        """Returns the new spherical features [n_atoms, s, (L+1)²].

        Args:
            spherical: [n_atoms, s, (L+1)²].
            hidden: hidden layer of the edge MLP and a one [n_edges, d+1].
            radial: ρ [n_edges, K].
            angular: Y [n_edges, (L+1)²].
            graph: structures.
            weights: from :meth:`fold`.
        """
        n_edges, width = hidden.shape[0], self.num_degrees * self.channels
        coefficients = torch.mm(hidden, weights.filters).view(n_edges, self.num_radial, width)
        coefficients = torch.bmm(radial.unsqueeze(1), coefficients).view(n_edges, self.num_degrees, self.channels)
        filters = coefficients.index_select(1, self.degrees).transpose(1, 2) * angular.unsqueeze(1)
        pairs = self._pairs(filters, spherical.index_select(0, graph.neighbors), spherical.shape[0], graph)
        messages = multiply(weights.message_product, pairs).permute(2, 0, 1)
        node = mix_channels(spherical, weights.node_dense)
        messages = mix_channels(messages, weights.message_dense)
        if torch.jit.is_scripting():  # within dynamics, where weights are folded once
            return self.product.by_blocks(node, messages, weights.product)
        return self.product(node, messages)

    def _pairs(self, filters: torch.Tensor, sent: torch.Tensor, n_atoms: int, graph: AtomGraph) -> List[torch.Tensor]:
        """Σ_j f_ij ⊗ x_j of filters and features of the neighbours [n_edges, s, (L+1)²] each, by parity."""
        both = torch.cat([filters.flatten(1), sent.flatten(1)], dim=1)
        padded = pad_by_center(both, graph.edge_slots, n_atoms, graph.num_slots)
        f, y = (
            padded.view(n_atoms, graph.num_slots, 2, filters.shape[1], filters.shape[2])
            .permute(2, 0, 3, 4, 1)
            .unbind(0)
        )
        f_even, f_odd = f.split(self.parities, dim=2)
        even, odd = y.transpose(2, 3).split(self.parities, dim=3)
        to_even = [torch.matmul(f_even, even).flatten(2), torch.matmul(f_odd, odd).flatten(2)]
        to_odd = [torch.matmul(f_even, odd).flatten(2), torch.matmul(f_odd, even).flatten(2)]
        return [torch.cat(to_even, dim=2).permute(1, 2, 0), torch.cat(to_odd, dim=2).permute(1, 2, 0)]


class MessagePassingRound(torch.nn.Module):
    """x_i ← Update(Σ_j D e_ij), then :class:`EquivariantMessage`, x_i ← Update(T_l ‖x_i^lm‖), and E_i += MLP(x_i).

    e_ij = Σ_k W_k(x_i, x_j) ρ_k(r_ij) with W from an MLP of the features of both atoms.

    Args:
        num_features: d.
        num_radial: K.
        num_spherical_features: s.
        max_degree: L.
        equivariant: whether the spherical features take part.
        norm_smoothing: ε of the degree-wise norms.
    """

    def __init__(
        self,
        num_features: int,
        num_radial: int,
        num_spherical_features: int,
        max_degree: int,
        equivariant: bool,
        norm_smoothing: float,
    ):
        super().__init__()
        d, s, L = num_features, num_spherical_features, max_degree
        self.num_features, self.num_radial = d, num_radial
        self.pair_radial = MLP([2 * d, d, num_radial * d])
        self.scalar_message = linear(d, d, bias=False)
        self.scalar_update = Update(d, d)
        self.equivariant = EquivariantMessage(d, num_radial, s, L) if equivariant else None
        self.norm = DegreeNorm(L, norm_smoothing)
        self.norm_update = Update(d, (L + 1) * s) if equivariant else None
        self.readout = MLP([d, d, d, 1])

    def fold(self) -> RoundWeights:
        """Returns the weights in the form :meth:`forward` uses them.

        The second layer of the edge MLP, its bias as one more hidden unit, is multiplied by the maps behind it.
        """
        d, K = self.num_features, self.num_radial
        last = self.pair_radial.layers[1]
        radial = torch.cat([last.weight, last.bias.unsqueeze(1)], dim=1).view(K, d, d + 1)
        scalar = torch.einsum("kfh,gf->khg", radial, self.scalar_message.weight).reshape(K * (d + 1), d)
        equivariant: Optional[EquivariantWeights] = None
        if self.equivariant is not None:
            equivariant = self.equivariant.fold(radial)
        return RoundWeights(scalar, equivariant)

    def forward(
        self,
        x: torch.Tensor,
        spherical: torch.Tensor,
        radial: torch.Tensor,
        angular: torch.Tensor,
        graph: AtomGraph,
        weights: RoundWeights,
    ) -> Tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Returns the new scalar features, spherical features and the atomic energies [n_atoms] of this round.

        Args:
            x: [n_atoms, d].
            spherical: [n_atoms, s, (L+1)²].
            radial: ρ [n_edges, K].
            angular: Y [n_edges, (L+1)²].
            graph: structures.
            weights: from :meth:`fold`.
        """
        hidden = self._hidden(x, graph)
        padded = pad_by_center(torch.cat([radial, hidden], dim=1), graph.edge_slots, x.shape[0], graph.num_slots)
        parts = padded.split([self.num_radial, hidden.shape[1]], dim=2)
        x = self.scalar_update(x, torch.mm(torch.bmm(parts[0].transpose(1, 2), parts[1]).flatten(1), weights.scalar))
        equivariant = weights.equivariant
        if self.equivariant is not None and self.norm_update is not None and equivariant is not None:
            spherical = self.equivariant(spherical, hidden, radial, angular, graph, equivariant)
            x = self.norm_update(x, self.norm(spherical))
        return x, spherical, self.readout(x).squeeze(1)

    def _hidden(self, x: torch.Tensor, graph: AtomGraph) -> torch.Tensor:
        """Hidden layer of the edge MLP and a one [n_edges, d + 1]; its first layer is applied atom by atom."""
        first = self.pair_radial.layers[0]
        halves = first.weight.split(self.num_features, dim=1)
        centers = torch.nn.functional.linear(x, halves[0], first.bias).index_select(0, graph.centers)
        neighbors = torch.nn.functional.linear(x, halves[1]).index_select(0, graph.neighbors)
        hidden = torch.nn.functional.silu(centers + neighbors)
        return torch.cat([hidden, torch.ones_like(hidden[:, :1])], dim=1)
