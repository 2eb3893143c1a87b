"""From files to store and report."""

import json

import numpy as np
import pytest
from made_frames import ENERGIES, labelled_atoms, write_frames

from lorem_openmm import config
from lorem_openmm.data.baseline import as_table
from lorem_openmm.data.batching import StructureSet
from lorem_openmm.data.prepare import largest_cutoff, prepare_dataset
from lorem_openmm.data.store import read_store
from lorem_openmm.errors import ConfigError, DataError
from lorem_openmm.files import sha256_of_file


def prepare(tmp_path, cutoff=4.0, labelled=None, name="made", **settings):
    output = tmp_path / "data" / f"{name}.safetensors"
    report = prepare_dataset(config.Dataset(**settings), name, labelled, cutoff, output)
    return report, read_store(output, verify=True)


def test_report(tmp_path, molecules):
    report, store = prepare(tmp_path, structures=str(molecules), class_key="label", separation_key="distance")
    assert json.loads((tmp_path / "data" / "made.json").read_text()) == report
    assert report["counts"] == {"all": 40, "train": 32, "validation": 4, "test": 4}
    assert {label: sum(split.values()) for label, split in report["classes"].items()} == {"A": 14, "B": 13, "C": 13}
    assert report["elements"].keys() == {"H", "C", "O"}
    assert sum(report["elements"].values()) == len(store["positions"])
    assert report["sources"] == [{"file": str(molecules), "sha256": sha256_of_file(molecules), "n_structures": 40}]
    assert report["content_sha256"] == store.content_hash
    assert report["neighbors_per_atom"]["max"] <= 5
    assert report["info_kept"] == ["distance", "label", "pair"]
    assert report["warnings"] == []
    assert report["separation"]["train"]["n"] == 32
    energies = report["baseline"]["energies"]
    assert {"H": 1, "C": 6, "O": 8}.keys() == energies.keys()
    assert all(abs(energies[s] - ENERGIES[z]) < 1.5 for s, z in {"H": 1, "C": 6, "O": 8}.items())
    forces = store["forces"]
    assert report["forces"]["rms"] == pytest.approx(np.sqrt((forces**2).sum(axis=1).mean()))


def test_same_input_same_bytes(tmp_path, molecules):
    prepare(tmp_path, structures=str(molecules), name="a")
    first = (tmp_path / "data" / "a.safetensors").read_bytes()
    prepare(tmp_path, structures=str(molecules), name="a")
    assert (tmp_path / "data" / "a.safetensors").read_bytes() == first


def test_baseline_sees_training_structures_only(tmp_path):
    train = write_frames(tmp_path / "train.xyz", [labelled_atoms(index) for index in range(20)])
    shifted = []
    for index in range(20, 26):
        atoms = labelled_atoms(index)
        atoms.calc.results["energy"] += 9.0 * len(atoms)
        shifted.append(atoms)
    test = write_frames(tmp_path / "test.xyz", shifted)
    report, store = prepare(tmp_path, train=str(train), test=str(test))
    baseline = as_table({z: report["baseline"]["energies"][s] for s, z in zip("HCO", (1, 6, 8), strict=True)})
    structures = StructureSet([store], "test", 4.0, baseline)
    per_atom = structures["energy"] / structures.sizes
    assert np.all(np.abs(per_atom.numpy() - 9.0) < 2.5)


def test_files_per_split(tmp_path):
    files = [
        write_frames(tmp_path / f"{k}.xyz", [labelled_atoms(index) for index in range(9 * k, 9 * k + 9)])
        for k in range(4)
    ]
    names = [str(file) for file in files]
    report, store = prepare(tmp_path, train=names[:2], validation=names[2], test=names[3])
    assert report["counts"] == {"all": 36, "train": 18, "validation": 9, "test": 9}
    np.testing.assert_array_equal(store["split"], np.repeat([0, 0, 1, 2], 9))
    np.testing.assert_array_equal(store["source"], np.repeat(np.arange(4), 9))
    np.testing.assert_array_equal(store["frame"], np.tile(np.arange(9), 4))
    report, _ = prepare(tmp_path, train=names[0])
    assert report["counts"] == {"all": 9, "train": 8, "validation": 1, "test": 0}
    report, _ = prepare(tmp_path, train=names[0], split={"test_above": {"distance": 3.0}})
    assert report["counts"] == {"all": 9, "train": 6, "validation": 1, "test": 2}
    report, _ = prepare(tmp_path, structures=names[0], test=names[1])
    assert report["counts"] == {"all": 18, "train": 8, "validation": 1, "test": 9}


def test_labelled_structures(tmp_path, molecules):
    report, _ = prepare(tmp_path, labelled=molecules, label={"kind": "sn2"})
    assert report["counts"]["all"] == 40
    with pytest.raises(ConfigError, match="received no file"):
        prepare(tmp_path, label={"kind": "sn2"})
    with pytest.raises(ConfigError, match="without `label`"):
        prepare(tmp_path, labelled=molecules, structures=str(molecules))


def test_duplicates(tmp_path, molecules):
    with pytest.raises(DataError) as caught:
        prepare(tmp_path, train=str(molecules), test=str(molecules))
    assert "must not be in two of train, validation and test" in str(caught.value)
    assert "and 35 more faults" in str(caught.value)
    assert list((tmp_path / "data").iterdir()) == []
    twice = [str(molecules), str(molecules)]
    report, store = prepare(tmp_path, structures=twice)  # kept together by the random division
    np.testing.assert_array_equal(store["split"][:40], store["split"][40:])
    assert report["warnings"] == ["40 structures occur more than once, within one split"]


def test_faults_of_many_frames(tmp_path):
    frames = [labelled_atoms(index) for index in range(9)]
    for index in (2, 5):
        frames[index].calc.results["forces"][0, 1] = np.nan
    frames[7].calc.results["energy"] = np.inf
    path = write_frames(tmp_path / "bad.xyz", frames)
    with pytest.raises(DataError) as caught:
        prepare(tmp_path, structures=str(path))
    lines = str(caught.value).splitlines()
    assert [line.split(" (counted")[0] for line in lines] == [f"{path}, frame {k}" for k in (2, 5, 7)]
    assert "forces must be finite" in lines[0]
    assert "energy must be finite" in lines[2]
    assert list((tmp_path / "data").iterdir()) == []


def test_coincident_atoms(tmp_path):
    frames = [labelled_atoms(index) for index in range(9)]
    frames[4].positions[1] = frames[4].positions[0]
    with pytest.raises(DataError, match=r"frame 4 .* at least 0.1 Å apart, received 0.0000 Å"):
        prepare(tmp_path, structures=str(write_frames(tmp_path / "bad.xyz", frames)))


def test_an_energy_out_of_line(tmp_path):
    frames = [labelled_atoms(index) for index in range(40)]
    frames[17].calc.results["energy"] -= 900.0
    with pytest.raises(DataError, match=r"frame 17 .* per-element baseline"):
        prepare(tmp_path, structures=str(write_frames(tmp_path / "bad.xyz", frames)), split={"seed": 1})


def test_element_only_in_the_test_set(tmp_path, molecules):
    frames = [labelled_atoms(index) for index in range(50, 53)]
    frames[1].numbers[0] = 9
    other = write_frames(tmp_path / "other.xyz", frames)
    with pytest.raises(DataError, match=r"other.xyz, frame 1 .* received F which does not"):
        prepare(tmp_path, train=str(molecules), test=str(other))


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"class_key": "lable"}, "Did you mean 'label'"),
        ({"separation_key": "label"}, "`separation_key` must name an info entry that is a number"),
        ({"separation_key": "distanc"}, "Did you mean 'distance'"),
        ({"stress_key": "virial"}, "no periodic frame has a stress under the name 'virial'"),
        ({"structures": "absent.xyz"}, "absent.xyz: cannot be read"),
    ],
)
def test_keys_that_do_not_fit(tmp_path, molecules, settings, expected):
    with pytest.raises(DataError) as caught:
        prepare(tmp_path, **({"structures": str(molecules)} | settings))
    assert expected in str(caught.value)


def test_unwritable_output_fails_before_the_work(tmp_path):
    (tmp_path / "data").write_text("a file where the folder should be")
    with pytest.raises(DataError, match=r"cannot be written .* change `output`"):
        prepare(tmp_path, structures="never read")


def test_info_columns(tmp_path):
    frames = [labelled_atoms(index) for index in range(12)]
    for index, atoms in enumerate(frames):
        atoms.info = {"vector": np.arange(3.0), "flag": index > 5, "name": "x" * (index + 1)}
        if index % 2:
            atoms.info["charge"] = -1
    report, store = prepare(tmp_path, structures=str(write_frames(tmp_path / "info.xyz", frames)))
    assert report["info_dropped"] == ["vector"]
    np.testing.assert_array_equal(store.info("charge"), [np.nan, -1.0] * 6)
    np.testing.assert_array_equal(store.info("flag"), [0.0] * 6 + [1.0] * 6)
    assert store.info("name")[3] == "xxxx"


def test_largest_cutoff():
    settings = config.Config(
        datasets={name: {"structures": "x"} for name in "abc"},
        models={"short": {"cutoff": 3.0}, "long": {"cutoff": 6.0}, "unused": {"cutoff": 7.0}},
        training={"quick": {}},
        runs={
            "one": {"datasets": ["a"], "model": "short", "training": "quick"},
            "two": {"datasets": ["a", "b"], "model": "long", "training": "quick"},
            "three": {"datasets": ["b"], "model": "short", "training": "quick"},
        },
    )
    assert [largest_cutoff(settings, name) for name in "abc"] == [6.0, 6.0, 7.0]


@pytest.mark.reference_data
@pytest.mark.parametrize(
    ("settings", "counts", "periodic", "warning"),
    [
        ({"train": "gnl_cumulene/train.xyz", "validation": "gnl_cumulene/val.xyz"}, (200, 50, 0), 0, ""),
        ({"structures": "water_rpbe_d3/train.xyz"}, (32, 4, 4), 40, ""),
        (
            {
                "train": [f"biodimers_curves/train-id{k}.xyz" for k in (0, 2, 3)],
                "test": [f"biodimers_curves/test-id{k}.xyz" for k in (0, 2, 3)],
                "class_key": "label",
                "separation_key": "distance",
                "split": {"group_by": "dimer_id"},
            },
            (20, 10, 9),
            39,
            "the energy cannot be predicted",  # two formulas do not fix the energies of four elements
        ),
    ],
)
def test_reference_data(tmp_path, reference_data, settings, counts, periodic, warning):
    def absolute(value):
        files = [value] if isinstance(value, str) else value
        return [str(reference_data / file) for file in files]

    files = {key: absolute(settings[key]) for key in ("train", "validation", "test", "structures") if key in settings}
    report, store = prepare(tmp_path, cutoff=5.0, **(settings | files))
    assert tuple(report["counts"][split] for split in ("train", "validation", "test")) == counts
    assert report["periodic"] == periodic
    assert [warning in text for text in report["warnings"]] == ([True] if warning else [])
    structures = StructureSet([store], "train", 5.0, as_table({}))
    graph, _ = structures.batch(range(8))
    assert len(graph.system_sizes) == 8
