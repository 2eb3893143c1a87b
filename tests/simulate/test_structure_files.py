"""Start structures in the kinds of files that people have: read as they are written, or a fault with its place."""

import bz2
import gzip
import lzma
import warnings

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from openmm import app, unit

import lorem_openmm
from lorem_openmm import config
from lorem_openmm.analysis.trajectory import load_simulation
from lorem_openmm.errors import ConfigError, DataError
from lorem_openmm.simulate.molecules import make_whole
from lorem_openmm.simulate.simulation import simulate
from lorem_openmm.simulate.solvate import solvate
from lorem_openmm.simulate.systems import file_of

WATER = "3\n\nO 0 0 0\nH 0.96 0 0\nH -0.24 0.93 0\n"
INTERLEAVED = "6\n\nO 0 0 0\nO 5 0 0\nH 0.96 0 0\nH 5.96 0 0\nH -0.24 0.93 0\nH 4.76 0.93 0\n"
MOL = """water
  by hand

  3  2  0  0  0  0            999 V2000
    0.0000    0.0000    0.0000 O   0  0
    0.9600    0.0000    0.0000 H   0  0
   -0.2400    0.9300    0.0000 H   0  0
  1  2  1  0
  1  3  1  0
M  END
"""
CIF = """data_salt
_cell_length_a 5.0
_cell_length_b 5.0
_cell_length_c 6.0
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
_atom_site_occupancy
Na1 Na 0 0 0 1
Cl1 Cl 0.5 0.5 0.5 {share}
"""


def read(path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return lorem_openmm.read_structure(path)


def symbols(start):
    return "".join(atom.element.symbol for atom in start.topology.atoms())


def water(box=None):
    atoms = Atoms("OHH", positions=[[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]])
    if box is not None:
        atoms.set_cell(box)
        atoms.pbc = True
    return atoms


# -- formats --


@pytest.mark.parametrize(
    ("suffix", "ending", "pack"),
    [
        (".xyz", ".gz", gzip),
        (".xyz", ".xz", lzma),
        (".pdb", ".GZ", gzip),
        (".ent", ".gz", gzip),
        (".cif", ".bz2", bz2),
        (".mol", ".gz", gzip),
        (".sdf", ".gz", gzip),
        (".traj", ".gz", gzip),
        (".vasp", ".xz", lzma),
    ],
)
def test_kinds_of_files_compressed_and_not(tmp_path, suffix, ending, pack):
    box = [9.0, 10.0, 11.0]
    plain = tmp_path / f"s{suffix}"
    if suffix in (".mol", ".sdf"):
        plain.write_text(MOL + ("$$$$\n" if suffix == ".sdf" else ""))
    else:
        kind = {".pdb": "proteindatabank", ".ent": "proteindatabank", ".xyz": "extxyz"}.get(suffix)
        ase.io.write(plain, water(box), format=kind)
    packed = tmp_path / f"packed{suffix}{ending}"
    packed.write_bytes(pack.compress(plain.read_bytes()))
    for path in (plain, packed):
        start = read(path)
        assert symbols(start) == "OHH"
        assert start.positions == pytest.approx(water().positions, abs=1e-3)
        if suffix not in (".mol", ".sdf"):
            assert np.diag(start.box) == pytest.approx(box)


@pytest.mark.parametrize("name", ["POSCAR", "CONTCAR.gz", "s.db", "s.json", "s.xsf"])
def test_files_that_ase_knows_by_name_or_content(tmp_path, name):
    plain = tmp_path / name.removesuffix(".gz")
    ase.io.write(plain, water([9.0, 9.0, 9.0]), format="vasp" if plain.suffix == "" else None)
    if name.endswith(".gz"):
        (tmp_path / name).write_bytes(gzip.compress(plain.read_bytes()))
    assert symbols(read(tmp_path / name)) == "OHH"


def test_the_structures_of_a_file_are_counted_from_0_and_the_last_is_the_default(tmp_path):
    frames = [water() for _ in range(3)]
    for k, atoms in enumerate(frames):
        atoms.positions += k
    for name in ("s.traj", "s.db", "s.xyz"):
        ase.io.write(tmp_path / name, frames)
    (tmp_path / "s.sdf").write_text("".join(MOL.replace("0.9600", f"{k}.9600") + "$$$$\n" for k in range(3)))
    for name in ("s.traj", "s.db", "s.xyz"):
        for index, k in (("", 2), ("@0", 0), ("@-2", 1)):
            assert read(f"{tmp_path}/{name}{index}").positions[0, 0] == pytest.approx(k)
    for index, k in (("", 2), ("@0", 0), ("@-2", 1)):
        assert read(f"{tmp_path}/s.sdf{index}").positions[1, 0] == pytest.approx(k + 0.96)
    for name in ("s.traj", "s.db", "s.xyz", "s.sdf"):
        with pytest.raises(DataError, match=rf"{name}: structure 3 cannot be read.*(holds 3|holds fewer)"):
            read(f"{tmp_path}/{name}@3")
    with pytest.raises(ConfigError, match=r"`@` must be followed by the number of a structure.*xyz@last"):
        read(f"{tmp_path}/s.xyz@last")


def test_a_crystal_and_a_disordered_one(tmp_path):
    path = tmp_path / "salt.cif"
    path.write_text(CIF.format(share="1"))
    start = read(path)
    assert symbols(start) == "NaCl"
    assert start.positions[1] == pytest.approx([2.5, 2.5, 3.0])
    path.write_text(CIF.format(share="0.5"))
    with pytest.raises(
        DataError, match=r"salt.cif: every site must hold one whole atom; site 1 of the CIF holds 0.5 Cl"
    ):
        read(path)
    path.write_text("data_x\n_cell_length_a 5\n")
    with pytest.raises(DataError, match=r"salt.cif: cannot be read: holds neither `_atom_site.`"):
        read(path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("s.mol2", b"@<TRIPOS>MOLECULE\n", r"a .mol2 file is not read; convert it, for example `obabel s.mol2 -O"),
        ("s.gro.gz", gzip.compress(b"water\n", mtime=0), r"names atoms but no elements.*gmx editconf -f s.gro"),
        ("s.prmtop", b"%VERSION\n", "a topology without positions"),
        ("s.xtc", b"\x00\x00\x07\xcb", "a trajectory without elements"),
        ("s.smi", b"CCO\n", "write `smiles:` followed by"),
        (
            "s.lammps",
            b"LAMMPS data\n\n1 atoms\n1 atom types\n",
            "is of no kind that is known|types instead of elements",
        ),
        ("s.npz", b"PK\x03\x04", "is an archive"),
        ("s.foo", b"bar\n", r"is of no kind that is known.*read from PDB"),
        ("s.xyz", b"\xff\xfe3\x00\n\x00", "text in UTF-16"),
        ("s.pdb", b"\x80\x04\x95", "is a pickle"),
        ("s.xyz.gz", gzip.compress(WATER.encode(), mtime=0)[:30], "cut off or damaged"),
        ("s.sdf", MOL.replace("V2000", "V3000").encode(), "version V3000"),
        ("s.sdf", MOL.replace(" O ", " D ").encode(), r"the last.*line 5: 'D' is not .*write H\)"),
        ("s.mol", MOL.replace(" O ", " R#").encode(), "line 5: 'R#' is not the symbol of an element"),
        ("s.mol", b"garbage\n", "cannot be read as 'mol'"),
        ("s.pdb", b"REMARK nothing\nEND\n", "holds no ATOM or HETATM line"),
        ("s.pdb", b"ATOM      1  C   MOL A   1    ********   0.0     0.0\n", "line 1: '[*]{8}' is not a number.*wider"),
        ("s.cif", CIF.format(share="1").replace("0 0 0", "? ? ?").encode(), "a coordinate is missing"),
        ("s.cif", CIF.format(share="1").replace("_cell_length_a", "_a").encode(), "fractions of a cell, and no cell"),
        ("s.xyz", WATER.replace("0.96", "0,96").encode(), "line 4 .*Write a point"),
        ("s.xyz", WATER.replace("0.96", "1e6").encode(), r"at most 100000 Å; received .* for atom 1 \(H"),
        ("s.xyz", b'1\nLattice="nan 0 0 0 9 0 0 0 9"\nO 0 0 0\n', "the box must be of finite numbers"),
    ],
)
def test_files_that_are_not_read_say_what_to_do(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=rf"{name}\b.*({message})"):
        read(tmp_path / name)


@pytest.mark.parametrize("name", ["s.pdb", "s.cif", "s.xyz", "s.traj", "POSCAR", "s.xyz.gz", "s.foo"])
@pytest.mark.parametrize("content", [b"", b" \n\n"])
def test_empty_files(tmp_path, name, content):
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    with pytest.raises(DataError, match=rf"{name}: is empty"):
        read(tmp_path / name)


def test_byte_order_marks_and_line_ends_of_other_systems(tmp_path):
    (tmp_path / "s.xyz").write_bytes(b"\xef\xbb\xbf" + WATER.replace("\n", "\r\n").encode())
    assert symbols(read(tmp_path / "s.xyz")) == "OHH"
    ase.io.write(tmp_path / "s.pdb", water())
    (tmp_path / "s.pdb").write_bytes(b"\xef\xbb\xbf" + (tmp_path / "s.pdb").read_bytes())
    assert symbols(read(tmp_path / "s.pdb")) == "OHH"
    (tmp_path / "s.mol").write_bytes(b"\xef\xbb\xbf" + MOL.replace("\n", "\r\n").encode())
    assert symbols(read(tmp_path / "s.mol")) == "OHH"


# -- atoms --


@pytest.mark.parametrize(
    ("symbol", "advice"),
    [("D", "write H"), ("T", "write H"), ("8", "atomic number of O"), ("O1", "write O"), ("Xx", "Write the element")],
)
def test_symbols_that_are_no_elements_are_named_with_their_line(tmp_path, symbol, advice):
    (tmp_path / "s.xyz").write_text(WATER.replace("O ", f"{symbol} ").rstrip("\n"))
    with pytest.raises(DataError, match=rf"line 3 \(atom 0 of 3\): the symbol of an atom .*'{symbol}'\. .*{advice}"):
        read(tmp_path / "s.xyz")


def test_an_atom_without_element_is_named(tmp_path):
    (tmp_path / "s.xyz").write_text(WATER.replace("H 0.96", "X 0.96"))
    with pytest.raises(DataError, match=r"only chemical elements.*atom 1 \(from 0\)"):
        read(tmp_path / "s.xyz")


def pdb(*atoms):
    """A PDB file of one residue: name, alternate place, x, element."""
    rows = [
        f"HETATM{k:5d}  {name:<3}{place}MOL A   1    {x:8.3f}{0.9 * k:8.3f}{0:8.3f}  1.00  0.00          {element:>2}"
        for k, (name, place, x, element) in enumerate(atoms)
    ]
    return "\n".join([*rows, "END", ""])


def test_alternate_places_of_a_pdb_are_told(tmp_path):
    atoms = [("O", " ", 0.0, "O"), ("H1", "A", 0.1, "H"), ("H1", "B", 0.2, "H"), ("H2", " ", 0.3, "H")]
    (tmp_path / "s.pdb").write_text(pdb(*atoms))
    with pytest.warns(UserWarning, match=r"s.pdb: 1 atoms have alternate places, first H1 .*the first place of each"):
        start = lorem_openmm.read_structure(tmp_path / "s.pdb")
    assert start.positions[:, 0] == pytest.approx([0.0, 0.1, 0.3])


def test_deuterium_of_a_pdb_is_heavy_hydrogen(tmp_path):
    (tmp_path / "s.pdb").write_text(pdb(("O", " ", 0.0, "O"), ("D1", " ", 0.0, "D"), ("H2", " ", 0.3, "H")))
    elements = [atom.element for atom in read(tmp_path / "s.pdb").topology.atoms()]
    assert [element.atomic_number for element in elements] == [8, 1, 1]
    assert [round(element.mass._value) for element in elements] == [16, 2, 1]


@pytest.mark.parametrize("value", ["nan", "inf", "1e999"])
@pytest.mark.parametrize("suffix", [".xyz", ".pdb", ".vasp", ".traj"])
def test_places_that_are_no_numbers_are_named(tmp_path, suffix, value):
    atoms = water([9.0, 9.0, 9.0])
    atoms.positions[1, 2] = float(value)
    if suffix == ".pdb":
        ase.io.write(tmp_path / "s.pdb", water())
        lines = (tmp_path / "s.pdb").read_text().split("\n")
        row = next(k for k, line in enumerate(lines) if line.startswith("ATOM")) + 1
        lines[row] = lines[row][:46] + f"{value:>8}" + lines[row][54:]
        (tmp_path / "s.pdb").write_text("\n".join(lines))
    else:
        ase.io.write(tmp_path / f"s{suffix}", atoms)
    with pytest.raises(DataError, match=rf"s{suffix}: positions must be finite numbers.*for atom 1 \(H, counted"):
        read(tmp_path / f"s{suffix}")


def test_atoms_in_the_same_place_are_named_also_across_the_box(tmp_path):
    atoms = water() + water()
    ase.io.write(tmp_path / "s.xyz", atoms)
    with pytest.raises(DataError, match=r"received O0 and O3 \(0.000 Å\), H1 and H4 .*, H2 and H5 .*counted from 0"):
        read(tmp_path / "s.xyz")
    atoms = Atoms("He2", positions=[[0, 0, 0], [0, 0, 8.99]], cell=[9.0, 9.0, 9.0], pbc=True)
    ase.io.write(tmp_path / "b.xyz", atoms)
    with pytest.raises(DataError, match=r"received He0 and He1 \(0.010 Å\)"):
        read(tmp_path / "b.xyz")


# -- paths --


def test_names_with_at_signs_and_tildes(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("we@ird.xyz", "a@2", "dimer:x.xyz"):
        (tmp_path / name).write_text(WATER)
    assert symbols(read("~/we@ird.xyz")) == "OHH"
    assert symbols(read(tmp_path / "we@ird.xyz@0")) == "OHH"
    assert file_of(str(tmp_path / "a@2")) == (tmp_path / "a@2", None)
    monkeypatch.chdir(tmp_path)
    assert symbols(read("dimer:x.xyz")) == "OHH"
    with pytest.raises(ConfigError, match=r"an existing file; received `no@where.xyz`"):
        read("no@where.xyz")
    with pytest.raises(ConfigError, match="It is a folder"):
        read(tmp_path)
    for text in ("x" * 5000, "a\0b"):
        with pytest.raises(ConfigError, match="an existing file"):
            read(text)


# -- order and place --


def test_interleaved_molecules_keep_their_order_from_file_to_analysis(tmp_path, model_file):
    (tmp_path / "s.xyz").write_text(INTERLEAVED)
    start = read(tmp_path / "s.xyz")
    assert symbols(start) == "OOHHHH"
    assert start.positions == pytest.approx(ase.io.read(tmp_path / "s.xyz").positions)
    assert start.molecules == [[0, 2, 4], [1, 3, 5]]
    settings = config.Simulation(run="r", start=str(tmp_path / "s.xyz"), steps=2, report_interval=1, minimize=False)
    simulate(settings, model_file, tmp_path / "run")
    data = load_simulation(tmp_path / "run")
    assert "".join(atom.element.symbol for atom in data.trajectory.topology.atoms) == "OOHHHH"
    assert [members.tolist() for members in data.molecules] == [[0, 2, 4], [1, 3, 5]]
    with pytest.raises(ConfigError, match=r"must follow one another.*molecule 1 has atoms 0, 2, 4 \(from 0\)"):
        solvate(start, config.Solvent(box_edge=25.0))


def test_interleaved_molecules_of_a_pdb_with_one_residue(tmp_path):
    (tmp_path / "s.xyz").write_text(INTERLEAVED)
    ase.io.write(tmp_path / "s.pdb", ase.io.read(tmp_path / "s.xyz"))
    start = read(tmp_path / "s.pdb")
    assert symbols(start) == "OOHHHH"
    assert start.molecules == [[0, 2, 4], [1, 3, 5]]


TRICLINIC = np.array([[14.0, 0.0, 0.0], [5.0, 13.0, 0.0], [-4.0, 3.0, 12.0]])


def chain(n=24):
    """Carbon atoms in a zigzag of 30 Å, along no box vector."""
    k = np.arange(n)
    return Atoms(f"C{n}", positions=np.stack([10.0 + 1.1 * k, 2.0 + 0.8 * (k % 2), 3.0 + 0.6 * k], axis=1))


@pytest.mark.parametrize("suffix", [".xyz", ".pdb"])
@pytest.mark.parametrize("cell", [np.diag([14.0, 12.0, 14.0]), TRICLINIC])
def test_long_molecules_are_made_whole_along_their_bonds(tmp_path, cell, suffix):
    atoms = chain()
    atoms.set_cell(cell)
    atoms.pbc = True
    whole = atoms.positions - atoms.positions[0]
    atoms.wrap()
    assert np.linalg.norm(np.diff(atoms.positions, axis=0), axis=1).max() > 10.0
    if suffix == ".pdb":  # two residues, so that the file's own topology is kept
        topology = app.Topology()
        for start in (0, 12):
            residue = topology.addResidue("MOL", topology.addChain())
            for k in range(12):
                topology.addAtom(f"C{start + k}", app.element.carbon, residue)
        topology.setPeriodicBoxVectors(cell / 10.0 * unit.nanometer)
        with (tmp_path / "s.pdb").open("w") as stream:
            app.PDBFile.writeFile(topology, atoms.positions * unit.angstrom, stream)
    else:
        ase.io.write(tmp_path / "s.xyz", atoms)
    start = read(tmp_path / f"s{suffix}")
    assert start.positions - start.positions[0] == pytest.approx(whole, abs=3e-3)
    assert start.positions[0] == pytest.approx(atoms.positions[0], abs=2e-3)


def test_what_is_whole_or_endless_is_not_moved():
    crystal = bulk("MgO", "rocksalt", a=4.2, cubic=True) * (2, 2, 2)
    crystal.rattle(0.02, seed=1)
    polymer = Atoms(
        "C4", positions=[[0.2, 1, 1], [1.6, 1.4, 1], [3.0, 1, 1], [4.4, 1.4, 1]], cell=[5.6, 9, 9], pbc=True
    )
    polymer += molecule("H2O", cell=[5.6, 9, 9], pbc=True)
    polymer.positions[4:] += [3.0, 5.0, 8.9]  # partly outside
    for atoms in (crystal, polymer):
        before = atoms.positions.copy()
        assert np.array_equal(make_whole(atoms), before)
        wrapped = atoms.copy()
        wrapped.wrap()
        endless = slice(0, 4 if atoms is polymer else len(atoms))
        assert np.array_equal(make_whole(wrapped)[endless], wrapped.positions[endless])
    wrapped = polymer.copy()
    wrapped.wrap()
    assert np.linalg.norm(wrapped.positions[4] - wrapped.positions[5:], axis=1).max() > 3.0
    whole = make_whole(wrapped)
    assert np.linalg.norm(whole[4] - whole[5:], axis=1).max() < 1.1
