"""The store: what is written is read, and damage is noticed."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_frames import labelled_atoms
from safetensors import safe_open
from safetensors.numpy import save_file

from lorem_openmm.data.store import content_hash, joint_baseline, read_store, write_store
from lorem_openmm.data.structures import from_atoms
from lorem_openmm.errors import DataError

ARRAYS = {
    "energy": np.array([1.5, -2.5]),
    "split": np.array([0, 2], dtype=np.uint8),
    "periodic": np.array([True, False]),
    "centers": np.array([0, 1, 1], dtype=np.int8),
    "edge_offsets": np.array([0, 1, 3]),
    "cell_shifts": np.zeros((0, 3), dtype=np.int16),
}
METADATA = {"name": "made", "cutoff": 5.0, "class_names": [], "info_text": {}}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "made.safetensors"
    write_store(path, ARRAYS, METADATA)
    return path


def test_round_trip(path):
    store = read_store(path, verify=True)
    assert set(store.arrays) == set(ARRAYS)
    for name, values in ARRAYS.items():
        np.testing.assert_array_equal(store[name], values)
        assert store[name].dtype == values.dtype
        assert not store[name].flags.writeable
    assert store.metadata["name"] == "made"
    assert store.metadata["units"]["forces"] == "eV/Å"
    assert store.cutoff == 5.0
    assert len(store) == 2
    np.testing.assert_array_equal(store.indices("test"), [1])


def test_it_is_an_ordinary_safetensors_file(path):
    with safe_open(path, framework="np") as file:
        np.testing.assert_array_equal(file.get_tensor("energy"), ARRAYS["energy"])


def test_same_content_same_bytes(path, tmp_path):
    other = tmp_path / "other.safetensors"
    write_store(other, dict(reversed(ARRAYS.items())), METADATA)
    assert other.read_bytes() == path.read_bytes()


def test_hash_sees_every_part():
    reference = content_hash(ARRAYS)
    changed = [
        ARRAYS | {"energy": np.array([1.5, -2.5000001])},
        ARRAYS | {"centers": ARRAYS["centers"].astype(np.int16)},
        ARRAYS | {"cell_shifts": np.zeros((0, 4), dtype=np.int16)},
        {("center" if name == "centers" else name): values for name, values in ARRAYS.items()},
    ]
    assert reference not in [content_hash(arrays) for arrays in changed]


def test_unknown_split_and_info(path):
    store = read_store(path)
    with pytest.raises(DataError, match="Did you mean 'validation'"):
        store.indices("valid")
    with pytest.raises(DataError, match="no info key 'label' was kept"):
        store.info("label")


@pytest.mark.parametrize("keep", [0, 5, 60, -1])
def test_truncated(path, keep):
    content = path.read_bytes()
    path.write_bytes(content[:keep])
    with pytest.raises(DataError, match=r"truncated or damaged. Prepare the data set again"):
        read_store(path)


def test_lengthened(path):
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(DataError, match="it is truncated or damaged"):
        read_store(path)


def test_altered_values(path):
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    read_store(path)
    with pytest.raises(DataError, match="the file was altered"):
        read_store(path, verify=True)


def test_missing_other_and_newer_file(path, tmp_path):
    with pytest.raises(DataError, match="Run `lorem-openmm prepare` first"):
        read_store(tmp_path / "absent.safetensors")
    save_file({"weight": np.zeros(3)}, tmp_path / "model.safetensors")
    with pytest.raises(DataError, match="must be a lorem-openmm data set file"):
        read_store(tmp_path / "model.safetensors")
    with pytest.raises(DataError, match="must be at most 1, received 2"):
        write_store(path, ARRAYS, METADATA | {"format_version": 2})  # opens what it wrote


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_folder_without_permission(path):
    path.parent.chmod(0o500)
    with pytest.raises(DataError, match="cannot be written"):
        write_store(path, ARRAYS, METADATA)


def test_output_below_a_file_leaves_nothing(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="Make the folder writable"):
        write_store(tmp_path / "file" / "made.safetensors", ARRAYS, METADATA)
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_structures_come_back(mixed_stores):
    store = mixed_stores[1]
    for index in range(len(store)):
        frame = 40 + index
        expected = from_atoms(labelled_atoms(frame, frame % 2 == 0, frame % 4 == 0), stress_key="stress", frame=index)
        structure = store.structure(index)
        np.testing.assert_array_equal(structure.atomic_numbers, expected.atomic_numbers)
        np.testing.assert_allclose(structure.positions, expected.positions, atol=1e-8)
        np.testing.assert_allclose(structure.forces, expected.forces, atol=1e-8)
        np.testing.assert_allclose(structure.cell, expected.cell)
        assert structure.energy == expected.energy
        assert structure.periodic == expected.periodic
        assert (structure.stress is None) == (expected.stress is None)
        assert structure.info == expected.info
        assert structure.frame == index
        assert structure.file.endswith("mixed.xyz")
    np.testing.assert_array_equal(store.classes(), store.info("label"))
    np.testing.assert_array_equal(store["separation"], store.info("distance"))


def test_data_sets_of_different_methods_are_not_joined(mixed_stores):
    other = replace(mixed_stores[1], arrays=mixed_stores[1].arrays | {"energy": mixed_stores[1]["energy"] * 0.1})
    with pytest.raises(DataError, match="must share one method and one zero of energy"):
        joint_baseline([mixed_stores[0], other])
    joint_baseline([other])


def test_joint_baseline_without_training_structures(mixed_stores):
    store = mixed_stores[0]
    other = replace(store, arrays=store.arrays | {"split": np.full(len(store), 2, dtype=np.uint8)})
    with pytest.raises(DataError, match="hold no training structure"):
        joint_baseline([other])


def test_joint_baseline_is_that_of_all_training_structures(mixed_stores):
    counts, energies = [], []
    for store in mixed_stores:
        for index in store.indices("train"):
            structure = store.structure(index)
            counts.append([np.sum(structure.atomic_numbers == z) for z in (1, 6, 8)])
            energies.append(structure.energy)
    counts, energies = np.array(counts), np.array(energies)
    oxygen = energies[0]  # an isolated atom fixes its energy
    expected = np.linalg.lstsq(counts[:, :2], energies - oxygen * counts[:, 2], rcond=None)[0]
    expected = [*expected, oxygen]
    baseline = joint_baseline(mixed_stores)
    np.testing.assert_allclose([baseline.energies[z] for z in (1, 6, 8)], expected, rtol=1e-9)
