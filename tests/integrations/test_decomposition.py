"""The parts of the energy and the latent charges of a System's state."""

import io

import numpy as np
import openmm
import pandas as pd
import pytest
from helpers import graph_of, rattled_box, rattled_molecule, small_potential
from made_systems import BOTH, KJ_PER_MOL_PER_EV, context_of, results, system_of, topology_of
from openmm import app, unit
from test_mixed_systems import SUBSET, force_field_system, mixed, topology_of_waters, waters

import lorem_openmm
from lorem_openmm.errors import ConfigError


def state_of(context):
    return context.getState(positions=True)


@pytest.mark.parametrize("implementation", BOTH)
@pytest.mark.parametrize("kind", ["vacuum", "box"])
def test_parts_add_up_and_are_the_potentials(kind, implementation):
    atoms, potential = (rattled_box() if kind == "box" else rattled_molecule()), small_potential()
    system = system_of(atoms, potential, precision="double", implementation=implementation)
    context = context_of(system, atoms)
    parts = lorem_openmm.decompose(system, state_of(context))
    total = parts.short_range_energy + parts.long_range_energy + parts.baseline
    assert total.value_in_unit(unit.kilojoule_per_mole) == pytest.approx(results(context)[0], rel=1e-12)
    wanted = potential.evaluate(graph_of(atoms))
    long_range = parts.long_range_energy.value_in_unit(unit.kilojoule_per_mole)
    assert long_range == pytest.approx(float(wanted.long_range_energy[0]) * KJ_PER_MOL_PER_EV, rel=1e-9)
    assert abs(long_range) > 1.0
    assert np.abs(parts.charges - wanted.charges.numpy()).max() < 1e-9
    assert parts.charges.shape == (len(atoms), 10)
    baseline = sum(potential.baseline[number] for number in atoms.numbers) * KJ_PER_MOL_PER_EV
    assert parts.baseline.value_in_unit(unit.kilojoule_per_mole) == pytest.approx(baseline, rel=1e-12)
    assert parts.atoms == list(range(len(atoms)))


@pytest.mark.parametrize("interpolate", [False, True])
def test_of_a_mixed_system(model_file, interpolate):
    atoms = waters()
    topology = topology_of_waters(atoms, True)
    system = mixed(
        model_file,
        topology,
        force_field_system(topology, True),
        boundary="vacuum",
        forceGroup=2,
        interpolate=interpolate,
    )
    context = context_of(system, atoms)
    parts = lorem_openmm.decompose(system, state_of(context))
    assert parts.atoms == SUBSET
    alone = atoms[SUBSET]
    alone.pbc = False
    alone_system = system_of(alone, model_file, precision="double")
    wanted = results(context_of(alone_system, alone))[0]
    total = parts.short_range_energy + parts.long_range_energy + parts.baseline
    assert total.value_in_unit(unit.kilojoule_per_mole) == pytest.approx(wanted, rel=1e-12)


def test_a_model_without_long_range_has_no_charges():
    atoms = rattled_molecule()
    system = system_of(atoms, small_potential(long_range=False))
    parts = lorem_openmm.decompose(system, state_of(context_of(system, atoms)))
    assert parts.charges.shape == (len(atoms), 0)
    assert parts.long_range_energy._value == 0.0


def test_a_system_without_or_with_two_forces(model_file):
    atoms = rattled_molecule()
    system = openmm.System()
    for _ in atoms:
        system.addParticle(1.0)
    state = state_of(context_of(system, atoms))
    with pytest.raises(ConfigError, match="received one with 0"):
        lorem_openmm.decompose(system, state)
    system = system_of(atoms, model_file)
    system.addForce(openmm.PythonForce(len))  # of another name: not ours
    lorem_openmm.decompose(system, state)


def test_nothing_else_is_unpickled(model_file):
    atoms = rattled_molecule()
    system = system_of(atoms, model_file)
    stranger = openmm.PythonForce(print)
    stranger.setName("LOREM")
    system.removeForce(0)
    system.addForce(stranger)
    with pytest.raises(ConfigError, match=r"builtins\.print, not one of this package"):
        lorem_openmm.decompose(system, state_of(context_of(system_of(atoms, model_file), atoms)))


def test_the_reporter_writes_what_decompose_gives(model_file, tmp_path):
    atoms = rattled_molecule()
    system = system_of(atoms, model_file)
    integrator, platform = openmm.VerletIntegrator(1e-5), openmm.Platform.getPlatform("Reference")
    simulation = app.Simulation(topology_of(atoms), system, integrator, platform)
    simulation.context.setPositions(atoms.positions / 10.0)
    stream = io.StringIO()
    simulation.reporters += [
        lorem_openmm.DecompositionReporter(tmp_path / "parts.csv", 2),
        lorem_openmm.DecompositionReporter(stream, 3),
    ]
    simulation.step(6)
    simulation.reporters.clear()
    table = pd.read_csv(tmp_path / "parts.csv")
    assert table["step"].tolist() == [2, 4, 6]
    parts = lorem_openmm.decompose(system, state_of(simulation.context))
    assert table["long_range_energy"].iloc[-1] == pytest.approx(parts.long_range_energy._value, rel=1e-6)
    assert table.iloc[-1, 2:].sum() == pytest.approx(results(simulation.context)[0], rel=1e-6)
    assert pd.read_csv(io.StringIO(stream.getvalue()))["step"].tolist() == [3, 6]
