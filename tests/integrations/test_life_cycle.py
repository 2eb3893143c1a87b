"""Contexts made, used by turns and at once, reinitialised, saved and resumed."""

import copy
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import openmm
import openmm.app
import pytest
from ase import Atoms
from helpers import rattled_box, rattled_molecule, small_potential
from made_contexts import (
    PLATFORMS,
    add_tether,
    lorem_results,
    make_context,
    make_system,
    needs_cuda,
    needs_openmmtorch,
    present,
)
from made_systems import BOTH, assert_close, expected, topology_of

from lorem_openmm.integrations.force_settings import ForceSettings
from lorem_openmm.integrations.model_source import ModelSource
from lorem_openmm.integrations.openmm_force import PotentialFunction

STRUCTURES = {"molecule": rattled_molecule, "box": rattled_box}


def held_system(atoms: Atoms, model, *args, **options) -> openmm.System:
    """Atoms that stay together whatever the weights."""
    system = make_system(atoms, model, *args, **options)
    if atoms.pbc.all():
        add_tether(system, atoms)
        return system
    springs = openmm.HarmonicBondForce()
    for i in range(len(atoms)):
        for j in range(i):
            springs.addBond(i, j, atoms.get_distance(i, j) / 10.0, 2e4)
    springs.setForceGroup(1)
    system.addForce(springs)
    return system


def langevin(seed: int = 1) -> openmm.LangevinMiddleIntegrator:
    integrator = openmm.LangevinMiddleIntegrator(300.0, 5.0, 0.0005)
    integrator.setRandomNumberSeed(seed)
    return integrator


def positions(context: openmm.Context) -> np.ndarray:
    return context.getState(positions=True).getPositions(asNumpy=True)._value


def walk(context: openmm.Context, steps: int) -> np.ndarray:
    """Positions after some steps from rest, the last energy appended."""
    context.getIntegrator().step(steps)
    return np.append(positions(context), lorem_results(context)[0])


@pytest.mark.parametrize("platform", PLATFORMS)
@pytest.mark.parametrize("kind", list(STRUCTURES))
def test_minimisation_as_the_first_call_of_a_simulation(model_file, kind, platform):
    atoms = STRUCTURES[kind]()
    system = held_system(atoms, model_file, platform=platform)
    simulation = openmm.app.Simulation(topology_of(atoms), system, langevin(), openmm.Platform.getPlatform(platform))
    simulation.context.setPositions(atoms.positions / 10.0)
    simulation.minimizeEnergy(maxIterations=10)
    relaxed = present(simulation.context, atoms)
    assert np.abs(relaxed.positions - atoms.positions).max() > 1e-3
    assert_close(lorem_results(simulation.context), expected(model_file, relaxed), 1e-6 if platform == "CUDA" else 1e-9)
    simulation.step(2)


@pytest.mark.parametrize("implementation", BOTH)
def test_molecules_of_different_size_take_turns(model_file, implementation):
    structures = [rattled_molecule(), rattled_molecule("H2O")]
    if implementation == "pythonforce":
        structures.append(rattled_box())
    systems = [held_system(atoms, model_file, implementation) for atoms in structures]
    alone = [walk(make_context(s, a), 12) for s, a in zip(systems, structures, strict=True)]
    systems = [held_system(atoms, model_file, implementation) for atoms in structures]
    contexts = [make_context(s, a) for s, a in zip(systems, structures, strict=True)]
    for _ in range(12):
        found = [walk(context, 1) for context in contexts]
    for a, b in zip(found, alone, strict=True):
        np.testing.assert_array_equal(a, b)


def at_once(contexts: list[openmm.Context], steps: int) -> list[np.ndarray]:
    with ThreadPoolExecutor(len(contexts)) as pool:
        return list(pool.map(lambda context: walk(context, steps), contexts))


@pytest.mark.parametrize(
    ("platform", "implementation"),
    [("Reference", "pythonforce"), pytest.param("CPU", "torchforce", marks=needs_openmmtorch)],
)
def test_threads_with_systems_of_their_own(model_file, implementation, platform):
    structures = [rattled_molecule(), rattled_box()]
    if implementation == "pythonforce":
        structures += [rattled_molecule("CH3OH"), rattled_box(seed=7)]

    def contexts() -> list[openmm.Context]:
        return [make_context(held_system(a, model_file, implementation, platform), a, platform) for a in structures]

    alone = [walk(context, 25) for context in contexts()]
    for a, b in zip(at_once(contexts(), 25), alone, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("kind", "implementation"),
    [
        ("molecule", "pythonforce"),
        ("box", "pythonforce"),
        pytest.param("molecule", "torchforce", marks=needs_openmmtorch),
    ],
)
def test_threads_that_share_a_system(model_file, kind, implementation):
    """Bit-for-bit in vacuum; in boxes PythonForce's Contexts share one list, which decides on the order of sums."""
    atoms = STRUCTURES[kind]()
    structures = []
    for seed in range(4):
        moved = atoms.copy()
        moved.rattle(0.05, seed=seed)
        structures.append(moved)
    system = held_system(atoms, model_file, implementation)
    alone = [walk(make_context(system, a), 25) for a in structures]
    found = at_once([make_context(system, a) for a in structures], 25)
    for a, b in zip(found, alone, strict=True):
        if kind == "molecule":
            np.testing.assert_array_equal(a, b)
        else:
            np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("implementation", BOTH)
def test_reinitialisation(model_file, implementation):
    atoms = rattled_box()
    system = held_system(atoms, model_file, implementation)
    context = make_context(system, atoms)
    before = walk(context, 10)
    context.reinitialize()
    context.setPositions(atoms.positions / 10.0)
    context.setStepCount(0)
    np.testing.assert_allclose(walk(context, 10), before, rtol=1e-12, atol=1e-12)
    context.reinitialize(preserveState=True)
    assert lorem_results(context)[0] == pytest.approx(before[-1], rel=1e-13)
    context.getIntegrator().step(5)
    assert np.isfinite(positions(context)).all()


def test_other_integrators_on_one_system(model_file):
    atoms = rattled_box()
    system = held_system(atoms, model_file)
    first = walk(make_context(system, atoms, integrator=openmm.VerletIntegrator(0.0005)), 10)
    compound = openmm.CompoundIntegrator()
    for integrator in (openmm.VerletIntegrator(0.0005), openmm.BrownianIntegrator(300.0, 100.0, 1e-5), langevin()):
        compound.addIntegrator(integrator)
    context = make_context(system, atoms, integrator=compound)
    for k in range(3):
        compound.setCurrentIntegrator(k)
        found = walk(context, 10)
        if k == 0:
            np.testing.assert_allclose(found, first, rtol=1e-12, atol=1e-12)
    several = []
    for often in (1, 4):  # the tether four times as often as the model
        integrator = openmm.MTSIntegrator(0.0005, [(0, 1), (1, often)])
        several.append(walk(make_context(system, atoms, integrator=integrator), 10))
    assert np.abs(several[0] - several[1])[:-1].max() < 1e-5
    for one in (context, make_context(system, atoms, integrator=langevin())):
        assert_close(lorem_results(one), expected(model_file, present(one, atoms)), 1e-9)


def simulation_of(atoms: Atoms, model, platform: str, **options) -> openmm.app.Simulation:
    system = held_system(atoms, model, platform=platform, **options)
    place = openmm.Platform.getPlatform(platform)
    simulation = openmm.app.Simulation(topology_of(atoms), system, langevin(), place)
    simulation.context.setPositions(atoms.positions / 10.0)
    return simulation


def last_bits(simulation: openmm.app.Simulation) -> np.ndarray:
    """Positions and velocities."""
    state = simulation.context.getState(positions=True, velocities=True)
    return np.stack([state.getPositions(asNumpy=True)._value, state.getVelocities(asNumpy=True)._value])


@pytest.mark.parametrize(
    ("kind", "precision", "platform"),
    [
        ("molecule", "single", "Reference"),
        ("box", "single", "Reference"),
        ("box", "double", "Reference"),
        ("box", "single", "CPU"),
    ],
)
def test_checkpoints_resume_bit_for_bit(tmp_path, model_file, kind, precision, platform):
    """Also those after which the neighbour list would have lived on, and noise is drawn."""
    atoms, path = STRUCTURES[kind](), str(tmp_path / "run.chk")
    simulation = simulation_of(atoms, model_file, platform, precision=precision)
    simulation.context.setVelocitiesToTemperature(300.0, 1)
    simulation.step(100)
    simulation.saveCheckpoint(path)
    simulation.step(45)
    wanted = last_bits(simulation)
    simulation.loadCheckpoint(path)  # going back
    simulation.step(45)
    np.testing.assert_array_equal(last_bits(simulation), wanted)
    fresh = simulation_of(atoms, model_file, platform, precision=precision)
    fresh.context.loadCheckpoint((tmp_path / "run.chk").read_bytes())
    fresh.step(45)
    np.testing.assert_array_equal(last_bits(fresh), wanted)


@pytest.mark.parametrize(
    ("kind", "implementation"),
    [
        ("molecule", "pythonforce"),
        ("box", "pythonforce"),
        pytest.param("box", "torchforce", marks=needs_openmmtorch),
    ],
)
def test_states_resume_bit_for_bit_without_noise(tmp_path, model_file, kind, implementation):
    """States hold no random numbers. TorchForce is not told the step: its lists differ, and sums in their last bit."""
    atoms, path = STRUCTURES[kind](), str(tmp_path / "run.xml")
    simulations = []
    for _ in range(2):
        system = held_system(atoms, model_file, implementation)
        platform = openmm.Platform.getPlatform("Reference")
        simulation = openmm.app.Simulation(topology_of(atoms), system, openmm.VerletIntegrator(0.0005), platform)
        simulation.context.setPositions(atoms.positions / 10.0)
        simulations.append(simulation)
    simulations[0].context.setVelocitiesToTemperature(300.0, 1)
    simulations[0].step(100)
    simulations[0].saveState(path)
    simulations[1].loadState(path)
    assert simulations[1].context.getStepCount() == 100
    for simulation in simulations:
        simulation.step(45)
    first, second = (last_bits(simulation) for simulation in simulations)
    if implementation == "torchforce" and kind == "box":
        np.testing.assert_allclose(first, second, rtol=0, atol=1e-12)
    else:
        np.testing.assert_array_equal(first, second)


def test_checkpoints_at_any_other_step_resume_to_rounding(model_file):
    atoms = rattled_box()
    simulation = simulation_of(atoms, model_file, "Reference")
    simulation.context.setVelocitiesToTemperature(300.0, 1)
    simulation.step(57)
    checkpoint = simulation.context.createCheckpoint()
    simulation.step(20)
    wanted = last_bits(simulation)
    simulation.context.loadCheckpoint(checkpoint)
    simulation.step(20)
    np.testing.assert_allclose(last_bits(simulation), wanted, rtol=0, atol=1e-12)


def test_lists_are_made_rarely(model_file):
    """Checkpoints that resume bit-for-bit need a new list every hundred steps, and no more."""
    atoms, system = rattled_box(), openmm.System()
    system.setDefaultPeriodicBoxVectors(*atoms.cell[:] / 10.0)
    for _ in atoms:
        system.addParticle(1.0)
    settings = ForceSettings(ModelSource.find(model_file), tuple(atoms.numbers.tolist()), periodic=True)
    force = openmm.PythonForce(function := PotentialFunction(settings))
    force.setUsesPeriodicBoundaryConditions(True)
    system.addForce(force)
    context = make_context(system, atoms, integrator=openmm.VerletIntegrator(1e-7))
    context.getIntegrator().step(250)
    for _ in range(3):
        lorem_results(context)
    assert function.rebuilds == 3


def test_systems_of_a_potential_in_memory_can_be_copied_after_use():
    atoms = rattled_molecule()
    system = make_system(atoms, small_potential())
    wanted = lorem_results(make_context(system, atoms))
    assert_close(lorem_results(make_context(copy.deepcopy(system), atoms)), wanted, 1e-12)


@pytest.mark.gpu
@pytest.mark.parametrize("implementation", BOTH)
@pytest.mark.parametrize("kind", list(STRUCTURES))
@pytest.mark.parametrize("platform", [pytest.param("CUDA", marks=needs_cuda)])
def test_processor_and_gpu_in_one_process(model_file, kind, implementation, platform):
    atoms = STRUCTURES[kind]()
    contexts = [make_context(make_system(atoms, model_file, implementation, p), atoms, p) for p in ("CPU", platform)]
    for seed in range(3):
        for context in contexts:
            context.setPositions(atoms.positions / 10.0)
        here, there = (lorem_results(context) for context in contexts)
        assert_close(here, there, 1e-9)
        atoms.rattle(0.1, seed=seed)
