"""Two molecules at close quarters: what dynamics visits and scans of rigid molecules do not.

Close approaches from any side, hydrogen bonds, stretched bonds of hydrogen, and hydrogens on their way from one
molecule to the other: without them a model invents wells where it has seen nothing, and dynamics finds them. From each
of these, steps downhill lead to where molecules like to be; every step is a frame, with vibrations drawn anew, so that
no calculation is spent on the way as it is in a trajectory.
"""

from typing import NamedTuple

import numpy as np
from ase.data import covalent_radii
from scipy.spatial.distance import cdist
from scipy.spatial.transform import Rotation

from lorem_openmm.label.surfaces import contact_shift, surface_gap
from lorem_openmm.sampling.displacements import BOND_FACTOR, random_rotation, thermal_displacements
from lorem_openmm.sampling.fragments import Fragment

HYDROGEN, POLAR = 1, (7, 8, 16)  # donors and acceptors of hydrogen bonds
# Nearest atoms at a close approach, relative to their van der Waals sum, and the growth beyond it in Å.
CONTACT_FACTORS, LARGEST_GROWTH = (0.65, 0.95), 2.5
HYDROGEN_BOND_SHARE = 0.6  # of the encounters of molecules that can make one
POLAR_SHARE = 0.75  # of these: from N, O or S; else from any atom, since a model without walls takes those as well
TRANSFER_SHARE = 0.4  # of the hydrogen bonds: the hydrogen is on its way
DONOR_ACCEPTOR = (2.4, 3.3)  # Å between the two heavy atoms
LINEAR_WITHIN = 20.0  # standard deviation in degrees of the angle D-H···A from a straight line
SMALLEST_GAP = -0.9  # Å between the other atoms, the donor included; a hydrogen bond itself overlaps by about 1 Å
SMALLEST_HYDROGEN_GAP = -1.3  # Å between the hydrogen and the atoms beside the acceptor
BOUND_HYDROGEN = 1.0  # Å from the atom it belongs to
STRETCH_SHARE, STRETCHES = 0.4, (-0.15, 0.6)  # share of the molecules with a stretched bond of hydrogen; by how much, Å
MAX_TURNS = 20
DOWNHILL = (0.1, 0.5)  # Å that an atom moves at most in a step downhill


class Encounter(NamedTuple):
    """Two molecules close to each other.

    Attributes:
        first: [n_a, 3] positions of A in Å.
        second: [n_b, 3] positions of B in Å.
        kind: ``approach``, ``hydrogen_bond`` or ``transfer``, where a hydrogen is between the molecules.
    """

    first: np.ndarray
    second: np.ndarray
    kind: str


def draw_encounter(first: Fragment, second: Fragment, temperature: float, rng: np.random.Generator) -> Encounter:
    """Draws conformations of two molecules, their orientation and distance.

    Args:
        first: Molecule A.
        second: Molecule B.
        temperature: Temperature in K of the displacements.
        rng: Source of random numbers.
    """
    molecules = [_conformation(item, temperature, rng) for item in (first, second)]
    numbers = [first.numbers, second.numbers]
    bonds = _hydrogen_bonds((first, second))
    if bonds and rng.random() < HYDROGEN_BOND_SHARE:
        polar = [bond for bond in bonds if numbers[bond.giver][bond.donor] in POLAR]
        bonds = polar if polar and rng.random() < POLAR_SHARE else bonds
        bond = bonds[int(rng.integers(len(bonds)))]
        for _ in range(MAX_TURNS):
            found = _hydrogen_bonded(numbers, molecules, bond, rng)
            if found is not None:
                return found
    direction = rng.standard_normal(3)
    direction /= np.linalg.norm(direction)
    factor = rng.uniform(*CONTACT_FACTORS)
    shift = contact_shift(numbers[0], molecules[0], numbers[1], molecules[1], direction, factor)
    growth = LARGEST_GROWTH * rng.random() ** 2
    return Encounter(molecules[0], molecules[1] + (shift + growth) * direction, "approach")


def downhill(
    first: Fragment,
    second: Fragment,
    positions: np.ndarray,
    forces: np.ndarray,
    temperature: float,
    rng: np.random.Generator,
) -> np.ndarray:
    """Returns both molecules moved as rigid bodies along the force and torque on each, in new conformations.

    δr_i = α (F / n + τ × r_i / Σ r²), with α such that no atom moves by more than a length drawn at random

    Args:
        first: Molecule A.
        second: Molecule B.
        positions: [n_atoms, 3] positions in Å, A first.
        forces: [n_atoms, 3] forces there in eV/Å.
        temperature: Temperature in K of the displacements.
        rng: Source of random numbers.
    """
    n_first = len(first.numbers)
    parts = [np.split(array, [n_first]) for array in (positions, forces)]
    centres = [part.mean(axis=0) for part in parts[0]]
    arms = [part - centre for part, centre in zip(parts[0], centres, strict=True)]
    pushes = [part.mean(axis=0) for part in parts[1]]
    turns = [np.cross(arm, force).sum(axis=0) / (arm**2).sum() for arm, force in zip(arms, parts[1], strict=True)]
    steps = [push + np.cross(turn, arm) for push, turn, arm in zip(pushes, turns, arms, strict=True)]
    scale = rng.uniform(*DOWNHILL) / max(np.linalg.norm(np.vstack(steps), axis=1).max(), 1e-12)
    moved = []
    for item, arm, centre, push, turn in zip((first, second), arms, centres, pushes, turns, strict=True):
        shape = item.positions + thermal_displacements(item.numbers, item.positions, temperature, rng)
        pose, _ = Rotation.align_vectors(arm, item.positions - item.positions.mean(axis=0))
        rotation = Rotation.from_rotvec(scale * turn) * pose
        moved.append(rotation.apply(shape - shape.mean(axis=0)) + centre + scale * push)
    return np.vstack(moved)


def shares_hydrogen(numbers: np.ndarray, positions: np.ndarray, n_first: int) -> bool:
    """Returns whether a hydrogen of one molecule is within a bond's reach of a heavy atom of the other.

    Args:
        numbers: [n_atoms] atomic numbers, molecule A first.
        positions: [n_atoms, 3] positions in Å.
        n_first: Number of atoms of A.
    """
    in_first = np.arange(len(numbers)) < n_first
    pairs = (numbers == HYDROGEN)[:, None] & (numbers != HYDROGEN) & (in_first[:, None] != in_first)
    reach = BOND_FACTOR * (covalent_radii[numbers][:, None] + covalent_radii[numbers])
    return bool((pairs & (cdist(positions, positions) < reach)).any())


def _conformation(item: Fragment, temperature: float, rng: np.random.Generator) -> np.ndarray:
    positions = item.positions + thermal_displacements(item.numbers, item.positions, temperature, rng)
    if rng.random() < STRETCH_SHARE:
        hydrogens = np.flatnonzero(item.numbers == HYDROGEN)
        hydrogen = int(rng.choice(hydrogens))
        vector = positions[hydrogen] - positions[_neighbor(item.numbers, item.positions, hydrogen)]
        positions[hydrogen] += rng.uniform(*STRETCHES) * vector / np.linalg.norm(vector)
    return (positions - positions.mean(axis=0)) @ random_rotation(rng).T


def _neighbor(numbers: np.ndarray, positions: np.ndarray, hydrogen: int) -> int:
    """Returns the heavy atom that is bonded to a hydrogen: the nearest one, in units of covalent radii."""
    reach = covalent_radii[numbers] + covalent_radii[HYDROGEN]
    ratios = np.linalg.norm(positions - positions[hydrogen], axis=1) / reach
    ratios[numbers == HYDROGEN] = np.inf
    return int(ratios.argmin())


class _Bond(NamedTuple):
    giver: int  # 0 or 1: which molecule has the hydrogen
    donor: int
    hydrogen: int
    acceptor: int


def _hydrogen_bonds(pair: tuple[Fragment, Fragment]) -> list[_Bond]:
    """Returns every pair of a hydrogen and an N, O or S of the other molecule with room for it."""
    found = []
    for giver in (0, 1):
        own, other = pair[giver], pair[1 - giver]
        for hydrogen in np.flatnonzero(own.numbers == HYDROGEN):
            donor = _neighbor(own.numbers, own.positions, int(hydrogen))
            for acceptor in np.flatnonzero(np.isin(other.numbers, POLAR)):
                if _valence(other.numbers, other.positions, int(acceptor)) < 4:
                    found.append(_Bond(giver, donor, int(hydrogen), int(acceptor)))
    return found


def _valence(numbers: np.ndarray, positions: np.ndarray, atom: int) -> int:
    distances = np.linalg.norm(positions - positions[atom], axis=1)
    bonded = distances < BOND_FACTOR * (covalent_radii[numbers] + covalent_radii[numbers[atom]])
    return int(bonded.sum()) - 1


def _hydrogen_bonded(
    numbers: list[np.ndarray], molecules: list[np.ndarray], bond: _Bond, rng: np.random.Generator
) -> Encounter | None:
    """Puts the acceptor in line with the donor and its hydrogen; None where other atoms are in the way."""
    giver, taker = molecules[bond.giver].copy(), molecules[1 - bond.giver]
    axis = giver[bond.hydrogen] - giver[bond.donor]
    axis /= np.linalg.norm(axis)
    distance = rng.uniform(*DONOR_ACCEPTOR)
    tilt = Rotation.from_rotvec(np.radians(LINEAR_WITHIN) * rng.standard_normal() * _perpendicular(axis, rng))
    place = giver[bond.donor] + distance * tilt.apply(axis)
    turned = (taker - taker[bond.acceptor]) @ random_rotation(rng).T + place
    kind = "hydrogen_bond"
    if rng.random() < TRANSFER_SHARE:
        kind = "transfer"
        share = rng.uniform(BOUND_HYDROGEN, distance - BOUND_HYDROGEN) / distance
        giver[bond.hydrogen] = giver[bond.donor] + share * (place - giver[bond.donor])
    given, taken = numbers[bond.giver], numbers[1 - bond.giver]
    rest, others = (
        np.delete(np.arange(len(array)), k) for array, k in ((given, bond.hydrogen), (taken, bond.acceptor))
    )
    hydrogen = [bond.hydrogen]
    if surface_gap(given[rest], giver[rest], taken, turned) < SMALLEST_GAP:
        return None
    if surface_gap(given[hydrogen], giver[hydrogen], taken[others], turned[others]) < SMALLEST_HYDROGEN_GAP:
        return None
    return Encounter(giver, turned, kind) if bond.giver == 0 else Encounter(turned, giver, kind)


def _perpendicular(axis: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    vector = np.cross(axis, rng.standard_normal(3))
    return vector / np.linalg.norm(vector)
