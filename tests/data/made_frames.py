"""Small labelled molecules and crystals, made on the spot."""

from pathlib import Path

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

ENERGIES = {1: -13.6, 6: -1030.0, 8: -2040.0}


def labelled_atoms(index: int, periodic: bool = False, stress: bool = False) -> Atoms:
    """Returns a random molecule or crystal; the same for the same arguments."""
    random = np.random.default_rng([index, periodic])
    numbers = random.choice([1, 6, 8], size=random.integers(2, 7))
    numbers[0] = (1, 6, 8)[index % 3]
    grid = np.array([[x, y, z] for x in range(2) for y in range(2) for z in range(2)])[: len(numbers)]
    positions = 1.6 * grid + random.uniform(-0.3, 0.3, size=(len(numbers), 3))
    cell = np.array([[3.6, 0, 0], [1.1, 3.7, 0], [-0.8, 0.9, 3.9]]) if periodic else None
    atoms = Atoms(numbers, positions, cell=cell, pbc=periodic)
    results = {
        "energy": sum(ENERGIES[z] for z in numbers) + random.normal(),
        "forces": random.normal(size=(len(numbers), 3)),
    }
    if stress:
        results["stress"] = random.normal(scale=0.01, size=6)
    atoms.calc = SinglePointCalculator(atoms, **results)
    atoms.info |= {"label": "ABC"[index % 3], "distance": 0.5 * index, "pair": index // 4}
    return atoms


def isolated_atom(number: int, **results: object) -> Atoms:
    """Returns an atom in vacuum with its energy and no force, or other results."""
    atoms = Atoms([number], [[0.1, 0.2, 0.3]])
    atoms.calc = SinglePointCalculator(atoms, **({"energy": ENERGIES[number], "forces": np.zeros((1, 3))} | results))
    atoms.info |= {"label": "A", "distance": 0.0, "pair": -1}
    return atoms


def write_frames(path: Path, frames: list[Atoms]) -> Path:
    write(path, frames, format="extxyz")
    return path
