"""Structures, graphs and potentials that many tests share."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from ase import Atoms
from ase.build import molecule
from openmm import app

from lorem_openmm.config import Model
from lorem_openmm.data.chunks import explain, read_chunk, split_file
from lorem_openmm.data.formats import unpack
from lorem_openmm.data.neighbors import neighbor_list
from lorem_openmm.data.structures import Keys, Structure
from lorem_openmm.errors import DataError
from lorem_openmm.graph import AtomGraph, build_graph
from lorem_openmm.model import Lorem
from lorem_openmm.potential import Potential

BASELINE = {1: -13.6, 6: -1030.5, 8: -2041.8, 17: -12518.0}


def small_model(**changes: object) -> Model:
    """Hyper-parameters small enough for quick tests, with every part of the model in use."""
    settings = {
        "cutoff": 4.0,
        "max_degree": 3,
        "max_charge_degree": 2,
        "num_features": 16,
        "num_radial": 8,
        "num_species": 4,
        "num_spherical_features": 3,
    }
    return Model(**{**settings, **changes})


def small_potential(seed: int = 0, **changes: object) -> Potential:
    """A random-weight potential in float64 for H, C, O, Cl, its biases away from zero."""
    torch.manual_seed(seed)
    model = Lorem(small_model(**changes))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias") or ".norm_" in name:
                parameter += 0.1 * torch.randn_like(parameter)
    return Potential(model, BASELINE).double()


def rattled_molecule(name: str = "CH3CH2OH", seed: int = 1) -> Atoms:
    """An asymmetric molecule in vacuum."""
    atoms = molecule(name)
    atoms.rattle(0.1, seed=seed)
    return atoms


def rattled_box(seed: int = 2) -> Atoms:
    """Two waters and a chloride in a skewed cell that is shorter than twice the cutoff."""
    atoms = molecule("H2O") + molecule("H2O") + Atoms("Cl")
    atoms.positions[3:6] += [2.6, 1.1, 0.4]
    atoms.positions[6] = [0.7, 3.1, 2.9]
    atoms.set_cell([[5.3, 0.0, 0.0], [1.1, 5.0, 0.0], [-0.8, 0.9, 5.6]])
    atoms.pbc = True
    atoms.rattle(0.1, seed=seed)
    return atoms


def graph_of(*structures: Atoms, cutoff: float = 4.0, dtype: torch.dtype = torch.float64) -> AtomGraph:
    """Joins structures into one graph."""
    offset, centers, neighbors, shifts = 0, [], [], []
    for atoms in structures:
        edges = neighbor_list(atoms.positions, atoms.cell[:], bool(atoms.pbc.all()), cutoff)
        centers.append(edges.centers + offset)
        neighbors.append(edges.neighbors + offset)
        shifts.append(edges.cell_shifts)
        offset += len(atoms)
    return build_graph(
        torch.tensor(np.concatenate([atoms.positions for atoms in structures]), dtype=dtype),
        torch.tensor(np.concatenate([atoms.numbers for atoms in structures]), dtype=torch.long),
        [len(atoms) for atoms in structures],
        torch.tensor(np.stack([atoms.cell[:] for atoms in structures]), dtype=dtype),
        [bool(atoms.pbc.all()) for atoms in structures],
        torch.tensor(np.concatenate(centers), dtype=torch.long),
        torch.tensor(np.concatenate(neighbors), dtype=torch.long),
        torch.tensor(np.concatenate(shifts), dtype=dtype),
    )


def random_orthogonal(seed: int, reflect: bool) -> np.ndarray:
    """A random rotation, or a random rotation with inversion."""
    q, r = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    q = q * np.sign(np.diag(r))
    sign = np.linalg.det(q) * (-1.0 if reflect else 1.0)
    return q * np.sign(sign)


def topology_of(atoms: Atoms) -> app.Topology:
    """A topology of one residue without bonds, periodic if the atoms are."""
    topology = app.Topology()
    residue = topology.addResidue("MOL", topology.addChain())
    for symbol in atoms.symbols:
        topology.addAtom(symbol, app.Element.getBySymbol(symbol), residue)
    if atoms.pbc.all():
        topology.setPeriodicBoxVectors(atoms.cell[:] / 10.0)
    return topology


def read_structures(
    path: str | Path, energy_key: str = "energy", forces_key: str = "forces", stress_key: str | None = None
) -> Iterator[Structure]:
    """Reads the structures of a file one by one, as preparing a data set does."""
    with tempfile.TemporaryDirectory() as folder:
        for chunk in split_file(unpack(Path(path), Path(folder)), name=str(path))[0]:
            try:
                yield from read_chunk(chunk, Keys(energy_key, forces_key, stress_key))
            except DataError:
                explain(chunk)
                raise
