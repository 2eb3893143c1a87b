"""Tensor products for few atoms: an eighth of the entries of B, at the price of sorting the pairs.

Each component changes its sign or not under the reflections x → −x, y → −y, z → −z, and B_abc vanishes unless a
changes its sign where b c does. Sorted into these eight classes B is eight blocks. Few atoms spend their time reading
B from memory, and gain; many spend it on the pairs, and lose by sorting them (:mod:`.products` is for these).
"""

from typing import List, Tuple

import torch

from lorem_openmm.inference.products import ProductBlock, coupling, outer_pullback, pad_atoms
from lorem_openmm.nn.equivariant import TensorProduct, outer_by_atom
from lorem_openmm.ops.spherical import reflection_classes


class ReflectionProduct(torch.nn.Module):
    """y = x1 ⊗ x2, the pairs of components sorted by class; as :class:`lorem_openmm.inference.products.Product`.

    Args:
        product: of the network.
        degrees: of x1, x2 and y.
    """

    pairs: torch.Tensor
    pair_places: torch.Tensor
    components: torch.Tensor
    component_places: torch.Tensor

    def __init__(self, product: TensorProduct, degrees: Tuple[int, int, int]):
        super().__init__()
        matrix = coupling(product, degrees)
        of_1, of_2, of_3 = (reflection_classes(degree) for degree in degrees)
        of_pairs = (of_1.unsqueeze(1) ^ of_2).flatten()
        pairs = [torch.nonzero(of_pairs == c)[:, 0].to(matrix.device) for c in range(8)]
        components = [torch.nonzero(of_3 == c)[:, 0].to(matrix.device) for c in range(8)]
        used = [c for c in range(8) if len(pairs[c]) + len(components[c]) > 0]
        self.blocks = torch.nn.ModuleList([ProductBlock(matrix[:, pairs[c]][:, :, components[c]]) for c in used])
        self.pair_counts = [len(pairs[c]) for c in used]
        self.component_counts = [len(components[c]) for c in used]
        self.register_buffer("pairs", torch.cat(pairs), persistent=False)
        self.register_buffer("pair_places", torch.argsort(self.pairs), persistent=False)
        self.register_buffer("components", torch.cat(components), persistent=False)
        self.register_buffer("component_places", torch.argsort(self.components), persistent=False)

    def forward(self, x1: torch.Tensor, x2: torch.Tensor) -> torch.Tensor:
        """Returns y [channels, (L3+1)², n_atoms] for x1 [channels, (L1+1)², n_atoms] and x2 likewise."""
        pairs = outer_by_atom(pad_atoms(x1), pad_atoms(x2))
        of_class = pairs.index_select(1, self.pairs).split(self.pair_counts, 1)
        y: List[torch.Tensor] = []
        for i, block in enumerate(self.blocks):
            y.append(torch.bmm(block.transposed, of_class[i]))
        return torch.cat(y, dim=1).index_select(1, self.component_places).narrow(2, 0, x2.shape[2])

    def pullback(self, x1: torch.Tensor, x2: torch.Tensor, gradient: torch.Tensor) -> Tuple[torch.Tensor, torch.Tensor]:
        """Returns dE/dx1 and dE/dx2 of dE/dy, shapes as in :meth:`forward`."""
        n_atoms = x2.shape[2]
        x1, x2 = pad_atoms(x1), pad_atoms(x2)
        of_class = pad_atoms(gradient).index_select(1, self.components).split(self.component_counts, 1)
        parts: List[torch.Tensor] = []
        for i, block in enumerate(self.blocks):
            parts.append(torch.bmm(block.matrix, of_class[i]))
        g = torch.cat(parts, dim=1).index_select(1, self.pair_places)
        first, second = outer_pullback(x1, x2, g)
        return first.narrow(2, 0, n_atoms), second.narrow(2, 0, n_atoms)
