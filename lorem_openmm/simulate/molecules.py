"""Which atoms form a molecule, and which of them react."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from ase import Atoms
from ase.data import covalent_radii
from ase.neighborlist import neighbor_list
from scipy.sparse import coo_array
from scipy.sparse.csgraph import breadth_first_order, connected_components

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
    return members_of(_components(max(residues) + 1, np.array(list(bonds)))[np.array(residues)])


def bonded_groups(atoms: Atoms) -> np.ndarray:
    """Returns the number of the molecule of each atom [n_atoms], joined by distances typical of bonds."""
    return _components(len(atoms), bonds(atoms))


def bonds(atoms: Atoms) -> np.ndarray:
    """Returns the pairs of atoms [n_bonds, 2], each once, at distances typical of bonds."""
    first, second, _ = _bonds_with_shifts(atoms)
    pairs = np.stack([first, second], axis=1)[first < second]
    return np.unique(pairs, axis=0)


def make_whole(atoms: Atoms) -> np.ndarray:
    """Returns the positions [n_atoms, 3] with molecules that the box has broken put together along their bonds.

    From its first atom, which stays, each next atom takes the image that it is bonded through, however long the
    molecule and however often it crosses the box. What is bonded to its own image (a crystal, a polymer through the
    box) has no whole form and is left as it is.

    Args:
        atoms: Atoms in a box; without one, nothing is broken.
    """
    if not atoms.pbc.all():
        return atoms.positions.copy()
    first, second, shifts = _bonds_with_shifts(atoms)
    group = _components(len(atoms), np.stack([first, second], axis=1))
    boxes = _boxes_along_bonds(group, first, second, shifts)
    endless = (boxes[first] + shifts != boxes[second]).any(axis=1)
    boxes[np.isin(group, group[first[endless]])] = 0
    moved = boxes.any(axis=1)
    positions = atoms.positions.copy()
    positions[moved] += boxes[moved] @ atoms.cell[:]
    return positions


def _bonds_with_shifts(atoms: Atoms) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns i, j [n] in both directions and shifts S [n, 3]: j is bonded to i in the box S, at r_j + S·h."""
    cutoffs = [BOND_FACTOR * covalent_radii[number] for number in atoms.numbers]
    first, second, shifts = neighbor_list("ijS", atoms, cutoffs)
    return first, second, shifts


def _boxes_along_bonds(group: np.ndarray, first: np.ndarray, second: np.ndarray, shifts: np.ndarray) -> np.ndarray:
    """Returns the box [n_atoms, 3] of each atom, from each molecule's first one along a tree of bonds."""
    count, roots = len(group), np.unique(group, return_index=True)[1]
    # One tree for all molecules: another point, behind the atoms, is joined to the first atom of each.
    rows, columns = np.append(first, np.full(len(roots), count)), np.append(second, roots)
    joined = coo_array((np.ones(len(rows)), (rows, columns)), shape=(count + 1, count + 1))
    order, before = breadth_first_order(joined.tocsr(), count)
    shift = dict(zip(zip(first.tolist(), second.tolist(), strict=True), shifts, strict=True))
    boxes = np.zeros((count, 3), dtype=int)
    for atom in order[1 + len(roots) :].tolist():  # the first atoms come first and stay
        boxes[atom] = boxes[before[atom]] + shift[int(before[atom]), atom]
    return boxes


def _components(count: int, pairs: np.ndarray) -> np.ndarray:
    rows, columns = pairs.reshape(-1, 2).astype(int).T
    joined = coo_array((np.ones(len(rows)), (rows, columns)), shape=(count, count))
    return connected_components(joined, directed=False)[1]


def members_of(group: np.ndarray) -> list[np.ndarray]:
    """Returns the indices of the atoms of each group, in the order of their first atoms."""
    return [np.flatnonzero(group == value) for value in dict.fromkeys(group.tolist())]
