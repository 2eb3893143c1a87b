"""One list of quantities: what is added to it is read, checked, stored, joined and turned, and nothing else is told."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from helpers import read_structures
from made_frames import labelled_atoms, write_frames

from lorem_openmm import config
from lorem_openmm.data import collect
from lorem_openmm.data.batching import Labels, StructureSet
from lorem_openmm.data.chunks import split_file
from lorem_openmm.data.fields import _FIELDS, Field, fields, get, register
from lorem_openmm.data.prepare import prepare_dataset
from lorem_openmm.data.rotations import random_orthogonal, turn
from lorem_openmm.data.store import Store, read_store
from lorem_openmm.errors import DataError


def weak(values: np.ndarray, arrays: Mapping[str, np.ndarray]) -> list[tuple[int, str]]:
    """No moment is larger than 9."""
    owner = np.repeat(np.arange(len(arrays["sizes"])), arrays["sizes"])
    strong = np.unique(owner[np.linalg.norm(np.nan_to_num(values), axis=1) > 9]).tolist()
    return [(frame, "magnetic moments must be at most 9. Correct the frame.") for frame in strong]


MOMENT = Field("magnetic_moment", "atom", (3,), unit="μ_B", aliases=("mag_moment", "moment"), turns="axial", check=weak)
SLIP = Field("slip", "structure", (3,), unit="Å", aliases=("mu",), turns="vector")
ORDER = Field("order", "structure", dtype="int16", aliases=("rank",), missing=-1)


@pytest.fixture
def toys() -> Iterator[None]:
    register(MOMENT, SLIP, ORDER)
    yield
    for field in (MOMENT, SLIP, ORDER):
        del _FIELDS[field.name]


def made(n: int = 24) -> list[Atoms]:
    """Frames of which every third has no moments, every fifth no slip, and the first half no rank."""
    frames = []
    for index in range(n):
        atoms = labelled_atoms(index)
        random = np.random.default_rng(index)
        if index % 3:
            atoms.arrays["moment"] = random.normal(size=(len(atoms), 3))
        if index % 5:
            atoms.info["mu"] = random.normal(size=3)
        if index >= n // 2:
            atoms.info["rank"] = index
        frames.append(atoms)
    return frames


def prepare(path: Path, processes: int = 1) -> Store:
    output = path.with_name(f"{path.stem}-{processes}.safetensors")
    prepare_dataset(config.Dataset(structures=str(path)), "made", None, 4.0, output, processes)
    return read_store(output)


def check(store: Store, frames: list[Atoms]) -> None:
    structures = StructureSet([store], "train", 4.0, np.zeros(119), dtype=torch.float64)
    chosen = list(range(len(structures)))
    _, labels = structures.batch(chosen)
    own = [frames[int(store["frame"][structures.structure_index[k]])] for k in chosen]
    nothing = [np.full((len(atoms), 3), np.nan) for atoms in own]
    moments = np.concatenate([a.arrays.get("moment", none) for a, none in zip(own, nothing, strict=True)])
    np.testing.assert_allclose(labels["magnetic_moment"], moments, atol=1e-8)
    np.testing.assert_allclose(labels["slip"], [a.info.get("mu", np.full(3, np.nan)) for a in own], atol=1e-8)
    assert labels["order"].tolist() == [a.info.get("rank", -1) for a in own]
    assert labels["order"].dtype == torch.int16
    assert np.isnan(moments).any()
    assert not np.isnan(moments).all()


@pytest.mark.parametrize("form", ["read quickly", "read by ASE"])
def test_a_field_from_outside_is_found_in_the_batch(toys, tmp_path, form) -> None:
    frames = made()
    if form == "read by ASE":
        for atoms in frames:
            atoms.info["odd"] = 'a "quoted" word'  # what the quick reader leaves to ASE
    check(prepare(write_frames(tmp_path / "made.xyz", frames)), frames)


def test_other_processes_know_the_field(toys, tmp_path, monkeypatch) -> None:
    frames = made()
    path = write_frames(tmp_path / "made.xyz", frames)
    monkeypatch.setattr(collect, "split_file", partial(split_file, chunk_bytes=3000))
    check(prepare(path, processes=2), frames)


def test_a_field_of_arrays(toys, tmp_path) -> None:
    random = np.random.default_rng(0)
    arrays = {
        "R": labelled_atoms(3).positions[None] + 0.05 * random.normal(size=(9, len(labelled_atoms(3)), 3)),
        "Z": labelled_atoms(3).numbers,
        "E": random.normal(size=9) - 13.6,
        "F": random.normal(size=(9, len(labelled_atoms(3)), 3)),
        "mag_moment": random.normal(size=(9, len(labelled_atoms(3)), 3)),
        "rank": np.arange(9),
    }
    np.savez(tmp_path / "made.npz", **arrays)
    units = config.Units(energy="eV", length="angstrom")
    dataset = config.Dataset(structures=str(tmp_path / "made.npz"), energy_key="E", forces_key="F", units=units)
    prepare_dataset(dataset, "made", None, 4.0, tmp_path / "made.safetensors")
    store = read_store(tmp_path / "made.safetensors")
    np.testing.assert_array_equal(store["magnetic_moment"].reshape(9, -1, 3), arrays["mag_moment"])
    np.testing.assert_array_equal(store["order"], np.arange(9))


def test_report_units_and_structures(toys, tmp_path) -> None:
    frames = made()
    path = write_frames(tmp_path / "made.xyz", frames)
    report = prepare_dataset(config.Dataset(structures=str(path)), "made", None, 4.0, tmp_path / "made.safetensors")
    n_atoms = sum(len(atoms) for atoms in frames if "moment" in atoms.arrays)
    assert report["stated"] == {"magnetic_moment": n_atoms, "slip": 19, "order": 12}
    store = read_store(tmp_path / "made.safetensors")
    assert store.metadata["units"]["magnetic_moment"] == "μ_B"
    np.testing.assert_allclose(store.structure(1).fields["magnetic_moment"], frames[1].arrays["moment"], atol=1e-8)
    (first, second, *_) = read_structures(path)
    assert np.isnan(first.fields["magnetic_moment"]).all()
    np.testing.assert_allclose(second.fields["slip"], frames[1].info["mu"], atol=1e-8)


def test_what_nobody_states_is_not_stored(toys, tmp_path) -> None:
    store = prepare(write_frames(tmp_path / "made.xyz", [labelled_atoms(index) for index in range(24)]))
    assert {"magnetic_moment", "slip", "order", "total_charge"}.isdisjoint(store.arrays)
    structures = StructureSet([store], "train", 4.0, np.zeros(119))
    _, labels = structures.batch([0, 1])
    assert labels["magnetic_moment"].isnan().all()
    assert labels["magnetic_moment"].shape == labels.forces.shape
    assert labels["order"].tolist() == [-1, -1]


@pytest.mark.parametrize(
    ("values", "text"),
    [
        (10.0, r"frame 4 \(counted from 0\): magnetic moments must be at most 9. Correct the frame"),
        (np.inf, r"frame 4 \(counted from 0\): magnetic_moment must be finite"),
    ],
)
def test_checks_name_the_frame(toys, tmp_path, values, text) -> None:
    frames = made()
    frames[4].arrays["moment"][0, 1] = values
    with pytest.raises(DataError, match=text):
        prepare(write_frames(tmp_path / "made.xyz", frames))


def test_columns_of_another_shape_are_errors(toys, tmp_path) -> None:
    frames = made()
    frames[4].arrays["moment"] = frames[4].arrays["moment"][:, :2]
    with pytest.raises(DataError, match=r"frame 4 .*the column 'moment' must have shape \[\d, 3\], received \[\d, 2\]"):
        prepare(write_frames(tmp_path / "made.xyz", frames))


def test_labels_turn_by_their_kind(toys, tmp_path) -> None:
    store = prepare(write_frames(tmp_path / "made.xyz", made()))
    structures = StructureSet([store], "train", 4.0, np.zeros(119), dtype=torch.float64)
    graph, labels = structures.batch(range(len(structures)))
    rotations = random_orthogonal(len(structures), 0, 0)
    moved, turned = turn(graph, labels, rotations)
    signs = torch.linalg.det(rotations).sign()
    assert {-1.0, 1.0} == set(signs.tolist())
    own = rotations[graph.system_index]
    axial = torch.einsum("iab,ib->ia", own, labels["magnetic_moment"]) * signs[graph.system_index][:, None]
    polar = torch.einsum("iab,ib->ia", rotations, labels["slip"])
    torch.testing.assert_close(turned["magnetic_moment"], axial, rtol=0, atol=1e-12, equal_nan=True)
    torch.testing.assert_close(turned["slip"], polar, rtol=0, atol=1e-12, equal_nan=True)
    torch.testing.assert_close(moved.positions, torch.einsum("iab,ib->ia", own, graph.positions))
    assert turned["order"] is labels["order"]


def test_charges_of_stores_made_before_they_were_a_field(tmp_path) -> None:
    frames = [labelled_atoms(index) for index in range(24)]
    for index, atoms in enumerate(frames):
        atoms.info["Q" if index % 2 else "charge"] = index % 3 - 1
    frames[5].info["charge"] = 7  # the first name counts
    store = prepare(write_frames(tmp_path / "made.xyz", frames))
    expected = np.array([index % 3 - 1 for index in range(24)], float)
    expected[5] = 7
    np.testing.assert_array_equal(store["total_charge"], expected)
    old = replace(store, arrays={name: array for name, array in store.arrays.items() if name != "total_charge"})
    np.testing.assert_array_equal(old.field("total_charge"), expected)


def test_words_are_no_numbers(tmp_path) -> None:
    frames = [labelled_atoms(index) for index in range(24)]
    for atoms in frames:
        atoms.info |= {"charge": "neutral", "Q": 1}
    frames[0].info["Q"] = [1, 2]
    store = prepare(write_frames(tmp_path / "made.xyz", frames))
    np.testing.assert_array_equal(store["total_charge"], [np.nan] + 23 * [1])


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"name": "energy"}, "'energy' belongs to the field energy"),
        ({"aliases": ("x", "charge")}, "'charge' belongs to the field total_charge"),
        ({"aliases": ()}, "must have aliases"),
        ({"dtype": "int16"}, "`missing` unless real"),
    ],
)
def test_what_cannot_be_registered(changes, text) -> None:
    with pytest.raises(ValueError, match=text):
        register(replace(MOMENT, **changes))
    assert "magnetic_moment" not in [field.name for field in fields()]


def test_every_label_is_in_every_batch(mixed_stores) -> None:
    _, labels = StructureSet(mixed_stores, "train", 3.3, np.zeros(119)).batch([0, 1])
    assert isinstance(labels, Labels)
    assert set(labels.values) == {field.name for field in fields("label")}
    assert labels["spin_multiplicity"] is labels.values["spin_multiplicity"]
    assert get("total_charge").unit == "e"


def test_labels_that_are_the_same_in_all_structures_are_shared_between_batches(mixed_stores) -> None:
    structures = StructureSet(mixed_stores[:1], "train", 3.3, np.zeros(119))  # without stress and charges
    (_, first), (_, second), (_, other) = (structures.batch(chosen) for chosen in ([0, 1], [3, 2], [4]))
    assert first["stress"] is second["stress"]
    assert first["energy"] is not second["energy"]
    for labels, n in ((first, 2), (other, 1)):
        assert torch.equal(labels["stress"], torch.zeros(n, 3, 3))
        assert labels["has_stress"].tolist() == [False] * n
        assert labels["spin_multiplicity"].tolist() == [0] * n
