"""Dipoles and Born effective charges in the loss."""

from typing import NamedTuple

import torch

from lorem_openmm.config import Training
from lorem_openmm.data.batching import Labels
from lorem_openmm.electric import dipoles, has_explicit_charge, with_sum_rule
from lorem_openmm.errors import ConfigError
from lorem_openmm.graph import AtomGraph
from lorem_openmm.model import Lorem
from lorem_openmm.potential import Prediction, Responses


class ElectricResiduals(NamedTuple):
    """Prediction minus label of what is labelled in a batch, with the labels.

    Attributes:
        dipole: [n, 3] e·Å of structures in vacuum.
        dipole_label: [n, 3] e·Å.
        born_charges: [m, 3, 3] e of atoms.
        born_charges_label: [m, 3, 3] e.
    """

    dipole: torch.Tensor
    dipole_label: torch.Tensor
    born_charges: torch.Tensor
    born_charges_label: torch.Tensor


def is_electric(training: Training) -> bool:
    """Returns whether a loss has dipoles or Born effective charges.

    Args:
        training: the weights.
    """
    return training.dipole_weight > 0 or training.born_charge_weight > 0


def check_electric(training: Training, model: Lorem) -> None:
    """Refuses a loss of what a model does not predict.

    Args:
        training: the weights.
        model: the network.

    Raises:
        ConfigError: naming the weight.
    """
    if training.dipole_weight > 0 and not has_explicit_charge(model):
        raise ConfigError(
            f"dipole_weight: is {training.dipole_weight:g}, but the charges of the model are latent; give the model "
            "`long_range: {kind: explicit_charges}`, or set the weight to 0"
        )
    if (training.born_charge_weight > 0) != (len(model.born_readouts) > 0):
        raise ConfigError(
            f"born_charge_weight: is {training.born_charge_weight:g}, and `born_charges` of the model is "
            f"{str(len(model.born_readouts) > 0).lower()}; Born effective charges need both"
        )


def electric_residuals(
    prediction: Prediction, responses: Responses, graph: AtomGraph, labels: Labels
) -> ElectricResiduals:
    """Compares a batch with its labels; a structure or atom without a label is left out.

    Args:
        prediction: what the potential gave for the graph.
        responses: likewise.
        graph: the structures.
        labels: their reference values.
    """
    label, born_label = labels["dipole"], labels["born_charges"]
    dipole, born_charges = label[:0], born_label[:0]
    stated = born_stated = torch.zeros(0, dtype=torch.long, device=label.device)
    if prediction.charges.shape[1] > 0:
        in_vacuum = ~torch.tensor(graph.periodic, device=label.device)
        stated = (label.isfinite().all(dim=1) & in_vacuum).nonzero()[:, 0]
        found = dipoles(prediction.charges[:, 0], graph.positions, graph.atomic_numbers, graph.system_index, len(label))
        dipole = found[stated] - label[stated]
    if responses.born_charges.shape[0] > 0:
        born_stated = born_label.isfinite().flatten(1).all(dim=1).nonzero()[:, 0]
        born_charges = with_sum_rule(responses.born_charges, graph)[born_stated] - born_label[born_stated]
    return ElectricResiduals(dipole, label[stated], born_charges, born_label[born_stated])


def electric_loss(difference: ElectricResiduals, training: Training, graph: AtomGraph, labels: Labels) -> torch.Tensor:
    """w_μ · mean_s (μ_s − μ_s,ref)² + w_Z · mean_i (Z_i − Z_i,ref)²; what has no label counts as no error.

    The means are over all components of all structures and atoms of the whole batch, of which this may be the share of
    one process.

    Args:
        difference: prediction minus label.
        training: the weights.
        graph: the structures.
        labels: their reference values.
    """
    n_structures, n_atoms = len(graph.system_sizes), len(graph.positions)
    if labels.whole is not None:
        n_structures, n_atoms = labels.whole.n_structures, labels.whole.n_atoms
    dipole = training.dipole_weight * difference.dipole.double().square().sum() / (3 * n_structures)
    born_charges = training.born_charge_weight * difference.born_charges.double().square().sum() / (9 * n_atoms)
    value = dipole + born_charges
    return 0.0 * value if labels.whole is not None and labels.whole.is_idle else value
