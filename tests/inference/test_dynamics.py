"""The inference path gives the numbers of the reference, in every variant, and keeps giving them as atoms move."""

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import molecule
from helpers import BASELINE, graph_of, random_orthogonal, rattled_box, rattled_molecule, small_potential

from lorem_openmm.config import Model
from lorem_openmm.errors import UnknownElementError
from lorem_openmm.inference.dynamics import Dynamics
from lorem_openmm.model import Lorem
from lorem_openmm.potential import Potential, Prediction

VARIANTS = {
    "long range": {},
    "no long range": {"long_range": False},
    "scalar charges": {"max_charge_degree": 0},
    "embedded start": {"initialize_node_features": True},
    "smooth norms": {"norm_smoothing": 1e-3},
    "one round": {"num_message_passing": 1},
    "two rounds": {"num_message_passing": 2, "equivariant_message_passing": False},
    "equivariant round": {"num_message_passing": 1, "equivariant_message_passing": True},
    "scalars only": {"max_degree": 0, "max_charge_degree": 0},
    "degree 1": {"max_degree": 1, "max_charge_degree": 1},
    "other basis": {"radial_basis": "basic_gaussian"},
    "other cutoff": {"cutoff_function": "cosine_cutoff"},
}


def triclinic_box() -> Atoms:
    """Nine waters in a skewed cell, atoms in mixed order."""
    atoms = molecule("H2O")
    atoms.set_cell([[3.2, 0.0, 0.0], [0.7, 3.1, 0.0], [-0.4, 0.8, 3.3]])
    atoms.pbc = True
    atoms = atoms.repeat([3, 3, 1])
    atoms.rattle(0.15, seed=3)
    return atoms[np.random.default_rng(0).permutation(len(atoms))]


STRUCTURES = {"molecule": rattled_molecule, "small box": rattled_box, "triclinic": triclinic_box}


def run(module: torch.nn.Module, atoms: Atoms, stress: bool = True) -> Prediction:
    return module(torch.tensor(atoms.positions), torch.tensor(atoms.cell[:]), stress)


def dynamics(potential: Potential, atoms: Atoms, **options: object) -> Dynamics:
    return Dynamics(potential, atoms.numbers.tolist(), bool(atoms.pbc.all()), **options)


def assert_equal(found: Prediction, expected: Prediction, tolerance: float) -> None:
    """Compares every field relative to its largest value."""
    for name in Prediction._fields:
        a, b = getattr(found, name), getattr(expected, name)
        assert a.shape == b.shape, name
        # The long-range energy is a sum of both signs.
        scale = expected.atomic_energies if name == "long_range_energy" else b
        scale = float(scale.abs().max()) if b.numel() else 0.0
        torch.testing.assert_close(a, b, rtol=0, atol=tolerance * max(scale, 1e-6), msg=lambda m, n=name: f"{n}: {m}")


@pytest.mark.parametrize("structure", STRUCTURES)
@pytest.mark.parametrize("variant", VARIANTS)
def test_same_numbers_as_the_reference(variant, structure):
    atoms = STRUCTURES[structure]()
    potential = small_potential(**VARIANTS[variant])
    periodic = bool(atoms.pbc.all())
    expected = potential.evaluate(graph_of(atoms), compute_stress=periodic)
    assert float(expected.forces.abs().max()) > 1e-2
    assert_equal(run(dynamics(potential, atoms, block_size=4), atoms, periodic), expected, 1e-12)
    single = potential.float()
    assert_equal(run(dynamics(single, atoms), atoms, periodic), expected_in(torch.float32, expected), 5e-5)


def expected_in(dtype: torch.dtype, prediction: Prediction) -> Prediction:
    """The reference in float64 in the types of another precision: energies stay in float64."""
    double = {"energy", "long_range_energy"}
    fields = prediction._asdict().items()
    return Prediction(**{name: value if name in double else value.to(dtype) for name, value in fields})


@pytest.mark.parametrize("structure", STRUCTURES)
def test_same_numbers_with_the_default_model(structure):
    atoms = STRUCTURES[structure]()
    torch.manual_seed(1)
    potential = Potential(Lorem(Model()), BASELINE).double()
    expected = potential.evaluate(graph_of(atoms, cutoff=5.0), compute_stress=bool(atoms.pbc.all()))
    assert_equal(run(dynamics(potential, atoms), atoms), expected, 1e-12)
    assert_equal(run(dynamics(potential.float(), atoms), atoms), expected_in(torch.float32, expected), 5e-5)


def test_same_numbers_on_the_mesh():
    atoms, potential = triclinic_box(), small_potential()
    ewald = potential.evaluate(graph_of(atoms))
    potential.model.long_range.coulomb.max_ewald_atoms = 0
    expected = potential.evaluate(graph_of(atoms), compute_stress=True)
    assert not torch.equal(ewald.energy, expected.energy)
    assert_equal(run(dynamics(potential, atoms), atoms), expected, 1e-12)
    scripted = torch.jit.script(dynamics(potential, atoms))
    for _ in range(3):
        assert_equal(run(scripted, atoms), expected, 1e-12)


@pytest.mark.parametrize("variant", ["long range", "two rounds", "no long range"])
@pytest.mark.parametrize("optimized", [False, True])
def test_scripted_and_eager_agree_as_atoms_and_cell_move(variant, optimized):
    atoms, potential = rattled_box(), small_potential(**VARIANTS[variant])
    module, scripted = dynamics(potential, atoms), torch.jit.script(dynamics(potential, atoms))
    rng = np.random.default_rng(4)
    for step in range(6):
        atoms.positions += rng.normal(scale=0.1, size=atoms.positions.shape)
        if step % 2:
            atoms.set_cell(atoms.cell[:] @ (np.eye(3) + rng.normal(scale=0.01, size=(3, 3))), scale_atoms=True)
        with torch.no_grad():
            eager = run(module, atoms)
        with torch.jit.optimized_execution(optimized):
            assert_equal(run(scripted, atoms), eager, 1e-13)
        assert_equal(eager, potential.evaluate(graph_of(atoms), compute_stress=True), 1e-12)
    assert module.lists.rebuilds > 1


@pytest.mark.parametrize("block_size", [1, 5, 1000])
def test_blocks_do_not_matter(block_size):
    atoms, potential = triclinic_box(), small_potential()
    assert_equal(
        run(dynamics(potential, atoms, block_size=block_size), atoms), run(dynamics(potential, atoms), atoms), 1e-13
    )


@pytest.mark.parametrize("make", [rattled_molecule, rattled_box])
def test_forces_are_slopes_of_the_energy(make):
    atoms = make()
    module = dynamics(small_potential(), atoms)
    forces = run(module, atoms).forces
    for i, axis in [(0, 0), (2, 1), (5, 2)]:
        energies = []
        for step in (1e-4, -1e-4):
            moved = atoms.copy()
            moved.positions[i, axis] += step
            energies.append(float(run(module, moved).energy))
        assert (energies[1] - energies[0]) / 2e-4 == pytest.approx(float(forces[i, axis]), rel=1e-6, abs=1e-7)


@pytest.mark.parametrize("reflect", [False, True])
def test_rotations_and_reflections_turn_forces_and_stress(reflect):
    atoms = rattled_box()
    matrix = random_orthogonal(5, reflect)
    turned = Atoms(atoms.numbers, atoms.positions @ matrix.T, cell=atoms.cell[:] @ matrix.T, pbc=True)
    before, after = (run(dynamics(small_potential(), a), a) for a in (atoms, turned))
    rotation = torch.tensor(matrix)
    assert float((before.forces - after.forces).abs().max()) > 1e-2
    torch.testing.assert_close(after.energy, before.energy, rtol=1e-12, atol=0)
    torch.testing.assert_close(after.forces, before.forces @ rotation.T, rtol=0, atol=1e-9)
    torch.testing.assert_close(after.stress[0], rotation @ before.stress[0] @ rotation.T, rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    "atoms",
    [
        Atoms("O"),
        Atoms("OH", [[0, 0, 0], [0, 0, 30.0]]),
        Atoms("OHH", [[0, 0, 0], [0, 0, 1.0], [0, 0, 1.0]]),
        Atoms("O", cell=[30.0] * 3, pbc=True),
    ],
    ids=["one atom", "atoms out of reach", "coincident atoms", "one atom in a box"],
)
@pytest.mark.parametrize("variant", ["long range", "two rounds"])
def test_odd_structures_stay_finite(atoms, variant):
    for dtype in (torch.float32, torch.float64):
        found = run(dynamics(small_potential(**VARIANTS[variant]).to(dtype), atoms), atoms)
        assert all(bool(torch.isfinite(value).all()) for value in found)


def test_saved_module_gives_equal_numbers(tmp_path):
    atoms = rattled_box()
    module = torch.jit.script(dynamics(small_potential(), atoms))
    torch.jit.save(module, str(tmp_path / "module.pt"))
    loaded = torch.jit.load(str(tmp_path / "module.pt"))
    assert_equal(run(loaded, atoms), run(module, atoms), 1e-15)


def test_unknown_elements_are_named():
    with pytest.raises(UnknownElementError, match="does not know N"):
        Dynamics(small_potential(), [7, 1], False)
