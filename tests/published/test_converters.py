"""Published formats to extended XYZ: every number is followed from one file to the other."""

import numpy as np
import pytest
from ase.io import read
from helpers import read_structures
from published_formats import biodimers_text, cumulene_arrays, padded, runner_text, save, shifted

from lorem_openmm.errors import DataError
from lorem_openmm.published.fetch import convert

MGO, NACL = ["Mg", "O", "Au", "Au", "Al"], ["Na"] * 3 + ["Cl"] * 2
CELL = np.array([[17.1, 0.0, 0.0], [1.3, 17.0, 0.0], [0.0, 0.5, 50.0]])
# The published shifts (eV), written out again: a slip in the package's own table would otherwise pass.
SHIFTS = {1: -3.5921101, 6: -1.71485694, 9: -0.97762923, 17: -0.23682422, 35: 0.08449515, 53: 0.17498543}


def converted(form, source, tmp_path):
    n_structures = convert(form, source, tmp_path / "out.xyz")
    structures = list(read_structures(tmp_path / "out.xyz"))
    assert len(structures) == n_structures
    return structures


def test_runner_files_agree_with_ase_which_reads_them_by_itself(tmp_path):
    text = runner_text(MGO, 1, CELL, charge=0.0) + runner_text(NACL, 2) + "\n" + runner_text(NACL[:-1], 3)
    (tmp_path / "input.data").write_text(text)
    structures = converted("runner", tmp_path / "input.data", tmp_path)
    for structure, atoms in zip(structures, read(tmp_path / "input.data", ":", format="runnerdata"), strict=True):
        np.testing.assert_array_equal(structure.atomic_numbers, atoms.numbers)
        np.testing.assert_allclose(structure.positions, atoms.positions, rtol=1e-8, atol=1e-9)
        np.testing.assert_allclose(structure.forces, atoms.get_forces(), rtol=1e-8, atol=1e-9)
        np.testing.assert_allclose(structure.energy, atoms.get_potential_energy(), rtol=1e-8)
        np.testing.assert_allclose(structure.cell, atoms.cell.array, rtol=1e-8, atol=1e-9)
        assert structure.info["charge"] == atoms.info["total_charge"]
    assert [structure.periodic for structure in structures] == [True, False, False]
    assert [structure.info["formula"] for structure in structures] == ["AlAu2MgO", "Cl2Na3", "ClNa3"]


def test_runner_units_by_hand(tmp_path):
    (tmp_path / "input.data").write_text(
        "begin\natom 1.0 0.0 -2.0 Na 0.9 0.1 0.5 0.0 0.0\nenergy -162.0\ncharge 1.0\nend\n"
    )
    (structure,) = converted("runner", tmp_path / "input.data", tmp_path)
    np.testing.assert_allclose(structure.positions, [[0.529177211, 0.0, -1.058354422]], atol=1e-8)
    np.testing.assert_allclose(structure.forces, [[0.5 * 51.422067, 0.0, 0.0]], rtol=1e-7)
    assert structure.energy == pytest.approx(-162.0 * 27.21138625, rel=1e-9)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text.rsplit("end", 1)[0], r"line 11: this structure has no 'end': the file was cut off"),
        (lambda text: text.replace("energy", "engery"), r"line \d+: must be `atom.*received 'engery"),
        (lambda text: text.replace("Cl 0.5 0.0", "Cl 0.5"), "must be `atom x y z element charge"),
        (lambda text: text.replace("Na", "Xx"), "must be chemical symbols, received Xx"),
        (lambda text: text.replace("begin", "begin x y z"), "must start with a line 'begin'"),
        (lambda text: text.replace("begin\n", "begin\nlattice 1 0 0\n"), "three lattice vectors or none; .* 1 lattice"),
        (lambda text: text.replace(" Na 0.5", "x Na 0.5", 1), "not a number in this structure"),
        (lambda text: text.replace("charge", "energy"), "once each"),
    ],
)
def test_broken_runner_files_are_named_by_line(tmp_path, change, message):
    (tmp_path / "input.data").write_text(change(runner_text(NACL, 1) + runner_text(NACL, 2)))
    with pytest.raises(DataError, match=message) as error:
        convert("runner", tmp_path / "input.data", tmp_path / "out.xyz")
    assert "input.data" in str(error.value)
    assert not (tmp_path / "out.xyz").exists()


def test_both_sn2_archives_give_the_same_structures(tmp_path):
    data = padded(30)
    first = converted("sn2", save(tmp_path / "sn2.npz", data), tmp_path)
    second = converted("sn2_shifted", save(tmp_path / "shifted.npz", shifted(data, SHIFTS)), tmp_path)
    for index, (one, other) in enumerate(zip(first, second, strict=True)):
        n_atoms = data["N"][index]
        for structure in (one, other):
            np.testing.assert_array_equal(structure.atomic_numbers, data["Z"][index, :n_atoms])
            np.testing.assert_allclose(structure.positions, data["R"][index, :n_atoms], atol=1e-10)
            np.testing.assert_allclose(structure.forces, data["F"][index, :n_atoms], atol=1e-10)
            assert structure.energy == pytest.approx(data["E"][index], rel=1e-12)
            assert not structure.periodic
        assert one.info["charge"] == -1.0
    assert [structure.info["formula"] for structure in first[:3]] == ["F1", "CH3Cl", "CH3BrI"]


def test_a_shift_is_added_for_every_atom_of_its_element(tmp_path):
    """CH3F at a shifted energy of 0: its energy is the sum of its shifts, written out; padding has none."""
    arrays = {
        "positions": np.arange(18.0).reshape(1, 6, 3),
        "forces": np.zeros((1, 6, 3)),
        "energy": np.zeros((1, 1)),
        "atomic_numbers": np.array([[6, 1, 1, 1, 9, 1]]),
        "node_mask": np.array([[True] * 5 + [False]]),
    }
    (structure,) = converted("sn2_shifted", save(tmp_path / "a.npz", arrays), tmp_path)
    assert structure.energy == pytest.approx(-1.71485694 - 3 * 3.5921101 - 0.97762923)


def test_single_precision_arrays_keep_their_numbers(tmp_path):
    arrays = {key: value.astype(np.float32) for key, value in cumulene_arrays(4).items() if key != "atomic_numbers"}
    arrays["atomic_numbers"] = np.array([6] * 9 + [1] * 4)  # one list for all structures
    structures = converted("molecules_npz", save(tmp_path / "cumulene.npz", arrays), tmp_path)
    for index, structure in enumerate(structures):
        np.testing.assert_allclose(structure.positions, arrays["positions"][index], atol=1e-10)
        np.testing.assert_allclose(structure.forces, arrays["forces"][index], atol=1e-10)
        assert structure.energy == float(arrays["energy"][index, 0])
        assert structure.info["formula"] == "C9H4"


@pytest.mark.parametrize(
    ("form", "changes", "message"),
    [
        ("sn2", {"N": None}, r"needs the arrays R, Z, N, E, F; missing: N; it has: "),
        ("sn2", {"E": np.zeros(7)}, r"energies must have the shape \[30\], received \[7\]"),
        ("sn2", {"F": np.full((30, 6, 3), np.nan)}, "must have finite forces; 30 have not, the first is structure 0"),
        ("sn2", {"N": np.full(30, 6)}, "atomic numbers from 1 to 118; 20 have not"),
        ("sn2", {"N": np.zeros(30)}, "at least one atom"),
        ("sn2", {"Z": np.array([{"pickled": 1}])}, "not a readable .npz file of plain arrays"),
    ],
)
def test_broken_archives_are_refused(tmp_path, form, changes, message):
    arrays = {**padded(30), **changes}
    save(tmp_path / "a.npz", {key: value for key, value in arrays.items() if value is not None})
    with pytest.raises(DataError, match=message) as error:
        convert(form, tmp_path / "a.npz", tmp_path / "out.xyz")
    assert "a.npz" in str(error.value)
    assert not (tmp_path / "out.xyz").exists()


def test_an_element_without_shift_and_a_cut_archive_are_refused(tmp_path):
    data = shifted(padded(6), SHIFTS)
    data["atomic_numbers"][1, 0] = 8
    with pytest.raises(DataError, match=r"no shift is known for the elements \[8\]"):
        convert("sn2_shifted", save(tmp_path / "a.npz", data), tmp_path / "out.xyz")
    (tmp_path / "a.npz").write_bytes((tmp_path / "a.npz").read_bytes()[:-50])
    with pytest.raises(DataError, match=r"not a readable \.npz file"):
        convert("sn2_shifted", tmp_path / "a.npz", tmp_path / "out.xyz")


def check_biodimers(source, structures):
    originals = read(source, ":")
    for structure, atoms in zip(structures, originals, strict=True):
        np.testing.assert_array_equal(structure.atomic_numbers, atoms.numbers)
        np.testing.assert_array_equal(structure.positions, atoms.positions)
        np.testing.assert_array_equal(structure.forces, atoms.get_forces())
        np.testing.assert_array_equal(structure.cell, 30.0 * np.eye(3))
        assert structure.periodic
        assert structure.energy == atoms.get_potential_energy()
        assert {key: structure.info[key] for key in atoms.info} == atoms.info
        growth = atoms.info["distance"] - atoms.info["distance_initial"]
        assert structure.info["separation_growth"] == growth


def test_dimers_keep_everything_and_gain_their_growth(tmp_path):
    (tmp_path / "bio_dimers.xyz").write_text(biodimers_text(6))
    structures = converted("biodimers", tmp_path / "bio_dimers.xyz", tmp_path)
    check_biodimers(tmp_path / "bio_dimers.xyz", structures)
    assert len({structure.info["label"] for structure in structures}) == 6


@pytest.mark.reference_data
@pytest.mark.parametrize("file", ["train-id0.xyz", "test-id2.xyz", "train-id3.xyz"])
def test_published_dimers(tmp_path, reference_data, file):
    source = reference_data / "biodimers_curves" / file
    check_biodimers(source, converted("biodimers", source, tmp_path))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("distance_initial=", "start=", r"frame 0.*'distance_initial' is missing"),
        ("label=CA", "label=XX", r"frame 10 .*label must be one of AA, CA.*received XX"),
        ("forces:R:3", "force:R:3", "needs a column `forces:R:3`"),
        ("energyA=-2080.1", "energyA=none", "must be numbers"),
    ],
)
def test_broken_dimers_are_named_by_frame(tmp_path, old, new, message):
    (tmp_path / "bio_dimers.xyz").write_text(biodimers_text(2).replace(old, new))
    with pytest.raises(DataError, match=message):
        convert("biodimers", tmp_path / "bio_dimers.xyz", tmp_path / "out.xyz")
