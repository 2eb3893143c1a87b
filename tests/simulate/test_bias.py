"""Biases against their formulas, structures pulled to their centres, and static profiles, in real contexts."""

import os
import signal
import subprocess
import sys
import time

import mdtraj
import numpy as np
import openmm
import pytest
from openmm import app, unit

from lorem_openmm.config import Bias, Simulation, Umbrella
from lorem_openmm.errors import ConfigError
from lorem_openmm.export import PRETRAINED
from lorem_openmm.simulate import engine
from lorem_openmm.simulate.bias import CENTER, STIFFNESS, add_bias, measure, pull
from lorem_openmm.simulate.energy import read_state
from lorem_openmm.simulate.molecules import Sn2Atoms, find_sn2
from lorem_openmm.simulate.scan import static_profile
from lorem_openmm.simulate.simulation import simulate
from lorem_openmm.simulate.start import Start
from lorem_openmm.simulate.systems import read_structure

KJ_PER_MOL = 96.48533212331  # in 1 eV
SN2 = {"run": "r", "start": "sn2:Cl,Br,3.2", "steps": 60, "report_interval": 10, "seed": 3}


def center_of_mass(start, members, positions):
    masses = np.array([atom.element.mass._value for atom in start.topology.atoms()])[members]
    return masses @ positions[members] / masses.sum()


def bond_difference(start, positions):
    return np.linalg.norm(positions[0] - positions[1]) - np.linalg.norm(positions[1] - positions[2])


def center_distance(start, positions):
    a, b = (center_of_mass(start, members, positions) for members in start.molecules[:2])
    return np.linalg.norm(b - a)


def bias_alone(start, bias):
    """A Context of nothing but the bias."""
    system = openmm.System()
    for atom in start.topology.atoms():
        system.addParticle(atom.element.mass)
    force = add_bias(system, start, bias)
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatform("Reference"))
    return context, force


@pytest.mark.parametrize(
    ("structure", "coordinate", "formula"),
    [
        ("sn2:Cl,Br,3.2", "bond_difference", bond_difference),
        ("sn2:Cl,Br,3.2", "center_distance", center_distance),
        ("dimer:methanol,acetamide,2.0", "center_distance", center_distance),
    ],
)
def test_energy_and_forces_are_those_of_the_formula(structure, coordinate, formula):
    start = read_structure(structure)
    context, force = bias_alone(start, Bias(coordinate=coordinate, center=0.7, stiffness=3.0))
    positions = start.positions + np.random.default_rng(0).normal(0.0, 0.2, start.positions.shape)

    def energy(moved):
        return 0.5 * 3.0 * (formula(start, moved) - 0.7) ** 2

    context.setPositions(positions / 10.0)
    state = context.getState(energy=True, forces=True)
    assert measure(context, force) == pytest.approx(formula(start, positions), abs=1e-6)
    assert state.getPotentialEnergy()._value / KJ_PER_MOL == pytest.approx(energy(positions), rel=1e-6)
    step, gradient = 1e-4, np.zeros_like(positions)
    for index in np.ndindex(*positions.shape):
        there = np.zeros_like(positions)
        there[index] = step
        gradient[index] = (energy(positions + there) - energy(positions - there)) / (2 * step)
    forces = state.getForces(asNumpy=True)._value / KJ_PER_MOL / 10.0  # eV/Å
    assert forces == pytest.approx(-gradient, abs=1e-5)
    assert np.abs(gradient).max() > 0.1


def test_the_bias_acts_through_the_box_with_the_nearest_image():
    topology = app.Topology()
    chain = topology.addChain()
    for _ in range(2):
        topology.addAtom("AR", app.Element.getBySymbol("Ar"), topology.addResidue("AR", chain))
    topology.setPeriodicBoxVectors(np.eye(3) * 2.0 * unit.nanometer)
    start = Start(topology, np.array([[0.5, 0, 0], [19.0, 0, 0]]), [[0], [1]])
    system = openmm.System()
    system.setDefaultPeriodicBoxVectors(*np.eye(3) * 2.0)
    for _ in range(2):
        system.addParticle(40.0)
    force = add_bias(system, start, Bias(coordinate="center_distance", center=1.0))
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatform("Reference"))
    context.setPositions(start.positions / 10.0)
    assert measure(context, force) == pytest.approx(1.5, abs=1e-6)


def test_centre_and_stiffness_can_change_in_a_context():
    start = read_structure("sn2:Cl,Br,3.2")
    context, force = bias_alone(start, Bias(coordinate="bond_difference", center=0.0, stiffness=1.0))
    context.setPositions(start.positions / 10.0)
    context.setParameter(CENTER, measure(context, force) / 10.0 - 0.1)
    context.setParameter(STIFFNESS, 100.0)
    assert context.getState(energy=True).getPotentialEnergy()._value == pytest.approx(0.5, rel=1e-5)


def test_reacting_atoms_are_found_beside_water_and_in_one_molecule():
    symbols = ["C", "Br", "H", "H", "H", "O", "H", "H", "Cl"]
    assert find_sn2(symbols, [range(5), range(5, 8), [8]]) == Sn2Atoms(attacker=8, carbon=0, leaving=1)
    assert find_sn2(["Cl", "C", "Br", "H", "H", "H"], [range(6)]) == Sn2Atoms(attacker=0, carbon=1, leaving=2)
    assert find_sn2([*symbols, "Cl"], [range(5), range(5, 8), [8], [9]]) is None


@pytest.mark.parametrize(
    ("start", "coordinate", "message"),
    [
        ("dimer:methanol,water,3.0", "bond_difference", r"coordinate: bond_difference needs X- \+ CH3Y .* has 1 C, "),
        ("one.xyz", "center_distance", "coordinate: center_distance needs at least two molecules, the start has 1"),
    ],
)
def test_structures_without_the_coordinate_are_refused(tmp_path, model_file, start, coordinate, message, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "one.xyz").write_text("3\n\nO 0 0 0\nH 0.76 0.59 0\nH -0.76 0.59 0\n")
    bias = Bias(coordinate=coordinate, center=1.0)
    with pytest.raises(ConfigError, match=message):
        simulate(Simulation(**{**SN2, "start": start}, bias=bias), model_file, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_pulling_reaches_the_centre_or_says_that_it_is_blocked():
    start = read_structure("sn2:Cl,Br,3.2")
    system = openmm.System()
    for atom in start.topology.atoms():
        system.addParticle(atom.element.mass)
    wall = openmm.CustomBondForce("0.5*1e7*min(0, r - 0.3)^2")  # C-Cl cannot come closer than 3 Å
    wall.addBond(0, 1, [])
    bond = openmm.HarmonicBondForce()
    bond.addBond(1, 2, 0.2, 1e7)
    force = add_bias(system, start, Bias(coordinate="bond_difference", center=1.1, stiffness=2.0))
    system.addForce(wall)
    system.addForce(bond)
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatform("Reference"))
    context.setPositions(start.positions / 10.0)
    pull(context, force)
    assert measure(context, force) == pytest.approx(1.1, abs=0.01)
    assert context.getParameter(STIFFNESS) == pytest.approx(2.0 * KJ_PER_MOL * 100.0)
    context.setParameter(CENTER, 0.02)
    message = r"bias.center: .* must be able to reach it; pulled from 1.10 Å towards 0.20 Å, it stays at 0.9\d Å"
    with pytest.raises(ConfigError, match=message):
        pull(context, force)


@pytest.mark.parametrize("center", [1.8, -1.5])
def test_a_window_starts_at_its_centre_on_either_side_of_the_barrier(tmp_path, center):
    bias = Bias(coordinate="bond_difference", center=center, stiffness=40.0)
    simulate(Simulation(**SN2, bias=bias), PRETRAINED, tmp_path / "run")
    first = mdtraj.load(str(tmp_path / "run" / "topology.pdb"))
    assert bond_difference(None, 10.0 * first.xyz[0]) == pytest.approx(center, abs=0.05)
    bonds = 10.0 * np.linalg.norm(first.xyz[0, 3:] - first.xyz[0, 1], axis=1)
    assert bonds == pytest.approx(np.full(3, 1.08), abs=0.04)  # still CH3
    trajectory = mdtraj.load(str(tmp_path / "run" / "trajectory.dcd"), top=first.topology)
    assert bond_difference(None, 10.0 * trajectory.xyz[-1]) == pytest.approx(center, abs=0.3)


def test_static_profile_of_a_symmetric_reaction_is_symmetric():
    umbrella = Umbrella(
        run="r", start="sn2:Cl,Cl,3.0", coordinate="bond_difference", first=1.2, last=-1.2, precision="double"
    )
    start = read_structure(umbrella.start)
    centers = np.linspace(1.2, -1.2, 9).tolist()
    found = static_profile(umbrella.window(0), PRETRAINED, centers, [start.positions])
    assert found.coordinate == pytest.approx(centers, abs=0.01)
    assert [bond_difference(None, positions) for positions in found.positions] == pytest.approx(
        found.coordinate, abs=1e-5
    )
    assert found.energy == pytest.approx(found.energy[::-1], abs=2e-3)
    assert 0.1 < found.energy[4] - found.energy[1:8].min() < 1.0
    # The bias is not part of the energy.
    system = engine.create_system(
        start,
        Simulation(**{**SN2, "start": umbrella.start, "precision": "double"}),
        PRETRAINED,
        engine.choose_platform("cpu", "double"),
    )
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatform("Reference"))
    context.setPositions(found.positions[2] / 10.0)
    energy = context.getState(energy=True).getPotentialEnergy()._value / KJ_PER_MOL
    assert energy == pytest.approx(found.energy[2], abs=1e-6)


SCRIPT = """
import sys, torch
torch.set_num_threads(1)
from lorem_openmm.config import Umbrella
from lorem_openmm.simulate.simulation import simulate
window = Umbrella.model_validate_json(sys.argv[1]).window(1)
simulate(window, sys.argv[2], sys.argv[3], checkpoint_seconds=0.2)
"""


@pytest.mark.slow
def test_a_killed_window_continues_without_missing_or_double_frames(tmp_path, sound_model):
    wanted = Umbrella(
        run="r", start="sn2:Cl,Br,3.2", coordinate="bond_difference", first=1.4, last=1.0, num_windows=3,
        steps=160, equilibration=20, report_interval=2,
    )  # fmt: skip
    folder = tmp_path / "killed"
    process = subprocess.Popen([sys.executable, "-c", SCRIPT, wanted.model_dump_json(), sound_model, folder])
    trajectory = folder / "unfinished" / "trajectory.dcd"
    while process.poll() is None:
        if trajectory.is_file() and trajectory.stat().st_size > 276 + 96 * 25:
            os.kill(process.pid, signal.SIGKILL)
            break
        time.sleep(0.01)
    assert process.wait() == -signal.SIGKILL
    assert (folder / "unfinished" / "progress.json").is_file()

    simulate(wanted.window(1), sound_model, folder)
    simulate(wanted.window(1), sound_model, tmp_path / "straight")
    resumed, straight = ((path / "trajectory.dcd").read_bytes()[276:] for path in (folder, tmp_path / "straight"))
    assert resumed == straight
    assert read_state(folder / "state.csv")["step"].tolist() == list(range(2, 161, 2))
