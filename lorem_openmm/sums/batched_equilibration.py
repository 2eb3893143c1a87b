"""Charges at equilibrium for batches of structures, differentiable twice: what training uses.

The matrices are made whole, by potentials of unit charges, and solved by elimination: structures of training are small.
"""

import torch

from lorem_openmm.errors import DataError
from lorem_openmm.graph import AtomGraph
from lorem_openmm.sums.batched import BatchedGeometry, BatchedPairSum
from lorem_openmm.sums.equilibration import solve_dense
from lorem_openmm.sums.widths import WidthCorrection, own_hardness
from lorem_openmm.units import COULOMB_EV_ANGSTROM

MAX_ATOMS = 3000  # 0.3 GB in float64 for the matrix and the potentials that make it


def equilibrate(
    pair_sum: BatchedPairSum,
    geometry: BatchedGeometry,
    graph: AtomGraph,
    near: torch.Tensor,
    electronegativities: torch.Tensor,
    elements: torch.Tensor,
) -> torch.Tensor:
    """Returns q [n_atoms] e.

    Args:
        pair_sum: K.
        geometry: of the structures.
        graph: the structures, with their total charges.
        near: c [n_edges], from :func:`corrections`.
        electronegativities: χ [n_atoms] V.
        elements: η in eV/e² and a in Å [n_atoms, 2].

    Raises:
        DataError: If a structure is too large for whole matrices.
    """
    n_systems, size = len(graph.system_sizes), graph.max_size
    if size > MAX_ATOMS:
        raise DataError(
            f"charges at equilibrium: training and evaluate() make whole matrices, for at most {MAX_ATOMS} atoms, "
            f"received {size}; ASE, OpenMM and lorem_openmm.inference.dynamics have no such limit"
        )
    places = graph.system_slots % size
    units = torch.nn.functional.one_hot(places, size).to(electronegativities.dtype)
    rows = 2.0 * pair_sum.potentials(geometry, units)
    rows = rows.index_put((graph.centers, places.index_select(0, graph.neighbors)), near, accumulate=True)
    diagonal = own_hardness(elements, COULOMB_EV_ANGSTROM)
    rows = COULOMB_EV_ANGSTROM * rows + units * diagonal.unsqueeze(1)
    filling = torch.eye(size, dtype=rows.dtype, device=rows.device).repeat(n_systems, 1)
    matrix = filling.index_copy(0, graph.system_slots, rows).view(n_systems, size, size)
    blank = rows.new_zeros(n_systems * size)
    right = blank.index_copy(0, graph.system_slots, -electronegativities).view(n_systems, size)
    present = blank.index_fill(0, graph.system_slots, 1.0).view(n_systems, size)
    charges = solve_dense(matrix, right, graph.total_charge.to(rows.dtype), present)
    return charges.flatten().index_select(0, graph.system_slots)


def corrections(
    smearing: float, cutoff: float, graph: AtomGraph, distances: torch.Tensor, widths: torch.Tensor
) -> torch.Tensor:
    """Returns c [n_edges] of :class:`~lorem_openmm.sums.widths.WidthCorrection`.

    Args:
        smearing: σ in Å.
        cutoff: Å.
        graph: structures and neighbour lists.
        distances: [n_edges] Å.
        widths: a [n_atoms] Å.
    """
    squares = (widths * widths).index_select(0, graph.centers) + (widths * widths).index_select(0, graph.neighbors)
    return WidthCorrection(smearing, cutoff).weights(distances, squares)


def add_corrections(
    potentials: torch.Tensor, charges: torch.Tensor, graph: AtomGraph, near: torch.Tensor
) -> torch.Tensor:
    """Returns V with ½ Σ_j c_ij q_j added to its first channel.

    Args:
        potentials: V [n_atoms, n_channels].
        charges: q [n_atoms, n_channels].
        graph: structures and neighbour lists.
        near: c [n_edges].
    """
    sent = 0.5 * charges[:, 0].index_select(0, graph.neighbors) * near
    felt = torch.zeros_like(charges[:, 0]).index_add(0, graph.centers, sent)
    return torch.cat([potentials[:, :1] + felt.unsqueeze(1), potentials[:, 1:]], dim=1)
