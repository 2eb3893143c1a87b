"""From positions to features and back to edge vectors, one block of rows at a time."""

from typing import List, NamedTuple, Optional, Type

import torch

from lorem_openmm.inference.layers import Norms, Perceptron, ResidualUpdate
from lorem_openmm.inference.neighbors import RowBlock
from lorem_openmm.inference.products import pad_atoms
from lorem_openmm.inference.rounds import Rounds, RoundsState
from lorem_openmm.inference.short_range import EdgeFunctions, Edges
from lorem_openmm.model import Lorem


class Features(NamedTuple):
    """Results of one block, and what the way back needs.

    Attributes:
        energies: short-range atomic energies [n] eV.
        x: scalar features [n, d].
        spherical: spherical features [s, (L+1)², n].
        edges: of the block.
        saved: by the densities.
        factors: of the tensor product [2s, (L+1)², n], n filled up by :func:`~.products.pad_atoms`.
        first: spherical features before message passing [s, (L+1)², n].
        slopes: of their norms.
        updates: of the scalar features.
        hidden: of the readout.
        rounds: of message passing.
    """

    energies: torch.Tensor
    x: torch.Tensor
    spherical: torch.Tensor
    edges: Edges
    saved: List[torch.Tensor]
    factors: torch.Tensor
    first: torch.Tensor
    slopes: torch.Tensor
    updates: List[List[torch.Tensor]]
    hidden: List[torch.Tensor]
    rounds: Optional[RoundsState]


class BlockFeatures(torch.nn.Module):
    """Edges → densities → tensor product → norms → scalar features.

    Args:
        model: the network; in its final precision and on its device.
        species: atomic numbers in the order of the rows.
        density: class of the neighbours' features.
        product: class of the tensor product.
    """

    starts: torch.Tensor

    def __init__(
        self, model: Lorem, species: List[int], density: Type[torch.nn.Module], product: Type[torch.nn.Module]
    ):
        super().__init__()
        self.edges = EdgeFunctions(model).to(model.species_embedding.weight)
        with torch.no_grad():
            starts = model.start(torch.tensor(species, device=model.species_embedding.weight.device))
        self.register_buffer("starts", starts, persistent=False)
        self.density = density(model, species)
        self.channels = model.hyperparameters.num_spherical_features
        self.product = product(model.short_range.spherical_product)
        self.update_1 = ResidualUpdate(model.scalar_update)
        self.norms = Norms(model.norm)
        self.update_2 = ResidualUpdate(model.norm_update)
        self.readout = Perceptron(model.readout)
        self.rounds = Rounds(model) if len(model.rounds) > 0 else None

    def forward(self, positions: torch.Tensor, offsets: torch.Tensor, block: RowBlock) -> Features:
        """Returns features and energies for positions [3, n_atoms] Å by row and offsets S·h [3, n·S] Å."""
        edges = self.edges(positions, offsets, block)
        message, factors, saved = self.density(edges, block)
        factors = pad_atoms(factors)
        first = self.product(factors[: self.channels], factors[self.channels :]).narrow(2, 0, block.size)
        norms, slopes = self.norms(first)
        x, update_1 = self.update_1(self.starts.index_select(0, block.species), message)
        x, update_2 = self.update_2(x, norms)
        readout, hidden = self.readout(x)
        energies, spherical = readout.squeeze(1), first
        rounds: Optional[RoundsState] = None
        if self.rounds is not None:
            x, spherical, more, found = self.rounds(x, spherical, edges, block)
            energies, rounds = energies + more, found
        updates = [update_1, update_2]
        return Features(energies, x, spherical, edges, saved, factors, first, slopes, updates, hidden, rounds)

    def pullback(
        self, state: Features, block: RowBlock, x: torch.Tensor, spherical: torch.Tensor, slope: Optional[torch.Tensor]
    ) -> torch.Tensor:
        """Returns dE/dr_ij [3, n·S], short-range energies included.

        Args:
            state: from :meth:`forward`.
            block: rows and slots.
            x: derivative of the other energies with respect to the scalar features [n, d].
            spherical: likewise [s, (L+1)², n].
            slope: with respect to the distances [n, S]; None: zero.
        """
        of_rounds: List[torch.Tensor] = []
        rounds = state.rounds
        if self.rounds is not None and rounds is not None:
            of_rounds = self.rounds.pullback(rounds, x, spherical)
            x, spherical = of_rounds[0], of_rounds[1]
        x = x + self.readout.pullback(state.hidden, x.new_ones((block.size, 1)))
        x, norms = self.update_2.pullback(state.updates[1], x)
        _, message = self.update_1.pullback(state.updates[0], x)
        spherical = spherical + self.norms.pullback(state.first, state.slopes, norms)
        x1, x2 = state.factors[: self.channels], state.factors[self.channels :]
        factors = torch.cat(self.product.pullback(x1, x2, pad_atoms(spherical))).narrow(2, 0, block.size)
        radial, angular = self.density.pullback(state.edges, block, state.saved, message, factors)
        if len(of_rounds) > 0:
            radial, angular = radial + of_rounds[2], angular + of_rounds[3]
        return self.edges.pullback(state.edges, radial, angular, slope)
