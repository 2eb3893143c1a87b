"""Dipoles and Born effective charges in the loss, learned."""

import csv

import numpy as np
import pytest
import torch
from ase.io import read, write
from helpers import graph_of, rattled_box, rattled_molecule, small_potential
from small_training import prepare_dimers, settings

from lorem_openmm import config
from lorem_openmm.data.batching import Labels, WholeBatch
from lorem_openmm.data.prepare import prepare_dataset
from lorem_openmm.electric import born_charges
from lorem_openmm.errors import ConfigError
from lorem_openmm.training.electric_losses import electric_loss, electric_residuals
from lorem_openmm.training.train import train

COULOMB = {"long_range": {"kind": "coulomb_charges"}}


def made_labels(graph, dipole, tensors, whole=None) -> Labels:
    return Labels({"dipole": dipole, "born_charges": tensors}, torch.arange(len(graph.system_sizes)), whole)


def test_the_loss_is_a_mean_over_what_is_labelled_and_zero_elsewhere():
    potential = small_potential(**COULOMB, born_charges=True)
    graph = graph_of(rattled_molecule(), rattled_box(), rattled_molecule("H2O"))
    n_atoms, sizes = len(graph.positions), graph.system_sizes
    prediction, responses = potential.with_responses(graph)
    dipole, tensors = torch.full((3, 3), 0.3, dtype=torch.float64), born_charges(potential, graph)
    tensors[0] += 0.1
    dipole[0] = torch.nan  # not stated
    tensors[-1] = torch.nan
    labels = made_labels(graph, dipole, tensors)
    difference = electric_residuals(prediction, responses, graph, labels)
    assert difference.dipole.shape == (1, 3)  # not stated, in a box, in vacuum
    charges, water = prediction.charges[-sizes[2] :, 0].detach().numpy(), rattled_molecule("H2O")
    expected = charges @ (water.positions - water.get_center_of_mass()) - 0.3
    np.testing.assert_allclose(difference.dipole[0].detach(), expected, rtol=0, atol=1e-12)
    training = config.Training(dipole_weight=2.0, born_charge_weight=5.0)
    value = electric_loss(difference, training, graph, labels)
    wanted = 2.0 * np.sum(expected**2) / 9 + 5.0 * 9 * 0.01 / (9 * n_atoms)
    assert value.item() == pytest.approx(wanted, rel=1e-10)
    whole = WholeBatch(n_structures=6, n_atoms=2 * n_atoms, n_with_stress=0, n_processes=2, is_idle=False)
    half = electric_loss(difference, training, graph, made_labels(graph, dipole, tensors, whole))
    assert half.item() == pytest.approx(value.item() / 2, rel=1e-12)
    value.backward()
    assert potential.model.born_readouts[0].kernel.grad.abs().max() > 0
    assert potential.model.long_range.scalar_charges.layers[0].weight.grad.abs().max() > 0


def electric_training(tmp_path, **training) -> tuple:
    """A small training on dimers whose dipole is that of fixed charges, and whose tensors are those charges."""
    prepare_dimers(tmp_path)
    charge_of = {8: -0.6, 1: 0.3, 6: -0.3}
    frames = read(tmp_path / "dimers.xyz", ":")
    for atoms in frames:
        charges = np.array([charge_of[number] for number in atoms.numbers])
        atoms.info["dipole"] = charges @ (atoms.positions - atoms.get_center_of_mass())
        atoms.arrays["born_effective_charges"] = np.outer(charges, np.eye(3).ravel())
    write(tmp_path / "electric.xyz", frames, format="extxyz")
    dataset = config.Dataset(structures=str(tmp_path / "electric.xyz"))
    prepare_dataset(dataset, "electric", None, 4.0, tmp_path / "electric.safetensors")
    configuration = settings(12, **training)
    model = configuration.models["tiny"].model_copy(update={"born_charges": True})
    model = config.Model(**{**model.model_dump(), **COULOMB})
    return configuration.model_copy(update={"models": {"tiny": model}}), tmp_path / "electric.safetensors"


def test_they_are_learned(tmp_path):
    configuration, store = electric_training(tmp_path, dipole_weight=1.0, born_charge_weight=1.0)
    train(configuration, "small", [store], tmp_path / "out", device="cpu", progress=False)
    rows = list(csv.DictReader((tmp_path / "out" / "metrics.csv").open()))
    for column in ("train_dipole_rmse", "validation_dipole_rmse", "validation_born_charges_rmse"):
        assert float(rows[-1][column]) < 0.7 * float(rows[0][column]), column


@pytest.mark.parametrize(
    ("weights", "message"),
    [({"born_charge_weight": 0.0, "dipole_weight": 1.0}, "born_charge_weight: is 0, and `born_charges` of the model")],
)
def test_what_does_not_fit_the_model_is_refused(tmp_path, weights, message):
    configuration, store = electric_training(tmp_path, **weights)
    with pytest.raises(ConfigError, match=message):
        train(configuration, "small", [store], tmp_path / "out", device="cpu", progress=False)


@pytest.mark.parametrize("weight", ["dipole_weight", "born_charge_weight"])
def test_data_without_labels_are_refused(tmp_path, weight):
    store = prepare_dimers(tmp_path)
    with pytest.raises(ConfigError, match=rf"training\.\w+\.{weight}: is 1, but no training structure says its"):
        train(settings(2, **{weight: 1.0}), "small", [store], tmp_path / "out", device="cpu", progress=False)
