"""Positions, boxes and results that are not finite are errors, on every path and at every call."""

import numpy as np
import openmm
import pytest
from ase import Atoms
from helpers import graph_of, rattled_box, rattled_molecule, small_potential
from made_systems import BOTH, context_of, results, system_of
from test_mixed_systems import force_field_system, mixed, topology_of_waters, waters

import lorem_openmm
from lorem_openmm.errors import DataError


def many() -> Atoms:
    """More atoms than are listed as all pairs, in vacuum."""
    atoms = rattled_molecule()
    for i in range(1, 4):
        more = rattled_molecule(seed=i)
        more.translate([4.0 * i, 1.5 * i, 0.0])
        atoms += more
    return atoms


STRUCTURES = {"all pairs": rattled_molecule, "lists": many, "box": rattled_box}
WRONG = r"positions: must be finite, received NaN or infinity for atom 3 "


def spoil(atoms: Atoms, value: float) -> Atoms:
    wrong = atoms.copy()
    wrong.positions[3, 1] = value
    return wrong


@pytest.mark.parametrize("value", [np.nan, -np.inf])
@pytest.mark.parametrize("kind", list(STRUCTURES))
@pytest.mark.parametrize("changes", [{}, {"long_range": False}], ids=["long range", "short range"])
def test_ase_names_the_atom_at_any_call_and_goes_on(kind, value, changes):
    atoms = STRUCTURES[kind]()
    calculator = lorem_openmm.LoremCalculator(small_potential(**changes))
    for _ in range(2):  # as the first call, and later
        for _ in range(2):  # the second time it knows the structure
            with pytest.raises(DataError, match=WRONG):
                calculator.get_potential_energy(spoil(atoms, value))
            assert not calculator.results
        assert np.isfinite(calculator.get_potential_energy(atoms))


@pytest.mark.parametrize("implementation", BOTH)
@pytest.mark.parametrize("kind", list(STRUCTURES))
def test_openmm_names_the_atom_at_any_call_and_goes_on(model_file, kind, implementation):
    atoms = STRUCTURES[kind]()
    context = context_of(system_of(atoms, model_file, implementation=implementation), atoms)
    for _ in range(2):
        context.setPositions(spoil(atoms, np.nan).positions / 10.0)
        for act in (
            lambda: context.getIntegrator().step(20),
            lambda: openmm.LocalEnergyMinimizer.minimize(context),
            lambda: results(context),
        ):
            with pytest.raises(Exception, match=WRONG):
                act()
        context.setPositions(atoms.positions / 10.0)
        assert np.isfinite(results(context)[0])
    context.setPositions(spoil(atoms, np.nan).positions / 10.0)
    with pytest.raises(DataError, match=WRONG):
        lorem_openmm.decompose(context.getSystem(), context.getState(positions=True))


@pytest.mark.parametrize("boundary", ["box", "vacuum"])
def test_the_region_of_a_mixed_system(model_file, boundary):
    atoms = waters()
    topology = topology_of_waters(atoms, True)
    system = mixed(model_file, topology, force_field_system(topology, True), boundary=boundary)
    context = context_of(system, atoms)
    results(context)
    with pytest.raises(Exception, match="positions: must be finite"):
        atoms.positions[:] = np.nan
        context.setPositions(atoms.positions / 10.0)
        results(context)


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ([np.nan, 5.0, 5.0], "the box must be finite"),
        ([0.0, 0.0, 0.0], "the box must have a volume"),
        ([[5.0, 0, 0], [0, 5.0, 0], [5.0, 5.0, 0]], "the box must have a volume"),
    ],
)
def test_cells_without_volume_at_any_call(cell, message):
    atoms = rattled_box()
    calculator = lorem_openmm.LoremCalculator(small_potential())
    for _ in range(2):
        wrong = atoms.copy()
        wrong.set_cell(cell)
        with pytest.raises(DataError, match=message):
            calculator.get_potential_energy(wrong)
        calculator.get_potential_energy(atoms)


def test_left_handed_cells_are_cells():
    atoms, energies, forces = rattled_box(), [], []
    for order in ([0, 1, 2], [1, 0, 2]):
        atoms.set_cell(atoms.cell[order])
        atoms.calc = lorem_openmm.LoremCalculator(small_potential(), dtype="float64")
        energies.append(atoms.get_potential_energy())
        forces.append(np.append(atoms.get_forces(), atoms.get_stress()))
    assert energies[0] == pytest.approx(energies[1], rel=1e-12)
    np.testing.assert_allclose(forces[0], forces[1], rtol=0, atol=1e-9)


@pytest.mark.parametrize("kind", list(STRUCTURES))
def test_results_of_damaged_weights(kind):
    atoms = STRUCTURES[kind]()
    potential = small_potential().requires_grad_(False)
    potential.model.readout.layers[0].weight[0, 0] = np.nan
    with pytest.raises(DataError, match="energy and forces: must be finite"):
        lorem_openmm.LoremCalculator(potential).get_potential_energy(atoms)
    with pytest.raises(DataError, match="must be finite, received NaN or infinity for atom 0 of structure 0"):
        potential.evaluate(graph_of(atoms))


def test_batches_name_structure_and_atom():
    potential, structures = small_potential(), [rattled_molecule(), rattled_box()]
    with pytest.raises(DataError, match="for atom 2 of structure 1"):
        graph = graph_of(*structures)
        graph.positions[len(structures[0]) + 2, 0] = np.nan
        potential.evaluate(graph)
    with pytest.raises(DataError, match="cell: must be finite, received NaN or infinity for structure 1"):
        graph = graph_of(*structures)
        graph.cell[1, 0, 0] = np.inf
        potential.evaluate(graph)


def test_compiled_molecules_ask_the_scripted_module_what_is_wrong(monkeypatch):
    from lorem_openmm.inference import compiled

    monkeypatch.setattr(compiled, "load_or_compile", lambda module, _: lambda positions: list(module(positions)))
    atoms = rattled_molecule()
    calculator = lorem_openmm.LoremCalculator(small_potential(), compile=True)
    for compiled_by_now in (False, True):
        with pytest.raises(DataError, match=WRONG):
            calculator.get_potential_energy(spoil(atoms, np.nan))
        assert calculator._dynamics.is_compiled == compiled_by_now
        calculator.get_potential_energy(atoms)
    assert calculator._dynamics.is_compiled
