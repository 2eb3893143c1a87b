"""From the charges a network makes to what it receives: moved charges, their potentials, felt differences; and back."""

from typing import List, NamedTuple, Optional, Tuple

import torch

from lorem_openmm.sums.near import NearRows, sum_over_neighbors
from lorem_openmm.sums.operator import PairGeometry, PairGradients, PairOperator, PairState
from lorem_openmm.sums.transfer import Transfer


class Exchanged(NamedTuple):
    """Charges, what is received, and what the way back needs.

    Attributes:
        charges: q [n, n_channels], those that act.
        received: see :class:`Exchange`.
        made: t [n, n_channels], as the network made them.
        potentials: V [n, n_channels].
        weights: w [n, S] of each of the rows; none where nothing is moved.
        elements: properties of the elements, and near: c [n, S] of each of the rows, of charges at equilibrium.
        state: of the pair sum.
    """

    charges: torch.Tensor
    received: torch.Tensor
    made: torch.Tensor
    potentials: torch.Tensor
    weights: List[torch.Tensor]
    elements: torch.Tensor
    near: List[torch.Tensor]
    state: PairState


class Exchange(torch.nn.Module):
    """V = K q; received are [V of the net charges ; L V of these ; V of the latent ones], or V where there is no L.

    Where latent charges are to be neutral, they act as q = L t, and are felt by L V, too.

    Args:
        operator: K.
        transfer: L; None: charges are as the network makes them, and none is a net charge.
        num_net: how many charges, the first ones, are net charges, which are never moved.
        is_neutral: whether latent charges are to be neutral.
    """

    def __init__(self, operator: PairOperator, transfer: Optional[Transfer], num_net: int, is_neutral: bool):
        super().__init__()
        self.operator = operator
        self.transfer = transfer
        self.num_net = num_net
        self.is_neutral = is_neutral

    def forward(
        self,
        made: torch.Tensor,
        elements: torch.Tensor,
        total_charge: float,
        positions: torch.Tensor,
        cell: torch.Tensor,
        rows: List[NearRows],
    ) -> Exchanged:
        """Returns charges and what is received.

        Args:
            made: t [n, n_channels].
            elements: of charges at equilibrium, see :class:`lorem_openmm.sums.equilibration.EquilibratedExchange`; else
                not used.
            total_charge: likewise.
            positions: [n, 3] Å.
            cell: [3, 3] Å.
            rows: neighbours of all atoms in order.
        """
        geometry = self.operator.prepare(positions, cell, rows)
        made, near = self.settle(made, elements, total_charge, geometry)
        weights: List[torch.Tensor] = []
        transfer = self.transfer
        if transfer is None:
            potentials, state = self.operator.potentials(geometry, made)
            return Exchanged(made, potentials, made, potentials, weights, elements, near, state)
        net, n_felt = self.num_net, self.n_felt(made)
        for of_rows in rows:
            weights.append(transfer.weights(of_rows.distances))
        charges = made
        if self.is_neutral:
            charges = torch.cat([made[:, :net], transfer.of_rows(made[:, net:], weights, rows)], dim=1)
        potentials, state = self.operator.potentials(geometry, charges)
        if len(near) > 0:
            own = potentials[:, :1] + sum_over_neighbors(rows, near, 0.5 * charges[:, :1])
            potentials = torch.cat([own, potentials[:, 1:]], dim=1)
        felt = transfer.of_rows(potentials[:, :n_felt], weights, rows)
        received = torch.cat([potentials[:, :net], felt, potentials[:, n_felt:]], dim=1)
        return Exchanged(charges, received, made, potentials, weights, elements, near, state)

    def settle(
        self, made: torch.Tensor, elements: torch.Tensor, total_charge: float, geometry: PairGeometry
    ) -> Tuple[torch.Tensor, List[torch.Tensor]]:
        """Returns what acts before anything is moved, and corrections of the first charge's potential: t, and none."""
        near: List[torch.Tensor] = []
        return made, near

    def n_felt(self, charges: torch.Tensor) -> int:
        """Returns of how many potentials, the first ones, L V is felt."""
        return charges.shape[1] if self.is_neutral else self.num_net

    @torch.jit.export
    def pullback(
        self, exchanged: Exchanged, adjoint: torch.Tensor, of_charges: Optional[torch.Tensor], compute_virial: bool
    ) -> Tuple[PairGradients, Optional[torch.Tensor]]:
        """Returns the gradients with respect to t and geometry, and the virial but for the edges' [3, 3].

        Args:
            exchanged: from :meth:`forward`.
            adjoint: derivatives of the energy with respect to what is received.
            of_charges: those with respect to q itself [n, n_channels], apart from what it does through V; None: zero.
            compute_virial: whether to compute the virial; else None.
        """
        of_potentials = self.of_potentials(exchanged, adjoint)
        found, virial = self.of_sums(exchanged, of_potentials, of_charges, compute_virial)
        return self.with_transfer(exchanged, adjoint, found), virial

    @torch.jit.export
    def forget(self) -> None:
        """Leaves nothing of earlier calls; here there is nothing."""

    def of_sums(
        self,
        exchanged: Exchanged,
        of_potentials: torch.Tensor,
        of_charges: Optional[torch.Tensor],
        compute_virial: bool,
    ) -> Tuple[PairGradients, Optional[torch.Tensor]]:
        """Returns the gradients with respect to what settles and geometry, and the virial, of dE/dV and dE/dq."""
        return self.of_pairs(exchanged, of_potentials, of_charges, compute_virial)

    def of_pairs(
        self,
        exchanged: Exchanged,
        of_potentials: torch.Tensor,
        of_charges: Optional[torch.Tensor],
        compute_virial: bool,
    ) -> Tuple[PairGradients, Optional[torch.Tensor]]:
        """Returns the gradients with respect to q and geometry, and the virial, of dE/dV and dE/dq [n, n_channels]."""
        found = self.operator.pullback(exchanged.state, exchanged.charges, of_potentials)
        virial: Optional[torch.Tensor] = None
        if compute_virial:
            virial = self.operator.strain(exchanged.state, exchanged.charges, of_potentials)
        if of_charges is not None:
            found = PairGradients(found.charges + of_charges, found.positions, found.distances)
        return found, virial

    def of_potentials(self, exchanged: Exchanged, adjoint: torch.Tensor) -> torch.Tensor:
        """Returns dE/dV [n, n_channels] of the derivatives with respect to what is received."""
        transfer = self.transfer
        if transfer is None:
            return adjoint
        net = self.num_net
        end = net + self.n_felt(exchanged.charges)
        felt = transfer.of_rows(adjoint[:, net:end], exchanged.weights, exchanged.state.geometry.rows)
        return torch.cat([felt[:, :net] + adjoint[:, :net], felt[:, net:], adjoint[:, end:]], dim=1)

    def with_transfer(self, exchanged: Exchanged, adjoint: torch.Tensor, found: PairGradients) -> PairGradients:
        """Returns gradients with respect to t, L's own part of the distances included, of those of the pair sum."""
        transfer = self.transfer
        if transfer is None:
            return found
        net, rows, of_made = self.num_net, exchanged.state.geometry.rows, found.charges
        n_felt = self.n_felt(exchanged.charges)
        slopes = transfer.row_slopes(adjoint[:, net : net + n_felt], exchanged.potentials[:, :n_felt], rows)
        if self.is_neutral:
            of_moved = found.charges[:, net:]
            moved = transfer.row_slopes(of_moved, exchanged.made[:, net:], rows)
            for i, slope in enumerate(moved):
                slopes[i] = slopes[i] + slope
            of_made = torch.cat([found.charges[:, :net], transfer.of_rows(of_moved, exchanged.weights, rows)], dim=1)
        for i, slope in enumerate(found.distances):
            slopes[i] = slopes[i] + slope
        return PairGradients(of_made, found.positions, slopes)
