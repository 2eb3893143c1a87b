"""Losses and error sums against their formulas in numpy."""

import math

import numpy as np
import pytest
import torch
from helpers import graph_of, rattled_box, rattled_molecule, small_potential

from lorem_openmm.config import Training
from lorem_openmm.data.batching import Labels
from lorem_openmm.graph import AtomGraph
from lorem_openmm.potential import Prediction
from lorem_openmm.sums.batched import BatchedGeometry
from lorem_openmm.training.losses import NO_CHANNELS, Channels, loss, residuals
from lorem_openmm.training.metrics import ErrorSums, Metrics
from lorem_openmm.training.module import TrainingModule
from lorem_openmm.units import COULOMB_EV_ANGSTROM


def made_batch() -> tuple[AtomGraph, Prediction, Labels]:
    """A molecule, a box and another molecule with random labels; only the box has a stress."""
    graph = graph_of(rattled_molecule(), rattled_box(), rattled_molecule("H2O"))
    graph = graph._replace(total_charge=torch.tensor([0.0, math.nan, -1.0], dtype=torch.float64))
    prediction = small_potential()(graph, compute_stress=True)
    random = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=random, dtype=torch.float64)

    values = {
        "energy": 10 * normal(3),
        "forces": normal(*graph.positions.shape),
        "stress": normal(3, 3, 3),
        "has_stress": torch.tensor([False, True, False]),
    }
    return graph, prediction, Labels(values, structures=torch.arange(3))


def test_loss_is_the_formula() -> None:
    graph, prediction, labels = made_batch()
    training = Training(energy_weight=2.0, force_weight=0.3, stress_weight=7.0)
    value = float(loss(residuals(prediction, graph, labels, with_stress=True), training))

    sizes = np.array(graph.system_sizes)
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    energies = np.add.reduceat(prediction.atomic_energies.numpy(), starts)
    energy_term = np.mean(((energies - labels.energy.numpy()) / sizes) ** 2)
    force_term = np.mean((prediction.forces.numpy() - labels.forces.numpy()) ** 2)
    stress_term = np.mean((prediction.stress[1].numpy() - labels.stress[1].numpy()) ** 2)
    assert value == pytest.approx(2.0 * energy_term + 0.3 * force_term + 7.0 * stress_term, rel=1e-12)


def test_net_charges_are_those_that_must_vanish() -> None:
    graph, prediction, labels = made_batch()
    responses = torch.randn(prediction.charges.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    of_batch = {"responses": responses, "channels": Channels(num_net=0, num_scalar=2, is_neutral=False)}
    net = residuals(prediction, graph, labels, **of_batch).net_charge
    sizes = torch.tensor(graph.system_sizes, dtype=torch.float64)
    both = torch.cat([prediction.charges, COULOMB_EV_ANGSTROM * responses], dim=1).split(graph.system_sizes)
    sums = torch.stack([part.sum(0) for part in both]) / sizes.sqrt().unsqueeze(1)
    n_channels = prediction.charges.shape[1]
    channel = torch.arange(2 * n_channels)
    directed = channel % n_channels >= 2
    # neutral: nothing in any channel; the data do not say; charged: the scalar channels may have it
    vanishing = torch.stack([torch.ones_like(directed), torch.zeros_like(directed), directed])
    assert torch.allclose(net, torch.where(vanishing, sums, 0.0), rtol=1e-12)
    weights = {"energy_weight": 0, "force_weight": 0}
    value = loss(residuals(prediction, graph, labels, **of_batch), Training(**weights, net_charge_weight=3.0))
    assert float(value) == pytest.approx(3.0 * float(net.square().mean()))


def test_how_many_channels_do_not_turn_is_said_by_the_block() -> None:
    kinds = {2: True, 3: {"kind": "scalar_charges", "num_charges": 3}, 1: {"kind": "coulomb_charges"}, 0: False}
    for expected, kind in kinds.items():
        module = TrainingModule(small_potential(long_range=kind), Training(), steps_per_epoch=1)
        assert module.channels.num_scalar == expected
    graph = graph_of(rattled_molecule())._replace(total_charge=torch.ones(1, dtype=torch.float64))
    zeros = {
        "energy": torch.zeros(1, dtype=torch.float64),
        "forces": torch.zeros_like(graph.positions),
        "stress": torch.zeros(1, 3, 3).double(),
    }
    values = zeros | {"has_stress": torch.tensor([False])}
    module = TrainingModule(small_potential(long_range=kinds[3]), Training(net_charge_weight=1.0), steps_per_epoch=1)
    found = []
    for weight in (0.0, 1.0):  # three scalar charges of an ion may add up to anything
        module.training_settings = Training(net_charge_weight=weight)
        found.append(float(module.training_step((graph, Labels(values, torch.arange(1))), 0).detach()))
    assert found[0] == found[1] > 0


def test_charges_in_e_add_up_to_the_total_charge() -> None:
    graph, prediction, labels = made_batch()
    graph = graph._replace(total_charge=torch.tensor([0.0, float("nan"), -1.0], dtype=torch.float64))
    net = residuals(prediction, graph, labels, channels=Channels(num_net=1, num_scalar=3, is_neutral=True)).net_charge
    sums = torch.stack([part[:, 0].sum() for part in prediction.charges.split(graph.system_sizes)])
    expected = COULOMB_EV_ANGSTROM * (sums - graph.total_charge) / torch.tensor(graph.system_sizes).double().sqrt()
    assert net.shape == (3, 1)
    assert torch.allclose(net[:, 0], expected.nan_to_num(0.0), rtol=1e-12)
    assert float(net[1]) == 0.0
    assert (net[[0, 2]] != 0).all()


def test_channels_are_those_of_the_block() -> None:
    explicit = small_potential(long_range={"kind": "explicit_charges"}).model
    assert Channels.of(explicit) == Channels(num_net=1, num_scalar=3, is_neutral=True)
    assert Channels.of(small_potential().model) == Channels(num_net=0, num_scalar=2, is_neutral=False)
    assert Channels.of(small_potential(long_range=False).model) == NO_CHANNELS


def test_responses_are_what_constant_potentials_change() -> None:
    class Raised(torch.nn.Module):
        def __init__(self, inner: torch.nn.Module, channel: int, by: float):
            super().__init__()
            self.inner, self.channel, self.by = inner, channel, by

        def prepare(self, *arguments: torch.Tensor) -> BatchedGeometry:
            return self.inner.prepare(*arguments)

        def potentials(self, *arguments: torch.Tensor) -> torch.Tensor:
            potentials = self.inner.potentials(*arguments)
            return potentials + self.by * (torch.arange(potentials.shape[1]) == self.channel)

    graph, potential = graph_of(rattled_molecule(), rattled_molecule("H2O")), small_potential()
    prediction, (responses, _) = potential.with_responses(graph)
    assert torch.allclose(prediction.forces, potential(graph).forces, rtol=1e-12, atol=1e-13)
    assert responses.shape == prediction.charges.shape
    coulomb = potential.model.pair_sum
    for channel in (0, 1, 3):
        raised = []
        for by in (1e-6, -1e-6):
            potential.model.pair_sum = Raised(coulomb, channel, by)
            raised.append(potential(graph).atomic_energies)
        expected = (raised[0] - raised[1]) / 2e-6
        assert torch.allclose(responses[:, channel].detach(), expected, rtol=1e-4, atol=1e-6)
        assert float(expected.abs().max()) > 1e-4


def test_weights_of_zero_leave_terms_out() -> None:
    graph, prediction, labels = made_batch()
    difference = residuals(prediction, graph, labels)
    assert difference.stress.shape[0] == 0
    only_forces = Training(energy_weight=0, force_weight=2.0)
    assert float(loss(difference, only_forces)) == pytest.approx(2 * float(difference.forces.square().mean()))


def test_energy_keeps_its_digits_beside_a_large_baseline() -> None:
    graph, prediction, labels = made_batch()
    exact = residuals(prediction, graph, labels).energy
    single = prediction._replace(energy=prediction.energy.float(), atomic_energies=prediction.atomic_energies.float())
    assert float((residuals(single, graph, labels).energy - exact).abs().max()) < 1e-6


@pytest.mark.parametrize("n_batches", [1, 7])
def test_error_sums_equal_numpy(n_batches: int) -> None:
    random = np.random.default_rng(0)
    labels = random.normal(3.0, 2.0, size=(100, 3))
    errors = random.normal(0.1, 0.5, size=(100, 3))
    groups = random.integers(-1, 4, size=100)
    sums = ErrorSums(4)
    for part in np.array_split(np.arange(100), n_batches):
        sums.update(torch.tensor(errors[part]), torch.tensor(labels[part]), torch.tensor(groups[part]))
    for group in range(4):
        e, y = errors[groups == group], labels[groups == group]
        summary = sums.summary(group)
        assert summary["n"] == e.size
        assert summary["rmse"] == pytest.approx(np.sqrt(np.mean(e**2)), rel=1e-12)
        assert summary["mae"] == pytest.approx(np.mean(np.abs(e)), rel=1e-12)
        assert summary["r2"] == pytest.approx(1 - np.sum(e**2) / np.sum((y - y.mean()) ** 2), rel=1e-10)


def test_error_sums_without_groups_and_without_data() -> None:
    errors, labels = torch.tensor([1.0, -3.0]), torch.tensor([2.0, 4.0])
    sums = ErrorSums()
    assert np.isnan(sums.summary()["rmse"])
    sums.update(errors, labels)
    assert sums.summary() == {"n": 2, "rmse": pytest.approx(5**0.5), "mae": 2.0, "r2": pytest.approx(-4.0)}
    constant = ErrorSums()
    constant.update(errors, torch.full((2,), 5.0))
    assert np.isnan(constant.summary()["r2"])


def test_metrics_have_units_and_groups() -> None:
    graph, prediction, labels = made_batch()
    difference = residuals(prediction, graph, labels, with_stress=True)
    metrics = Metrics(2)
    metrics.update(difference, torch.tensor([0, 1, 0]), graph.system_index)
    in_group = (graph.system_index != 1).numpy()
    force_error = difference.forces.detach().numpy()[in_group]
    assert metrics.summary(0)["forces_mae"] == pytest.approx(1000 * np.abs(force_error).mean())
    energy_error = difference.energy.detach().numpy()[[0, 2]]
    assert metrics.summary(0)["energy_rmse"] == pytest.approx(1000 * np.sqrt(np.mean(energy_error**2)))
    assert "stress_rmse" not in metrics.summary(0)
    assert metrics.summary(1)["stress_mae"] == pytest.approx(1000 * float(difference.stress.abs().mean()))
