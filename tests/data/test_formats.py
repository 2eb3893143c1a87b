"""Files of other programs: the same structures as in extended XYZ, in eV and Å; units are named, never guessed."""

import gzip
import sys
import zipfile
from pathlib import Path

import ase.db
import ase.io
import numpy as np
import pytest
from made_frames import labelled_atoms, write_frames

from lorem_openmm import config
from lorem_openmm.data import chunks
from lorem_openmm.data.prepare import prepare_dataset
from lorem_openmm.data.store import Store, read_store
from lorem_openmm.errors import ConfigError, DataError, InstallationError
from lorem_openmm.units import ANGSTROM_PER_BOHR, EV_PER_HARTREE, KCAL_PER_MOL_PER_EV

MD17 = {"energy_key": "E", "forces_key": "F"}
GPA = 160.21766208
KCAL = {"energy": "kcal/mol", "length": "angstrom"}


def prepare(path: Path, **settings: object) -> Store:
    output = path.parent / "store" / "made.safetensors"
    prepare_dataset(config.Dataset(structures=str(path), **settings), "made", None, 4.0, output)
    return read_store(output)


def assert_same(store: Store, expected: Store) -> None:
    for name in ("atom_offsets", "positions", "atomic_numbers", "forces", "cell", "energy", "stress", "has_stress"):
        np.testing.assert_allclose(store[name], expected[name], atol=1e-6, err_msg=name)
    np.testing.assert_array_equal(store["frame"], expected["frame"])


@pytest.fixture
def frames() -> list[ase.Atoms]:
    return [labelled_atoms(index, periodic=index % 3 == 0, stress=index % 3 == 0) for index in range(24)]


@pytest.mark.parametrize("kind", ["traj", "db"])
def test_files_of_ase(tmp_path, frames, kind, monkeypatch):
    monkeypatch.setattr(chunks, "_FRAMES_AT_ONCE", 7)
    expected = prepare(write_frames(tmp_path / "made.xyz", frames), stress_key="stress", class_key="label")
    path = tmp_path / f"made.{kind}"
    if kind == "traj":
        ase.io.write(path, frames)
    else:
        with ase.db.connect(path) as database:
            for atoms in frames:
                database.write(atoms, key_value_pairs={key: atoms.info[key] for key in ("label", "distance")})
    path = path.rename(tmp_path / "without_a_name_that_tells")
    store = prepare(path, stress_key="stress", class_key="label")
    assert_same(store, expected)
    assert store.classes().tolist() == expected.classes().tolist()
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 3])
    with pytest.raises(DataError, match="without_a_name_that_tells: ASE cannot read it as"):
        prepare(path)


VASPRUN = """<?xml version="1.0" encoding="ISO-8859-1"?>
<modeling>
<kpoints><varray name="kpointlist"><v>0 0 0</v></varray><varray name="weights"><v>1</v></varray></kpoints>
<parameters><separator name="general"><i name="ENCUT">300</i></separator></parameters>
<atominfo><array name="atoms"><set><rc><c>H </c><c>1</c></rc><rc><c>O </c><c>2</c></rc></set></array></atominfo>
<structure name="initialpos"><crystal><varray name="basis"><v>5 0 0</v><v>0 5 0</v><v>0 0 5</v></varray></crystal>
<varray name="positions"><v>0 0 0</v><v>0 0 0.3</v></varray></structure>
"""
CALCULATION = """<calculation>
<structure><crystal><varray name="basis"><v>5 0 0</v><v>0 5 0</v><v>0 0 5</v></varray></crystal>
<varray name="positions"><v>0 0 {z}</v><v>0 0 0.1</v></varray></structure>
<varray name="forces"><v>0 0 -0.5</v><v>0 0 0.5</v></varray>
<varray name="stress"><v>10 0 0</v><v>0 20 0</v><v>0 0 30</v></varray>
<scstep><energy><i name="e_fr_energy">0</i><i name="e_wo_entrp">0</i><i name="e_0_energy">0</i></energy></scstep>
<energy><i name="e_fr_energy">-6.5</i><i name="e_wo_entrp">-6.6</i><i name="e_0_energy">-6.55</i></energy>
</calculation>
"""


def test_vasprun(tmp_path):
    path = tmp_path / "run.gz"
    steps = "".join(CALCULATION.format(z=z) for z in (0.3, 0.301, 0.302, 0.303))
    with gzip.open(path, "wt") as stream:
        stream.write(f"{VASPRUN}{steps}</modeling>\n")
    store = prepare(path, stress_key="stress", energy_key="free_energy")
    assert store["energy"].tolist() == [-6.5] * 4
    np.testing.assert_allclose(np.diagonal(store["stress"][0]), -0.1 * np.array([10, 20, 30]) / GPA)
    np.testing.assert_allclose(store["positions"][::2, 2], [1.5, 1.505, 1.51, 1.515])
    with gzip.open(path, "wt") as stream:
        stream.write(VASPRUN[:300])
    with pytest.raises(DataError, match=r"run.gz: ASE cannot read it as 'vasp-xml'"):
        prepare(path)


def test_frames_without_atoms(tmp_path, frames):
    ase.io.write(tmp_path / "made.traj", [*frames, frames[0][:0]])
    with pytest.raises(DataError, match=r"made.traj, frame 24 .* (no energy|at least one atom)"):
        prepare(tmp_path / "made.traj")
    made = molecule()
    np.savez(tmp_path / "made.npz", **made | {"z": np.zeros(4, dtype=int)})
    with pytest.raises(DataError, match=r"made.npz, frame 0 .* needs at least one atom"):
        prepare(tmp_path / "made.npz", **MD17, units={})


def molecule(n_frames: int = 12) -> dict[str, np.ndarray]:
    """Returns frames of one molecule in eV and Å under the names of MD17."""
    random = np.random.default_rng(5)
    numbers = np.array([8, 1, 1, 6])
    positions = np.array([[0.0, 0, 0], [0.96, 0, 0], [-0.3, 0.9, 0], [0, 0, 1.5]])
    return {
        "R": positions + random.normal(scale=0.05, size=(n_frames, 4, 3)),
        "z": numbers,
        "E": -3000 + random.normal(scale=0.3, size=n_frames),
        "F": random.normal(size=(n_frames, 4, 3)),
    }


def scaled(made: dict[str, np.ndarray], energy: float, length: float) -> dict[str, np.ndarray]:
    return made | {"R": made["R"] / length, "E": made["E"] / energy, "F": made["F"] / energy * length}


@pytest.mark.parametrize("said_by", ["configuration", "file"])
def test_npz_of_one_molecule(tmp_path, said_by):
    made = molecule()
    arrays = scaled(made, 1 / KCAL_PER_MOL_PER_EV, 1.0)
    if said_by == "file":
        arrays |= {"r_unit": np.array(b"Ang"), "e_unit": np.array(b"kcal/mol"), "theory": np.array("PBE")}
    np.savez(tmp_path / "made.npz", **arrays | {"E": arrays["E"][:, None]})
    store = prepare(tmp_path / "made.npz", **MD17, units=KCAL if said_by == "configuration" else None)
    np.testing.assert_allclose(store["energy"], made["E"])
    np.testing.assert_allclose(store["forces"], made["F"].reshape(-1, 3), atol=1e-12)
    np.testing.assert_allclose(store["positions"], made["R"].reshape(-1, 3))
    assert store["atomic_numbers"].tolist() == [8, 1, 1, 6] * 12
    assert not store["periodic"].any()


def test_molecules_filled_up_with_zeros(tmp_path):
    made = molecule()
    made["Z"] = np.tile(made.pop("z"), (12, 1))
    made["Z"][::2, 3] = 0
    made["Q"] = np.arange(12) % 3 - 1
    np.savez(tmp_path / "made.npz", **made)
    store = prepare(tmp_path / "made.npz", **MD17, units={})
    np.testing.assert_array_equal(np.diff(store["atom_offsets"]), [3, 4] * 6)
    np.testing.assert_array_equal(store["forces"][3:7], made["F"][1])
    np.testing.assert_array_equal(store.info("Q"), made["Q"])


WRONG_ARRAYS = {
    "units not named": ({}, {}, "does not say in which unit its energy and length"),
    "length not named": ({"e_unit": np.array("eV")}, {}, "in which unit its length"),
    "units contradict": ({"e_unit": np.array("kcal/mol")}, {"units": {}}, "is in kcal/mol, but `units`"),
    "unit not known": ({"e_unit": np.array("cal")}, {"units": {}}, "in 'cal', which is not known"),
    "labels of other names": ({}, {"units": {}, "energy_key": "energy"}, "Did you mean 'E'? Then set `energy_key: E`"),
    "cell": ({"lattice": np.eye(3)}, {"units": {}}, "periodic structures are not read from this format"),
    "one frame": ({"R": np.zeros((4, 3))}, {"units": {}}, r"shape [n_frames, n_atoms, 3], received [4, 3]"),
    "energies of another number": ({"E": np.zeros(11)}, {"units": {}}, "'E' [11]"),
    "elements of another number": ({"z": np.ones(3)}, {"units": {}}, "received [3]"),
    "unknown symbol": ({"z": np.array(["C", "D", "H", "H"])}, {"units": {}}, "received 'D'"),
    "objects": ({"R": np.array([None, 3])}, {"units": {}}, "pickled"),
    "no positions": ({"R": None}, {"units": {}}, "holds no structures"),
}


@pytest.mark.parametrize("name", WRONG_ARRAYS)
def test_wrong_arrays(tmp_path, name):
    changes, settings, expected = WRONG_ARRAYS[name]
    arrays = {key: value for key, value in (molecule() | changes).items() if value is not None}
    np.savez(tmp_path / "made.npz", **arrays)
    with pytest.raises(DataError) as caught:
        prepare(tmp_path / "made.npz", **MD17 | settings)
    assert str(caught.value).startswith(str(tmp_path / "made.npz"))
    assert expected in str(caught.value)


def test_other_archives(tmp_path):
    with zipfile.ZipFile(tmp_path / "made.zip", "w") as archive:
        archive.writestr("made.xyz", "1\n\nH 0 0 0\n")
    with pytest.raises(DataError, match="holds no structures"):
        prepare(tmp_path / "made.zip")
    (tmp_path / "made.zip").write_bytes((tmp_path / "made.zip").read_bytes()[:40])
    with pytest.raises(DataError, match="cut off or damaged"):
        prepare(tmp_path / "made.zip")


def write_spice(path: Path, made: dict[str, np.ndarray], with_units: bool = True) -> None:
    h5py = pytest.importorskip("h5py")
    atomic = scaled(made, EV_PER_HARTREE, ANGSTROM_PER_BOHR)
    with h5py.File(path, "w") as file:
        for name, chosen in (("CO", slice(0, 7)), ("H2O", slice(7, 12))):
            group = file.create_group(name)
            group["atomic_numbers"] = made["z"]
            group["smiles"] = [f"smiles of {name}"]
            for key, values, unit in (
                ("conformations", atomic["R"], "bohr"),
                ("dft_total_energy", atomic["E"], "hartree"),
                ("dft_total_gradient", -atomic["F"], "hartree/bohr"),
            ):
                group[key] = values[chosen]
                if with_units:
                    group[key].attrs["units"] = unit


APART = {"group_by": "group", "validation_fraction": 0, "test_fraction": 0.4}
SPICE = {"energy_key": "dft_total_energy", "forces_key": "dft_total_gradient"}


@pytest.mark.parametrize("at_once", [5, 1000])
def test_hdf5_of_spice(tmp_path, monkeypatch, at_once):
    monkeypatch.setattr(chunks, "_FRAMES_AT_ONCE", at_once)
    made = molecule()
    write_spice(tmp_path / "made.hdf5", made)
    store = prepare(tmp_path / "made.hdf5", **SPICE, split=APART, class_key="smiles")
    np.testing.assert_allclose(store["energy"], made["E"])
    np.testing.assert_allclose(store["forces"], made["F"].reshape(-1, 3), atol=1e-12)
    np.testing.assert_allclose(store["positions"], made["R"].reshape(-1, 3))
    assert store.classes().tolist() == ["smiles of CO"] * 7 + ["smiles of H2O"] * 5
    assert len(set(store["split"][:7].tolist())) == 1
    with pytest.raises(DataError, match=r"group 'CO': no energy under the name 'energy'.*dft_total_energy"):
        prepare(tmp_path / "made.hdf5", units={"energy": "hartree", "length": "bohr"})


def test_hdf5_without_units_and_without_h5py(tmp_path, monkeypatch):
    write_spice(tmp_path / "made.hdf5", molecule(), with_units=False)
    with pytest.raises(DataError, match="units are not guessed"):
        prepare(tmp_path / "made.hdf5", **SPICE)
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(InstallationError, match=r"pip install 'lorem-openmm\[hdf5\]'"):
        prepare(tmp_path / "made.hdf5", **SPICE)


def test_units_of_extended_xyz(tmp_path, frames):
    expected = prepare(write_frames(tmp_path / "made.xyz", frames), stress_key="stress")
    for atoms in frames:
        results = atoms.calc.results
        results["energy"] /= EV_PER_HARTREE
        results["forces"] = results["forces"] / EV_PER_HARTREE * ANGSTROM_PER_BOHR
        if "stress" in results:
            results["stress"] = results["stress"] * GPA
        atoms.set_cell(atoms.cell / ANGSTROM_PER_BOHR, scale_atoms=True)
        if not atoms.pbc.any():
            atoms.positions /= ANGSTROM_PER_BOHR
    units = {"energy": "hartree", "length": "bohr", "stress": "GPa"}
    store = prepare(write_frames(tmp_path / "made.xyz", frames), stress_key="stress", units=units)
    assert_same(store, expected)


def test_gradients_are_minus_the_forces(tmp_path, frames):
    text = write_frames(tmp_path / "made.xyz", frames).read_text()
    expected = prepare(tmp_path / "made.xyz")
    (tmp_path / "made.xyz").write_text(text.replace(":forces:", ":dft_gradient:"))
    np.testing.assert_array_equal(
        prepare(tmp_path / "made.xyz", forces_key="dft_gradient")["forces"], -expected["forces"]
    )


def test_virials_are_minus_stress_times_volume(tmp_path, frames):
    expected = prepare(write_frames(tmp_path / "made.xyz", frames), stress_key="stress")
    for atoms in frames:
        if "stress" in atoms.calc.results:
            atoms.info["REF_virials"] = -atoms.get_stress(voigt=False) * atoms.get_volume()
            del atoms.calc.results["stress"]
    store = prepare(write_frames(tmp_path / "made.xyz", frames), virial_key="REF_virials")
    np.testing.assert_allclose(store["stress"], expected["stress"], atol=1e-8)
    np.testing.assert_array_equal(store["has_stress"], expected["has_stress"])
    with pytest.raises(ConfigError, match="`stress_key` or `virial_key`, not both"):
        config.parse(config.Dataset, {"structures": "a", "stress_key": "a", "virial_key": "b"}, "made")
    with pytest.raises(ConfigError, match="leave them out beside `label`"):
        config.parse(config.Dataset, {"label": {"kind": "sn2"}, "units": {}}, "made")
    with pytest.raises(ConfigError, match="Did you mean 'hartree'"):
        config.parse(config.Units, {"energy": "hartre"}, "made")
