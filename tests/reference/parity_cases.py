"""Loading of what tests/parity/make_reference.py wrote, and the deviations from it."""

import json
from pathlib import Path
from typing import NamedTuple

import ase
import numpy as np
import torch
from naive_lorem import brute_force_edges

from lorem_openmm.config import Model
from lorem_openmm.graph import AtomGraph, build_graph
from lorem_openmm.integrations.lorem_jax import Baseline, import_checkpoint


class Expected(NamedTuple):
    """What lorem-jax found for one structure: eV, eV/Å, eV (virial), e; ``energy`` includes the baseline."""

    atoms: ase.Atoms
    energy: float
    energy_without_baseline: float
    forces: np.ndarray
    virial: np.ndarray
    born_charges: np.ndarray | None


class Case(NamedTuple):
    """One model: its hyper-parameters, weights and baseline as imported, and what lorem-jax predicts with it."""

    hyperparameters: Model
    weights: dict[str, torch.Tensor]
    baseline: Baseline
    expected: dict[str, Expected]


class Deviation(NamedTuple):
    """Largest absolute deviations: eV/atom, eV/Å, eV (virial)."""

    energy: float
    forces: float
    virial: float


def checkpoint_folder(folder: Path) -> Path:
    """The checkpoint within the folder of a case."""
    return folder / "run" / "checkpoints" / "latest"


def load_case(folder: Path) -> Case:
    """Reads a case through the package's converter."""
    values = json.loads((folder / "reference.json").read_text(encoding="utf-8"))
    expected = {}
    for name, entry in values.items():
        atoms = ase.Atoms(entry["numbers"], positions=entry["positions"], cell=entry["cell"], pbc=entry["periodic"])
        forces, virial = np.array(entry["forces"]), np.array(entry["virial"])
        energies = entry["energy"], entry["energy_without_baseline"]
        born_charges = np.array(entry["born_charges"]) if "born_charges" in entry else None
        expected[name] = Expected(atoms, *energies, forces, virial, born_charges)
    return Case(*import_checkpoint(checkpoint_folder(folder)), expected)


def graph_of(structures: list[ase.Atoms], cutoff: float) -> AtomGraph:
    """All structures as one float64 batch, with neighbours found by brute force."""
    edges = [brute_force_edges(atoms, cutoff) for atoms in structures]
    sizes = [len(atoms) for atoms in structures]
    offsets = np.cumsum([0, *sizes[:-1]])
    return build_graph(
        torch.tensor(np.concatenate([atoms.positions for atoms in structures])),
        torch.tensor(np.concatenate([atoms.numbers for atoms in structures]), dtype=torch.long),
        sizes,
        torch.tensor(np.stack([atoms.cell.array for atoms in structures])),
        [bool(atoms.pbc.all()) for atoms in structures],
        torch.cat([found[0] + int(offset) for found, offset in zip(edges, offsets, strict=True)]),
        torch.cat([found[1] + int(offset) for found, offset in zip(edges, offsets, strict=True)]),
        torch.cat([found[2] for found in edges]),
    )
