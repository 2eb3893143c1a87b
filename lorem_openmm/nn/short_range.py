"""Short-range features: scalar and spherical densities of the neighbours, from a table of one row per species pair."""

from typing import Tuple

import torch

from lorem_openmm.graph import AtomGraph
from lorem_openmm.nn.equivariant import TensorDense
from lorem_openmm.nn.neighbor_sum_derivatives import SphericalDensityFunction
from lorem_openmm.nn.neighbor_sums import multiply_by_pair_type, pad_by_center
from lorem_openmm.nn.scalar import MLP, linear
from lorem_openmm.ops.spherical import degree_sequence


class ShortRange(torch.nn.Module):
    """Messages of the neighbours within the cutoff, contracted from radial, angular and species information.

    Edge features are e_ij = Σ_k W_k(z_i, z_j) ρ_k(r_ij) with W from an MLP of the two species. All that follows is
    linear in them, scalar message Σ_j D e_ij, spherical density Σ_j (D' e_ij)_l ⊗ Y_l and the first map of its tensor
    product, so that D, D' and that map are folded into one table per pair of species.

    Args:
        num_species: width of the species embedding.
        num_features: d.
        num_radial: K.
        num_spherical_features: s.
        max_degree: L.
    """

    degree_order: torch.Tensor

    def __init__(
        self,
        num_species: int,
        num_features: int,
        num_radial: int,
        num_spherical_features: int,
        max_degree: int,
    ):
        super().__init__()
        d, s = num_features, num_spherical_features
        self.num_radial = num_radial
        self.num_features = d
        self.channels = s
        self.pair_radial = MLP([2 * num_species, d, num_radial * d])
        self.scalar_message = linear(d, d, bias=False)
        self.spherical_message = linear(d, (max_degree + 1) * s, bias=False)
        self.spherical_product = TensorDense(max_degree, max_degree, s, s)
        self.component_counts = [2 * degree + 1 for degree in degree_sequence(max_degree)]
        self.register_buffer("degree_order", torch.tensor(degree_sequence(max_degree)), persistent=False)

    def radial_table(self, pair_features: torch.Tensor) -> torch.Tensor:
        """Returns the radial coefficients of pairs of species [n_pair_types, num_radial, d + (L+1)·2s].

        Args:
            pair_features: embeddings of both species [n_pair_types, 2·num_species].
        """
        radial = self.pair_radial(pair_features).view(-1, self.num_radial, self.num_features)
        scalar = torch.matmul(radial, self.scalar_message.weight.t())
        spherical = torch.matmul(radial, self.spherical_message.weight.t())
        spherical = spherical.view(spherical.shape[0], self.num_radial, len(self.component_counts), self.channels)
        spherical = torch.einsum("tklc,lcd->tkld", spherical, self.spherical_product.dense)
        spherical = spherical.index_select(2, self.degree_order).flatten(2)
        return torch.cat([scalar, spherical], dim=2)

    def forward(
        self, radial: torch.Tensor, angular: torch.Tensor, graph: AtomGraph, pair_features: torch.Tensor
    ) -> Tuple[torch.Tensor, torch.Tensor]:
        """Returns the scalar message [n_atoms, d] and the spherical features [n_atoms, s, (L+1)²].

        Args:
            radial: ρ [n_edges, num_radial].
            angular: Y [n_edges, (L+1)²].
            graph: structures.
            pair_features: embeddings of both species of ``graph.pair_types`` [n_pair_types, 2·num_species].
        """
        n_atoms = graph.positions.shape[0]
        coefficients = multiply_by_pair_type(radial, self.radial_table(pair_features), graph.pair_type_counts)
        scalar, spherical = coefficients.tensor_split([self.num_features], dim=1)
        message = scalar.new_zeros((n_atoms, self.num_features)).index_add(0, graph.centers, scalar)
        padded = pad_by_center(torch.cat([spherical, angular], dim=1), graph.edge_slots, n_atoms, graph.num_slots)
        spherical, angular = padded.tensor_split([spherical.shape[1]], dim=2)
        density = SphericalDensityFunction.apply(spherical, angular, self.component_counts)
        return message, self.spherical_product(*density.split(self.channels, dim=1))
