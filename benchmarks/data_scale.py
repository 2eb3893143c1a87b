"""Preparing, opening and batching a data set of hundreds of thousands of small structures.

Example: python benchmarks/data_scale.py --structures 450000 --processes 2 --output benchmarks/results/data_scale.json

The structures look like the published S_N2 set: five or six atoms, CH3 between two halogens. They are made by a
formula, so that nothing is downloaded; energies and forces are those of a pair potential. Each step runs in a fresh
process, whose peak memory is reported: of the process itself, and of its workers together at their own peaks.
"""

from pathlib import Path

import numpy as np

HALOGENS = {"F": 1.39, "Cl": 1.78, "Br": 1.94, "I": 2.14}  # distance to carbon in Å
SYMBOLS = [*HALOGENS]
ATOM_ENERGY = {"C": -1030.0, "H": -13.6, "F": -2715.0, "Cl": -12520.0, "Br": -70040.0, "I": -8099.0}
BLOCK = 10_000
CUTOFF = 5.0
BATCH = 32


def write_structures(path: Path, n_structures: int, seed: int = 0) -> Path:
    """Writes complexes X–CH3–Y, every tenth without Y; the same bytes for the same arguments."""
    random = np.random.default_rng(seed)
    with path.open("w", encoding="ascii") as stream:
        for start in range(0, n_structures, BLOCK):
            for text in _block(random, start, min(BLOCK, n_structures - start)):
                stream.write(text)
    return path


def _block(random: np.random.Generator, first: int, n: int) -> list[str]:
    kinds = random.integers(len(SYMBOLS), size=(n, 2))
    lengths = np.array([*HALOGENS.values()])[kinds]
    reach = random.uniform(0.9, 4.0, size=n)
    positions = np.zeros((n, 6, 3))
    angles = random.uniform(0, 2 * np.pi, size=(n, 1)) + np.arange(3) * 2 * np.pi / 3
    positions[:, 1:4, 0], positions[:, 1:4, 1] = 1.03 * np.cos(angles), 1.03 * np.sin(angles)
    positions[:, 1:4, 2] = random.uniform(-0.36, 0.36, size=(n, 1))
    positions[:, 4, 2], positions[:, 5, 2] = lengths[:, 0] * random.uniform(0.9, 1.3, size=n), -lengths[:, 1] * reach
    positions += random.normal(scale=0.04, size=positions.shape)
    weights = np.full((n, 6), 0.1)
    weights[np.arange(first, first + n) % 10 == 0, 5] = 0.0  # the last halogen is not there
    energy, forces = _pair_potential(positions, weights)
    rows = np.concatenate([positions, forces], axis=2)
    texts = []
    for k in range(n):
        size = 5 if weights[k, 5] == 0 else 6
        symbols = ["C", "H", "H", "H", SYMBOLS[kinds[k, 0]], SYMBOLS[kinds[k, 1]]][:size]
        total = energy[k] + sum(ATOM_ENERGY[symbol] for symbol in symbols)
        atoms = "".join(
            f"{symbol:2s} %15.8f %15.8f %15.8f %15.8f %15.8f %15.8f\n" % tuple(row)
            for symbol, row in zip(symbols, rows[k].tolist(), strict=False)
        )
        texts.append(
            f"{size}\nProperties=species:S:1:pos:R:3:forces:R:3 label={symbols[4]}-{symbols[-1]} "
            f'charge={5 - size} distance={-positions[k, 5, 2]:.6f} energy={total:.10f} pbc="F F F"\n{atoms}'
        )
    return texts


def _pair_potential(positions: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns E = Σ_{i<j} w_i w_j / r_ij (scaled to eV), [n], and the forces, [n, 6, 3]."""
    vectors = positions[:, :, None] - positions[:, None]
    distances = np.linalg.norm(vectors, axis=3) + np.eye(6) * 1e9
    pairs = 14.4 * weights[:, :, None] * weights[:, None] / distances
    return 0.5 * pairs.sum(axis=(1, 2)), np.sum((pairs / distances**2)[..., None] * vectors, axis=2)
