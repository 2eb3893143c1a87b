"""Which atoms form a molecule."""

from collections.abc import Iterable, Sequence

import numpy as np
from ase import Atoms
from ase.data import covalent_radii
from ase.geometry import find_mic
from ase.neighborlist import neighbor_list
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

BOND_FACTOR = 1.25  # bonded: closer than this multiple of the sum of the covalent radii


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
