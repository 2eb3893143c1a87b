"""Which atoms form a molecule, and which of them react."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from ase import Atoms
from ase.data import covalent_radii
from ase.geometry import find_mic
from ase.neighborlist import neighbor_list
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

BOND_FACTOR = 1.25  # bonded: closer than this multiple of the sum of the covalent radii
HALOGENS = ("F", "Cl", "Br", "I")


class Sn2Atoms(NamedTuple):
    """Indices of the atoms of X⁻ + CH₃Y that react.

    Attributes:
        attacker: X, at the start the halogen of the ion.
        carbon: C.
        leaving: Y, at the start bound to carbon.
    """

    attacker: int
    carbon: int
    leaving: int


def find_sn2(symbols: Sequence[str], molecules: Iterable[Iterable[int]]) -> Sn2Atoms | None:
    """Returns the reacting atoms of X⁻ + CH₃Y, or None where there is something else.

    The molecules that hold carbon or halogens must have exactly one carbon, two halogens, and hydrogens; others, such
    as water around them, are left alone.

    Args:
        symbols: [n_atoms] elements.
        molecules: Indices of the atoms of each molecule.
    """
    reacting = [[int(k) for k in members] for members in molecules]
    reacting = [members for members in reacting if any(symbols[k] in ("C", *HALOGENS) for k in members)]
    atoms = [(k, len(members)) for members in reacting for k in members]
    halogens = sorted(((k, size) for k, size in atoms if symbols[k] in HALOGENS), key=lambda entry: entry[1])
    carbons = [k for k, _ in atoms if symbols[k] == "C"]
    if len(halogens) != 2 or len(carbons) != 1 or any(symbols[k] not in ("C", "H", *HALOGENS) for k, _ in atoms):
        return None
    return Sn2Atoms(halogens[0][0], carbons[0], halogens[1][0])  # the ion is the smaller molecule


def join_residues(residues: Sequence[int], bonds: Iterable[tuple[int, int]]) -> list[np.ndarray]:
    """Returns the atoms of each molecule of a topology: residues, joined where a bond connects them.

    Args:
        residues: [n_atoms] number of each atom's residue.
        bonds: Pairs of numbers of residues.

    Returns:
        Indices of the atoms of each molecule, in the order of their first atoms.
    """
    return _members(_components(max(residues) + 1, np.array(list(bonds)))[np.array(residues)])


def bonded_groups(atoms: Atoms) -> np.ndarray:
    """Returns the number of the molecule of each atom [n_atoms], joined by distances typical of bonds."""
    return _components(len(atoms), bonds(atoms))


def bonds(atoms: Atoms) -> np.ndarray:
    """Returns the pairs of atoms [n_bonds, 2], each once, at distances typical of bonds."""
    cutoffs = [BOND_FACTOR * covalent_radii[number] for number in atoms.numbers]
    pairs = np.stack(neighbor_list("ij", atoms, cutoffs), axis=1)
    return pairs[pairs[:, 0] < pairs[:, 1]]


def split(atoms: Atoms) -> list[Atoms]:
    """Splits a structure into molecules, each whole, in the order of their first atoms."""
    molecules = []
    for members in _members(bonded_groups(atoms)):
        molecule = atoms[members]
        if atoms.pbc.all():
            steps = molecule.positions - molecule.positions[0]
            molecule.positions = molecule.positions[0] + find_mic(steps, atoms.cell)[0]
        molecules.append(molecule)
    return molecules


def _components(count: int, pairs: np.ndarray) -> np.ndarray:
    rows, columns = pairs.reshape(-1, 2).astype(int).T
    joined = coo_array((np.ones(len(rows)), (rows, columns)), shape=(count, count))
    return connected_components(joined, directed=False)[1]


def _members(group: np.ndarray) -> list[np.ndarray]:
    return [np.flatnonzero(group == value) for value in dict.fromkeys(group.tolist())]
