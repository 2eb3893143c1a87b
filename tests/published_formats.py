"""Small files in the formats of the published data sets."""

from pathlib import Path

import numpy as np
from ase.data import atomic_numbers


def runner_text(symbols: list[str], seed: int = 0, cell: np.ndarray | None = None, charge: float = 1.0) -> str:
    """One structure of a RuNNer input.data file, in bohr and hartree."""
    random = np.random.default_rng(seed)
    positions = 3.0 * np.arange(len(symbols))[:, None] * [1.0, 0.3, 0.1] + random.normal(size=(len(symbols), 3))
    forces = 0.01 * random.normal(size=(len(symbols), 3))
    lines = ["begin", "comment made by a test"]
    if cell is not None:
        lines += [f"lattice {x:16.8f} {y:16.8f} {z:16.8f}" for x, y, z in cell]
    for symbol, (x, y, z), (fx, fy, fz) in zip(symbols, positions, forces, strict=True):
        lines.append(f"atom {x:14.8f} {y:14.8f} {z:14.8f} {symbol} 0.5 0.0 {fx:14.8f} {fy:14.8f} {fz:14.8f}")
    lines += [f"energy {-5.0 * len(symbols) + random.normal():.9f}", f"charge {charge}", "end"]
    return "\n".join(lines) + "\n"


def padded(n_structures: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Arrays R, Z, N, E, F, Q, D of the S_N2 archive: halides, methyl halides and complexes, zero-padded."""
    random = np.random.default_rng(seed)
    kinds = [["F"], ["C", "H", "H", "H", "Cl"], ["C", "H", "H", "H", "Br", "I"]]
    data = {"R": np.zeros((n_structures, 6, 3)), "F": np.zeros((n_structures, 6, 3)), "E": np.empty(n_structures)}
    data |= {"Z": np.zeros((n_structures, 6), dtype=np.int64), "N": np.empty(n_structures, dtype=np.int64)}
    data |= {"Q": np.full(n_structures, -1.0), "D": random.normal(size=(n_structures, 3))}
    for index in range(n_structures):
        numbers = [atomic_numbers[symbol] for symbol in kinds[index % 3]]
        n_atoms = len(numbers)
        data["N"][index], data["Z"][index, :n_atoms] = n_atoms, numbers
        data["R"][index, :n_atoms] = 2.0 * np.eye(6, 3)[:n_atoms] + np.arange(n_atoms)[:, None]
        data["R"][index, :n_atoms] += 0.1 * random.normal(size=(n_atoms, 3))
        data["F"][index, :n_atoms] = random.normal(size=(n_atoms, 3)) if n_atoms > 1 else 0.0
        data["E"][index] = -3.0 * n_atoms + random.normal()
    return data


def cumulene_arrays(n_structures: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Arrays of the cumulene archive: chains of nine carbons with two hydrogens at either end."""
    random = np.random.default_rng(seed)
    chain = np.zeros((13, 3))
    chain[:9, 2] = 1.3 * np.arange(9)
    chain[9:] = [[0.9, 0, -0.6], [-0.9, 0, -0.6], [0, 0.9, 11.0], [0, -0.9, 11.0]]
    return {
        "positions": chain + 0.03 * random.normal(size=(n_structures, 13, 3)),
        "forces": random.normal(size=(n_structures, 13, 3)),
        "energy": -64.0 + random.normal(size=(n_structures, 1)),
        "atomic_numbers": np.tile([6] * 9 + [1] * 4, (n_structures, 1)),
    }


def biodimers_text(n_dimers: int, seed: int = 0) -> str:
    """Dimers of water in boxes of 30 Å as they are published: separations grow by 0 to 9 Å."""
    random = np.random.default_rng(seed)
    labels = ("AA", "CA", "CC", "CP", "PA", "PP")
    water = np.array([[0.0, 0.0, 0.1], [0.0, 0.76, -0.48], [0.0, -0.76, -0.48]])
    text = ""
    for dimer in range(n_dimers):
        initial = 4.0 + random.random()
        for growth in (0.0, 0.25, 0.5, 1.0, 2.0, 3.0, 4.0, 4.5, 6.0, 9.0):
            positions = np.concatenate([water, water + (initial + growth) * np.eye(3)[0]])
            positions += 0.01 * random.normal(size=positions.shape)
            forces = 0.1 * random.normal(size=positions.shape)
            # The published growths are differences of two long numbers: 4.0 is not met exactly.
            distance = initial + growth - (1e-9 if growth == 4.0 else 0.0)
            text += '6\nLattice="30.0 0.0 0.0 0.0 30.0 0.0 0.0 0.0 30.0" Properties=species:S:1:pos:R:3:forces:R:3 '
            text += f"dimer_id={dimer} label={labels[dimer % 6]} energy={-4160.0 + random.normal():.10f} chargeA=0 "
            text += f"energyA=-2080.1 chargeB=0 energyB=-2080.2 indexB=3 distance={distance!r} "
            text += f'distance_initial={initial!r} inter_energy=0.01 pbc="T T T"\n'
            for symbol, position, force in zip("OHHOHH", positions, forces, strict=True):
                text += symbol.ljust(2) + "".join(f"{value:16.8f}" for value in (*position, *force)) + "\n"
    return text


def shifted(data: dict[str, np.ndarray], shifts: dict[int, float]) -> dict[str, np.ndarray]:
    """The S_N2 arrays as the other archive has them: its names, a mask, energies less their shifts."""
    offset = sum(np.where(data["Z"] == number, shift, 0.0).sum(axis=1) for number, shift in shifts.items())
    return {
        "positions": data["R"],
        "forces": data["F"],
        "energy": (data["E"] - offset)[:, None],
        "atomic_numbers": data["Z"],
        "node_mask": data["Z"] > 0,
    }


def save(path: Path, arrays: dict[str, np.ndarray]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, **arrays)
    return path
