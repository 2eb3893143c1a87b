"""Electrical response: dipoles, and what displaced atoms do to the polarisation.

Tensors [n_atoms, 3, 3] in e: the rows are displacements, the columns the polarisation, so that an electric field F in
V/Å pulls at atom i with Σ_b Z_i,ab F_b in eV/Å. Two kinds of model have them: those that predict Born effective charges
(`born_charges`), and those with an explicit charge, whose derivatives they are.
"""

import math
from typing import Any

import ase.data
import torch

from lorem_openmm.ambient import computing
from lorem_openmm.errors import ConfigError
from lorem_openmm.graph import AtomGraph
from lorem_openmm.model import Lorem, edge_vectors
from lorem_openmm.potential import Potential, check_inputs, own_tensors

_MASSES = torch.from_numpy(ase.data.atomic_masses)


def has_explicit_charge(model: Lorem) -> bool:
    """Returns whether the first charge of the atoms is one in e.

    Args:
        model: the network.
    """
    return model.long_range is not None and model.long_range.explicit_charge


def has_born_charges(model: Lorem) -> bool:
    """Returns whether :func:`born_charges` has values for a model.

    Args:
        model: the network.
    """
    return len(model.born_readouts) > 0 or has_explicit_charge(model)


def dipoles(
    charges: torch.Tensor,
    positions: torch.Tensor,
    atomic_numbers: torch.Tensor,
    system_index: torch.Tensor,
    n_systems: int,
) -> torch.Tensor:
    """μ = Σ_i q_i (r_i − R) [n_systems, 3] e·Å about the centre of mass R, of structures in vacuum.

    The centre matters where the charges do not add up to zero: in ions.

    Args:
        charges: q [n_atoms] e.
        positions: [n_atoms, 3] Å.
        atomic_numbers: [n_atoms] integers.
        system_index: [n_atoms] the structure of each atom.
        n_systems: number of structures.
    """
    away = positions - _centers_of_mass(positions, atomic_numbers, system_index, n_systems)[system_index]
    return away.new_zeros((n_systems, 3)).index_add(0, system_index, charges.unsqueeze(1) * away)


def born_charges(potential: Potential, graph: AtomGraph) -> torch.Tensor:
    """Z*_i,ab = ∂(Ω P_b)/∂r_ia [n_atoms, 3, 3] e; in vacuum the atomic polar tensors ∂μ_b/∂r_ia.

    Those that a model predicts obey the acoustic sum rule Σ_i Z*_i = 0 in each structure. Those of explicit charges q
    have Σ_i Z*_i = (Σ_i q_i)·1, and are the derivatives of Σ_i q_i r_i, in vacuum about the centre of mass, which is
    held fixed. In periodic structures each change of a charge is counted from the nearest image of the displaced atom,
    Z*_j = q_j·1 − Σ_i ∂(Σ q)/∂r_ij ⊗ r_ij over the edges that end at j; what remains where the sum of the charges
    changes is taken off in equal parts.

    Args:
        potential: of a model with `born_charges`, or with an explicit charge.
        graph: structures and neighbour lists.

    Raises:
        ConfigError: If the model has neither, or passes messages and a structure is periodic.
        DataError: If there are no atoms, or positions or a cell are not finite.
        UnknownElementError: If the model does not know an element.
    """
    if not has_born_charges(potential.model):
        raise ConfigError(
            "born_charges: the model does not predict Born effective charges, nor has it explicit charges; train one "
            "with `born_charges: true` in its hyper-parameters or with `long_range: {kind: coulomb_charges}`, or "
            "import a checkpoint of lorem-jax's LoremBEC"
        )
    check_inputs(graph, potential.species)
    graph = own_tensors(graph)
    with computing():
        if len(potential.model.born_readouts) > 0:
            with torch.no_grad():
                return with_sum_rule(potential.model(graph).born_charges, graph)
        with torch.enable_grad():
            return _of_explicit_charges(potential.model, graph)


def read_field(value: Any, name: str) -> tuple[float, float, float]:
    """Returns an electric field in V/Å.

    Args:
        value: what was given.
        name: of the argument.

    Raises:
        ConfigError: If it is not three finite numbers.
    """
    try:
        x, y, z = (float(part) for part in value)
    except (TypeError, ValueError):
        x = y = z = math.nan
    if not all(map(math.isfinite, (x, y, z))):
        raise ConfigError(f"{name}: must be three finite numbers in V/Å, received {value!r:.80}")
    return x, y, z


def check_field(model: Lorem, periodic: bool) -> None:
    """Refuses an electric field F where there is no energy −μ·F.

    Args:
        model: the network.
        periodic: in all three directions, or in vacuum.

    Raises:
        ConfigError: If the structure is periodic or the model has no explicit charge.
    """
    if not has_explicit_charge(model):
        raise ConfigError(
            "electric_field: needs a model with explicit charges in e, which one with `long_range: {kind: "
            "coulomb_charges}` has; the charges of this one are latent. Use such a model, or no field"
        )
    if periodic:
        raise ConfigError(
            "electric_field: the energy −μ·F has no meaning in a periodic box, where the dipole μ depends on the "
            "choice of images; run the molecules in vacuum"
        )


def with_sum_rule(tensors: torch.Tensor, graph: AtomGraph) -> torch.Tensor:
    """Z_i − Σ_j Z_j / n [n_atoms, 3, 3], the acoustic sum rule: a structure that moves as a whole is not polarised.

    Args:
        tensors: [n_atoms, 3, 3].
        graph: structures.
    """
    sizes = torch.tensor(graph.system_sizes, dtype=tensors.dtype, device=tensors.device)
    sums = tensors.new_zeros((len(graph.system_sizes), 3, 3)).index_add(0, graph.system_index, tensors)
    return tensors - (sums / sizes.view(-1, 1, 1)).index_select(0, graph.system_index)


def _of_explicit_charges(model: Lorem, graph: AtomGraph) -> torch.Tensor:
    if not any(graph.periodic):
        return _through_positions(model, graph)
    if len(model.rounds) > 0 or _are_moved(model):
        raise ConfigError(
            "born_charges: in a periodic structure explicit charges must depend on neighbours within the cutoff alone, "
            "received a model that passes messages (`num_message_passing`) or moves charges between atoms "
            "(`equilibrated_charges`, `neutral`); use a molecule in vacuum, or a model with `born_charges: true`"
        )
    tensors = _through_edges(model, graph)
    if all(graph.periodic):
        return tensors
    periodic = torch.tensor(graph.periodic, device=tensors.device)[graph.system_index].view(-1, 1, 1)
    return torch.where(periodic, tensors, _through_positions(model, graph))


def _through_positions(model: Lorem, graph: AtomGraph) -> torch.Tensor:
    """∂/∂r_ia Σ_j q_j (r_j − R)_b with R fixed."""
    n_systems = len(graph.system_sizes)
    positions = graph.positions.detach().requires_grad_(True)
    moved = graph._replace(positions=positions)
    center = _centers_of_mass(graph.positions, graph.atomic_numbers, graph.system_index, n_systems)
    charges = _explicit_charges(model, moved, edge_vectors(moved))
    moments = charges.unsqueeze(1) * (positions - center[graph.system_index])
    columns = [torch.autograd.grad(moments[:, b].sum(), positions, retain_graph=True)[0] for b in range(3)]
    return torch.stack(columns, dim=2)


def _through_edges(model: Lorem, graph: AtomGraph) -> torch.Tensor:
    """q_j δ_ab − Σ_(ij) ∂(Σ q)/∂r_ij,a r_ij,b, with Σ_j = (Σ q) δ_ab."""
    vectors = edge_vectors(graph).detach().requires_grad_(True)
    charges = _explicit_charges(model, graph, vectors)
    slopes = torch.zeros_like(vectors)
    if charges.requires_grad:  # not of a block whose charges are constants
        (slopes,) = torch.autograd.grad(charges.sum(), vectors, materialize_grads=True)
    flows = charges.new_zeros((len(charges), 3, 3))
    flows = flows.index_add(0, graph.neighbors, slopes.unsqueeze(2) * vectors.detach().unsqueeze(1))
    own = charges.detach().view(-1, 1, 1) * torch.eye(3, dtype=flows.dtype, device=flows.device)
    return own - with_sum_rule(flows, graph)


def _explicit_charges(model: Lorem, graph: AtomGraph, vectors: torch.Tensor) -> torch.Tensor:
    near, block = model.features(graph, vectors), model.long_range
    if block is None:
        raise ConfigError("long_range: a model of short range has no charges; use one with a long-range block")
    charges = block.charges(near.x, near.spherical[-1], graph.atomic_numbers)
    if _are_moved(model):
        charges, _ = model.exchange(block, charges, graph, near.distances)
    return charges[:, 0]


def _are_moved(model: Lorem) -> bool:
    """Returns whether the first charges that act are others than the block gives."""
    block = model.long_range
    return block is not None and (block.is_equilibrated or (model.is_neutral and block.num_net_channels == 0))


def _centers_of_mass(
    positions: torch.Tensor, atomic_numbers: torch.Tensor, system_index: torch.Tensor, n_systems: int
) -> torch.Tensor:
    masses = _MASSES.to(positions).index_select(0, atomic_numbers).unsqueeze(1)
    weighted = torch.cat([masses * positions, masses], dim=1)
    sums = weighted.new_zeros((n_systems, 4)).index_add(0, system_index, weighted)
    return sums[:, :3] / sums[:, 3:]
