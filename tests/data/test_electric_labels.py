"""Dipoles and Born effective charges of data sets: read, stored, joined, turned."""

import numpy as np
import pytest
import torch
from ase.io import write
from made_frames import labelled_atoms

from lorem_openmm import config
from lorem_openmm.data.batching import StructureSet
from lorem_openmm.data.prepare import prepare_dataset
from lorem_openmm.data.rotations import random_orthogonal, turn
from lorem_openmm.data.store import Store, read_store


def electric_store(tmp_path, name: str) -> tuple[Store, list]:
    """Frames of which every third has no dipole, every second Born effective charges in 9 columns."""
    frames = []
    for index in range(12):
        atoms, random = labelled_atoms(index), np.random.default_rng(index)
        if index % 3:
            atoms.info["dipole"] = random.normal(size=3)
        if index % 2:
            atoms.arrays[name] = random.normal(size=(len(atoms), 9))
        frames.append(atoms)
    write(tmp_path / "made.xyz", frames, format="extxyz")
    dataset = config.Dataset(structures=str(tmp_path / "made.xyz"))
    prepare_dataset(dataset, "made", None, 4.0, tmp_path / "made.safetensors")
    return read_store(tmp_path / "made.safetensors"), frames


@pytest.mark.parametrize("name", ["born_effective_charges", "apt"])
def test_labels_are_read_and_turned(tmp_path, name):
    store, frames = electric_store(tmp_path, name)
    structures = StructureSet([store], "train", 4.0, np.zeros(119), dtype=torch.float64)
    graph, labels = structures.batch(range(len(structures)))
    own = [frames[int(store["frame"][structures.structure_index[k]])] for k in range(len(structures))]
    dipoles = np.array([atoms.info.get("dipole", np.full(3, np.nan)) for atoms in own])
    tensors = [atoms.arrays.get(name, np.full((len(atoms), 9), np.nan)).reshape(-1, 3, 3) for atoms in own]
    np.testing.assert_allclose(labels["dipole"], dipoles, atol=1e-7)
    np.testing.assert_allclose(labels["born_charges"], np.concatenate(tensors), atol=1e-7)
    rotations = random_orthogonal(len(structures), 0, 0)
    _, turned = turn(graph, labels, rotations)
    of_atom = rotations[graph.system_index].numpy()
    expected = of_atom @ labels["born_charges"].numpy() @ of_atom.transpose(0, 2, 1)
    np.testing.assert_allclose(turned["born_charges"], expected, atol=1e-12)
