"""Structures from every kind of file: atoms, box, names and charge as they were written; traps are told."""

import logging
import warnings

import ase.io
import mdtraj
import numpy as np
import openmm
import pytest
from ase import Atoms
from ase.build import molecule
from openmm import app, unit
from openmmml import MLPotential

import lorem_openmm
from lorem_openmm import config
from lorem_openmm.errors import DataError
from lorem_openmm.simulate.simulation import simulate

# Gly-Asp-Lys, zwitterionic ends: heavy atoms at plausible places (standard bonds), no hydrogens.
PEPTIDE = """\
CRYST1   40.000   41.000   42.000  90.00  90.00  90.00 P 1           1
ATOM      1  N   GLY A   1       0.000   0.000   0.000  1.00  0.00           N1+
ATOM      2  CA  GLY A   1       1.458   0.000   0.000  1.00  0.00           C
ATOM      3  C   GLY A   1       2.009   1.420   0.000  1.00  0.00           C
ATOM      4  O   GLY A   1       1.251   2.390   0.000  1.00  0.00           O
ATOM      5  N   ASP A   2       3.332   1.536   0.000  1.00  0.00           N
ATOM      6  CA  ASP A   2       3.988   2.839   0.000  1.00  0.00           C
ATOM      7  C   ASP A   2       5.504   2.693   0.000  1.00  0.00           C
ATOM      8  O   ASP A   2       6.027   1.578   0.000  1.00  0.00           O
ATOM      9  CB  ASP A   2       3.542   3.660   1.210  1.00  0.00           C
ATOM     10  CG  ASP A   2       4.210   5.020   1.280  1.00  0.00           C
ATOM     11  OD1 ASP A   2       5.040   5.320   0.390  1.00  0.00           O
ATOM     12  OD2 ASP A   2       3.900   5.770   2.230  1.00  0.00           O1-
ATOM     13  N   GLY A   3       6.200   3.820   0.000  1.00  0.00           N
ATOM     14  CA  GLY A   3       7.658   3.820   0.000  1.00  0.00           C
ATOM     15  C   GLY A   3       8.209   5.240   0.000  1.00  0.00           C
ATOM     16  O   GLY A   3       7.451   6.210   0.000  1.00  0.00           O
ATOM     17  OXT GLY A   3       9.450   5.350   0.000  1.00  0.00           O1-
TER      18      GLY A   3
HETATM   19  O   HOH B   1      12.000  -3.000   9.000  1.00  0.00           O
HETATM   20  H1  HOH B   1      12.760  -3.590   9.000  1.00  0.00           H
HETATM   21  H2  HOH B   1      11.240  -3.590   9.000  1.00  0.00           H
END
"""


def read(path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return lorem_openmm.read_structure(path)


def written(path, text):
    path.write_text(text)
    return path


def water_box(scale=1.0):
    """Two waters in a triclinic box."""
    atoms = molecule("H2O") + molecule("H2O")
    atoms.positions[3:] += [3.0, 1.0, 2.0]
    atoms.set_cell(np.array([[9.0, 0.0, 0.0], [1.5, 8.5, 0.0], [-2.0, 1.0, 9.5]]) * scale)
    atoms.pbc = True
    return atoms


def energy_of(start):
    """Energy in kJ/mol of the shipped model."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it was trained in vacuum
        system = MLPotential("lorem").createSystem(start.topology, device="cpu", precision="double")
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatform("Reference"))
    context.setPositions(start.openmm_positions)
    return context.getState(energy=True).getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole)


@pytest.mark.parametrize(
    ("suffix", "writer"), [(".pdb", app.PDBFile), (".cif", app.PDBxFile), (".mmcif", app.PDBxFile)]
)
def test_a_peptide_keeps_residues_chains_names_and_box(tmp_path, suffix, writer):
    first = read(written(tmp_path / "s.pdb", PEPTIDE))
    path = tmp_path / f"again{suffix}"
    with path.open("w") as stream:
        writer.writeFile(first.topology, first.openmm_positions, stream, keepIds=True)
    for start in (first, read(path)):
        assert [residue.name for residue in start.topology.residues()] == ["GLY", "ASP", "GLY", "HOH"]
        assert [chain.id for chain in start.topology.chains()] == ["A", "B"]
        assert [atom.name for atom in start.topology.atoms()][:5] == ["N", "CA", "C", "O", "N"]
        assert start.molecules == [list(range(17)), [17, 18, 19]]  # peptide bonds join the residues
        assert np.diag(start.box) == pytest.approx([40.0, 41.0, 42.0])
        assert start.positions[16] == pytest.approx([9.45, 5.35, 0.0], abs=1e-3)


def test_a_triclinic_mmcif_comes_back_with_its_energy(tmp_path):
    ase.io.write(tmp_path / "s.xyz", water_box())
    first = read(tmp_path / "s.xyz")
    with (tmp_path / "s.cif").open("w") as stream:
        app.PDBxFile.writeFile(first.topology, first.openmm_positions, stream)
    again = read(tmp_path / "s.cif")
    assert again.box == pytest.approx(first.box, abs=2e-3)
    assert abs(again.box[2, 0]) > 1.0  # it is triclinic indeed
    assert "angles" in again.describe()
    assert energy_of(again) == pytest.approx(energy_of(first), abs=0.5)  # the file has three digits


def test_an_xyz_of_elements_only_is_a_vacuum_of_unknown_charge(tmp_path):
    start = read(
        written(
            tmp_path / "s.xyz",
            "5\nmethane\nC 0 0 0\nH .63 .63 .63\nH -.63 -.63 .63\nH .63 -.63 -.63\nH -.63 .63 -.63\n",
        )
    )
    assert [atom.element.symbol for atom in start.topology.atoms()] == ["C", "H", "H", "H", "H"]
    assert start.box is None
    assert start.total_charge is None
    assert "total charge unknown (not stated)" in start.describe()


def test_atoms_outside_the_box_stay_and_have_the_same_energy(tmp_path):
    atoms = water_box()
    ase.io.write(tmp_path / "inside.xyz", atoms)
    atoms.positions[3:] += 2 * atoms.cell[0] - 3 * atoms.cell[2]
    ase.io.write(tmp_path / "outside.xyz", atoms)
    inside, outside = (read(tmp_path / f"{name}.xyz") for name in ("inside", "outside"))
    assert np.linalg.norm(outside.positions[3:] - inside.positions[3:], axis=1) == pytest.approx(
        np.full(3, np.linalg.norm(2 * atoms.cell[0] - 3 * atoms.cell[2])), abs=1e-6
    )
    assert energy_of(outside) == pytest.approx(energy_of(inside), abs=1e-5)


@pytest.mark.parametrize("suffix", [".pdb", ".cif"])
def test_a_box_of_1_angstrom_is_no_box_and_says_so(tmp_path, suffix):
    first = read(written(tmp_path / "s.pdb", PEPTIDE))
    first.topology.setUnitCellDimensions([0.1, 0.1, 0.1] * unit.nanometer)
    path = tmp_path / f"dummy{suffix}"
    with path.open("w") as stream:
        (app.PDBFile if suffix == ".pdb" else app.PDBxFile).writeFile(first.topology, first.openmm_positions, stream)
    with pytest.warns(UserWarning, match="1 x 1 x 1 Å stands for no box"):
        start = lorem_openmm.read_structure(path)
    assert start.box is None
    assert "vacuum" in start.describe()


def test_a_dummy_box_is_seen_where_ase_reads_the_pdb(tmp_path):
    atoms = molecule("H2O")
    atoms.set_cell(np.eye(3))
    atoms.pbc = True
    ase.io.write(tmp_path / "s.pdb", atoms)  # atoms of equal names
    with pytest.warns(UserWarning, match="stands for no box"):
        assert lorem_openmm.read_structure(tmp_path / "s.pdb").box is None


def test_a_box_in_nanometres_is_refused(tmp_path):
    atoms = water_box()
    atoms.set_cell(atoms.cell[:] / 10.0)
    ase.io.write(tmp_path / "s.xyz", atoms)
    with pytest.raises(DataError, match=r"at least 1 Å\^3 per atom.*lengths in nm"):
        read(tmp_path / "s.xyz")


def test_what_was_read_is_logged(tmp_path, caplog):
    ase.io.write(tmp_path / "s.xyz", water_box())
    with caplog.at_level(logging.INFO, "lorem_openmm"):
        read(tmp_path / "s.xyz")
    assert "6 atoms, molecules: 2; box 9.000 x 8.631 x 9.760 Å, angles" in caplog.text


@pytest.mark.parametrize(
    ("info", "charge"),
    [({}, None), ({"charge": -1}, -1), ({"total_charge": 2.0}, 2), ({"charge": 0, "total_charge": 0}, 0)],
)
def test_the_charge_of_an_xyz_is_what_its_comment_says(tmp_path, info, charge):
    atoms = Atoms("Cl2", positions=[[0, 0, 0], [0, 0, 3]], info=info)
    ase.io.write(tmp_path / "s.xyz", atoms, format="extxyz")
    assert read(tmp_path / "s.xyz").total_charge == charge


@pytest.mark.parametrize(
    ("info", "message"),
    [
        ({"charge": 0.5}, "whole number"),
        ({"charge": "minus one"}, "whole number"),
        ({"charge": -1, "total_charge": 1}, "must be the same"),
    ],
)
def test_a_charge_that_makes_no_sense_is_refused(tmp_path, info, message):
    atoms = Atoms("Cl2", positions=[[0, 0, 0], [0, 0, 3]], info=info)
    ase.io.write(tmp_path / "s.xyz", atoms, format="extxyz")
    with pytest.raises(DataError, match=message):
        read(tmp_path / "s.xyz")


def test_formal_charges_of_pdb_and_mmcif_are_summed(tmp_path):
    start = read(written(tmp_path / "s.pdb", PEPTIDE))
    assert start.total_charge == -1
    assert start.charge_source == "formal charges of 3 of 20 atoms, the others taken as neutral"
    bare = "\n".join(line[:78] for line in PEPTIDE.splitlines())
    assert read(written(tmp_path / "bare.pdb", bare)).total_charge is None
    with (tmp_path / "s.cif").open("w") as stream:
        app.PDBxFile.writeFile(start.topology, start.openmm_positions, stream)
    assert read(tmp_path / "s.cif").total_charge is None  # OpenMM writes no charges there
    lines = (tmp_path / "s.cif").read_text().splitlines()
    for number, charge in ((1, "1"), (12, "-1"), (17, "-1"), (2, "0")):
        (k,) = (k for k, line in enumerate(lines) if line.split()[:2] == ["ATOM", str(number)])
        lines[k] = lines[k].replace("?  .", f"?  {charge}")
    again = read(written(tmp_path / "charged.cif", "\n".join(lines)))
    assert (again.total_charge, again.charge_source[:35]) == (-1, "formal charges of 4 of 20 atoms, th")


@pytest.mark.parametrize(("start", "charge"), [("sn2:Cl,Br,3.2", -1), ("dimer:acetate,water,3.0", -1)])
def test_built_complexes_have_the_charge_of_their_labels(start, charge):
    assert lorem_openmm.read_structure(start).total_charge == charge


def test_models_of_a_pdb_are_chosen_by_index(tmp_path):
    start = lorem_openmm.read_structure("dimer:water,methane,3.0")
    with (tmp_path / "s.pdb").open("w") as stream:
        app.PDBFile.writeHeader(start.topology, stream)
        for shift in range(3):
            app.PDBFile.writeModel(start.topology, (start.positions + shift) * unit.angstrom, stream, shift + 1)
    for name, shift in (("s.pdb", 0), ("s.pdb@1", 1), ("s.pdb@-1", 2)):
        assert read(tmp_path / name).positions == pytest.approx(start.positions + shift, abs=1e-3)
    with pytest.raises(DataError, match="model 7 cannot be read"):
        read(tmp_path / "s.pdb@7")


def test_a_simulation_from_smiles_states_box_and_charge(tmp_path, sound_model):
    settings = config.Simulation(run="r", start="smiles:CC(=O)[O-].O", steps=4, report_interval=2)
    summary = simulate(settings, sound_model, tmp_path / "run")
    assert summary["total_charge"] == -1
    assert summary["total_charge_source"] == "formal charges of the SMILES"
    assert summary["box_angstrom"] is None
    trajectory = mdtraj.load(str(tmp_path / "run" / "trajectory.dcd"), top=str(tmp_path / "run" / "topology.pdb"))
    assert trajectory.xyz.shape == (2, 10, 3)
    assert [residue.name for residue in trajectory.topology.residues] == ["MOL", "HOH"]
