"""Batches of similar size, and structures that do not fit on the device."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lorem_openmm.config import Training
from lorem_openmm.data.batching import WINDOW, StructureSet, epoch_batches
from lorem_openmm.training.module import TrainingBatches


def order(batches: list[np.ndarray]) -> list[int]:
    return np.concatenate([np.zeros(0, int), *batches]).tolist()


@settings(max_examples=50, deadline=None)
@given(n=st.integers(0, 400), size=st.integers(1, 12), seed=st.integers(0, 99), epoch=st.integers(0, 99))
def test_all_once_in_a_reproducible_order_with_the_short_batch_last(n, size, seed, epoch):
    costs = np.random.default_rng(n).integers(5, size=n)
    batches = epoch_batches(n, size, seed, epoch, costs)
    assert sorted(order(batches)) == list(range(n))
    assert [len(batch) for batch in batches] == [size] * (n // size) + [n % size] * (n % size > 0)
    assert order(batches) == order(epoch_batches(n, size, seed, epoch, costs))


def test_epochs_and_seeds_differ():
    costs = np.arange(300)
    assert (
        len({tuple(order(epoch_batches(300, 4, seed, epoch, costs))) for seed in range(4) for epoch in range(4)}) == 16
    )


def test_batches_hold_alike_structures_and_never_always_the_same():
    costs = np.random.default_rng(1).permutation(8 * WINDOW * 5)
    batches = epoch_batches(len(costs), 8, 0, 0, costs)
    spread = [np.ptp(costs[batch]) for batch in batches]
    assert max(spread) < len(costs) / 8
    assert np.median(spread) < len(costs) / 20
    plain = [np.ptp(costs[batch]) for batch in epoch_batches(len(costs), 8, 0, 0)]
    assert min(plain) > max(spread)
    company = {
        frozenset(batch.tolist()) for epoch in range(3) for batch in epoch_batches(len(costs), 8, 0, epoch, costs)
    }
    assert len(company) == 3 * len(batches)
    means = np.array([costs[batch].mean() for batch in batches])
    assert 0.35 < np.mean(np.diff(means) > 0) < 0.65  # sizes do not grow batch by batch


def test_a_structure_may_come_first_or_last_whatever_its_size():
    """The short batch is a random sample, not the largest structures."""
    costs = np.arange(43)
    last = [costs[epoch_batches(43, 8, 0, epoch, costs)[-1]].mean() for epoch in range(300)]
    assert abs(np.mean(last) - 21) < 2.5  # standard error 0.4


@pytest.mark.parametrize("bucket", [False, True])
def test_training_follows_the_setting(mixed_stores, bucket):
    structures = StructureSet(mixed_stores, "train", 3.3, np.zeros(119))
    training = Training(batch_size=4, bucket_by_size=bucket)
    batches = list(TrainingBatches(structures, training, lambda: 3))
    costs = structures.costs if bucket else None
    expected = epoch_batches(len(structures), 4, 0, 3, costs)
    assert order([labels.structures.numpy() for _, labels in batches]) == order(expected)
    padding = sum(len(graph.system_sizes) * graph.max_size for graph, _ in batches) / structures.sizes.sum().item()
    assert (padding < 1.15) == bucket


def test_costs_order_by_atoms_then_edges(mixed_stores):
    structures = StructureSet(mixed_stores, "train", 3.3, np.zeros(119))
    n_edges = [len(structures.batch([index])[0].centers) for index in range(len(structures))]
    expected = np.lexsort((n_edges, structures.sizes.numpy()))
    np.testing.assert_array_equal(structures.costs.argsort(kind="stable"), expected)


@pytest.mark.parametrize("budget", [0, 10_000, 10**9])
def test_what_does_not_fit_stays_on_the_host(mixed_stores, budget, monkeypatch):
    """The device is PyTorch's meta device: it has shapes but no memory, and is not the host."""
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: tensor)  # needs CUDA
    structures = StructureSet(mixed_stores, "train", 3.3, np.zeros(119), "meta", torch.float64, budget)
    assert structures.place.type == ("meta" if budget == 10**9 else "cpu")
    if budget == 10**9:
        return  # rows without values cannot be chosen from
    graph, labels = structures.batch([3, 1])
    expected, expected_labels = StructureSet(mixed_stores, "train", 3.3, np.zeros(119), "cpu", torch.float64).batch(
        [3, 1]
    )
    assert labels.structures.device.type == "meta"
    pairs = ((graph._asdict(), expected._asdict()), (labels.values, expected_labels.values))
    for ours, theirs in pairs:
        for name, value in theirs.items():
            found = ours[name]
            if isinstance(value, torch.Tensor):
                assert (found.device.type, found.shape, found.dtype) == ("meta", value.shape, value.dtype), name
            else:
                assert found == value, name


def test_default_budget_is_half_of_the_free_memory(mixed_stores, monkeypatch):
    moved: list[torch.device] = []
    monkeypatch.setattr(torch.Tensor, "to", lambda tensor, *to: moved.append(to[0]) or tensor)
    for free, expected in ((1000, "cpu"), (10**9, "cuda")):
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device, free=free: (free, 10**10))
        structures = StructureSet(mixed_stores, "train", 3.3, np.zeros(119), "cuda")
        assert structures.place.type == expected
        assert torch.device(expected) in moved


def test_indices_moved_in_one_piece_give_the_same_batch(mixed_stores, monkeypatch):
    structures = StructureSet(mixed_stores, "train", 3.3, np.zeros(119))
    expected = structures.batch([5, 0, 7])

    def joined(*arrays: np.ndarray) -> tuple[torch.Tensor, ...]:
        return torch.from_numpy(np.concatenate(arrays)).split([len(array) for array in arrays])

    monkeypatch.setattr(structures, "_to_place", joined)
    graph, labels = structures.batch([5, 0, 7])
    assert torch.equal(labels.structures, expected[1].structures)
    pairs = (graph, expected[0]), (labels.values.values(), expected[1].values.values())
    for ours, theirs in pairs:
        for found, value in zip(ours, theirs, strict=True):
            torch.testing.assert_close(found, value, rtol=0, atol=0, equal_nan=True)
