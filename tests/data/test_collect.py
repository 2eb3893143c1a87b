"""Preparation in a stream: the same store for any number of processes and examined, and little memory."""

import subprocess
import sys
from functools import partial
from pathlib import Path

import ase.io
import numpy as np
import pytest
from made_frames import labelled_atoms, write_frames

from lorem_openmm import config
from lorem_openmm.data import checks, collect, loading
from lorem_openmm.data.chunks import split_file
from lorem_openmm.data.examine import ReadingSettings
from lorem_openmm.data.frames import join_frames
from lorem_openmm.data.neighbors import neighbor_list
from lorem_openmm.data.prepare import prepare_dataset
from lorem_openmm.data.store import read_store
from lorem_openmm.data.structures import Keys, from_atoms
from lorem_openmm.errors import DataError


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collect, "split_file", partial(split_file, chunk_bytes=3000))


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    frames = [labelled_atoms(index, index % 7 == 0, index % 7 == 0) for index in range(60)]
    for index in (20, 31):
        frames[index].info["charge"] = -1  # only some frames have it
    return write_frames(tmp_path / "mixed.xyz", frames)


def prepare(path: Path, output: Path, processes: int = 1, **settings: object) -> Path:
    dataset = config.Dataset(structures=str(path), stress_key="stress", class_key="label", **settings)
    prepare_dataset(dataset, "mixed", None, 4.0, output, processes)
    return output


def test_processes_and_pieces_do_not_change_a_byte(tmp_path, mixed, monkeypatch):
    left_by_a_killed_run = tmp_path / ".whole.safetensors.parts"
    left_by_a_killed_run.mkdir()
    (left_by_a_killed_run / "positions.float64").write_bytes(b"old")
    whole = prepare(mixed, tmp_path / "whole.safetensors")
    monkeypatch.setattr(collect, "split_file", partial(split_file, chunk_bytes=3000))
    in_pieces = prepare(mixed, tmp_path / "examined.safetensors")
    parallel = prepare(mixed, tmp_path / "parallel.safetensors", processes=2)
    assert len(collect.split_file(mixed)[0]) > 6
    assert whole.read_bytes() == in_pieces.read_bytes() == parallel.read_bytes()
    assert whole.with_suffix(".json").read_text() == parallel.with_suffix(".json").read_text()
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_store_holds_what_ase_and_one_list_at_a_time_give(tmp_path, mixed, small_pieces):
    store = read_store(prepare(mixed, tmp_path / "mixed.safetensors"), verify=True)
    frames = ase.io.read(mixed, index=":", format="extxyz")
    structures = [from_atoms(atoms, stress_key="stress") for atoms in frames]
    lists = [neighbor_list(s.positions, s.cell, s.periodic, 4.0) for s in structures]
    expected = {
        "atom_offsets": np.cumsum([0, *(len(s.atomic_numbers) for s in structures)]),
        "edge_offsets": np.cumsum([0, *(len(edges.centers) for edges in lists)]),
        "positions": np.concatenate([s.positions for s in structures]),
        "forces": np.concatenate([s.forces for s in structures]),
        "atomic_numbers": np.concatenate([s.atomic_numbers for s in structures]),
        "cell": np.stack([s.cell for s in structures]),
        "energy": np.array([s.energy for s in structures]),
        "has_stress": np.array([s.stress is not None for s in structures]),
        "stress": np.stack([np.zeros((3, 3)) if s.stress is None else s.stress for s in structures]),
        "centers": np.concatenate([edges.centers for edges in lists]),
        "neighbors": np.concatenate([edges.neighbors for edges in lists]),
        "cell_shifts": np.concatenate([edges.cell_shifts for edges in lists]),
        "frame": np.arange(60),
        "info.distance": np.array([0.5 * index for index in range(60)]),
        "info.charge": np.array([-1.0 if index in (20, 31) else np.nan for index in range(60)]),
    }
    for name, values in expected.items():
        np.testing.assert_array_equal(store[name], values, err_msg=name)
    assert store.classes().tolist() == [s.info["label"] for s in structures]
    assert {store[name].dtype for name in ("centers", "neighbors", "cell_shifts")} == {np.dtype(np.int8)}


def test_hashes_are_those_of_the_structures(tmp_path, mixed, small_pieces):
    reading = ReadingSettings(Keys(), 4.0, frozenset())
    structures = collect.collect([mixed, mixed], reading, tmp_path)
    expected = [checks.frame_hashes(join_frames([structure])).tobytes() for structure in structures]
    assert [row.tobytes() for row in structures.arrays["hash"]] == expected
    np.testing.assert_array_equal(structures.first_alike(), np.tile(np.arange(60), 2))


@pytest.mark.parametrize("processes", [1, 2])
def test_faults_come_in_the_order_of_the_file(tmp_path, small_pieces, processes):
    frames = [labelled_atoms(index) for index in range(60)]
    for index in (3, 17, 42, 58):
        frames[index].calc.results["forces"][0, 1] = np.nan
    path = write_frames(tmp_path / "bad.xyz", frames)
    with pytest.raises(DataError) as caught:
        prepare(path, tmp_path / "data" / "bad.safetensors", processes)
    lines = str(caught.value).splitlines()
    assert [line.split(" (counted")[0] for line in lines] == [f"{path}, frame {k}" for k in (3, 17, 42, 58)]
    assert list((tmp_path / "data").iterdir()) == []


def test_a_wrong_layout_comes_before_a_word_among_the_numbers(tmp_path, small_pieces):
    path = write_frames(tmp_path / "bad.xyz", [labelled_atoms(index) for index in range(60)])
    lines = path.read_text().splitlines(keepends=True)
    word = lines[2].split()[1]
    path.write_text("".join([*lines[:2], lines[2].replace(word, "x.7"), *lines[3:]]))
    with pytest.raises(DataError, match=r"frame 0 .* line 3 .* must be a number, received 'x.7'"):
        prepare(path, tmp_path / "bad.safetensors")
    last = " ".join(lines[-1].split()[:-1]) + "\n"
    path.write_text("".join([*lines[:2], lines[2].replace(word, "x.7"), *lines[3:-1], last]))
    with pytest.raises(DataError, match=r"frame 59 .* must have 7 columns"):
        prepare(path, tmp_path / "bad.safetensors")


MEASURE = """
import sys, tracemalloc
from pathlib import Path
import numpy as np
from lorem_openmm import config
from lorem_openmm.data.prepare import prepare_dataset
folder, n_frames = Path(sys.argv[1]), int(sys.argv[2])
random = np.random.default_rng(0)
grid = 1.5 * np.stack(np.meshgrid([0, 1, 2], [0, 1, 2], [0, 1, 2]), -1).reshape(27, 3)
with (folder / "made.xyz").open("w") as stream:
    for frame in range(n_frames):
        rows = np.hstack([grid + random.uniform(-0.2, 0.2, (27, 3)), random.normal(size=(27, 3))]).tolist()
        atoms = "".join("C %.6f %.6f %.6f %.6f %.6f %.6f\\n" % tuple(row) for row in rows)
        stream.write(f"27\\nProperties=species:S:1:pos:R:3:forces:R:3 energy={frame % 7}.5 name=a\\n{atoms}")
dataset = config.Dataset(structures=str(folder / "made.xyz"))
tracemalloc.start()
prepare_dataset(dataset, "made", None, 5.0, folder / "made.safetensors")
print(tracemalloc.get_traced_memory()[1], (folder / "made.safetensors").stat().st_size)
"""


def test_memory_does_not_grow_with_the_data(tmp_path):
    """Twice the data costs little more memory, though each structure takes 5 kB in the store."""
    peaks, sizes = [], []
    for n_frames in (1500, 3000):
        out = subprocess.run(
            [sys.executable, "-c", MEASURE, str(tmp_path), str(n_frames)], check=True, capture_output=True, text=True
        ).stdout.split()
        peaks.append(int(out[0]))
        sizes.append(int(out[1]))
    assert sizes[1] - sizes[0] > 1500 * 4500
    assert peaks[1] - peaks[0] < 1500 * 600


def test_blocks_do_not_change_what_is_loaded(mixed_stores, monkeypatch):
    whole = loading.load(mixed_stores, "train", 3.3)
    monkeypatch.setattr(loading, "_EDGES_AT_ONCE", 40)
    blocks = loading.load(mixed_stores, "train", 3.3)
    monkeypatch.setattr(loading, "_STRUCTURES_AT_ONCE", 1)
    singles = loading.load(mixed_stores, "train", 3.3)
    for other in (blocks, singles):
        assert whole.arrays.keys() - {"n_shifts"} == other.arrays.keys() - {"n_shifts"}
        for name in whole.arrays.keys() - {"n_shifts"}:
            np.testing.assert_array_equal(whole.arrays[name], other.arrays[name], err_msg=name)


def test_edges_are_kept_in_a_byte(mixed_stores):
    arrays = loading.load(mixed_stores, "train", 4.0).arrays
    assert {arrays[name].dtype for name in ("centers", "neighbors", "ranks", "cell_shifts")} == {np.dtype(np.int8)}
    assert len(arrays["cell_shifts"]) == len(arrays["centers"])
    molecules = loading.load(mixed_stores[:1], "train", 4.0).arrays
    assert molecules["cell_shifts"].shape == (0, 3)  # nothing is periodic
    assert len(molecules["centers"]) > 0
