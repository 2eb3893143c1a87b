import numpy as np
import pytest
import torch
from ase import Atoms
from ase.calculators.fd import calculate_numerical_forces, calculate_numerical_stress
from helpers import graph_of, rattled_box, rattled_molecule, small_potential

import lorem_openmm
from lorem_openmm import export
from lorem_openmm.errors import ConfigError, DataError, UnknownElementError


def with_calculator(atoms, **changes):
    atoms.calc = lorem_openmm.LoremCalculator(small_potential(**changes), dtype="float64")
    return atoms


@pytest.mark.parametrize("make", [rattled_molecule, rattled_box])
def test_calculator_gives_the_potentials_numbers(make):
    atoms = with_calculator(make())
    expected = small_potential().evaluate(graph_of(make()), compute_stress=True)
    assert atoms.get_potential_energy() == pytest.approx(expected.energy.item(), rel=1e-12)
    np.testing.assert_allclose(atoms.get_forces(), expected.forces, rtol=0, atol=1e-10)
    assert atoms.get_potential_energies().sum() == pytest.approx(atoms.get_potential_energy(), rel=1e-10)
    assert atoms.calc.results["charges_latent"].shape == (len(atoms), 10)
    if atoms.pbc.all():
        np.testing.assert_allclose(atoms.get_stress(voigt=False), expected.stress[0], rtol=0, atol=1e-10)


def test_forces_and_stress_are_numerical_slopes():
    atoms = with_calculator(rattled_box())
    np.testing.assert_allclose(atoms.get_forces(), calculate_numerical_forces(atoms, 1e-4), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(atoms.get_stress(), calculate_numerical_stress(atoms, 1e-4), rtol=1e-5, atol=1e-8)


def test_stress_is_computed_when_asked_for():
    atoms = with_calculator(rattled_box())
    forces = atoms.get_forces()
    assert "stress" not in atoms.calc.results
    expected = small_potential().evaluate(graph_of(rattled_box()), compute_stress=True)
    np.testing.assert_allclose(atoms.get_stress(voigt=False), expected.stress[0], rtol=0, atol=1e-10)
    np.testing.assert_allclose(atoms.get_forces(), forces, rtol=0, atol=1e-12)


def test_moving_atoms_cells_and_new_structures_never_use_stale_lists():
    calculator = lorem_openmm.LoremCalculator(small_potential(), dtype="float64")
    rng = np.random.default_rng(0)
    box = rattled_box()
    structures = [rattled_molecule()]
    for step in range(6):
        box = box.copy()
        box.positions += rng.normal(scale=0.15, size=box.positions.shape)
        box.set_cell(box.cell[:] * (1 + 0.01 * (step % 2)), scale_atoms=True)
        structures.append(box)
    for atoms in [*structures, rattled_molecule("CH3OH"), Atoms("H", [[0, 0, 0]])]:
        atoms.calc = calculator
        expected = small_potential().evaluate(graph_of(atoms))
        np.testing.assert_allclose(atoms.get_forces(), expected.forces, rtol=0, atol=1e-10)


def test_a_model_file_works_and_single_precision_is_close(tmp_path):
    export.save(small_potential(), tmp_path / "m.pt")
    forces = []
    for dtype in ("float32", "float64"):
        atoms = rattled_molecule()
        atoms.calc = lorem_openmm.LoremCalculator(tmp_path / "m.pt", dtype=dtype)
        forces.append(atoms.get_forces())
    np.testing.assert_allclose(forces[0], forces[1], rtol=1e-4, atol=2e-5)
    assert (forces[0] != forces[1]).any()


def test_the_calculator_leaves_the_potential_it_was_given_alone():
    potential = small_potential()
    lorem_openmm.LoremCalculator(potential, dtype="float32")
    assert next(potential.parameters()).dtype == torch.float64


def test_wrong_structures_are_named():
    atoms = with_calculator(rattled_box())
    atoms.pbc = [True, True, False]
    with pytest.raises(DataError, match=r"all three directions or in none, received \[True, True, False\]"):
        atoms.get_potential_energy()
    with pytest.raises(DataError, match="there are no atoms"):
        with_calculator(Atoms()).get_potential_energy()
    with pytest.raises(DataError, match=r"must be ase\.Atoms, received list"):
        with_calculator(Atoms("H")).calc.get_potential_energy([1, 2])
    for numbers, name in ([0, 1], r"X \(atomic number 0, a ghost atom\)"), ([200, 1], "atomic number 200"):
        with pytest.raises(UnknownElementError, match=f"does not know {name}"):
            with_calculator(Atoms(numbers=numbers, positions=[[0, 0, 0], [0, 0, 1]])).get_potential_energy()
    with pytest.raises(UnknownElementError, match="does not know Na"):
        with_calculator(Atoms("NaCl", [[0, 0, 0], [0, 0, 2.4]])).get_potential_energy()
    with pytest.raises(Exception, match="stress"):
        with_calculator(rattled_molecule()).get_stress()


def test_wrong_arguments_are_named():
    for arguments, message in (
        ({"model": None}, "path: must be the path of a model file, received NoneType"),
        ({"device": "gpu"}, "device: must be auto, cpu, cuda"),
        ({"device": "mps"}, "device: must be auto, cpu, cuda or cuda:INDEX; received 'mps'"),
        ({"dtype": "half"}, "dtype: must be float32 or float64"),
    ):
        with pytest.raises(ConfigError, match=message):
            lorem_openmm.LoremCalculator(**{"model": small_potential()} | arguments)
