"""Starting structures: molecules and complexes built from a short text, or structures read from files.

A topology has one residue per molecule and no bonds: bonds are the model's business. A SMILES brings its bonds, and a
PDB or PDBx file keeps its own residues and bonds.
"""

import logging
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

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
from lorem_openmm.simulate.charges import TotalCharge, charge_of_atoms, charge_of_info
from lorem_openmm.simulate.molecules import bonded_groups, join_residues, split
from lorem_openmm.simulate.smiles import molecules_from_smiles
from lorem_openmm.simulate.start import Start
from lorem_openmm.units import ANGSTROM_PER_NANOMETER

logger = logging.getLogger(__name__)

FARTHEST = 500.0  # Å, beyond which a file would hold no useful digits
DENSEST = 1.0  # Å³ per atom; diamond has 5.7
KINDS = {
    "sn2": "sn2:Cl,Br,3.2",
    "dimer": "dimer:acetate,methylammonium,4.0",
    "smiles": "smiles:CCO",
    "water": "water:64",
}
FEWEST_WATERS, MOST_WATERS = 8, 4096
WATER_DENSITY, WATER_TEMPERATURE = 1.0, 300.0  # g/cm³, K
READERS = {".pdb": app.PDBFile, ".cif": app.PDBxFile, ".pdbx": app.PDBxFile, ".mmcif": app.PDBxFile}


def read_structure(structure: str | Path, seed: int = 0) -> Start:
    """Reads a structure file, or builds a structure from a short text: topology, positions, molecules, charge.

    Args:
        structure: PDB, PDBx/mmCIF or extended XYZ file, ``file@index`` for one of several structures;
            ``smiles:CCO``, ``sn2:Cl,Br,3.2``, ``dimer:acetate,methylammonium,4.0`` or ``water:64`` (a periodic box).
        seed: Conformer of a SMILES, relative orientation of a dimer, places of the waters.

    Raises:
        ConfigError: If the text is not one of these, or there is no such file.
        DataError: If the file cannot be read, or what it holds cannot be simulated.
        InstallationError: If a SMILES is given and RDKit is not installed.
    """
    return starting_structure(str(structure), seed)


def starting_structure(start: str, seed: int = 0) -> Start:
    """Builds or reads the structure that ``simulations.*.start`` names; see :func:`read_structure`.

    Built structures are those of the labels: X⁻ behind CH₃Y on the analytic path of the reaction, relaxed fragments in
    a random relative orientation, a box of classical liquid water at 1 g/cm³. Files are read through OpenMM (PDB and
    PDBx; the first model) or ASE (all others; the last structure). ``CRYST1`` or ``_cell`` with three lengths of 1 Å
    means, by convention, that there is no box.

    Args:
        start: ``sn2:X,Y,distance``, ``dimer:first,second,distance``, ``smiles:...``, ``water:number``, a file, or
            ``file@index``.
        seed: Conformer of a SMILES, relative orientation of a dimer, everything about a box of water.

    Raises:
        ConfigError: If the text is not one of these, a halogen or a fragment is unknown, a distance is out of reach, a
            SMILES cannot be read or built, or the file does not exist.
        DataError: If the file cannot be read, has atoms without element, is periodic in some directions only, has a box
            too small for its atoms, or a charge that is not a whole number.
        InstallationError: If a SMILES is given and RDKit is not installed.
    """
    result = _built(start, seed) if is_built(start) else _read(start)
    logger.info("%s: %s", start, result.describe())
    return result


def _built(start: str, seed: int) -> Start:
    kind, _, rest = start.partition(":")
    if kind == "smiles":
        built = molecules_from_smiles(rest.strip(), seed)
        source = "formal charges of the SMILES"
        return Start(built.topology, built.positions, molecules_of(built.topology), built.total_charge, source)
    if kind == "water":
        atoms = next(water_boxes(_number_of_waters(start, rest), WATER_DENSITY, WATER_TEMPERATURE, seed))
        return _from_molecules(split(atoms), TotalCharge(0, "water"), atoms.cell[:])
    first, second, distance = _arguments(start, kind, rest)
    if kind == "sn2":
        if not {first, second} <= BONDS.keys():
            raise ConfigError(f"start: X and Y must be halogens out of {', '.join(BONDS)}; received `{start}`")
        atoms = sn2_complex(first, second, distance)
        return _from_molecules([atoms[:1], atoms[1:]], TotalCharge(-1, "X⁻ + CH₃Y"))
    a, b = fragment(first), fragment(second)
    atoms = dimer_complex(first, second, distance, seed)
    charge = TotalCharge(a.charge + b.charge, "sum of the fragments'")
    return _from_molecules([atoms[: len(a.numbers)], atoms[len(a.numbers) :]], charge)


def _read(start: str) -> Start:
    path, index = file_of(start)
    if not path.is_file():
        kind, colon, _ = start.partition(":")
        hint = did_you_mean(kind, KINDS) if colon else ""
        texts = ", ".join(f"`{example}`" for example in KINDS.values())
        raise ConfigError(f"start: must be {texts} or an existing file; received `{start}`.{hint}")
    if path.suffix.lower() in READERS:
        return _read_pdb(path, "0" if path == Path(start) else index)
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


def molecules_of(topology: app.Topology) -> list[list[int]]:
    """Returns the atoms of each molecule of a topology: residues, joined where a bond connects them."""
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


def _from_molecules(molecules: Sequence[Atoms], charge: TotalCharge, vectors: np.ndarray | None = None) -> Start:
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
    return Start(topology, positions, molecules_of(topology), *charge)


def _read_pdb(path: Path, index: str) -> Start:
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            file = READERS[path.suffix.lower()](str(path))
            charge = charge_of_atoms(file.topology, path)
            frame = file.getPositions(asNumpy=True, frame=int(index))
    except DataError:
        raise
    except Exception as error:  # the parsers raise whatever they stumble over
        model = "" if index == "0" else f"model {index} "
        raise DataError(
            f"{path}: {model}cannot be read as {path.suffix} ({type(error).__name__}: {error!s:.200})"
        ) from None
    if any("duplicate atom" in str(warning.message) for warning in caught):
        return _read_ase(path, index)  # OpenMM leaves out atoms of equal names in a residue; some programs write such
    atoms = list(file.topology.atoms())
    unknown = [f"{atom.name} of residue {atom.residue.name}" for atom in atoms if atom.element is None]
    if unknown or not atoms:
        found = f"none for {', '.join(unknown[:3])}" if atoms else "no atoms at all"
        raise DataError(f"{path}: every atom needs an element (columns 77-78 of a PDB file); found {found}")
    positions = np.array(frame.value_in_unit(unit.angstrom))
    structure = Atoms([atom.element.atomic_number for atom in atoms], positions=positions)
    vectors = file.topology.getPeriodicBoxVectors()
    if vectors is not None:
        structure.set_cell(np.array(vectors.value_in_unit(unit.angstrom)))
        structure.pbc = True
    if not _has_box(structure, path):
        file.topology.setPeriodicBoxVectors(None)
    molecule = bonded_groups(structure)
    for residue in file.topology.residues():
        if len({molecule[atom.index] for atom in residue.atoms()}) > 1:  # as ASE writes: one residue for everything
            return _from_molecules(split(structure), charge, structure.cell[:] if structure.pbc.all() else None)
    return Start(file.topology, positions, molecules_of(file.topology), *charge)


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
    charge = charge_of_info(atoms.info, path)
    if not _has_box(atoms, path):
        return _from_molecules(split(atoms), charge)
    atoms = _upright(atoms)
    return _from_molecules(split(atoms), charge, atoms.cell[:])


def _has_box(atoms: Atoms, path: Path) -> bool:
    """Returns whether there is a box, after taking away one that stands for none."""
    if not atoms.pbc.all():
        return False
    if path.suffix.lower() in READERS and np.allclose(atoms.cell.lengths(), 1.0, atol=1e-3):
        warnings.warn(
            f"{path}: its box of 1 x 1 x 1 Å stands for no box (structures that are not crystals), so this is run in "
            "vacuum. If it is to be periodic, write the box into the file",
            stacklevel=2,
        )
        atoms.set_cell(None)
        atoms.pbc = False
        return False
    if abs(atoms.cell.volume) < DENSEST * len(atoms):
        raise DataError(
            f"{path}: a periodic cell must have at least {DENSEST:g} Å^3 per atom; received {len(atoms)} atoms in "
            f"{abs(atoms.cell.volume):.3g} Å^3 (no volume, or lengths in nm?)"
        )
    return True


def _upright(atoms: Atoms) -> Atoms:
    """Turns cell and atoms so that the first vector is along x and the second in the xy plane, as OpenMM wants it."""
    upright, rotation = atoms.cell.standard_form()
    turned = Atoms(atoms.numbers, positions=atoms.positions @ rotation.T, cell=upright, pbc=True)
    # A left-handed cell ends with a third vector pointing down; its opposite spans the same lattice.
    turned.set_cell(np.where(np.diag(upright)[:, None] < 0, -upright[:], upright[:]))
    return turned
