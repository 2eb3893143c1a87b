"""Frames that are not ordinary: isolated atoms, stress that is not read or means nothing, several total charges."""

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from made_frames import ENERGIES, isolated_atom, labelled_atoms, write_frames

from lorem_openmm import config
from lorem_openmm.data.prepare import prepare_dataset
from lorem_openmm.data.store import Store, joint_baseline, read_store
from lorem_openmm.errors import DataError


def prepare(folder: Path, frames: list[Atoms] | str, name: str = "made", **settings: object) -> tuple[dict, Store]:
    path = folder / f"{name}.xyz"
    if isinstance(frames, str):
        path.write_text(frames)
    else:
        write_frames(path, frames)
    output = folder / f"{name}.safetensors"
    report = prepare_dataset(config.Dataset(structures=str(path), **settings), name, None, 4.0, output)
    return report, read_store(output)


def molecules(n: int = 24, **labels: bool) -> list[Atoms]:
    return [labelled_atoms(index, **labels) for index in range(n)]


def test_isolated_atoms_stay_in_the_training_set_and_fix_the_baseline(tmp_path):
    boxed = isolated_atom(6)
    boxed.set_cell(9 * np.eye(3))
    boxed.pbc = True
    for seed in range(12):
        frames = [isolated_atom(8), *molecules(), isolated_atom(1), boxed]
        split = {"seed": seed, "validation_fraction": 0.3, "test_fraction": 0.3}
        report, store = prepare(tmp_path, frames, split=split)
        assert store["split"][[0, -2, -1]].tolist() == [0, 0, 0]
        assert report["counts"]["train"] == 3 + 12
        assert report["baseline"]["energies"] == {"H": -13.6, "C": -1030.0, "O": -2040.0}
        assert report["baseline"]["isolated_atoms"] == report["baseline"]["energies"]


def test_isolated_atoms_need_no_forces_and_no_group(tmp_path):
    """As MACE takes them: an energy and config_type alone."""
    atoms = '1\nProperties=species:S:1:pos:R:3 config_type=IsolatedAtom energy=-2040.5 pbc="F F F"\nO 0 0 0\n'
    write_frames(tmp_path / "molecules.xyz", molecules())
    text = (tmp_path / "molecules.xyz").read_text()
    report, store = prepare(tmp_path, text + atoms, split={"group_by": "pair"}, class_key="label")
    assert store["split"][-1] == 0
    assert store["forces"][-1].tolist() == [0, 0, 0]
    energies = report["baseline"]["energies"]
    assert energies["O"] == -2040.5
    assert abs(energies["H"] - ENERGIES[1]) < 1.5
    assert energies["H"] != ENERGIES[1]  # fitted, as there is no such atom


def test_least_squares_fit_what_isolated_atoms_leave(tmp_path):
    frames = [isolated_atom(8, energy=-2041.0), *molecules()]
    report, store = prepare(tmp_path, frames)
    rows = store["split"] == 0
    counts = np.array(
        [[np.sum(store.structure(k).atomic_numbers == z) for z in (1, 6, 8)] for k in np.flatnonzero(rows)]
    )
    rest = store["energy"][rows] + 2041.0 * counts[:, 2]
    expected = np.linalg.lstsq(counts[:, :2], rest, rcond=None)[0]
    found = report["baseline"]["energies"]
    np.testing.assert_allclose([found["H"], found["C"], found["O"]], [*expected, -2041.0])
    _, other = prepare(tmp_path, molecules(), name="other")
    assert joint_baseline([store, other]).energies[8] == -2041.0
    _, contradicting = prepare(tmp_path, [isolated_atom(8, energy=-2040.0), *molecules()], name="contradicting")
    with pytest.raises(DataError, match="isolated atom of O has -2040 eV here and -2041 eV in"):
        joint_baseline([store, contradicting])


def test_a_crystal_of_one_atom_is_an_ordinary_frame(tmp_path):
    frames = molecules()
    for length in np.linspace(2.0, 2.6, 12):
        atoms = isolated_atom(6, energy=-1030 + length)
        atoms.set_cell(length * np.eye(3))
        atoms.pbc = True
        frames.append(atoms)
    report, store = prepare(tmp_path, frames, split={"validation_fraction": 0.3, "test_fraction": 0.3})
    assert report["baseline"]["isolated_atoms"] == {}
    assert set(store["split"][24:].tolist()) == {0, 1, 2}


def test_ions_are_kept_for_training_and_fix_nothing(tmp_path):
    ion = isolated_atom(8, energy=-2030.0)
    ion.info["charge"] = 1
    report, store = prepare(tmp_path, [ion, isolated_atom(8), *molecules()], split={"validation_fraction": 0.5})
    assert report["baseline"]["isolated_atoms"] == {"O": -2040.0}
    assert store["split"][:2].tolist() == [0, 0]


def test_isolated_atoms_may_be_in_several_files(tmp_path):
    write_frames(tmp_path / "train.xyz", [isolated_atom(1), *molecules(12)])
    write_frames(tmp_path / "test.xyz", [isolated_atom(1), *molecules(20)[12:]])
    dataset = config.Dataset(train=str(tmp_path / "train.xyz"), test=str(tmp_path / "test.xyz"))
    report = prepare_dataset(dataset, "made", None, 4.0, tmp_path / "made.safetensors")
    assert report["counts"]["test"] == 9
    assert report["warnings"] == []


def test_nothing_but_isolated_atoms(tmp_path):
    report, _ = prepare(tmp_path, [isolated_atom(1), isolated_atom(8)])
    assert report["counts"] == {"all": 2, "train": 2, "validation": 0, "test": 0}


def test_wrong_isolated_atoms(tmp_path):
    with pytest.raises(
        DataError, match=r"frame 1 .* O has -2036 eV here and -2040 eV in .*frame 0 .* ions their `charge`"
    ):
        prepare(tmp_path, [isolated_atom(8), isolated_atom(8, energy=-2036.0), *molecules()])
    with pytest.raises(DataError, match=r"frame 0 .* a single atom feels no force, .* received 0.3 eV/Å"):
        prepare(tmp_path, [isolated_atom(8, forces=np.array([[0.3, 0, 0]])), *molecules()])
    pair = labelled_atoms(3)
    pair.info["config_type"] = "isolated_atom"
    with pytest.raises(DataError, match=r"frame 24 .* says that this is an isolated atom, but it has \d atoms"):
        prepare(tmp_path, [*molecules(), pair])
    with pytest.raises(
        DataError, match=r"isolated atoms fix the baseline \(O -75 eV\): they must be of the same method"
    ):
        prepare(tmp_path, [isolated_atom(8, energy=-75.0), *molecules()])


@pytest.mark.parametrize("key", ["stress", "REF_stress", "virials"])
def test_stress_that_is_not_read_is_said_once(tmp_path, key):
    frames = molecules(periodic=True, stress=True)
    for atoms in frames:
        if key != "stress":
            atoms.info[key] = atoms.calc.results.pop("stress")
    report, store = prepare(tmp_path, frames)
    setting = "virial_key" if "virial" in key else "stress_key"
    assert report["warnings"] == [f"`{key}` is not read: set `{setting}: {key}` to train on it"]
    assert not store["has_stress"].any()
    assert prepare(tmp_path, frames, **{setting: key})[0]["warnings"] == []


def test_stress_in_vacuum_is_not_used(tmp_path):
    frames = [*molecules(6, stress=True), *molecules(periodic=True, stress=True)]
    report, store = prepare(tmp_path, frames, stress_key="stress")
    assert report["with_stress"] == 24
    assert not store["has_stress"][:6].any()
    assert not store["stress"][:6].any()
    assert "the stress of 6 structures in vacuum (pbc false) is not used" in report["warnings"][0]
    with pytest.raises(DataError, match="no periodic frame has a stress"):
        prepare(tmp_path, frames[:6], stress_key="stress")


def test_total_charges_that_differ_are_counted(tmp_path):
    frames = molecules()
    for atoms in frames:
        atoms.info["total_charge"] = -1 if sum(atoms.numbers) % 2 else 0
    (text,) = prepare(tmp_path, frames)[0]["warnings"]
    odd = sum(atoms.info["total_charge"] for atoms in frames)
    assert f"the total charge (`total_charge`) differs: -1 in {-odd}, +0 in {24 + odd} structures" in text
    assert text.endswith("here each formula has one charge")
    frames.append(frames[0].copy())
    frames[-1].calc = frames[0].calc
    frames[-1].positions += 0.01
    frames[-1].info["total_charge"] += 1
    (text,) = prepare(tmp_path, frames)[0]["warnings"]
    assert "which 1 formula(s) that occur with several charges do not allow" in text
