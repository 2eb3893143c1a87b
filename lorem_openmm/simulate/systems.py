"""Starting structures: S_N2 complexes and dimers built from a short text, or structures read from files.

A topology has one residue per molecule and no bonds: bonds are the model's business. A PDB or PDBx file keeps its own
residues and bonds.
"""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import ase.io
import numpy as np
from ase import Atoms
from openmm import app, unit
from openmm.app.internal.unitcell import reducePeriodicBoxVectors

from lorem_openmm.data.label.dimers import dimer_complex
from lorem_openmm.data.label.fragments import fragment
from lorem_openmm.data.label.sn2_path import BONDS, sn2_complex
from lorem_openmm.data.label.water_box import water_boxes
from lorem_openmm.errors import ConfigError, DataError, did_you_mean
from lorem_openmm.simulate.molecules import bonded_groups, join_residues, split
from lorem_openmm.units import ANGSTROM_PER_NANOMETER

FARTHEST = 500.0  # Å, beyond which a file would hold no useful digits
KINDS = {"sn2": "sn2:Cl,Br,3.2", "dimer": "dimer:acetate,methylammonium,4.0", "water": "water:64"}
FEWEST_WATERS, MOST_WATERS = 8, 4096
WATER_DENSITY, WATER_TEMPERATURE = 1.0, 300.0  # g/cm³, K
READERS = {".pdb": app.PDBFile, ".cif": app.PDBxFile, ".pdbx": app.PDBxFile, ".mmcif": app.PDBxFile}


class Start(NamedTuple):
    """Where a simulation begins.

    Attributes:
        topology: OpenMM topology, with box vectors if periodic.
        positions: [n_atoms, 3] Å.
        molecules: indices of the atoms of each molecule.
    """

    topology: app.Topology
    positions: np.ndarray
    molecules: list[list[int]]


def starting_structure(start: str, seed: int = 0) -> Start:
    """Builds or reads the structure that ``simulations.*.start`` names.

    Built structures are those of the labels: X⁻ behind CH₃Y on the analytic path of the reaction, relaxed fragments in
    a random relative orientation, and a box of classical liquid water at 1 g/cm³.

    Args:
        start: ``sn2:X,Y,distance``, ``dimer:first,second,distance``, ``water:number``, or a file: PDB and PDBx through
            OpenMM, anything else through ASE, which reads the last structure, or the one of ``file@index``.
        seed: Relative orientation of a dimer; everything about a box of water.

    Raises:
        ConfigError: If the text is not one of these, a halogen or a fragment is unknown, a distance is out of reach, or
            the file does not exist.
        DataError: If the file cannot be read, has atoms without element, or is periodic in some directions only.
    """
    kind, colon, rest = start.partition(":")
    if kind == "water":
        atoms = next(water_boxes(_number_of_waters(start, rest), WATER_DENSITY, WATER_TEMPERATURE, seed))
        return _from_molecules(split(atoms), atoms.cell[:])
    if is_built(start):
        first, second, distance = _arguments(start, kind, rest)
        if kind == "sn2":
            if not {first, second} <= BONDS.keys():
                raise ConfigError(f"start: X and Y must be halogens out of {', '.join(BONDS)}; received `{start}`")
            atoms, n_first = sn2_complex(first, second, distance), 1
        else:
            atoms, n_first = dimer_complex(first, second, distance, seed), len(fragment(first).numbers)
        return _from_molecules([atoms[:n_first], atoms[n_first:]])
    path, index = file_of(start)
    if not path.is_file():
        hint = did_you_mean(kind, KINDS) if colon else ""
        raise ConfigError(
            f"start: must be `{KINDS['sn2']}`, `{KINDS['dimer']}` or an existing file; received `{start}`.{hint}"
        )
    if path.suffix.lower() in READERS:
        return _read_pdb(path)
    return _read_ase(path, index)


def is_built(start: str) -> bool:
    """Returns whether the text asks for a structure to be built, and not for a file."""
    return start.partition(":")[0] in KINDS


def file_of(start: str) -> tuple[Path, str]:
    """Returns the path and the index of ``file@index``; index -1 where none is given."""
    path, _, index = start.rpartition("@")
    if path and not Path(start).is_file():
        return Path(path), index
    return Path(start), "-1"


def _molecules_of(topology: app.Topology) -> list[list[int]]:
    residues = [atom.residue.index for atom in topology.atoms()]
    bonds = [(bond[0].residue.index, bond[1].residue.index) for bond in topology.bonds()]
    return [members.tolist() for members in join_residues(residues, bonds)]


def _number_of_waters(start: str, text: str) -> int:
    if not text.isdigit() or not FEWEST_WATERS <= int(text) <= MOST_WATERS:
        raise ConfigError(
            f"start: must look like `{KINDS['water']}`, with {FEWEST_WATERS} to {MOST_WATERS} molecules; "
            f"received `{start}`"
        )
    return int(text)


def _arguments(start: str, kind: str, rest: str) -> tuple[str, str, float]:
    parts = [part.strip() for part in rest.split(",")]
    try:
        first, second, text = parts
        distance = float(text)
    except ValueError:
        raise ConfigError(f"start: must look like `{KINDS[kind]}`; received `{start}`") from None
    if not 0.0 <= distance <= FARTHEST:
        raise ConfigError(f"start: the distance must be from 0 to {FARTHEST:g} Å; received {text} in `{start}`")
    return first, second, distance


# -- from atoms to topologies --


def _from_molecules(molecules: Sequence[Atoms], vectors: np.ndarray | None = None) -> Start:
    topology = app.Topology()
    chain = topology.addChain()
    for atoms in molecules:
        name = atoms.symbols[0].upper() if len(atoms) == 1 else "MOL"
        residue = topology.addResidue(name, chain)
        counts: dict[str, int] = {}
        for symbol in atoms.symbols:
            counts[symbol] = counts.get(symbol, 0) + 1
            topology.addAtom(f"{symbol}{counts[symbol]}", app.Element.getBySymbol(symbol), residue)
    if vectors is not None:
        topology.setPeriodicBoxVectors(reducePeriodicBoxVectors(vectors / ANGSTROM_PER_NANOMETER * unit.nanometer))
    positions = np.concatenate([atoms.positions for atoms in molecules])
    return Start(topology, positions, _molecules_of(topology))


def _read_pdb(path: Path) -> Start:
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            file = READERS[path.suffix.lower()](str(path))
    except Exception as error:  # the parsers raise whatever they stumble over
        raise DataError(f"{path}: cannot be read as {path.suffix} ({type(error).__name__}: {error!s:.200})") from None
    if any("duplicate atom" in str(warning.message) for warning in caught):
        return _read_ase(path, "0")  # OpenMM leaves out atoms of equal names in a residue; some programs write such
    atoms = list(file.topology.atoms())
    unknown = [f"{atom.name} of residue {atom.residue.name}" for atom in atoms if atom.element is None]
    if unknown or not atoms:
        found = f"none for {', '.join(unknown[:3])}" if atoms else "no atoms at all"
        raise DataError(f"{path}: every atom needs an element (columns 77-78 of a PDB file); found {found}")
    positions = np.array(file.getPositions(asNumpy=True).value_in_unit(unit.angstrom))
    structure = Atoms([atom.element.atomic_number for atom in atoms], positions=positions)
    vectors = file.topology.getPeriodicBoxVectors()
    if vectors is not None:
        structure.set_cell(np.array(vectors.value_in_unit(unit.angstrom)))
        structure.pbc = True
    molecule = bonded_groups(structure)
    for residue in file.topology.residues():
        if len({molecule[atom.index] for atom in residue.atoms()}) > 1:  # as ASE writes: one residue for everything
            return _from_molecules(split(structure), structure.cell[:] if vectors is not None else None)
    return Start(file.topology, positions, _molecules_of(file.topology))


def _read_ase(path: Path, index: str) -> Start:
    try:
        atoms: Any = ase.io.read(path, index=int(index))
    except Exception as error:  # as above: every format has its own ways to fail
        raise DataError(
            f"{path}: structure {index} cannot be read ({type(error).__name__}: {error!s:.200}); "
            "give an extended XYZ, PDB or PDBx file"
        ) from None
    if len(atoms) == 0 or 0 in atoms.numbers:
        raise DataError(f"{path}: must hold at least one atom, and only chemical elements; received {atoms.symbols}")
    if atoms.pbc.any() and not atoms.pbc.all():
        raise DataError(
            f"{path}: must be periodic in all three directions or in none; received pbc = {atoms.pbc.tolist()}"
        )
    if not atoms.pbc.all():
        return _from_molecules(split(atoms))
    if abs(atoms.cell.volume) < 1e-6:
        raise DataError(f"{path}: is periodic but its cell has no volume")
    atoms = _upright(atoms)
    return _from_molecules(split(atoms), atoms.cell[:])


def _upright(atoms: Atoms) -> Atoms:
    """Turns cell and atoms so that the first vector is along x and the second in the xy plane, as OpenMM wants it."""
    upright, rotation = atoms.cell.standard_form()
    turned = Atoms(atoms.numbers, positions=atoms.positions @ rotation.T, cell=upright, pbc=True)
    # A left-handed cell ends with a third vector pointing down; its opposite spans the same lattice.
    turned.set_cell(np.where(np.diag(upright)[:, None] < 0, -upright[:], upright[:]))
    return turned
