"""Structures from SMILES: chemistry, geometry, names, charge, and what cannot be built."""

import sys

import ase.io
import numpy as np
import pytest
from openmm import app, unit
from scipy.spatial.distance import cdist

import lorem_openmm
from lorem_openmm.errors import ConfigError, InstallationError
from lorem_openmm.simulate.molecules import bonded_groups

pytest.importorskip("rdkit", reason="RDKit is not installed")


def read(smiles, seed=0):
    return lorem_openmm.read_structure(f"smiles:{smiles}", seed)


def bond_length(start, first, second):
    """Lengths in Å of the bonds between two elements."""
    return [
        np.linalg.norm(start.positions[a.index] - start.positions[b.index])
        for a, b in start.topology.bonds()
        if {a.element.symbol, b.element.symbol} == {first, second}
    ]


def test_ethanol_has_its_bonds_lengths_and_names():
    start = read("CCO")
    names = [atom.name for atom in start.topology.atoms()]
    assert names == ["C1", "C2", "O1", "H1", "H2", "H3", "H4", "H5", "H6"]
    assert [residue.name for residue in start.topology.residues()] == ["MOL"]
    assert start.topology.getNumBonds() == 8
    assert bond_length(start, "C", "C") == pytest.approx([1.52], abs=0.02)
    assert bond_length(start, "C", "O") == pytest.approx([1.42], abs=0.02)
    assert bond_length(start, "O", "H") == pytest.approx([0.97], abs=0.02)
    assert start.molecules == [list(range(9))]
    assert start.total_charge == 0
    assert start.box is None


def test_bond_orders_and_formal_charges_are_in_the_topology():
    start = read("CC(=O)[O-]")
    assert start.total_charge == -1
    assert [atom.formalCharge for atom in start.topology.atoms()] == [0, 0, 0, -1, 0, 0, 0]
    orders = [bond.order for bond in start.topology.bonds()]
    assert orders == [1, 2, 1, 1, 1, 1]
    assert {bond.type for bond in read("c1ccccc1").topology.bonds()} == {app.Aromatic, app.Single}


def test_molecules_are_apart_and_named_by_kind():
    start = read("CC(=O)[O-].C[NH3+].O.O.[Cl-].CC(=O)[O-]")
    names = [residue.name for residue in start.topology.residues()]
    assert names == ["MOL", "MO2", "HOH", "HOH", "CL", "MOL"]
    assert [len(members) for members in start.molecules] == [7, 8, 3, 3, 1, 7]
    assert start.total_charge == -2
    for k, first in enumerate(start.molecules):
        for second in start.molecules[k + 1 :]:
            assert cdist(start.positions[first], start.positions[second]).min() > 4.99


@pytest.mark.parametrize("smiles", ["O.O.O", "[Cs+].[I-]", "C[Si](C)(C)C.C1CCCCC1"])
def test_neighbours_are_not_taken_for_bonded(tmp_path, smiles):
    start = read(smiles)
    with (tmp_path / "s.pdb").open("w") as stream:
        app.PDBFile.writeFile(start.topology, start.openmm_positions, stream)
    assert len(set(bonded_groups(ase.io.read(tmp_path / "s.pdb")))) == len(start.molecules)


def test_stereochemistry_is_kept():
    volumes = []
    for smiles in ("F[C@](Cl)(Br)I", "F[C@@](Cl)(Br)I"):
        start = read(smiles)
        fluorine, carbon, *others = start.positions
        assert fluorine.shape == carbon.shape
        volumes.append(np.linalg.det(np.array(others) - carbon))
    assert volumes[0] * volumes[1] < 0


def test_the_same_text_and_seed_give_the_same_structure():
    first, again, other = (read("CCCCCO", seed) for seed in (1, 1, 2))
    assert first.positions == pytest.approx(again.positions, abs=0)
    assert np.abs(cdist(first.positions, first.positions) - cdist(other.positions, other.positions)).max() > 0.3


def test_positions_are_openmms_too():
    start = read("CO")
    assert start.openmm_positions.value_in_unit(unit.angstrom) == pytest.approx(start.positions)


@pytest.mark.parametrize(
    ("smiles", "message"),
    [
        ("C(C)(C)(C)(C)C", "valence.*C, 5, is greater"),
        ("C1CC", "its syntax is wrong"),
        ("", "received an empty one"),
        ("C*", "must be an element"),
        ("O.C1#CC1", r"no three-dimensional structure for `C1#CC1`"),
    ],
)
def test_impossible_smiles_are_explained(smiles, message, capfd):
    with pytest.raises(ConfigError, match=message):
        read(smiles)
    assert capfd.readouterr().err == ""  # RDKit's own lines would only repeat it


def test_without_rdkit_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "rdkit.Chem", None)
    with pytest.raises(InstallationError, match=r"lorem-openmm\[smiles\]"):
        read("CCO")
