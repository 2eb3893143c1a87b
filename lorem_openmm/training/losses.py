"""Differences between predictions and labels, and the loss made of them."""

from typing import NamedTuple

import torch

from lorem_openmm.config import Training
from lorem_openmm.data.batching import Labels
from lorem_openmm.graph import AtomGraph
from lorem_openmm.model import Lorem
from lorem_openmm.potential import Prediction
from lorem_openmm.units import COULOMB_EV_ANGSTROM


class Channels(NamedTuple):
    """What the charges of a model are.

    Attributes:
        num_net: how many, the first ones, are in e and add up to the total charge.
        num_scalar: how many, the first ones, do not turn with the structure.
        is_neutral: whether all but the first have no net charge by construction.
    """

    num_net: int
    num_scalar: int
    is_neutral: bool

    @classmethod
    def of(cls, model: Lorem) -> "Channels":
        """Returns those of a network."""
        block = model.long_range
        if block is None:
            return NO_CHANNELS
        return cls(block.num_net_channels, block.num_scalar_channels, model.is_neutral)


NO_CHANNELS = Channels(0, 0, True)


class Residuals(NamedTuple):
    """Prediction minus label of a batch, with the labels.

    Attributes:
        energy: [n_systems] eV/atom, float64.
        energy_label: [n_systems] eV/atom, float64, the per-element baseline subtracted.
        forces: [n_atoms, 3] eV/Å.
        forces_label: [n_atoms, 3] eV/Å.
        stress: [n_with_stress, 3, 3] eV/Å³, of the structures that have a label.
        stress_label: [n_with_stress, 3, 3] eV/Å³.
        stress_systems: [n_with_stress] the structures these belong to.
        net_charge: [n_systems, n_sums] sums of charges, and of responses to potentials, that must vanish, over
            √n_atoms; zeros where a sum may have any value.
    """

    energy: torch.Tensor
    energy_label: torch.Tensor
    forces: torch.Tensor
    forces_label: torch.Tensor
    stress: torch.Tensor
    stress_label: torch.Tensor
    stress_systems: torch.Tensor
    net_charge: torch.Tensor


def residuals(
    prediction: Prediction,
    graph: AtomGraph,
    labels: Labels,
    with_stress: bool = False,
    responses: torch.Tensor | None = None,
    channels: Channels = NO_CHANNELS,
) -> Residuals:
    """Compares a batch with its labels.

    The energies are compared without the baseline, Σ_i E_i in float64, so that no digits are lost to it.

    Args:
        prediction: what the potential gave for the graph.
        graph: the structures.
        labels: their reference values.
        with_stress: whether the stress was predicted.
        responses: ∂E/∂V [n_atoms, n_channels], in training; None: not looked at.
        channels: what the charges of the model are.
    """
    n_atoms = torch.tensor(graph.system_sizes, dtype=torch.float64, device=labels.energy.device)
    atomic = prediction.atomic_energies.double()
    energy = torch.zeros_like(labels.energy).index_add(0, graph.system_index, atomic)
    stress_systems = (labels.has_stress & with_stress).nonzero()[:, 0]
    net_charge = _net_charges(prediction, graph, responses, channels)
    return Residuals(
        energy=(energy - labels.energy) / n_atoms,
        energy_label=labels.energy / n_atoms,
        forces=prediction.forces - labels.forces,
        forces_label=labels.forces,
        stress=prediction.stress[stress_systems] - labels.stress[stress_systems],
        stress_label=labels.stress[stress_systems],
        stress_systems=stress_systems,
        net_charge=net_charge / n_atoms.sqrt().to(net_charge.dtype).unsqueeze(1),
    )


def _net_charges(
    prediction: Prediction, graph: AtomGraph, responses: torch.Tensor | None, channels: Channels
) -> torch.Tensor:
    """Returns sums over the atoms of a structure [n_systems, n_sums] that must vanish, zero where they may not.

    k (Σ_i q_i − Q) of charges in e; then, unless latent charges are neutral anyway, Σ_i q_i: the potential of a net
    charge falls as 1/r, and k Σ_i ∂E/∂V_i: what a structure feels of a constant potential, which is what something far
    away is to it. Coulomb's constant k = 14.4 eV·Å/e² makes all alike, because charges of c per e have responses of
    k/c, and models choose a c near k. A neutral structure has neither in any channel; one with a total charge has them
    in the scalar channels, and not in those of higher degree, whose far field would turn with the molecule. Nothing is
    asked of structures whose total charge the data do not give.
    """
    net = channels.num_net
    charges = prediction.charges
    total_charge = graph.total_charge.to(charges.dtype)
    stated = total_charge.isfinite()
    zeros = charges.new_zeros((len(graph.system_sizes), charges.shape[1]))
    sums = zeros.index_add(0, graph.system_index, charges)
    asked: list[torch.Tensor] = []
    if net > 0:
        difference = sums[:, :net].sum(dim=1) - torch.where(stated, total_charge, zeros[:, 0])
        asked.append(COULOMB_EV_ANGSTROM * torch.where(stated, difference, zeros[:, 0]).unsqueeze(1))
    if not channels.is_neutral and charges.shape[1] > net:
        felt = zeros[:, net:]
        if responses is not None:  # those of the latent charges come last
            of_latent = responses[:, responses.shape[1] - felt.shape[1] :].to(charges.dtype)
            felt = felt.index_add(0, graph.system_index, of_latent)
        both = torch.stack([sums[:, net:], COULOMB_EV_ANGSTROM * felt], dim=1)
        is_directed = torch.arange(net, charges.shape[1], device=charges.device) >= channels.num_scalar
        vanishes = (total_charge == 0).view(-1, 1, 1) | (stated.view(-1, 1, 1) & is_directed)
        asked.append(torch.where(vanishes, both, torch.zeros_like(both)).flatten(1))
    return torch.cat(asked, dim=1) if asked else zeros[:, :0]


def loss(difference: Residuals, training: Training) -> torch.Tensor:
    """w_E · mean_s ((E_s − E_s,ref) / n_s)² + w_F · mean (F − F_ref)² + w_S · mean (σ − σ_ref)² + w_Q · mean Q²/n.

    A float64 scalar. The energy term is a mean over the structures, the force term over all components of all atoms of
    the batch, the stress term over all components of the structures with a stress label, the last term over all
    structures and channels of latent charges (Q: net charges that must vanish); terms of weight 0 are left out.

    Args:
        difference: prediction minus label.
        training: the weights.
    """
    total = difference.energy.new_zeros(())
    if training.energy_weight > 0:
        total = total + training.energy_weight * difference.energy.square().mean()
    if training.force_weight > 0:
        total = total + training.force_weight * difference.forces.square().mean()
    if training.stress_weight > 0 and difference.stress.shape[0] > 0:
        total = total + training.stress_weight * difference.stress.square().mean()
    if training.net_charge_weight > 0 and difference.net_charge.numel() > 0:
        total = total + training.net_charge_weight * difference.net_charge.square().mean()
    return total
