"""Models, structures and comparisons that the tests of Dynamics share."""

import numpy as np
import torch
from ase import Atoms
from ase.build import molecule
from helpers import rattled_box, rattled_molecule

from lorem_openmm.inference.dynamics import Dynamics
from lorem_openmm.potential import Potential, Prediction

VARIANTS = {
    "long range": {},
    "no long range": {"long_range": False},
    "scalar charges": {"max_charge_degree": 0},
    "embedded start": {"initialize_node_features": True},
    "start at zero": {"initialize_node_features": False},
    "smooth norms": {"norm_smoothing": 1e-3},
    "one round": {"num_message_passing": 1, "equivariant_message_passing": False},
    "two rounds": {"num_message_passing": 2, "equivariant_message_passing": False},
    "equivariant round": {"num_message_passing": 1, "equivariant_message_passing": True},
    "two equivariant rounds": {"num_message_passing": 2, "equivariant_message_passing": True},
    "rounds without long range": {"num_message_passing": 1, "long_range": False},
    "scalars only": {"max_degree": 0, "max_charge_degree": 0},
    "degree 1": {"max_degree": 1, "max_charge_degree": 1},
    "other basis": {"radial_basis": "basic_gaussian"},
    "other cutoff": {"cutoff_function": "smooth_cutoff"},
}


def waters(repeats: tuple[int, int, int]) -> Atoms:
    """Waters in a triclinic cell, rattled, atoms in mixed order."""
    atoms = molecule("H2O")
    atoms.set_cell([[3.2, 0.0, 0.0], [0.7, 3.1, 0.0], [-0.4, 0.8, 3.3]])
    atoms.pbc = True
    atoms = atoms.repeat(repeats)
    atoms.rattle(0.15, seed=3)
    return atoms[np.random.default_rng(0).permutation(len(atoms))]


def triclinic_box() -> Atoms:
    """27 atoms: tensor products of few atoms, cell shorter than twice the cutoff along one axis."""
    return waters((3, 3, 1))


def large_box() -> Atoms:
    """81 atoms in a cell longer than twice the cutoff: tensor products of many atoms, slots in whole registers."""
    return waters((3, 3, 3))


def cluster() -> Atoms:
    """54 atoms in vacuum: too many to list all pairs."""
    atoms = waters((3, 3, 2))
    atoms.pbc = False
    atoms.cell = None
    return atoms


STRUCTURES = {"molecule": rattled_molecule, "small box": rattled_box, "triclinic": triclinic_box}
LARGE_STRUCTURES = {"large box": large_box, "cluster": cluster}


def run(module: torch.nn.Module, atoms: Atoms, stress: bool = True) -> Prediction:
    """Evaluates a structure."""
    return module(torch.tensor(atoms.positions), torch.tensor(atoms.cell[:]), stress)


def dynamics(potential: Potential, atoms: Atoms, **options: object) -> Dynamics:
    """The module of a structure."""
    return Dynamics(potential, atoms.numbers.tolist(), bool(atoms.pbc.all()), **options)


def assert_equal(found: Prediction, expected: Prediction, tolerance: float, smallest: float = 1e-6) -> None:
    """Compares every field relative to its largest value, or to ``smallest`` where that is below."""
    for name in Prediction._fields:
        a, b = getattr(found, name), getattr(expected, name)
        assert a.shape == b.shape, name
        # The long-range energy is a sum of both signs.
        scale = expected.atomic_energies if name == "long_range_energy" else b
        scale = float(scale.abs().max()) if b.numel() else 0.0
        atol = tolerance * max(scale, smallest)
        torch.testing.assert_close(a, b, rtol=0, atol=atol, msg=lambda m, n=name: f"{n}: {m}")


def expected_in(dtype: torch.dtype, prediction: Prediction) -> Prediction:
    """The reference in float64 in the types of another precision: energies stay in float64."""
    double = {"energy", "long_range_energy"}
    fields = prediction._asdict().items()
    return Prediction(**{name: value if name in double else value.to(dtype) for name, value in fields})
