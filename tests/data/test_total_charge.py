"""The total charge: read by any of its names, checked, stored, and part of each batch's graph."""

import numpy as np
import pytest
import torch
from ase import Atoms
from made_frames import labelled_atoms, write_frames

from lorem_openmm import config
from lorem_openmm.charge import NAMES, stated_charge, whole_charge
from lorem_openmm.data.batching import StructureSet
from lorem_openmm.data.fields import get
from lorem_openmm.data.prepare import prepare_dataset
from lorem_openmm.data.store import Store, read_store
from lorem_openmm.errors import DataError


def made(*names: str) -> list[Atoms]:
    """Molecules of charge −1, 0 and 1 under these names in turn; the first one says nothing."""
    frames = [labelled_atoms(index) for index in range(24)]
    for index, atoms in enumerate(frames[1:]):
        atoms.info[names[index % len(names)]] = index % 3 - 1
    return frames


def prepare(tmp_path, frames: list[Atoms]) -> Store:
    structures = str(write_frames(tmp_path / "made.xyz", frames))
    prepare_dataset(config.Dataset(structures=structures), "made", None, 4.0, tmp_path / "made.safetensors")
    return read_store(tmp_path / "made.safetensors")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_from_file_to_graph(tmp_path, dtype) -> None:
    store = prepare(tmp_path, made("charge", "total_charge", "REF_charge", "dft_total_charge"))
    expected = np.array([np.nan, *(index % 3 - 1 for index in range(23))])
    np.testing.assert_array_equal(store["total_charge"], expected)
    structures = StructureSet([store], "train", 4.0, np.zeros(119), dtype=dtype)
    order = np.arange(len(structures))[::-1].copy()
    graph, labels = structures.batch(order)
    assert graph.total_charge.dtype == dtype
    np.testing.assert_array_equal(graph.total_charge.numpy(), expected[structures.structure_index[order]])
    assert "total_charge" not in labels.values


def test_what_nobody_states_is_not_zero(tmp_path) -> None:
    store = prepare(tmp_path, [labelled_atoms(index) for index in range(24)])
    graph, _ = StructureSet([store], "train", 4.0, np.zeros(119)).batch([0, 1])
    assert graph.total_charge.isnan().tolist() == [True, True]
    with pytest.raises(DataError, match=r"made.xyz, frame 0 .*state its total charge.*24 of 24 structures.*`charge="):
        store.check_total_charges()


def test_the_first_frame_without_one_is_named(tmp_path) -> None:
    frames = made("charge")
    frames[0].info["charge"] = 0
    prepare(tmp_path, frames).check_total_charges()
    del frames[7].info["charge"]
    with pytest.raises(DataError, match=r"made.xyz, frame 7 \(counted from 0\).*; 1 of 24 structures"):
        prepare(tmp_path, frames).check_total_charges()


def test_sums_of_partial_charges_are_rounded(tmp_path) -> None:
    frames = made("charge")
    frames[5].info["charge"] = -0.9996
    frames[6].info["charge"] = -2e-4
    store = prepare(tmp_path, frames)
    assert [str(value) for value in store["total_charge"][5:7].tolist()] == ["-1.0", "0.0"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.5, r"must be a whole number of elementary charges within 0.001 e, received 0.5. Correct it"),
        (-1.002, r"must be a whole number .* received -1.002"),
        (np.inf, r"must be finite"),
        (500, r"must be at most that of the nuclei, \d+ e, received 500"),
    ],
)
def test_what_cannot_be_a_charge_names_the_frame(tmp_path, value, text) -> None:
    frames = made("charge")
    frames[6].info["charge"] = value
    with pytest.raises(DataError, match=rf"frame 6 .*(the total charge|total_charge) {text}"):
        prepare(tmp_path, frames)


def test_names_and_numbers() -> None:
    assert get("total_charge").aliases == NAMES
    assert {"charge", "total_charge", "REF_charge", "Q"} <= set(NAMES)
    found = [whole_charge(value) for value in (-1, 2.0, "-1", np.float32(1), 0.9995, 0.5, np.inf, "one", None, True)]
    assert found == [-1, 2, -1, 1, 1, None, None, None, None, None]
    assert stated_charge({"energy": 1.0}) is None
    assert stated_charge({"REF_charge": -1, "Q": -1.0}) == ("REF_charge", -1)
    assert stated_charge({"charge": [0.1, 0.2]}) == ("charge", None)
    with pytest.raises(ValueError, match=r"`charge` and `REF_charge` must be the same; received \{'charge': 0, 'REF"):
        stated_charge({"REF_charge": -1, "charge": 0})
