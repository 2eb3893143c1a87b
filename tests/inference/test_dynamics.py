"""The inference path gives the numbers of the reference, in every variant, and keeps giving them as atoms move."""

import copy

import numpy as np
import pytest
import torch
from ase import Atoms
from helpers import BASELINE, graph_of, rattled_box, rattled_molecule, small_potential
from made_dynamics import (
    LARGE_STRUCTURES,
    STRUCTURES,
    VARIANTS,
    assert_equal,
    dynamics,
    expected_in,
    large_box,
    run,
    triclinic_box,
)

from lorem_openmm.config import Model
from lorem_openmm.errors import UnknownElementError
from lorem_openmm.inference.dynamics import Dynamics
from lorem_openmm.model import Lorem
from lorem_openmm.potential import Potential


def assert_same_numbers(potential: Potential, atoms: Atoms, cutoff: float = 4.0, **options: object) -> None:
    """1e-12 in double precision, 5e-5 in single precision; leaves the potential in single precision."""
    periodic = bool(atoms.pbc.all())
    expected = potential.evaluate(graph_of(atoms, cutoff=cutoff), compute_stress=periodic)
    assert float(expected.forces.abs().max()) > 1e-2
    assert_equal(run(dynamics(potential, atoms, **options), atoms, periodic), expected, 1e-12)
    expected = expected_in(torch.float32, expected)
    assert_equal(run(dynamics(potential.float(), atoms, **options), atoms, periodic), expected, 5e-5)


@pytest.mark.parametrize("structure", STRUCTURES)
@pytest.mark.parametrize("variant", VARIANTS)
def test_same_numbers_as_the_reference(variant, structure):
    assert_same_numbers(small_potential(**VARIANTS[variant]), STRUCTURES[structure](), block_size=4)


@pytest.mark.parametrize("structure", LARGE_STRUCTURES)
@pytest.mark.parametrize("variant", ["long range", "scalars only", "smooth norms", "equivariant round"])
def test_same_numbers_of_many_atoms(variant, structure):
    assert_same_numbers(small_potential(**VARIANTS[variant]), LARGE_STRUCTURES[structure](), block_size=50)


@pytest.mark.parametrize("structure", STRUCTURES)
def test_same_numbers_with_the_default_model(structure):
    torch.manual_seed(1)
    assert_same_numbers(Potential(Lorem(Model()), BASELINE).double(), STRUCTURES[structure](), cutoff=5.0)


@pytest.mark.parametrize("make", [triclinic_box, large_box])
def test_same_numbers_on_the_mesh(make):
    atoms, potential = make(), small_potential()
    ewald = potential.evaluate(graph_of(atoms))
    potential.model.pair_sum.max_ewald_atoms = 0
    expected = potential.evaluate(graph_of(atoms), compute_stress=True)
    assert not torch.equal(ewald.energy, expected.energy)
    scripted = torch.jit.script(dynamics(potential, atoms))
    for _ in range(3):
        assert_equal(run(scripted, atoms), expected, 1e-12)
    assert_same_numbers(potential, atoms)


@pytest.mark.parametrize("optimized", [False, True])
def test_nothing_requires_gradients_whatever_ran_before(optimized):
    potential = small_potential().requires_grad_(False)
    on_ewald = copy.deepcopy(potential)
    potential.model.pair_sum.max_ewald_atoms = 0
    box = triclinic_box()
    scripted = torch.jit.script(dynamics(potential, box))
    for _ in range(3):
        run(scripted, box)
    molecule = rattled_molecule("H2O")
    molecule.set_cell([19.0] * 3)
    molecule.pbc = True
    follower = torch.jit.script(dynamics(on_ewald, molecule))
    for _ in range(3):
        with torch.jit.optimized_execution(optimized):
            found = run(follower, molecule)
        assert torch.is_grad_enabled()
        assert not any(value.requires_grad for value in found)


@pytest.mark.parametrize("make", [rattled_molecule, rattled_box, triclinic_box])
def test_atoms_may_come_in_any_order(make):
    atoms, potential = make(), small_potential()
    for seed in range(3):
        order = np.random.default_rng(seed).permutation(len(atoms))
        mixed = atoms[order]
        assert_equal(run(dynamics(potential, mixed), mixed), potential.evaluate(graph_of(mixed), True), 1e-12)
        forces = run(dynamics(potential, atoms), atoms).forces
        torch.testing.assert_close(run(dynamics(potential, mixed), mixed).forces, forces[order], rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    ("variant", "optimized"),
    [*((variant, True) for variant in VARIANTS), ("long range", False), ("two equivariant rounds", False)],
)
def test_scripted_and_eager_agree_as_atoms_and_cell_move(variant, optimized):
    atoms, potential = rattled_box(), small_potential(**VARIANTS[variant])
    module, scripted = dynamics(potential, atoms), torch.jit.script(dynamics(potential, atoms))
    rng = np.random.default_rng(4)
    for step in range(5):
        atoms.positions += rng.normal(scale=0.1, size=atoms.positions.shape)
        if step % 2:
            atoms.set_cell(atoms.cell[:] @ (np.eye(3) + rng.normal(scale=0.01, size=(3, 3))), scale_atoms=True)
        with torch.no_grad():
            eager = run(module, atoms)
        with torch.jit.optimized_execution(optimized):
            assert_equal(run(scripted, atoms), eager, 1e-13)
        assert_equal(eager, potential.evaluate(graph_of(atoms), compute_stress=True), 1e-12)
    assert module.lists.rebuilds > 1


@pytest.mark.parametrize("mesh", [False, True])
def test_atoms_may_leave_the_box_between_two_lists(mesh):
    atoms, potential = rattled_box(), small_potential()
    if mesh:
        potential.model.pair_sum.max_ewald_atoms = 0
    atoms.positions[6] = [0.004, 0.6, 0.5] @ atoms.cell[:]
    assert atoms.get_scaled_positions(wrap=False)[6, 0] > 0
    module = dynamics(potential, atoms)
    run(module, atoms)
    atoms.positions[6, 0] -= 0.1
    assert atoms.get_scaled_positions(wrap=False)[6, 0] < 0
    assert_equal(run(module, atoms), potential.evaluate(graph_of(atoms), compute_stress=True), 1e-12)
    assert module.lists.rebuilds == 1


@pytest.mark.parametrize("optimized", [False, True])
def test_scripted_molecules_move_and_modules_of_other_sizes_follow(optimized):
    potential = small_potential()
    rng = np.random.default_rng(5)
    with torch.jit.optimized_execution(optimized):
        for name in ["CH3CH2OH", "H2O", "CH3OH"]:
            atoms = rattled_molecule(name)
            scripted = torch.jit.script(dynamics(potential, atoms))
            for _ in range(4):
                atoms.positions += rng.normal(scale=0.05, size=atoms.positions.shape)
                assert_equal(run(scripted, atoms), potential.evaluate(graph_of(atoms)), 1e-12)


@pytest.mark.parametrize("make", [triclinic_box, large_box])
@pytest.mark.parametrize("block_size", [1, 3, 5, 1000])
def test_blocks_do_not_matter(block_size, make):
    atoms, potential = make(), small_potential()
    assert_equal(
        run(dynamics(potential, atoms, block_size=block_size), atoms), run(dynamics(potential, atoms), atoms), 1e-12
    )


ODD_STRUCTURES = {
    "one atom": Atoms("O"),
    "atoms out of reach": Atoms("OH", [[0, 0, 0], [0, 0, 30.0]]),
    "one of three out of reach": Atoms("OHH", [[0, 0, 0], [0.3, 0.2, 0.9], [0, 4.0, 30.0]]),
    "one atom in a box": Atoms("O", cell=[30.0] * 3, pbc=True),
    "one atom in a small box": Atoms("O", cell=[[3.0, 0, 0], [0.4, 2.9, 0], [0.1, 0.7, 3.3]], pbc=True),
    "atoms out of reach in a box": Atoms("OH", [[1, 1, 1], [12.0, 11.0, 14.0]], cell=[25.0] * 3, pbc=True),
}


@pytest.mark.parametrize("structure", ODD_STRUCTURES)
@pytest.mark.parametrize("variant", ["long range", "smooth norms", "equivariant round", "scalars only"])
def test_odd_structures_have_the_numbers_of_the_reference(variant, structure):
    atoms, potential = ODD_STRUCTURES[structure], small_potential(**VARIANTS[variant])
    periodic = bool(atoms.pbc.all())
    expected = potential.evaluate(graph_of(atoms), compute_stress=periodic)
    # Forces that vanish by symmetry are rounding errors.
    assert_equal(run(dynamics(potential, atoms), atoms), expected, 1e-12, smallest=1e-2)
    found = run(dynamics(potential.float(), atoms), atoms)
    assert_equal(found, expected_in(torch.float32, expected), 5e-5, smallest=1e-2)


@pytest.mark.parametrize("variant", ["long range", "smooth norms", "equivariant round", "other basis"])
@pytest.mark.parametrize("pbc", [False, True])
def test_coincident_atoms_stay_finite(variant, pbc):
    atoms = Atoms("OHHC", [[0, 0, 0], [0, 0, 1.0], [0, 0, 1.0], [1.2, 0.1, 0.3]], cell=[6.0] * 3, pbc=pbc)
    for dtype in (torch.float32, torch.float64):
        found = run(dynamics(small_potential(**VARIANTS[variant]).to(dtype), atoms), atoms)
        assert all(bool(torch.isfinite(value).all()) for value in found)


def test_stress_is_computed_on_request_and_in_cells_only():
    for atoms, asked in [(rattled_box(), False), (rattled_molecule(), True)]:
        module = dynamics(small_potential(), atoms)
        assert not run(module, atoms, asked).stress.any()
    module = dynamics(small_potential(), rattled_box())
    assert torch.equal(run(module, rattled_box(), True).forces, run(module, rattled_box(), False).forces)
    assert run(module, rattled_box(), True).stress.any()


@pytest.mark.parametrize("variant", ["long range", "equivariant round"])
def test_saved_module_gives_equal_numbers(variant, tmp_path):
    atoms = rattled_box()
    module = torch.jit.script(dynamics(small_potential(**VARIANTS[variant]), atoms))
    torch.jit.save(module, str(tmp_path / "module.pt"))
    loaded = torch.jit.load(str(tmp_path / "module.pt"))
    for _ in range(3):
        atoms.rattle(0.1)
        assert_equal(run(loaded, atoms), run(module, atoms), 1e-13)


def test_unknown_elements_are_named():
    with pytest.raises(UnknownElementError, match="does not know N"):
        Dynamics(small_potential(), [7, 1], False)
