"""Starting structures: molecules and complexes built from a short text, or structures read from files.

A topology has one residue per molecule and no bonds: bonds are the model's business. A SMILES brings its bonds, and a
PDB or PDBx file keeps its own residues and bonds.
"""

import logging
import re
from collections import Counter
from os.path import exists, isfile  # False for texts that no file can have, which Path's raise
from pathlib import Path

import numpy as np
from ase import Atoms
from openmm import app, unit
from openmm.app.internal.unitcell import reducePeriodicBoxVectors

from lorem_openmm.errors import ConfigError, did_you_mean
from lorem_openmm.files import expand_home
from lorem_openmm.sampling.dimers import dimer_complex
from lorem_openmm.sampling.fragments import fragment
from lorem_openmm.sampling.sn2_path import BONDS, sn2_complex
from lorem_openmm.sampling.water_box import water_boxes
from lorem_openmm.simulate.charges import TotalCharge
from lorem_openmm.simulate.molecules import bonded_groups, bonds, make_whole, members_of
from lorem_openmm.simulate.smiles import molecules_from_smiles
from lorem_openmm.simulate.start import Start, molecules_of
from lorem_openmm.simulate.structure_files import FileStructure, read_file
from lorem_openmm.units import ANGSTROM_PER_NANOMETER

logger = logging.getLogger(__name__)

FARTHEST = 500.0  # Å, beyond which a file would hold no useful digits
KINDS = {
    "sn2": "sn2:Cl,Br,3.2",
    "dimer": "dimer:acetate,methylammonium,4.0",
    "smiles": "smiles:CCO",
    "water": "water:64",
}
FEWEST_WATERS, MOST_WATERS = 8, 4096
WATER_DENSITY, WATER_TEMPERATURE = 1.0, 300.0  # g/cm³, K


def read_structure(structure: str | Path, seed: int = 0) -> Start:
    """Reads a structure file, or builds a structure from a short text: topology, positions, molecules, charge.

    Built structures are those of the labels: X⁻ behind CH₃Y on the analytic path of the reaction, relaxed fragments in
    a random relative orientation, a box of classical liquid water at 1 g/cm³. Files are read through OpenMM (PDB and
    PDBx; the first model) or ASE (all others; the last structure). ``CRYST1`` or ``_cell`` with three lengths of 1 Å
    means, by convention, that there is no box. Atoms keep their order; molecules that the box has broken are put
    together along their bonds.

    Args:
        structure: PDB, mmCIF, CIF, XYZ, SDF or another file of :mod:`lorem_openmm.simulate.structure_files`, also
            compressed; ``file@index`` for one of several structures;
            ``smiles:CCO``, ``sn2:Cl,Br,3.2``, ``dimer:acetate,methylammonium,4.0`` or ``water:64`` (a periodic box).
        seed: Conformer of a SMILES, relative orientation of a dimer, everything about a box of water.

    Raises:
        ConfigError: If the text is not one of these, a halogen or a fragment is unknown, a distance is out of reach, a
            SMILES cannot be read or built, or the file does not exist.
        DataError: If the file cannot be read, has atoms without element, nowhere or in the same place, is periodic in
            some directions only, has a box too small for its atoms, or a charge that is not a whole number.
        InstallationError: If a SMILES is given and RDKit is not installed.
    """
    start = str(structure)
    result = _built(start, seed) if is_built(start) else _read(start)
    logger.info("%s: %s", start, result.describe())
    return result


def _built(start: str, seed: int) -> Start:
    kind, _, rest = start.partition(":")
    if kind == "smiles":
        return molecules_from_smiles(rest.strip(), seed)
    if kind == "water":
        atoms = next(water_boxes(_number_of_waters(start, rest), WATER_DENSITY, WATER_TEMPERATURE, seed))
        atoms.positions = make_whole(atoms)
        return _from_atoms(atoms, TotalCharge(0, "water"))
    first, second, distance = _arguments(start, kind, rest)
    if kind == "sn2":
        if not {first, second} <= BONDS.keys():
            raise ConfigError(f"start: X and Y must be halogens out of {', '.join(BONDS)}; received `{start}`")
        atoms = sn2_complex(first, second, distance)
        return _from_atoms(atoms, TotalCharge(-1, "X⁻ + CH₃Y"), np.arange(len(atoms)) > 0)
    a, b = fragment(first), fragment(second)
    atoms = dimer_complex(first, second, distance, seed)
    charge = TotalCharge(a.charge + b.charge, "sum of the fragments'")
    return _from_atoms(atoms, charge, np.arange(len(atoms)) >= len(a.numbers))


def _read(start: str) -> Start:
    path, index = file_of(start)
    if not isfile(path):
        kind, colon, _ = start.partition(":")
        hint = did_you_mean(kind, KINDS) if colon else ""
        texts = ", ".join(f"`{example}`" for example in KINDS.values())
        what = " It is a folder, a pipe or a device." if exists(path) else ""
        raise ConfigError(f"start: must be {texts} or an existing file; received `{start}`.{what}{hint}")
    if index is not None and not re.fullmatch(r"[+-]?\d+", index):
        raise ConfigError(f"start: `@` must be followed by the number of a structure, from 0; received `{start}`")
    return _of_file(read_file(path, None if index is None else int(index)))


def is_built(start: str) -> bool:
    """Returns whether the text asks for a structure to be built, and not for a file."""
    return start.partition(":")[0] in KINDS and not isfile(start)


def file_of(start: str) -> tuple[Path, str | None]:
    """Returns the path and the index of ``file@index``; an existing file of that whole name has none.

    Args:
        start: Start as the user wrote it; ``~`` is the home folder.
    """
    whole = Path(expand_home(start))
    before, _, index = str(whole).rpartition("@")
    if before and not exists(whole) and (re.fullmatch(r"[+-]?\d+", index) or isfile(before)):
        return Path(before), index
    return whole, None


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


def _from_atoms(
    atoms: Atoms, charge: TotalCharge, groups: np.ndarray | None = None, isotopes: app.Topology | None = None
) -> Start:
    """Returns atoms in their order, with molecules by distance.

    OpenMM's residues are of consecutive atoms. A molecule whose atoms are not gets several, and its bonds to join them.

    Args:
        atoms: Atoms in a box that OpenMM takes, or in none.
        charge: Total charge of the atoms in e.
        groups: [n_atoms] number of each atom's molecule; None: by distance.
        isotopes: Isotopes with the elements of the atoms, where deuterium may be among them.
    """
    elements = [app.Element.getByAtomicNumber(int(number)) for number in atoms.numbers]
    if isotopes is not None:
        elements = [atom.element for atom in isotopes.atoms()]
    group = bonded_groups(atoms) if groups is None else groups
    runs = np.split(np.arange(len(atoms)), np.flatnonzero(np.diff(group)) + 1)
    parts = Counter(int(group[run[0]]) for run in runs)  # number of runs of each molecule
    topology = app.Topology()
    chain, made = topology.addChain(), []
    for run in runs:
        alone = len(run) == parts[int(group[run[0]])] == 1
        residue = topology.addResidue(atoms.symbols[run[0]].upper() if alone else "MOL", chain)
        counts: dict[str, int] = {}
        for index in run:
            symbol = elements[index].symbol
            counts[symbol] = counts.get(symbol, 0) + 1
            made.append(topology.addAtom(f"{symbol}{counts[symbol]}", elements[index], residue))
    scattered = {molecule for molecule, count in parts.items() if count > 1}
    if scattered:
        for first, second in bonds(atoms):
            if group[first] in scattered:
                topology.addBond(made[first], made[second])
        logger.info("the atoms of %d molecules do not follow one another; their order is kept", len(scattered))
    if atoms.pbc.all():
        vectors = atoms.cell[:] / ANGSTROM_PER_NANOMETER * unit.nanometer
        topology.setPeriodicBoxVectors(reducePeriodicBoxVectors(vectors))
    return Start(topology, atoms.positions.copy(), [members.tolist() for members in members_of(group)], *charge)


def _of_file(found: FileStructure) -> Start:
    """Returns the structure of a file: its residues where it has some, whole molecules, a box as OpenMM wants it."""
    atoms, topology = found.atoms, found.topology
    if topology is None or topology.getNumResidues() == 1 < len(set(bonded_groups(atoms).tolist())):
        if atoms.pbc.all():
            atoms = _upright(atoms)
        atoms.positions = make_whole(atoms)
        # ASE writes PDB files with one residue for everything.
        return _from_atoms(atoms, found.charge, isotopes=topology)
    if not atoms.pbc.all():
        topology.setPeriodicBoxVectors(None)
    return Start(topology, make_whole(atoms), molecules_of(topology), *found.charge)


def _upright(atoms: Atoms) -> Atoms:
    """Turns cell and atoms so that the first vector is along x and the second in the xy plane, as OpenMM wants it."""
    upright, rotation = atoms.cell.standard_form()
    if np.allclose(rotation, np.eye(3), atol=1e-9):
        turned = Atoms(atoms.numbers, positions=atoms.positions, cell=atoms.cell, pbc=True)
    else:
        logger.info("box and atoms are turned together, so that the first box vector is along x, as OpenMM wants it")
        turned = Atoms(atoms.numbers, positions=atoms.positions @ rotation.T, cell=upright, pbc=True)
    # A left-handed cell ends with a third vector pointing down; its opposite spans the same lattice.
    vectors = turned.cell[:]
    turned.set_cell(np.where(np.diag(vectors)[:, None] < 0, -vectors, vectors))
    return turned
