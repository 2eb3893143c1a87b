"""Batches: the same graph as building it from the joined structures, whatever the order and the cutoff."""

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lorem_openmm.data.baseline import as_table
from lorem_openmm.data.batching import StructureSet, epoch_batches, ordered_batches
from lorem_openmm.data.neighbors import neighbor_list
from lorem_openmm.data.store import joint_baseline
from lorem_openmm.errors import DataError
from lorem_openmm.graph import build_graph, map_tensors

CUTOFF = 3.3  # shorter than both stores' cutoffs


def make(stores, split="train", cutoff=CUTOFF, dtype=torch.float64) -> StructureSet:
    baseline = as_table(joint_baseline(stores).energies)
    return StructureSet(stores, split, cutoff, baseline, dtype=dtype)


def directly(stores, structures: StructureSet, indices):
    """Builds the graph from fresh neighbour lists of the joined structures."""
    chosen = [stores[structures.store_index[i]].structure(structures.structure_index[i]) for i in indices]
    sizes = [len(s.atomic_numbers) for s in chosen]
    starts = np.cumsum(sizes) - sizes
    lists = [neighbor_list(s.positions, s.cell, s.periodic, CUTOFF) for s in chosen]
    return chosen, build_graph(
        positions=torch.tensor(np.concatenate([s.positions for s in chosen])),
        atomic_numbers=torch.tensor(np.concatenate([s.atomic_numbers for s in chosen])),
        system_sizes=sizes,
        cell=torch.tensor(np.stack([s.cell for s in chosen])),
        periodic=[s.periodic for s in chosen],
        centers=torch.tensor(np.concatenate([e.centers + k for e, k in zip(lists, starts, strict=True)])),
        neighbors=torch.tensor(np.concatenate([e.neighbors + k for e, k in zip(lists, starts, strict=True)])),
        cell_shifts=torch.tensor(np.concatenate([e.cell_shifts for e in lists])),
        total_charge=torch.tensor([float(s.fields.get("total_charge", np.nan)) for s in chosen]).double(),
    )


def assert_equal(graph, expected):
    for name, value in graph._asdict().items():
        other = getattr(expected, name)
        if isinstance(value, torch.Tensor):
            assert value.dtype == other.dtype, name
            torch.testing.assert_close(value, other, rtol=0, atol=0, equal_nan=True, msg=name)
        else:
            assert value == other, name


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_same_as_build_graph(mixed_stores, data):
    structures = make(mixed_stores)
    indices = data.draw(st.lists(st.integers(0, len(structures) - 1), min_size=1, max_size=12))
    graph, labels = structures.batch(indices)
    chosen, expected = directly(mixed_stores, structures, indices)
    assert_equal(graph, expected)
    baseline = as_table(joint_baseline(mixed_stores).energies)
    np.testing.assert_allclose(
        labels.energy.numpy(), [s.energy - baseline[s.atomic_numbers].sum() for s in chosen], atol=1e-9
    )
    np.testing.assert_array_equal(labels.forces.numpy(), np.concatenate([s.forces for s in chosen]))
    np.testing.assert_array_equal(labels.has_stress.numpy(), [s.stress is not None for s in chosen])
    zero = np.zeros((3, 3))
    np.testing.assert_array_equal(
        labels.stress.numpy(), np.stack([zero if s.stress is None else s.stress for s in chosen])
    )
    assert labels.structures.tolist() == indices


def test_edges_and_slots(mixed_stores):
    structures = make(mixed_stores)
    graph, _ = structures.batch(range(len(structures)))
    system = graph.system_index[graph.centers]
    assert torch.equal(system, graph.system_index[graph.neighbors])
    shifts = torch.einsum("ea,eab->eb", graph.cell_shifts, graph.cell[system])
    vectors = graph.positions[graph.neighbors] + shifts - graph.positions[graph.centers]
    distances = vectors.norm(dim=1)
    assert float(distances.max()) < CUTOFF
    assert float(distances.min()) > 0.1
    assert len(torch.unique(graph.edge_slots)) == len(graph.edge_slots)
    assert torch.equal(torch.div(graph.edge_slots, graph.num_slots, rounding_mode="floor"), graph.centers)
    assert len(torch.unique(graph.system_slots)) == len(graph.positions)
    types = torch.repeat_interleave(graph.pair_types, torch.tensor(graph.pair_type_counts), dim=0)
    assert torch.equal(types[:, 0], graph.atomic_numbers[graph.centers])
    assert torch.equal(types[:, 1], graph.atomic_numbers[graph.neighbors])
    assert len(torch.unique(graph.pair_types, dim=0)) == len(graph.pair_types)
    assert {True, False} == set(graph.periodic)


def test_a_longer_list_cut_down_is_the_shorter_list(mixed_stores):
    molecules = mixed_stores[:1]
    assert molecules[0].cutoff == 5.0
    lengths = []
    for cutoff in (5.0, 2.0):
        structures = StructureSet(molecules, "train", cutoff, np.zeros(119), dtype=torch.float64)
        graph, _ = structures.batch(range(len(structures)))
        positions = graph.positions
        near = torch.cdist(positions, positions) < cutoff
        near &= graph.system_index[:, None] == graph.system_index[None, :]
        near.fill_diagonal_(False)
        found = torch.zeros_like(near)
        found[graph.centers, graph.neighbors] = True
        assert torch.equal(found, near)
        lengths.append(len(graph.centers))
    assert lengths[0] > lengths[1] > 0


def test_cutoff_beyond_the_store(mixed_stores):
    with pytest.raises(DataError, match=r"reach 4.0 Å, shorter than the model's cutoff of 4.5 Å"):
        make(mixed_stores, cutoff=4.5)


def test_every_split_once(mixed_stores):
    places = []
    for split in ("train", "validation", "test"):
        structures = make(mixed_stores, split)
        assert len(structures) == sum(len(store.indices(split)) for store in mixed_stores)
        places += zip(structures.store_index.tolist(), structures.structure_index.tolist(), strict=True)
    assert sorted(places) == [(0, k) for k in range(41)] + [(1, k) for k in range(30)]


def test_types(mixed_stores):
    graph, labels = make(mixed_stores, dtype=torch.float32).batch(np.array([1, 0]))
    assert graph.positions.dtype == graph.cell.dtype == graph.cell_shifts.dtype == labels.forces.dtype == torch.float32
    assert labels.energy.dtype == torch.float64
    assert graph.centers.dtype == graph.edge_slots.dtype == graph.atomic_numbers.dtype == torch.int64


def test_elements(mixed_stores):
    assert make(mixed_stores).elements == [1, 6, 8]


def test_single_atom_without_edges(mixed_stores):
    structures = make(mixed_stores)
    single = [k for k in range(len(structures)) if structures.sizes[k] == 1 and not structures.periodic[k]]
    graph, _ = structures.batch(single)
    assert single
    assert len(graph.centers) == graph.num_slots == len(graph.pair_type_counts) == 0
    assert graph.pair_types.shape == (0, 2)


def test_empty_split(mixed_stores):
    store = mixed_stores[0]
    nothing = type(store)(store.path, store.arrays | {"split": np.zeros(len(store), np.uint8)}, store.metadata)
    structures = StructureSet([nothing], "test", 4.0, np.zeros(119))
    assert len(structures) == 0
    assert structures.elements == []
    assert ordered_batches(len(structures), 8) == []


@settings(max_examples=50, deadline=None)
@given(n=st.integers(0, 50), size=st.integers(1, 12), seed=st.integers(0, 99), epoch=st.integers(0, 99))
def test_epoch_visits_all_once_in_a_reproducible_order(n, size, seed, epoch):
    batches = epoch_batches(n, size, seed, epoch)
    order = np.concatenate([np.zeros(0, dtype=int), *batches])
    assert sorted(order.tolist()) == list(range(n))
    assert all(len(batch) == size for batch in batches[:-1])
    again = epoch_batches(n, size, seed, epoch)
    assert all(np.array_equal(a, b) for a, b in zip(batches, again, strict=True))
    assert np.array_equal(np.concatenate([[], *ordered_batches(n, size)]), np.arange(n))


def test_epochs_and_seeds_differ():
    orders = {tuple(epoch_batches(30, 30, seed, epoch)[0]) for seed in range(4) for epoch in range(4)}
    assert len(orders) == 16


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_same_on_the_gpu(mixed_stores):
    baseline = as_table(joint_baseline(mixed_stores).energies)
    graph, labels = StructureSet(mixed_stores, "train", CUTOFF, baseline, "cuda", torch.float64).batch(range(20))
    expected, values = StructureSet(mixed_stores, "train", CUTOFF, baseline, "cpu", torch.float64).batch(range(20))
    assert all(v.is_cuda for v in (*graph, *labels.values.values()) if isinstance(v, torch.Tensor))
    assert_equal(map_tensors(graph, torch.Tensor.cpu), expected)
    for name, value in values.values.items():
        torch.testing.assert_close(labels[name].cpu(), value, rtol=0, atol=0, equal_nan=True)
