"""Differences between predictions and labels, and the loss made of them."""

from typing import NamedTuple

import torch

from lorem_openmm.config import Training
from lorem_openmm.data.batching import Labels
from lorem_openmm.graph import AtomGraph
from lorem_openmm.potential import Prediction

NUM_SCALAR_CHANNELS = 2  # of the latent charges: the one from the scalar features, and degree 0 of the spherical ones


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
        net_charge: [n_systems, n_channels] sums of latent charges that must vanish, over √n_atoms; zeros where a sum
            may have any value.
    """

    energy: torch.Tensor
    energy_label: torch.Tensor
    forces: torch.Tensor
    forces_label: torch.Tensor
    stress: torch.Tensor
    stress_label: torch.Tensor
    stress_systems: torch.Tensor
    net_charge: torch.Tensor


def residuals(prediction: Prediction, graph: AtomGraph, labels: Labels, with_stress: bool = False) -> Residuals:
    """Compares a batch with its labels.

    The energies are compared without the baseline, Σ_i E_i in float64, so that no digits are lost to it.

    Args:
        prediction: what the potential gave for the graph.
        graph: the structures.
        labels: their reference values.
        with_stress: whether the stress was predicted.
    """
    n_atoms = torch.tensor(graph.system_sizes, dtype=torch.float64, device=labels.energy.device)
    atomic = prediction.atomic_energies.double()
    energy = torch.zeros_like(labels.energy).index_add(0, graph.system_index, atomic)
    stress_systems = (labels.has_stress & with_stress).nonzero()[:, 0]
    net_charge = _net_charges(prediction, graph, labels)
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


def _net_charges(prediction: Prediction, graph: AtomGraph, labels: Labels) -> torch.Tensor:
    """Returns Σ_i q_i [n_systems, n_channels] where it must vanish, else zero.

    The potential of a net charge falls as 1/r. A neutral structure has none in any channel; one with a total charge
    has it in the two scalar channels, and none in those of higher degree, whose far field would turn with the
    molecule. Nothing is asked of structures whose total charge the data do not give.
    """
    charges = prediction.charges
    sums = charges.new_zeros((len(graph.system_sizes), charges.shape[1])).index_add(0, graph.system_index, charges)
    is_neutral = labels.total_charge == 0
    is_directed = torch.arange(charges.shape[1], device=charges.device) >= NUM_SCALAR_CHANNELS
    vanishes = is_neutral.unsqueeze(1) | (labels.total_charge.isfinite().unsqueeze(1) & is_directed)
    return torch.where(vanishes, sums, torch.zeros_like(sums))


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
