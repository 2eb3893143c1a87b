"""Starting structures: geometry of what is built, faithfulness of what is read."""

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from openmm import app, unit
from scipy.spatial.distance import cdist

from lorem_openmm.errors import ConfigError, DataError
from lorem_openmm.simulate.systems import read_structure


def symbols(start):
    return [atom.element.symbol for atom in start.topology.atoms()]


def box(start):
    return np.array(start.topology.getPeriodicBoxVectors().value_in_unit(unit.angstrom))


def test_sn2_complex_is_collinear_at_the_distance_asked_for():
    start = read_structure("sn2:Cl,Br,3.2")
    assert symbols(start) == ["Cl", "C", "Br", "H", "H", "H"]
    assert start.molecules == [[0], [1, 2, 3, 4, 5]]
    assert [residue.name for residue in start.topology.residues()] == ["CL", "MOL"]
    x, c, y, *hydrogens = start.positions
    assert np.linalg.norm(x - c) == pytest.approx(3.2, abs=1e-6)
    assert np.dot(x - c, y - c) / np.linalg.norm(x - c) / np.linalg.norm(y - c) == pytest.approx(-1.0)
    assert all(np.dot(h - c, x - c) > 0 for h in hydrogens)  # backside attack


def test_dimer_is_at_the_distance_beyond_contact_and_its_orientation_is_the_seeds():
    near, far, other = (
        read_structure(f"dimer:acetate,methylammonium,{distance}", seed)
        for distance, seed in ((0.0, 1), (4.0, 1), (4.0, 2))
    )
    assert [len(members) for members in far.molecules] == [7, 8]
    a, b = far.molecules
    shift = far.positions[b] - near.positions[b]
    assert np.linalg.norm(shift, axis=1) == pytest.approx(np.full(8, 4.0))  # moved as a whole
    assert far.positions[a] == pytest.approx(near.positions[a])
    nearest = cdist(near.positions[a], near.positions[b]).min()
    assert 1.5 < nearest < 3.5
    assert not np.allclose(cdist(far.positions, far.positions), cdist(other.positions, other.positions), atol=0.1)
    again = read_structure("dimer:acetate,methylammonium,4.0", 1)
    assert again.positions == pytest.approx(far.positions)


@pytest.mark.parametrize(
    ("start", "message"),
    [
        ("sn2:Cl,At,3.2", "halogens"),
        ("sn2:Cl,Br", "must look like `sn2:Cl,Br,3.2`"),
        ("sn2:Cl,Br,near", "must look like"),
        ("sn2:Cl,Br,1.0", "barrier"),
        ("dimer:acetat,methanol,3", "Did you mean 'acetate'"),
        ("dimer:acetate,methanol,nan", "from 0 to 500"),
        ("dimr:acetate,methanol,3", "Did you mean 'dimer'"),
        ("nowhere.xyz", "existing file"),
    ],
)
def test_impossible_starts_say_what_is_possible(start, message):
    with pytest.raises(ConfigError, match=message):
        read_structure(start)


def test_extended_xyz_is_split_into_molecules_and_the_last_structure_is_taken(tmp_path):
    water = molecule("H2O")
    first = water + molecule("CH3Cl")
    first.positions[3:] += [5.0, 0.0, 0.0]
    second = first.copy()
    second.positions += 0.25
    ase.io.write(tmp_path / "s.xyz", [first, second])
    last = read_structure(str(tmp_path / "s.xyz"))
    assert [len(members) for members in last.molecules] == [3, 5]
    assert last.positions == pytest.approx(second.positions)
    assert last.topology.getPeriodicBoxVectors() is None
    assert read_structure(f"{tmp_path}/s.xyz@0").positions == pytest.approx(first.positions)


@pytest.mark.parametrize("handedness", [1.0, -1.0])
def test_any_cell_becomes_openmms_with_the_same_distances(tmp_path, handedness):
    rng = np.random.default_rng(5)
    cell = rng.normal(size=(3, 3)) + 6.0 * np.eye(3)
    cell[2] *= handedness
    atoms = Atoms(
        "He8",
        positions=rng.permutation(np.stack(np.meshgrid(*[[0.4, 3.4]] * 3), -1).reshape(8, 3))
        + rng.uniform(0, 0.5, (8, 3)),
        cell=cell,
        pbc=True,
    )
    ase.io.write(tmp_path / "s.xyz", atoms)
    start = read_structure(str(tmp_path / "s.xyz"))
    vectors = box(start)
    assert np.triu(vectors, 1) == pytest.approx(np.zeros((3, 3)))
    assert (np.diag(vectors) > 0).all()
    read = Atoms("He8", positions=start.positions, cell=vectors, pbc=True)
    assert read.get_all_distances(mic=True) == pytest.approx(atoms.get_all_distances(mic=True), abs=1e-6)


def test_molecules_broken_by_the_box_are_made_whole(tmp_path):
    atoms = molecule("H2O")
    atoms.set_cell(np.diag([8.0, 9.0, 10.0]))
    atoms.pbc = True
    whole = atoms.get_distance(1, 2)
    atoms.wrap()
    assert atoms.get_distance(1, 2) > 4.0
    ase.io.write(tmp_path / "s.xyz", atoms)
    start = read_structure(str(tmp_path / "s.xyz"))
    assert np.linalg.norm(start.positions[1] - start.positions[2]) == pytest.approx(whole, abs=1e-6)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pbc": [True, True, False]}, "all three directions or in none"),
        ({"cell": np.zeros((3, 3)), "pbc": True}, "no volume|cannot be read"),
        ({"symbols": "X2"}, "only chemical elements"),
    ],
)
def test_impossible_structures_are_refused(tmp_path, changes, message):
    settings = {"symbols": "Cl2", "positions": [[0, 0, 0], [0, 0, 2]], "cell": np.eye(3) * 9.0, "pbc": False}
    ase.io.write(tmp_path / "s.xyz", Atoms(**{**settings, **changes}), format="extxyz")
    with pytest.raises(DataError, match=message):
        read_structure(str(tmp_path / "s.xyz"))


def test_unreadable_files_are_refused(tmp_path):
    for name in ("s.xyz", "s.pdb", "s.pdbx"):
        path = tmp_path / name
        path.write_text("nothing of the kind\n")
        with pytest.raises(DataError, match=rf"{name}: (cannot be read|structure|every atom)"):
            read_structure(str(path))


def test_pdb_keeps_its_residues_and_box(tmp_path):
    water = read_structure("dimer:water,methanol,3.0")
    water.topology.setUnitCellDimensions([3.0, 3.1, 3.2] * unit.nanometer)
    for residue, name in zip(water.topology.residues(), ("HOH", "MOH"), strict=True):
        residue.name = name
    with (tmp_path / "s.pdb").open("w") as stream:
        app.PDBFile.writeFile(water.topology, water.positions * unit.angstrom, stream)
    start = read_structure(str(tmp_path / "s.pdb"))
    assert [residue.name for residue in start.topology.residues()] == ["HOH", "MOH"]
    assert start.positions == pytest.approx(water.positions, abs=1e-3)
    assert np.diag(box(start)) == pytest.approx([30.0, 31.0, 32.0])
    assert start.molecules == water.molecules


def test_pdb_with_one_residue_for_everything_is_split(tmp_path):
    pair = molecule("H2O") + molecule("CH3OH")
    pair.positions[3:] += [5.0, 0.0, 0.0]
    ase.io.write(tmp_path / "s.pdb", pair)
    start = read_structure(str(tmp_path / "s.pdb"))
    assert [len(members) for members in start.molecules] == [3, 6]


def test_pdb_without_elements_is_refused(tmp_path):
    (tmp_path / "s.pdb").write_text("HETATM    1  QQ  UNK A   1       0.000   0.000   0.000  1.00  0.00\nEND\n")
    with pytest.raises(DataError, match=r"needs an element.*QQ of residue UNK"):
        read_structure(str(tmp_path / "s.pdb"))


def test_a_box_of_water_is_liquid_at_its_density_and_the_seeds():
    start, same, other = (read_structure("water:16", seed) for seed in (1, 1, 2))
    assert symbols(start) == ["O", "H", "H"] * 16
    assert [len(members) for members in start.molecules] == [3] * 16
    assert np.linalg.det(box(start)) == pytest.approx(16 * 18.015 / 0.602214, rel=1e-4)
    assert np.array_equal(start.positions, same.positions)
    assert not np.allclose(start.positions, other.positions)


@pytest.mark.parametrize("start", ["water:", "water:7", "water:5000", "water:8,1.0"])
def test_impossible_numbers_of_waters_are_refused(start):
    with pytest.raises(ConfigError, match="must look like `water:64`, with 8 to 4096 molecules"):
        read_structure(start)
