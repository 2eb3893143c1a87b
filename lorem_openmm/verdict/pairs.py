"""Pairs of relaxed fragments far apart: structures, what electrostatics says of them, and what a potential says."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement

import numpy as np
from ase import Atoms

from lorem_openmm.potential import Potential, graph_for
from lorem_openmm.sampling.displacements import random_rotation
from lorem_openmm.sampling.fragments import FAMILIES, Fragment, fragment, pair_class
from lorem_openmm.sampling.multipoles import interaction, multipoles

BATCH_SIZE = 64


@dataclass(frozen=True, eq=False)
class Pair:
    """Two relaxed fragments in one relative orientation.

    Attributes:
        first: Fragment A.
        second: Fragment B.
        rotations: [2, 3, 3] by which A and B are turned.
        direction: [3] unit vector from A to B.
    """

    first: Fragment
    second: Fragment
    rotations: np.ndarray
    direction: np.ndarray

    @property
    def label(self) -> str:
        """The class: AA, CA, CC, CP, PA or PP."""
        return pair_class(self.first, self.second)

    @property
    def n_ions(self) -> int:
        """How many of the two are charged."""
        return (self.first.charge != 0) + (self.second.charge != 0)

    @property
    def name(self) -> str:
        """Both names."""
        return f"{self.first.name} + {self.second.name}"

    def structure(self, distance: float) -> Atoms:
        """Returns both, their centres of mass at a distance in Å."""
        positions = [self.first.positions @ self.rotations[0].T, self.second.positions @ self.rotations[1].T]
        positions[1] = positions[1] + distance * self.direction
        numbers = np.concatenate([self.first.numbers, self.second.numbers])
        return Atoms(numbers, np.vstack(positions), info={"charge": self.first.charge + self.second.charge})

    def electrostatics(self, distance: float) -> float:
        """Returns the energy in eV of their charges, dipoles and quadrupoles."""
        first, second = multipoles(self.first, self.rotations[0]), multipoles(self.second, self.rotations[1])
        return interaction(first, second, distance * self.direction)


def all_pairs(names: Sequence[str], num_orientations: int) -> Iterator[Pair]:
    """Yields every pair of fragments, a fragment with itself included, in random orientations: always the same ones.

    Args:
        names: Names of the fragments.
        num_orientations: Number of orientations of each pair.

    Raises:
        ConfigError: If a name is unknown.
    """
    by_family = sorted((fragment(name) for name in dict.fromkeys(names)), key=lambda item: FAMILIES.index(item.family))
    for first, second in combinations_with_replacement(by_family, 2):
        for orientation in range(num_orientations):
            # Of the pair's own, so that it stays the same whatever other fragments a data set has.
            rng = np.random.default_rng([orientation, *f"{first.name} {second.name}".encode()])
            rotations = np.stack([random_rotation(rng), random_rotation(rng)])
            direction = rng.standard_normal(3)
            yield Pair(first, second, rotations, direction / np.linalg.norm(direction))


def energies(potential: Potential, structures: Sequence[Atoms]) -> np.ndarray:
    """Returns what a potential says of molecules in vacuum: [n_structures] eV.

    Args:
        potential: The model; its precision is used.
        structures: The molecules; their total charges are ``info["charge"]``, where there is one.
    """
    parts = [np.zeros(0)]
    for start in range(0, len(structures), BATCH_SIZE):
        batch = structures[start : start + BATCH_SIZE]
        positions, numbers = (
            np.concatenate([atoms.arrays[name] for atoms in batch]) for name in ("positions", "numbers")
        )
        charges = np.array([atoms.info.get("charge", np.nan) for atoms in batch])
        graph = graph_for(potential, positions, numbers, [len(atoms) for atoms in batch], total_charge=charges)
        parts.append(potential.evaluate(graph).energy.cpu().numpy())
    return np.concatenate(parts)
