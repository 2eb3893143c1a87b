"""Whether molecules are still what they were at the start: bonds, atoms on top of each other, atoms exchanged.

Radii R are covalent ones. Distances of bonds and contacts in sound molecules, whatever their temperature below about
1,000 K, leave a wide gap to each limit:

    a bond of the start broke        r > r₀ + 0.5 Å for a while, or r > r₀ + 1 Å
    atoms are on top of each other   r < 0.6 (R_i + R_j); the shortest bonds have 0.77, and vibrations take a tenth
    a bond formed                    r < 1.15 (R_i + R_j); the shortest contacts that are no bonds have 1.4; a hydrogen
                                     must be nearer to its new neighbour than to its old one, in terms of R, for a while

A stretch of 0.5 Å is the rule of Eastman et al. for molecules that fell apart. It costs a C–H bond 1.6 eV and a C–C
bond 1.4 eV, 50 kT at 300 K. The while is for protons that go a little towards a neighbour and come back.

References:
    Eastman, Pritchard, Chodera, Markland, J. Chem. Theory Comput. 20, 8583 (2024).
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from ase.data import atomic_numbers, covalent_radii
from scipy.sparse import coo_array

from lorem_openmm.errors import ConfigError
from lorem_openmm.simulate.images import close_pairs, distances
from lorem_openmm.simulate.molecules import BOND_FACTOR, find_sn2

STRETCH, BROKEN = 0.5, 1.0  # Å longer than at the start: if it lasts; at once
OVERLAP, NEW_BOND = 0.6, 1.15  # of the sum of the covalent radii
BONDS, OVERLAPS, EXCHANGES = "bonds of the start", "atoms on top of each other", "atoms exchanged or merged"
# Elements whose bonds are covalent. Metal ions change their neighbours without anything being wrong.
COVALENT = frozenset(
    [
        *("H", "He", "B", "C", "N", "O", "F", "Ne", "Si", "P", "S", "Cl", "Ar"),
        *("Ge", "As", "Se", "Br", "Kr", "Te", "I"),
    ]
)
MOST_NAMES = 6
COUNTED = "atoms are counted from 0"

Reactive = bool | Sequence[int] | None


class Subject(NamedTuple):
    """What is watched.

    Attributes:
        symbols: [n_atoms] elements; an empty text for a site that is no atom.
        positions: [n_atoms, 3] Å at the start.
        box: [3, 3] Å at the start; None: vacuum.
        molecules: Indices of the atoms of each molecule.
        bonds: Pairs of atoms that are bonded whatever their distance; others are found by distance in each molecule.
        atoms: Those whose bonds are watched, and their contacts with all others; None: all.
    """

    symbols: Sequence[str]
    positions: np.ndarray
    box: np.ndarray | None
    molecules: Sequence[Sequence[int]]
    bonds: Iterable[tuple[int, int]] = ()
    atoms: Sequence[int] | None = None


class Finding(NamedTuple):
    """Something that is not as it should be in one frame.

    Attributes:
        kind: What.
        atoms: Indices, the same for as long as it lasts.
        certain: Whether one frame is enough to call the run unstable.
        text: Text in plain English.
    """

    kind: str
    atoms: tuple[int, ...]
    certain: bool
    text: str


def reactive_atoms(reactive: Reactive, symbols: Sequence[str], molecules: Sequence[Sequence[int]]) -> set[int]:
    """Returns the atoms whose bonds may break and form.

    Args:
        reactive: True: all; atoms; None: the halogens of X⁻ + CH₃Y.
        symbols: [n_atoms].
        molecules: Indices of the atoms of each molecule.

    Raises:
        ConfigError: If there is no such atom.
    """
    count = len(symbols)
    if reactive is None:
        sn2 = find_sn2(symbols, molecules)
        return set() if sn2 is None else {sn2.attacker, sn2.leaving}
    if isinstance(reactive, bool):
        return set(range(count)) if reactive else set()
    unknown = [index for index in reactive if not 0 <= index < count]
    if unknown:
        raise ConfigError(
            f"reactive: must name atoms from 0 to {count - 1}, as the start has {count}; received {unknown[:5]}; give "
            "their numbers in the order of the structure, or `true` for all"
        )
    return {int(index) for index in reactive}


class StructureWatch:
    """Compares frames with the start.

    Args:
        subject: Atoms, molecules and positions at the start.
        reactive: Atoms whose bonds may break and form.
    """

    def __init__(self, subject: Subject, reactive: set[int]):
        self.symbols = [symbol or "X" for symbol in subject.symbols]
        numbers = np.array([atomic_numbers.get(symbol, 0) for symbol in self.symbols])
        self.real = numbers > 0
        self.radii = np.where(self.real, covalent_radii[numbers], 0.0)
        self.covalent = np.isin(self.symbols, list(COVALENT))
        self.hydrogen = numbers == 1
        self.reactive = np.isin(np.arange(len(numbers)), list(reactive))
        self.around = np.flatnonzero(self.real) if subject.atoms is None else np.array(sorted(subject.atoms))
        self.molecule = np.full(len(numbers), -1)
        for number, members in enumerate(subject.molecules):
            self.molecule[list(members)] = number
        largest = 2 * self.radii[self.covalent].max(initial=0.0)
        self.cutoff = max(BOND_FACTOR * largest, OVERLAP * 2 * self.radii.max())
        pairs, found = close_pairs(subject.positions, subject.box, self.cutoff, self.around)
        bonded = found < BOND_FACTOR * self.radii[pairs].sum(axis=1)
        bonded &= self.covalent[pairs].all(axis=1)
        self.bonds = self._find_bonds(subject, pairs, bonded)
        self.lengths = distances(subject.positions, self.bonds, subject.box)
        # What is near at the start without being one molecule: residues whose bonds nobody declared, or a clash.
        self.joined = self._find_joined(pairs[bonded])
        self.partners = self._partners()
        self.breakable = ~self.reactive[self.bonds].any(axis=1)
        self.watched = self._describe(reactive)

    def _describe(self, reactive: set[int]) -> list[str]:
        if self.reactive[self.around].all():
            return [OVERLAPS]
        shown = ", ".join(self._name(atom) for atom in sorted(reactive)[:MOST_NAMES])
        but = f", but those of {shown}{' ...' if len(reactive) > MOST_NAMES else ''}" if reactive else ""
        return [BONDS + but, OVERLAPS, EXCHANGES + but]

    def check(self, positions: np.ndarray, box: np.ndarray | None) -> list[Finding]:
        """Returns what is wrong, the worst of each kind first, the kinds in order of how sure their words are.

        Args:
            positions: [n_atoms, 3] Å, finite.
            box: [3, 3] Å; None: vacuum.
        """
        lengths = distances(positions, self.bonds, box)
        pairs, found = close_pairs(positions, box, self.cutoff, self.around)
        kept = self.real[pairs].all(axis=1)
        pairs, found = pairs[kept], found[kept]
        relative = found / self.radii[pairs].sum(axis=1)
        return [
            *self._overlaps(pairs, found, relative),
            *self._new_bonds(pairs, found, relative, lengths),
            *self._broken_bonds(lengths),
        ]

    # -- the start --

    def _find_bonds(self, subject: Subject, pairs: np.ndarray, bonded: np.ndarray) -> np.ndarray:
        inside = self.molecule[pairs[:, 0]] == self.molecule[pairs[:, 1]]
        declared = np.array([sorted(pair) for pair in subject.bonds], dtype=int).reshape(-1, 2)
        declared = declared[np.isin(declared, self.around).all(axis=1) & self.real[declared].all(axis=1)]
        return np.unique(np.concatenate([pairs[bonded & inside], declared]), axis=0)

    def _find_joined(self, near: np.ndarray) -> np.ndarray:
        """Returns keys of the pairs that were near at the start, are bonded, or have a bonded neighbour in common."""
        n = len(self.radii)
        i, j = self.bonds.T
        bonded = coo_array((np.ones(2 * len(i)), (np.concatenate([i, j]), np.concatenate([j, i]))), shape=(n, n))
        bonded = bonded.tocsr()
        rows, columns = (bonded + bonded @ bonded).nonzero()
        return np.unique(
            np.concatenate([rows.astype(np.int64) * n + columns, near[:, 0].astype(np.int64) * n + near[:, 1]])
        )

    def _partners(self) -> dict[int, list[int]]:
        """Returns the numbers of the bonds of each hydrogen."""
        found: dict[int, list[int]] = {}
        for number in np.flatnonzero(self.hydrogen[self.bonds].any(axis=1)):
            for atom in self.bonds[number][self.hydrogen[self.bonds[number]]]:
                found.setdefault(int(atom), []).append(int(number))
        return found

    # -- findings --

    def _overlaps(self, pairs: np.ndarray, found: np.ndarray, relative: np.ndarray) -> list[Finding]:
        if relative.min(initial=np.inf) >= OVERLAP:
            return []
        k = int(np.argmin(relative))
        text = (
            f"{self._pair(pairs[k])} are on top of each other: {found[k]:.2f} Å apart, {relative[k]:.2f} of the sum of "
            f"their covalent radii (limit {OVERLAP:g}); {COUNTED}"
        )
        return [Finding(OVERLAPS, tuple(pairs[k].tolist()), True, text)]

    def _new_bonds(
        self, pairs: np.ndarray, found: np.ndarray, relative: np.ndarray, lengths: np.ndarray
    ) -> list[Finding]:
        near = relative < NEW_BOND
        near &= self.covalent[pairs].all(axis=1) & ~self.reactive[pairs].any(axis=1)
        near[near] = ~np.isin(pairs[near, 0].astype(np.int64) * len(self.radii) + pairs[near, 1], self.joined)
        findings = []
        for k in sorted(np.flatnonzero(near), key=lambda k: relative[k]):
            light = [int(atom) for atom in pairs[k] if self.hydrogen[atom]]
            if light and not any(relative[k] < self._own_bond(atom, lengths) for atom in light):
                continue
            text = self._describe_new_bond(pairs[k], found[k], light)
            findings.append(Finding(EXCHANGES, tuple(pairs[k].tolist()), not light, text))
        return findings

    def _own_bond(self, hydrogen: int, lengths: np.ndarray) -> float:
        own = self.partners.get(hydrogen, [])
        return min((lengths[b] / self.radii[self.bonds[b]].sum() for b in own), default=np.inf)

    def _describe_new_bond(self, pair: np.ndarray, distance: float, light: list[int]) -> str:
        i, j = (int(atom) for atom in pair)
        first, second = self.molecule[i] + 1, self.molecule[j] + 1
        apart = f"{distance:.2f} Å apart, closer than {NEW_BOND:g} of the sum of their covalent radii"
        if light and self.partners.get(light[0]):
            atom = light[0]
            other = j if atom == i else i
            old = next(int(a) for a in self.bonds[self.partners[atom][0]] if a != atom)
            where = f"molecule {self.molecule[old] + 1} to molecule {self.molecule[other] + 1}"
            moved = f"within molecule {first}" if first == second else f"from {where}"
            return (
                f"{self._name(atom)} has left {self._name(old)} for {self._name(other)}, {moved}: {apart}; {COUNTED}. "
                "If this transfer is wanted, name the atom in `reactive`"
            )
        where = f"two atoms of molecule {first} that had" if first == second else f"molecules {first} and {second}, had"
        return f"{self._pair(pair)}, {where} no bond at the start, have merged: {apart}; {COUNTED}"

    def _broken_bonds(self, lengths: np.ndarray) -> list[Finding]:
        stretch = np.where(self.breakable, lengths - self.lengths, 0.0)
        worst = sorted(np.flatnonzero(stretch > STRETCH), key=lambda k: -stretch[k])
        return [
            Finding(
                BONDS,
                tuple(self.bonds[k].tolist()),
                bool(stretch[k] > BROKEN),
                f"the bond {self._name(self.bonds[k][0])}–{self._name(self.bonds[k][1])} is broken: {lengths[k]:.2f} Å "
                f"long, {stretch[k]:.2f} Å longer than at the start (limit {STRETCH:g} Å); {COUNTED}",
            )
            for k in worst
        ]

    def _name(self, atom: int) -> str:
        return f"{self.symbols[atom]}[{atom}]"

    def _pair(self, pair: np.ndarray) -> str:
        return f"{self._name(pair[0])} and {self._name(pair[1])}"
