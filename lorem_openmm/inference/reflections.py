"""Tensor products for few atoms: an eighth of the entries of M, at the price of sorting the pairs.

Each component changes its sign or not under the reflections x → −x, y → −y, z → −z. Sorted into these eight classes
(``ops/product.py``) M is eight blocks. Few atoms spend their time reading M from memory, and gain; many spend it on the
pairs, and lose by sorting them (:mod:`.products` is for these). All pairs are made at once and then sorted: pairs by
pairs of classes, as there, would be 64 products of a few numbers.
"""

from typing import Tuple

import torch

from lorem_openmm.inference.products import FoldedProduct, ProductBlock, outer_by_atom, outer_pullback
from lorem_openmm.nn.equivariant import TensorProduct
from lorem_openmm.ops.product import Classes, multiply, sort_by_class, spread
from lorem_openmm.ops.spherical import reflection_classes


class ReflectionProduct(FoldedProduct):
    """y = x1 ⊗ x2, the pairs of components sorted by class; as :class:`lorem_openmm.inference.products.Product`."""

    classes: Classes  # TorchScript does not find that of the base class beside these
    pairs: torch.Tensor
    pair_places: torch.Tensor
    components: torch.Tensor
    component_places: torch.Tensor

    def __init__(self, product: TensorProduct):
        sorting = sort_by_class([reflection_classes(degree) for degree in product.degrees])
        super().__init__(product, sorting)
        device = product.kernel.device
        # In the order in which they are made: pairs gathered in the order of classes of a take a tenth longer.
        orders = [torch.argsort(of_class).to(device) for of_class in sorting.pairs]
        sorted_blocks = zip(self.matrices(), orders, strict=True)
        self.blocks = torch.nn.ModuleList([ProductBlock(block[:, order]) for block, order in sorted_blocks])
        pairs = torch.cat([of_class.sort().values for of_class in sorting.pairs])
        self.pair_counts = [len(of_class) for of_class in sorting.pairs]
        self.register_buffer("pairs", pairs.to(device), persistent=False)
        self.register_buffer("pair_places", torch.argsort(pairs).to(device), persistent=False)
        self.register_buffer("components", sorting.orders[2].to(device), persistent=False)
        self.register_buffer("component_places", sorting.places[2].to(device), persistent=False)

    def forward(self, x1: torch.Tensor, x2: torch.Tensor) -> torch.Tensor:
        """Returns y [channels, (L3+1)², n_atoms] for x1 [channels, (L1+1)², n_atoms] and x2 likewise."""
        pairs = outer_by_atom(x1, x2).index_select(1, self.pairs)
        y = multiply(self.transposed(), pairs.split(self.pair_counts, 1))
        return y.index_select(1, self.component_places)

    def pullback(self, x1: torch.Tensor, x2: torch.Tensor, gradient: torch.Tensor) -> Tuple[torch.Tensor, torch.Tensor]:
        """Returns dE/dx1 and dE/dx2 of dE/dy, shapes as in :meth:`forward`."""
        sorted_gradient = gradient.index_select(1, self.components)
        of_pairs = torch.cat(spread(self.matrices(), sorted_gradient, self.classes), dim=1)
        return outer_pullback(x1, x2, of_pairs.index_select(1, self.pair_places))
