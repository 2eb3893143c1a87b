"""Every kind of box, boxes that change, and atoms anywhere: the energies of a Context are those of its box now."""

import itertools

import numpy as np
import openmm
import pytest
from ase import Atoms
from ase.build import molecule
from helpers import rattled_box
from made_contexts import (
    PLATFORMS,
    PLATFORMS_AND_BOTH,
    add_tether,
    assert_as_fresh,
    assert_as_potential,
    lorem_results,
    make_context,
    make_system,
    needs_cuda,
    needs_openmmtorch,
    present,
)
from made_systems import assert_close

from lorem_openmm.export import load


def waters(cell, repeats: tuple[int, int, int] = (1, 1, 1)) -> Atoms:
    """Rattled waters, one per cell. OpenMM's boxes: lower triangles, off-diagonals at most half the diagonal above."""
    atoms = molecule("H2O")
    atoms.set_cell(cell)
    atoms.pbc = True
    atoms = atoms.repeat(repeats)
    atoms.rattle(0.1, seed=3)
    return atoms


ORTHORHOMBIC = [2.9, 3.0, 3.1]
TRICLINIC = [[2.9, 0.0, 0.0], [0.7, 3.0, 0.0], [-0.6, 0.9, 3.1]]
BOXES = {  # the model's cutoff is 4 Å
    "orthorhombic": lambda: waters(ORTHORHOMBIC, (3, 3, 3)),
    "triclinic, below twice the cutoff": rattled_box,
    "below the cutoff": lambda: waters(TRICLINIC),
    "strongly skewed": lambda: waters([[9.0, 0.0, 0.0], [4.4, 3.2, 0.0], [-4.4, 1.5, 2.6]]),
    "a thin slab": lambda: waters([[2.8, 0.0, 0.0], [0.0, 2.9, 0.0], [0.3, -0.8, 24.0]]),
}


def small() -> Atoms:
    """27 atoms: an Ewald sum; thinner than the cutoff."""
    return waters(TRICLINIC, (3, 3, 1))


def large() -> Atoms:
    """216 atoms: a mesh."""
    return waters(TRICLINIC, (6, 4, 3))


SIZES = {"Ewald": small, "mesh": large}
SIZES_AND_BOTH = pytest.mark.parametrize(
    ("size", "implementation"),
    [
        ("Ewald", "pythonforce"),
        ("mesh", "pythonforce"),
        pytest.param("mesh", "torchforce", marks=needs_openmmtorch),
    ],
)


def test_the_sizes_are_on_both_sides_of_the_switch_to_the_mesh(model_file):
    limit = load(model_file).model.pair_sum.max_ewald_atoms
    assert len(small()) <= limit < len(large())


@pytest.mark.parametrize("platform", PLATFORMS)
@pytest.mark.parametrize("kind", list(BOXES))
def test_kinds_of_boxes(model_file, kind, platform):
    atoms = BOXES[kind]()
    context = make_context(make_system(atoms, model_file, platform=platform), atoms, platform)
    assert_as_potential(context, atoms, model_file)


@needs_openmmtorch
@pytest.mark.parametrize("kind", ["below the cutoff", "strongly skewed"])
def test_kinds_of_boxes_in_torchforce(model_file, kind):
    atoms = BOXES[kind]()
    assert_as_potential(make_context(make_system(atoms, model_file, "torchforce"), atoms), atoms, model_file)


@pytest.mark.parametrize("kind", ["below the cutoff", "strongly skewed", "triclinic, below twice the cutoff"])
def test_a_box_and_its_repetitions_are_the_same_matter(model_file, kind):
    """Needs no other code to compare with: atoms that see their own images are as good as copies of them."""
    one = BOXES[kind]()
    energy, forces = lorem_results(make_context(make_system(one, model_file), one))
    many = one.repeat((2, 1, 3))
    # OpenMM wants off-diagonals of at most half the diagonal: add lattice vectors of the repeated box.
    cell = many.cell[:].copy()
    for i, j in ((1, 0), (2, 1), (2, 0)):
        cell[i] -= np.round(cell[i, j] / cell[j, j] - 1e-9) * cell[j]
    many.set_cell(cell)
    assert len(many) <= 200
    found, copies = lorem_results(make_context(make_system(many, model_file), many))
    assert found == pytest.approx(6 * energy, rel=0, abs=1e-5)
    assert np.abs(copies - np.tile(forces, (6, 1))).max() < 1e-7 * np.abs(forces).max()


def test_the_box_is_the_systems_and_not_the_topologys(model_file):
    atoms = small()
    system = make_system(atoms, model_file)
    atoms.set_cell(atoms.cell[:] * 1.1)
    system.setDefaultPeriodicBoxVectors(*atoms.cell[:] / 10.0)
    assert_as_potential(make_context(system, atoms), atoms, model_file)


HOT = 2e4  # K: most moves are accepted
BAROSTATS = {
    "isotropic": lambda: openmm.MonteCarloBarostat(2000.0, HOT, 1),
    "anisotropic": lambda: openmm.MonteCarloAnisotropicBarostat((500.0, 9000.0, 500.0), HOT, True, True, True, 1),
    "flexible": lambda: openmm.MonteCarloFlexibleBarostat(2000.0, HOT, 1),
}


@pytest.mark.parametrize(
    ("barostat", "size", "platform", "implementation"),
    [
        ("isotropic", "Ewald", "Reference", "pythonforce"),
        ("anisotropic", "Ewald", "CPU", "pythonforce"),
        ("flexible", "Ewald", "Reference", "pythonforce"),
        ("isotropic", "mesh", "CPU", "pythonforce"),
        pytest.param("flexible", "mesh", "Reference", "torchforce", marks=needs_openmmtorch),
        pytest.param("anisotropic", "Ewald", "CUDA", "pythonforce", marks=needs_cuda),
        pytest.param("flexible", "mesh", "CUDA", "torchforce", marks=[*needs_cuda, needs_openmmtorch]),
    ],
)
@pytest.mark.usefixtures("fused_torchforce")  # shapes change
def test_barostats(model_file, barostat, size, platform, implementation):
    atoms = SIZES[size]()
    system = make_system(atoms, model_file, implementation, platform)
    add_tether(system, atoms)
    force = BAROSTATS[barostat]()
    force.setRandomNumberSeed(1)
    system.addForce(force)
    integrator = openmm.LangevinMiddleIntegrator(300.0, 10.0, 0.0005)
    integrator.setRandomNumberSeed(1)
    context = make_context(system, atoms, platform, integrator)
    boxes = [atoms.cell[:]]
    for _ in range(3):
        integrator.step(10 if size == "Ewald" else 3)
        boxes.append(present(context, atoms).cell[:])
        assert_as_potential(context, atoms, model_file)
    assert_as_fresh(context, atoms, model_file, implementation=implementation)
    assert all(np.abs(a - b).max() > 1e-3 for a, b in itertools.pairwise(boxes))  # it did change
    angles = [Atoms(cell=cell).cell.angles() for cell in (boxes[0], boxes[-1])]
    assert (np.abs(angles[1] - angles[0]).max() > 1e-3) == (barostat != "isotropic")


def box_changes(cell: np.ndarray) -> list[np.ndarray]:
    """Small ones, which reuse lists, and large ones, back to the first box at the end."""
    shear = np.array([[1.0, 0.0, 0.0], [0.05, 1.0, 0.0], [-0.04, 0.03, 1.0]])
    scales = [np.eye(3) * 1.0002, np.eye(3) * 1.003, np.diag([1.0, 1.001, 0.998]), np.eye(3) * 1.2, np.eye(3) * 0.93]
    return [cell @ scale for scale in [*scales, shear, np.eye(3)]]


@SIZES_AND_BOTH
def test_boxes_set_by_hand(model_file, size, implementation):
    atoms = SIZES[size]()
    context = make_context(make_system(atoms, model_file, implementation), atoms)
    changes = box_changes(atoms.cell[:])
    for scaled, cell in [*((True, cell) for cell in changes), *((False, cell) for cell in changes)]:
        atoms.set_cell(cell, scale_atoms=scaled)
        context.setPeriodicBoxVectors(*cell / 10.0)
        context.setPositions(atoms.positions / 10.0)
        assert_as_potential(context, atoms, model_file)


@pytest.mark.parametrize(("platform", "implementation"), PLATFORMS_AND_BOTH)
def test_a_box_of_another_shape_survives_reinitialisation(model_file, implementation, platform):
    atoms = small()
    context = make_context(make_system(atoms, model_file, implementation, platform), atoms, platform)
    before = lorem_results(context)
    atoms.set_cell(box_changes(atoms.cell[:])[-2] * 1.05, scale_atoms=True)
    context.setPeriodicBoxVectors(*atoms.cell[:] / 10.0)
    context.setPositions(atoms.positions / 10.0)
    after = lorem_results(context)
    assert abs(after[0] - before[0]) > 1.0
    context.reinitialize(preserveState=True)
    assert_close(lorem_results(context), after, 1e-12)
    assert_as_potential(context, atoms, model_file)


@pytest.mark.parametrize(("platform", "implementation"), PLATFORMS_AND_BOTH)
@pytest.mark.parametrize("size", list(SIZES))
def test_atoms_several_boxes_away_and_wrapped(model_file, size, implementation, platform):
    atoms = SIZES[size]()
    context = make_context(make_system(atoms, model_file, implementation, platform), atoms, platform)
    wanted = lorem_results(context)
    away = np.random.default_rng(0).integers(-6, 7, size=(len(atoms), 3)) @ atoms.cell[:]
    assert np.abs(away).max() > 30.0
    context.setPositions((atoms.positions + away) / 10.0)
    assert_close(lorem_results(context), wanted, 1e-9)
    context.setPositions(context.getState(positions=True, enforcePeriodicBox=True).getPositions())
    assert_close(lorem_results(context), wanted, 1e-9)


def test_trajectories_do_not_depend_on_where_the_atoms_are_counted(model_file):
    """In single precision too: positions 200 Å away keep their digits."""
    atoms = small()
    ends = []
    for boxes in (0, 70):
        system = make_system(atoms, model_file, precision="single")
        add_tether(system, atoms)
        context = make_context(system, atoms)
        shift = boxes * np.sign(atoms.numbers - 4)[:, None] * atoms.cell[0]  # O one way, H the other
        context.setPositions((atoms.positions + shift) / 10.0)
        context.getIntegrator().step(30)
        ends.append(context.getState(positions=True).getPositions(asNumpy=True)._value - shift / 10.0)
    assert np.abs(ends[0] - atoms.positions / 10.0).max() > 1e-3
    assert np.abs(ends[0] - ends[1]).max() < 1e-6  # nm
