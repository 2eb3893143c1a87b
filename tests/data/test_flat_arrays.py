"""Arrays on disk, info columns, and neighbour lists of many structures at once."""

import json
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from lorem_openmm.data import neighbors
from lorem_openmm.data.flatfile import content_hash, map_arrays, write_arrays
from lorem_openmm.data.info import Column, InfoTable, encode
from lorem_openmm.data.neighbors import neighbor_list, neighbor_lists
from lorem_openmm.data.spool import Spool

ARRAYS = {
    "b": np.arange(3.0),
    "a": np.arange(4, dtype=np.float32).reshape(2, 2),
    "flag": np.array([True, False]),
    "codes": np.array([1, -2, 3], dtype=np.int8),
    "bytes": np.array([200], dtype=np.uint8),
    "short": np.array([300], dtype=np.int16),
    "int": np.array([[70000]], dtype=np.int32),
    "long": np.array([2**40]),
    "none": np.zeros((0, 3)),
}


def test_files_are_those_of_safetensors(tmp_path):
    text = json.dumps({"Å": 'quotes " and \\ and ü'}, ensure_ascii=False)
    save_file(ARRAYS, tmp_path / "theirs", metadata={"lorem": text})
    write_arrays(tmp_path / "ours", ARRAYS, text)
    assert (tmp_path / "ours").read_bytes() == (tmp_path / "theirs").read_bytes()
    arrays, metadata = map_arrays(tmp_path / "ours")
    assert metadata == json.loads(text)
    for name, values in load_file(tmp_path / "ours").items():
        np.testing.assert_array_equal(arrays[name], values)
        assert (arrays[name].dtype, arrays[name].shape) == (ARRAYS[name].dtype, ARRAYS[name].shape)


def test_blocks_do_not_change_file_or_hash(tmp_path, monkeypatch):
    write_arrays(tmp_path / "whole", ARRAYS, "{}")
    whole = content_hash(ARRAYS)
    monkeypatch.setattr("lorem_openmm.data.flatfile._BYTES_AT_ONCE", 8)
    write_arrays(tmp_path / "blocks", ARRAYS, "{}")
    assert (tmp_path / "whole").read_bytes() == (tmp_path / "blocks").read_bytes()
    assert content_hash(ARRAYS) == whole


def test_spool_widens_as_little_as_it_must(tmp_path):
    spool = Spool(tmp_path)
    parts = [np.array([1, -2], np.int8), np.array([300], np.int16), np.array([4], np.int8), np.array([70000], np.int32)]
    for count, (part, expected) in enumerate(zip(parts, (np.int8, np.int16, np.int16, np.int32), strict=True), 1):
        spool.append("edges", part)
        array = spool.arrays()["edges"]
        assert array.dtype == expected
        np.testing.assert_array_equal(array, np.concatenate(parts[:count]))
    spool.append("rows", np.zeros((0, 3)))
    assert spool.arrays()["rows"].shape == (0, 3)
    spool.append("rows", np.ones((2, 3)))
    assert spool.arrays()["rows"].sum() == 6
    spool.close()
    assert len(list(tmp_path.iterdir())) == 2


VALUE = st.one_of(
    st.none(),
    st.floats(-9, 9).map(np.float64),
    st.integers(-9, 9).map(np.int64),
    st.sampled_from(["a", "b", "1"]),
    st.booleans(),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.lists(VALUE, min_size=1, max_size=5), min_size=1, max_size=4))
def test_columns_give_back_what_was_put_in(parts):
    table = InfoTable()
    for part in parts:
        table.append(encode([{} if v is None else {"key": v} for v in part], frozenset()), len(part))
    values = [value for part in parts for value in part]
    found = [table[index].get("key") for index in range(len(values))]
    assert list(map(repr, found)) == list(map(repr, values))
    check_column(table.column("key"), values)


@pytest.mark.parametrize(
    "parts",
    [
        [[np.float64(1.5)], [np.float64(2.5)]],
        [[np.int64(1)], [np.int64(2)]],
        [[np.int64(1)], [np.float64(2.5)]],
        [["b", "c"], ["a"]],
        [["b"], [np.int64(1)]],
    ],
)
def test_columns_of_one_kind(parts):
    table = InfoTable()
    for part in parts:
        table.append(encode([{"key": v} for v in part], frozenset()), len(part))
    check_column(table.column("key"), [value for part in parts for value in part])


def check_column(column: Column, values: list) -> None:
    numbers, texts = column.as_numbers(), column.as_texts()
    if any(isinstance(value, str) for value in values):
        assert numbers is None
    else:
        np.testing.assert_array_equal(numbers, [np.nan if value is None else float(value) for value in values])
    codes, names = texts
    assert names == sorted({str(value) for value in values if value is not None})
    assert [None if code < 0 else names[code] for code in codes] == [v if v is None else str(v) for v in values]


def test_values_of_other_kinds_are_dropped_unless_needed():
    infos = [{"vector": np.arange(3)}, {"vector": np.arange(3)}]
    table = InfoTable()
    table.append(encode(infos, frozenset()), 2)
    assert table.column("vector").as_numbers() is None
    assert table.column("vector").as_texts() is None
    kept = InfoTable()
    kept.append(encode(infos, frozenset({"vector"})), 2)
    assert kept[1]["vector"].tolist() == [0, 1, 2]


def lists_alone(positions, offsets, cell, periodic, cutoff):
    return [
        neighbor_list(positions[start:stop], cell[index], bool(periodic[index]), cutoff)
        for index, (start, stop) in enumerate(pairwise(offsets))
    ]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.floats(1.0, 6.0), st.booleans())
def test_lists_together_are_lists_alone(seed, cutoff, on_a_grid):
    random = np.random.default_rng(seed)
    sizes = random.integers(1, 9, size=8)
    sizes[3] = 70  # too large to be compared pair by pair
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    positions = random.uniform(0, 5, size=(offsets[-1], 3))
    if on_a_grid:  # many pairs exactly at the cutoff, and atoms in one place
        cutoff, positions = round(cutoff), np.round(positions)
    cell = np.where(random.random(8)[:, None, None] < 0.3, 4.0 * np.eye(3), 0.0)
    periodic = cell[:, 0, 0] > 0
    edges, n_edges = neighbor_lists(positions, offsets, cell, periodic, cutoff)
    alone = lists_alone(positions, offsets, cell, periodic, cutoff)
    np.testing.assert_array_equal(n_edges, [len(one.centers) for one in alone])
    for name in ("centers", "neighbors", "cell_shifts"):
        np.testing.assert_array_equal(getattr(edges, name), np.concatenate([getattr(one, name) for one in alone]))
    np.testing.assert_allclose(edges.distances, np.concatenate([one.distances for one in alone]), rtol=1e-14)


def test_molecules_need_no_search(monkeypatch):
    monkeypatch.setattr(neighbors, "neighbor_list", None)
    monkeypatch.setattr(neighbors, "_PAIRS_AT_ONCE", 30)
    positions = np.random.default_rng(0).uniform(0, 4, size=(40, 3))
    offsets, nowhere = np.arange(0, 41, 5), np.zeros((8, 3, 3))
    edges, n_edges = neighbor_lists(positions, offsets, nowhere, np.zeros(8, bool), 3.0)
    assert n_edges.sum() == len(edges.centers) > 40
    assert not edges.cell_shifts.any()
