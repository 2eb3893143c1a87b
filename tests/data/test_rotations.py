"""Random rotations: uniform on O(3), reproducible, and the labels turn with the structures."""

import numpy as np
import pytest
import torch
from helpers import graph_of, rattled_box, rattled_molecule, small_potential

from lorem_openmm.config import Training
from lorem_openmm.data.batching import Labels
from lorem_openmm.data.rotations import random_orthogonal, turn
from lorem_openmm.training.losses import loss, residuals

TRAINING = Training(energy_weight=0.3, force_weight=0.6, stress_weight=2.0)


def test_uniform_on_the_orthogonal_group() -> None:
    rotations = random_orthogonal(20000, 3, 5)
    assert rotations.dtype == torch.float64
    torch.testing.assert_close(rotations @ rotations.mT, torch.eye(3).double().expand(20000, 3, 3), rtol=0, atol=1e-14)
    determinants = torch.linalg.det(rotations)
    assert torch.allclose(determinants.abs(), torch.ones(20000).double())
    assert abs(determinants.mean()) < 0.03
    # Haar measure: mean of Q_ab is 0, of Q_ab Q_cd is δ_ac δ_bd / 3; for proper ones the trace has mean 0, square 1
    flat = rotations.flatten(1)
    assert flat.mean(dim=0).abs().max() < 0.02
    torch.testing.assert_close(flat.T @ flat / 20000, torch.eye(9).double() / 3, rtol=0, atol=0.02)
    traces = rotations[determinants > 0].diagonal(dim1=1, dim2=2).sum(1)
    assert abs(traces.mean()) < 0.04
    assert (traces.square().mean() - 1).abs() < 0.05
    assert (traces.pow(3).mean() - 1).abs() < 0.15  # of a rotation; wrong for many other distributions


def test_depend_on_seed_and_epoch_alone() -> None:
    assert torch.equal(random_orthogonal(5, 1, 2), random_orthogonal(5, 1, 2))
    for other in (random_orthogonal(5, 1, 3), random_orthogonal(5, 2, 2)):
        assert (other - random_orthogonal(5, 1, 2)).abs().amax(dim=(1, 2)).min() > 0.01


@pytest.fixture(scope="module")
def turned():
    """A mixed batch with labels, its prediction, both before and after turning."""
    structures = [rattled_molecule(), rattled_box(), rattled_molecule("CH3OH", seed=4)]
    potential, graph = small_potential(), graph_of(*structures)
    places = torch.tensor([3, 0, 2])  # in a set of five
    random = torch.Generator().manual_seed(0)
    has_stress = torch.tensor([atoms.pbc.all() for atoms in structures])
    stress = torch.randn(3, 3, 3, generator=random, dtype=torch.float64) * has_stress.view(3, 1, 1)
    values = {
        "energy": torch.randn(3, generator=random, dtype=torch.float64),
        "forces": torch.randn(len(graph.positions), 3, generator=random, dtype=torch.float64),
        "stress": stress + stress.mT,
        "has_stress": has_stress,
    }
    labels = Labels(values, structures=places)
    return potential, (graph, labels), turn(graph, labels, random_orthogonal(5, 0, 0))


def test_loss_stays_and_inputs_move(turned) -> None:
    potential, before, after = turned
    values = [
        loss(residuals(potential(graph, compute_stress=True), graph, labels, True), TRAINING)
        for graph, labels in (before, after)
    ]
    assert values[1].item() == pytest.approx(values[0].item(), rel=1e-12)
    for graph, moved in ((before[0], after[0]),):
        for system in range(3):
            own = graph.system_index == system
            assert (graph.positions - moved.positions)[own].abs().max() > 0.1
        assert (graph.cell - moved.cell)[1].abs().max() > 0.1
        assert torch.equal(moved.cell[0], torch.zeros(3, 3).double())
    assert (before[1].forces - after[1].forces).abs().max() > 0.1
    assert (before[1].stress - after[1].stress)[1].abs().max() > 0.1
    assert torch.equal(before[1].energy, after[1].energy)


def test_labels_turn_as_predictions_do(turned) -> None:
    potential, (graph, labels), _ = turned
    prediction = potential(graph, compute_stress=True)
    values = {**labels.values, "forces": prediction.forces, "stress": prediction.stress}
    exact = Labels(values, labels.structures)
    moved, moved_labels = turn(graph, exact, random_orthogonal(5, 7, 1))
    again = potential(moved, compute_stress=True)
    torch.testing.assert_close(again.forces, moved_labels.forces, rtol=0, atol=1e-12)
    torch.testing.assert_close(again.stress, moved_labels.stress, rtol=0, atol=1e-13)
    assert prediction.forces.abs().max() > 0.1
    np.testing.assert_allclose(again.energy, prediction.energy, rtol=0, atol=1e-10)


def test_each_structure_has_its_own_rotation(turned) -> None:
    _, (graph, labels), (moved, _) = turned
    rotations = random_orthogonal(5, 0, 0)
    for system, place in enumerate(labels.structures.tolist()):
        own = graph.system_index == system
        expected = graph.positions[own] @ rotations[place].T
        torch.testing.assert_close(moved.positions[own], expected, rtol=0, atol=1e-13)
