"""Crystals with known Madelung constants, random charged cells, and how to get potentials for them."""

import math
from typing import NamedTuple

import numpy as np
import torch
from ase import Atoms
from helpers import graph_of

from lorem_openmm.model import edge_vectors, lengths
from lorem_openmm.sums.batched import BatchedPairSum

FCC = [[0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]]
CUBE = np.eye(3).tolist()
HEXAGON = [[0.5, -math.sqrt(0.75), 0], [0.5, math.sqrt(0.75), 0], [0, 0, math.sqrt(8 / 3)]]


class Crystal(NamedTuple):
    """A crystal of lattice constant 1: −E per formula unit times the lattice constant is ``madelung``."""

    cell: list
    fractional: list
    charges: list
    units: int
    madelung: float


# Constants per nearest-neighbour distance: NaCl 1.747564594633, CsCl 1.762674773071, ZnS 1.638055053389 and 1.641322,
# CaF2 5.038784898, Cu2O 4.442475; of a perovskite 49.5098704 (charges 2, 4, −2) by lattice constant.
CRYSTALS = {
    "NaCl": Crystal(FCC, [[0, 0, 0], [0.5, 0.5, 0.5]], [1, -1], 1, 2 * 1.747564594633182),
    "CsCl": Crystal(CUBE, [[0, 0, 0], [0.5, 0.5, 0.5]], [1, -1], 1, 1.762674773071 / math.sqrt(0.75)),
    "zincblende": Crystal(FCC, [[0, 0, 0], [0.25, 0.25, 0.25]], [1, -1], 1, 1.638055053389 * 4 / math.sqrt(3)),
    "wurtzite": Crystal(
        HEXAGON,
        [[1 / 3, 2 / 3, 0], [1 / 3, 2 / 3, 3 / 8], [2 / 3, 1 / 3, 1 / 2], [2 / 3, 1 / 3, 7 / 8]],
        [1, -1, 1, -1],
        2,
        1.641322 / math.sqrt(3 / 8),
    ),
    "fluorite": Crystal(
        FCC, [[0, 0, 0], [0.25, 0.25, 0.25], [0.75, 0.75, 0.75]], [2, -1, -1], 1, 5.038784898 * 4 / math.sqrt(3)
    ),
    "cuprite": Crystal(
        CUBE,
        [[0, 0, 0], [0.5, 0.5, 0.5], [0.25, 0.25, 0.25], [0.25, 0.75, 0.75], [0.75, 0.25, 0.75], [0.75, 0.75, 0.25]],
        [-2, -2, 1, 1, 1, 1],
        2,
        4.442475 * 4 / math.sqrt(3),
    ),
    "perovskite": Crystal(
        CUBE,
        [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]],
        [2, 4, -2, -2, -2],
        1,
        49.5098704,
    ),
}

CELLS = {
    "cubic": CUBE,
    "triclinic": [[1, 0, 0], [0.3, 1.1, 0], [-0.4, 0.25, 0.9]],
    "skewed": [[1, 0, 0], [0.9, 1, 0], [0.7, 0.8, 1]],
}


def random_cell(shape: str = "cubic", n_atoms: int = 60, seed: int = 0, spacing: float = 1.8) -> Atoms:
    """Atoms at random, none closer than ``spacing``, at 0.04 atoms per Å³."""
    generator = np.random.default_rng(seed)
    cell = np.array(CELLS[shape], dtype=float)
    cell *= (n_atoms / 0.04 / abs(np.linalg.det(cell))) ** (1 / 3)
    images = np.array(np.meshgrid(*[[-1, 0, 1]] * 3)).reshape(3, -1).T @ cell
    positions = np.zeros((0, 3))
    while len(positions) < n_atoms:
        trial = generator.random(3) @ cell
        difference = (trial - positions)[:, None] + images
        if np.linalg.norm(difference, axis=2).min(initial=np.inf) > spacing:
            positions = np.vstack([positions, trial])
    return Atoms(numbers=np.ones(n_atoms), positions=positions, cell=cell, pbc=True)


def random_charges(n_atoms: int, n_channels: int = 3, seed: int = 0, dtype: torch.dtype = torch.float64):
    """Charges [n_atoms, n_channels] that do not add up to zero."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n_atoms, n_channels, generator=generator, dtype=dtype)


def potentials(module: BatchedPairSum, charges: torch.Tensor, *structures: Atoms, dtype=torch.float64):
    """V [n_atoms, n_channels] of structures joined into one batch."""
    graph = graph_of(*structures, cutoff=module.cutoff, dtype=dtype)
    return module(charges, graph, lengths(edge_vectors(graph)))
