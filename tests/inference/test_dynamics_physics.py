"""Forces and stress are slopes of the energy, and the symmetries of space hold."""

import numpy as np
import pytest
import torch
from ase import Atoms
from helpers import BASELINE, graph_of, random_orthogonal, rattled_box, rattled_molecule, small_potential
from made_dynamics import VARIANTS, cluster, dynamics, large_box, run, triclinic_box

MAKERS = [rattled_molecule, rattled_box, cluster, large_box]


def on_mesh(potential):
    potential.model.pair_sum.max_ewald_atoms = 0
    return potential


def numerical_force(module: torch.nn.Module, atoms: Atoms, i: int, axis: int) -> float:
    energies = []
    for step in (1e-4, -1e-4):
        moved = atoms.copy()
        moved.positions[i, axis] += step
        energies.append(float(run(module, moved).energy))
    return (energies[1] - energies[0]) / 2e-4


@pytest.mark.parametrize("variant", ["long range", "smooth norms", "equivariant round"])
@pytest.mark.parametrize("make", [rattled_molecule, rattled_box, large_box])
def test_forces_are_slopes_of_the_energy(make, variant):
    atoms = make()
    module = dynamics(small_potential(**VARIANTS[variant]), atoms)
    forces = run(module, atoms).forces
    for i, axis in [(0, 0), (2, 1), (5, 2)]:
        assert numerical_force(module, atoms, i, axis) == pytest.approx(float(forces[i, axis]), rel=1e-5, abs=1e-6)


def test_forces_on_the_mesh_are_slopes_of_the_energy():
    atoms = triclinic_box()
    module = dynamics(on_mesh(small_potential()), atoms)
    forces = run(module, atoms).forces
    for i, axis in [(0, 0), (7, 2)]:
        assert numerical_force(module, atoms, i, axis) == pytest.approx(float(forces[i, axis]), rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("mesh", [False, True])
@pytest.mark.parametrize("variant", ["long range", "equivariant round"])
def test_stress_is_the_slope_of_the_energy_with_strain(variant, mesh):
    atoms, potential = triclinic_box(), small_potential(**VARIANTS[variant])
    module = dynamics(on_mesh(potential) if mesh else potential, atoms)
    stress = run(module, atoms).stress[0]
    for a, b in [(0, 0), (1, 1), (2, 2), (0, 1), (2, 0), (1, 2)]:
        energies = []
        for step in (1e-5, -1e-5):
            strain = np.eye(3)
            strain[a, b] += step
            strained = atoms.copy()
            strained.set_cell(atoms.cell[:] @ strain, scale_atoms=True)
            energies.append(float(run(module, strained).energy))
        slope = (energies[0] - energies[1]) / 2e-5 / atoms.get_volume()
        assert slope == pytest.approx(float(stress[a, b]), rel=1e-4, abs=1e-6)
    if not mesh:  # its error is not isotropic
        torch.testing.assert_close(stress, stress.T, rtol=0, atol=1e-11)


@pytest.mark.parametrize("variant", ["long range", "equivariant round"])
@pytest.mark.parametrize("reflect", [False, True])
@pytest.mark.parametrize("make", MAKERS)
def test_rotations_and_reflections_turn_forces_and_stress(make, reflect, variant):
    atoms, potential = make(), small_potential(**VARIANTS[variant])
    matrix = random_orthogonal(5, reflect)
    turned = Atoms(atoms.numbers, atoms.positions @ matrix.T, cell=atoms.cell[:] @ matrix.T, pbc=atoms.pbc)
    assert float(np.abs(turned.positions - atoms.positions).max()) > 0.5
    before, after = (run(dynamics(potential, a), a) for a in (atoms, turned))
    rotation = torch.tensor(matrix)
    assert float((before.forces - after.forces).abs().max()) > 1e-2
    torch.testing.assert_close(after.energy, before.energy, rtol=1e-12, atol=0)
    torch.testing.assert_close(after.atomic_energies, before.atomic_energies, rtol=0, atol=1e-9)
    torch.testing.assert_close(after.forces, before.forces @ rotation.T, rtol=0, atol=1e-9)
    torch.testing.assert_close(after.stress[0], rotation @ before.stress[0] @ rotation.T, rtol=0, atol=1e-9)
    # Scalar charges and those of degree 0 do not turn, those of higher degree do.
    torch.testing.assert_close(after.charges[:, :2], before.charges[:, :2], rtol=0, atol=1e-10)
    lengths = [torch.linalg.vector_norm(p.charges[:, 2:5], dim=1) for p in (before, after)]
    torch.testing.assert_close(lengths[1], lengths[0], rtol=0, atol=1e-10)


@pytest.mark.parametrize("make", MAKERS)
def test_translations_change_nothing(make):
    atoms = make()
    moved = atoms.copy()
    moved.positions += [1.3, -20.7, 3.1]
    potential = small_potential()
    before, after = (run(dynamics(potential, a), a) for a in (atoms, moved))
    torch.testing.assert_close(after.energy, before.energy, rtol=1e-12, atol=0)
    torch.testing.assert_close(after.forces, before.forces, rtol=0, atol=1e-9)
    torch.testing.assert_close(after.stress, before.stress, rtol=0, atol=1e-9)


@pytest.mark.parametrize("variant", ["long range", "equivariant round"])
@pytest.mark.parametrize("make", MAKERS)
def test_forces_add_up_to_nothing(make, variant):
    atoms = make()
    forces = run(dynamics(small_potential(**VARIANTS[variant]), atoms), atoms).forces
    assert float(forces.abs().max()) > 1e-2
    assert float(forces.sum(dim=0).abs().max()) < 1e-11
    if not atoms.pbc.any():
        torques = torch.linalg.cross(torch.tensor(atoms.positions), forces)
        assert float(torques.abs().max()) > 1e-2
        assert float(torques.sum(dim=0).abs().max()) < 1e-9


def test_energies_keep_their_digits_in_single_precision():
    atoms, potential = large_box(), small_potential()
    expected = float(potential.evaluate(graph_of(atoms)).energy)
    assert abs(expected) > 5e4
    assert abs(float(np.float32(expected)) - expected) > 1e-4  # what rounding the sum would cost
    found = run(dynamics(potential.float(), atoms), atoms)
    baseline = sum(BASELINE[number] for number in atoms.numbers)
    assert found.energy.dtype == torch.float64
    assert float(found.energy) == pytest.approx(expected, rel=0, abs=1e-4)
    assert float(found.energy) - baseline == pytest.approx(float(found.atomic_energies.double().sum()), rel=1e-6)
