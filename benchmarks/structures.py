"""The structures of the benchmarks: made here, the same on every machine."""

from collections.abc import Callable

import numpy as np
from ase import Atoms
from ase.build import molecule
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

WATER_SPACING = 3.107  # Å: 0.1 atoms per Å³, the density of the liquid
CONTACT = 1.5  # Å: no atoms of two waters are closer


def sn2() -> Atoms:
    """Cl⁻ + CH₃Cl, 6 atoms."""
    return _rattled(molecule("CH3Cl") + Atoms("Cl", [[0.0, 0.0, -3.5]]))


def dimer() -> Atoms:
    """Methanol and methylamine, 13 atoms."""
    return _rattled(_pair("CH3OH", "H3CNH2", [4.0, 0.5, 0.3]))


def large_dimer() -> Atoms:
    """Isopropanol and benzene, 24 atoms."""
    return _rattled(_pair("C2H6CHOH", "C6H6", [0.3, 0.5, 4.8]))


def cumulene() -> Atoms:
    """C₉H₄, 13 atoms, its end groups turned by 90° as double bonds do."""
    carbons = [[0.0, 0.0, 1.29 * i] for i in range(9)]
    first = [[0.93, 0.0, -0.55], [-0.93, 0.0, -0.55]]
    last = [[0.0, 0.93, 8 * 1.29 + 0.55], [0.0, -0.93, 8 * 1.29 + 0.55]]
    return _rattled(Atoms("C9H4", carbons + first + last))


def water(n: int) -> Atoms:
    """A periodic cube of n³ randomly turned waters at the density of the liquid, 3n³ atoms."""
    rng = np.random.default_rng(n)
    oxygen, *hydrogens = molecule("H2O").positions
    rigid = np.stack([np.zeros(3), *(hydrogen - oxygen for hydrogen in hydrogens)])
    centers = WATER_SPACING * np.stack(np.meshgrid(*[np.arange(n)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    centers = centers + rng.normal(scale=0.1, size=centers.shape)
    positions = np.empty((n**3, 3, 3))
    turned = np.arange(n**3)
    while len(turned):  # those that touch another are turned anew
        turns = Rotation.random(len(turned), random_state=rng).as_matrix()
        positions[turned] = centers[turned, None] + np.einsum("nab,ib->nia", turns, rigid)
        turned = _touching(positions, n * WATER_SPACING)
    return Atoms("OH2" * n**3, positions.reshape(-1, 3), cell=[n * WATER_SPACING] * 3, pbc=True)


def _touching(positions: np.ndarray, side: float) -> np.ndarray:
    """Indices of the molecules that touch one of another index, for positions [n_molecules, 3, 3] in a cube."""
    inside = np.mod(positions.reshape(-1, 3), side)
    inside[inside >= side] = 0.0  # rounding
    pairs = cKDTree(inside, boxsize=side).query_pairs(CONTACT, output_type="ndarray") // 3
    return np.unique(pairs[pairs[:, 0] != pairs[:, 1]])


def _pair(first: str, second: str, shift: list[float]) -> Atoms:
    other = molecule(second)
    other.positions += shift
    return molecule(first) + other


def _rattled(atoms: Atoms) -> Atoms:
    atoms.rattle(0.05, seed=0)
    return atoms


STRUCTURES: dict[str, Callable[[], Atoms]] = {
    "sn2": sn2,
    "dimer13": dimer,
    "dimer24": large_dimer,
    "cumulene": cumulene,
    "water192": lambda: water(4),
    "water1536": lambda: water(8),
    "water5184": lambda: water(12),
    "water12288": lambda: water(16),
    "water24000": lambda: water(20),
    "water98304": lambda: water(32),
}


def walk(atoms: Atoms, step: int) -> np.ndarray:
    """Positions after some steps of a motion like that of 300 K dynamics at 0.5 fs: 0.01 Å per step and atom.

    Each atom swings about its place by about 0.1 Å along a line of its own, so that structures stay sound however
    long a benchmark runs, and lists with a skin are made anew as often as in dynamics.
    """
    rng = np.random.default_rng(len(atoms))
    amplitude = rng.normal(scale=0.06, size=(len(atoms), 3))
    phase = rng.uniform(0.0, 2.0 * np.pi, size=(len(atoms), 1))
    return atoms.positions + amplitude * (np.sin(0.15 * step + phase) - np.sin(phase))
