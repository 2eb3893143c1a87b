"""The spin multiplicity: read by any of its names, checked against the electrons, stored and in each batch."""

import numpy as np
import pytest
import torch
from ase import Atoms
from made_frames import labelled_atoms, write_frames

from lorem_openmm import config
from lorem_openmm.data.batching import StructureSet
from lorem_openmm.data.prepare import prepare_dataset
from lorem_openmm.data.store import Store, read_store
from lorem_openmm.errors import DataError


def made(charge: int | None = 0) -> list[Atoms]:
    """Molecules with the lowest multiplicity their electrons allow, under three names; the first one says nothing."""
    frames = [labelled_atoms(index) for index in range(24)]
    for index, atoms in enumerate(frames[1:]):
        name = ("spin_multiplicity", "multiplicity", "spin")[index % 3]
        atoms.info[name] = 1 + int(atoms.numbers.sum() - (charge or 0)) % 2
        if charge is not None:
            atoms.info["charge"] = charge
    return frames


def prepare(tmp_path, frames: list[Atoms]) -> Store:
    structures = str(write_frames(tmp_path / "made.xyz", frames))
    prepare_dataset(config.Dataset(structures=structures), "made", None, 4.0, tmp_path / "made.safetensors")
    return read_store(tmp_path / "made.safetensors")


@pytest.mark.parametrize("charge", [0, -1, 1])
def test_from_file_to_batch(tmp_path, charge) -> None:
    frames = made(charge)
    expected = [0] + [1 + int(atoms.numbers.sum() - charge) % 2 for atoms in frames[1:]]
    assert set(expected) == {0, 1, 2}
    store = prepare(tmp_path, frames)
    assert store["spin_multiplicity"].dtype == np.int16
    assert store["spin_multiplicity"].tolist() == expected
    structures = StructureSet([store], "train", 4.0, np.zeros(119))
    _, labels = structures.batch(range(len(structures)))
    assert labels["spin_multiplicity"].tolist() == [expected[k] for k in structures.structure_index]
    assert labels["spin_multiplicity"].dtype == torch.int16


@pytest.mark.parametrize("value", [0, -1, 1.5])
def test_it_is_a_whole_number_from_1(tmp_path, value) -> None:
    frames = made()
    frames[6].info |= {"spin": value}
    with pytest.raises(DataError, match=rf"frame 6 .*must be a whole number from 1, received {value}. .*if it is 2S"):
        prepare(tmp_path, frames)


def test_it_belongs_to_the_number_of_electrons(tmp_path) -> None:
    frames = made()
    frames[6].info["charge"] = 1
    electrons, multiplicity = frames[6].numbers.sum() - 1, frames[6].info["spin"]
    text = rf"frame 6 .*{electrons} electrons \(charge \+1\) cannot have the spin multiplicity {multiplicity}:"
    with pytest.raises(DataError, match=text):
        prepare(tmp_path, frames)
    frames[6].info["spin"] += 1
    assert prepare(tmp_path, frames)["spin_multiplicity"][6] == multiplicity + 1


def test_without_a_charge_the_electrons_are_not_known(tmp_path) -> None:
    frames = made(charge=None)
    frames[6].info["spin"] = 3 - frames[6].info["spin"]
    store = prepare(tmp_path, frames)
    assert "total_charge" not in store.arrays
    assert store["spin_multiplicity"][6] == frames[6].info["spin"]
