"""Batches of labelled structures for the benchmark of training: made here, the same on every machine.

Labels are random: how long a step takes does not depend on them.
"""

from collections.abc import Callable

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from structures import STRUCTURES

SMALL_BATCH, PERIODIC_BATCH = 32, 4  # structures; the paper trains with 32
DIFFERENT = 3  # batches, each of other structures, which take turns


def chain(n_carbons: int, rng: np.random.Generator) -> Atoms:
    """A cumulene whose end groups are turned against each other by any angle, rattled by 0.05 Å."""
    angle = rng.uniform(0.0, np.pi)
    turned = 0.93 * np.array([np.cos(angle), np.sin(angle), 0.0])
    last = np.array([0.0, 0.0, 1.29 * (n_carbons - 1)])
    carbons = [[0.0, 0.0, 1.29 * i] for i in range(n_carbons)]
    first = [[0.93, 0.0, -0.55], [-0.93, 0.0, -0.55]]
    atoms = Atoms(f"C{n_carbons}H4", [*carbons, *first, last + turned + [0, 0, 0.55], last - turned + [0, 0, 0.55]])
    atoms.rattle(0.05, rng=rng)
    return atoms


def cumulenes(rng: np.random.Generator) -> list[Atoms]:
    """Chains of 3 to 14 carbons, as in the published set."""
    return [chain(int(n), rng) for n in rng.integers(3, 15, SMALL_BATCH)]


def dimers(rng: np.random.Generator) -> list[Atoms]:
    """Two dimers of 13 and 24 atoms in turn, rattled by 0.05 Å, the molecules of each drawn apart by up to 2 Å."""
    batch = []
    for index in range(SMALL_BATCH):
        name, first = (("dimer13", 6), ("dimer24", 12))[index % 2]
        atoms = STRUCTURES[name]()
        atoms.positions[first:] += rng.uniform(0.0, 2.0) * np.array([0.0, 0.0, 1.0])
        atoms.rattle(0.05, rng=rng)
        batch.append(atoms)
    return batch


def water192(rng: np.random.Generator) -> list[Atoms]:
    """Periodic boxes of 64 waters, rattled by 0.02 Å."""
    batch = [STRUCTURES["water192"]() for _ in range(PERIODIC_BATCH)]
    for atoms in batch:
        atoms.rattle(0.02, rng=rng)
    return batch


BATCHES: dict[str, Callable[[np.random.Generator], list[Atoms]]] = {
    "cumulenes": cumulenes,
    "dimers": dimers,
    "water192": water192,
}


def batches(name: str) -> list[list[Atoms]]:
    """Returns the batches of a kind, with energies and forces."""
    rng = np.random.default_rng(1)
    made = [BATCHES[name](rng) for _ in range(DIFFERENT)]
    for atoms in (atoms for batch in made for atoms in batch):
        forces = rng.normal(size=(len(atoms), 3))
        atoms.calc = SinglePointCalculator(atoms, energy=float(rng.normal()), forces=forces)
    return made
