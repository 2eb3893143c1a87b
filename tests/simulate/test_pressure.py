"""Constant pressure: the ensemble of an ideal gas, boxes that change through a pause, and refusals."""

import mdtraj
import numpy as np
import openmm
import pytest
from openmm import unit
from pydantic import ValidationError

from lorem_openmm.config import Simulation
from lorem_openmm.errors import ConfigError
from lorem_openmm.simulate import engine
from lorem_openmm.simulate.energy import read_state
from lorem_openmm.simulate.simulation import simulate
from lorem_openmm.simulate.systems import read_structure


def settings(**changes):
    values = {
        "run": "r",
        "start": "water:8",
        "steps": 100,
        "report_interval": 10,
        "seed": 3,
        "pressure_bar": 1.0,
        "temperature": 10.0,
        "minimize": False,
    }
    return Simulation(**{**values, **changes})


def read(folder):
    trajectory = mdtraj.load(str(folder / "trajectory.dcd"), top=str(folder / "topology.pdb"))
    return trajectory, read_state(folder / "state.csv")


def test_an_ideal_gas_has_its_volume():
    # ⟨V⟩ = (N + 1) kT / p, with a standard deviation of √(N + 1) kT / p.
    start = read_structure("water:8", 1)
    n_atoms, kt_over_p = len(start.positions), 1.380649e-23 * 300.0 / 1e8 * 1e27  # nm³ at 1000 bar
    system = openmm.System()
    for _ in range(n_atoms):
        system.addParticle(18.0)
    system.setDefaultPeriodicBoxVectors(*start.topology.getPeriodicBoxVectors())
    system.addForce(engine._barostat(start, settings(pressure_bar=1000.0, temperature=300.0)))
    system.addForce(openmm.NonbondedForce())
    force = system.getForce(1)
    force.setNonbondedMethod(openmm.NonbondedForce.CutoffPeriodic)
    force.setCutoffDistance(0.1)
    for _ in range(n_atoms):
        force.addParticle(0.0, 0.1, 0.0)
    device = engine.choose_platform("cpu", "single")
    dynamics = engine.create_simulation(system, start, settings(temperature=300.0), device)
    dynamics.context.setPositions(start.positions * unit.angstrom)
    dynamics.step(3000)
    volumes = []
    for _ in range(2000):
        dynamics.step(20)
        volumes.append(dynamics.context.getState().getPeriodicBoxVolume().value_in_unit(unit.nanometer**3))
    assert np.mean(volumes) == pytest.approx((n_atoms + 1) * kt_over_p, rel=0.05)
    assert np.std(volumes) == pytest.approx(np.sqrt(n_atoms + 1) * kt_over_p, rel=0.2)


def test_the_box_changes_and_every_file_says_so(tmp_path, still_model):
    simulate(settings(), still_model, tmp_path / "run")
    trajectory, state = read(tmp_path / "run")
    assert len(np.unique(state["volume"])) > 3
    assert trajectory.unitcell_volumes == pytest.approx(state["volume"], rel=1e-5)
    started = mdtraj.load(str(tmp_path / "run" / "topology.pdb"))
    assert started.unitcell_lengths[0] == pytest.approx(np.full(3, 0.6208), abs=2e-4)
    fixed = settings(pressure_bar=None, steps=20)
    simulate(fixed, still_model, tmp_path / "fixed")
    assert len(np.unique(read(tmp_path / "fixed")[1]["volume"])) == 1


def test_a_pause_keeps_the_box(tmp_path, still_model):
    simulate(settings(steps=50), still_model, tmp_path / "paused")
    before, _ = read(tmp_path / "paused")
    simulate(settings(steps=100), still_model, tmp_path / "paused")
    after, state = read(tmp_path / "paused")
    assert after.n_frames == 10
    assert after.xyz[:5] == pytest.approx(before.xyz)
    volumes = state["volume"]
    assert after.unitcell_volumes == pytest.approx(volumes, rel=1e-5)
    # A move is at most a few percent here; a box that fell back to the topology's would show.
    assert abs(volumes[4] / 0.6208**3 - 1.0) > 1e-3
    steps = np.diff(np.log(volumes))
    assert abs(steps[4]) < 0.05


def test_other_random_numbers_after_each_pause():
    start = read_structure("water:8", 1)
    seeds = set()
    for step in (0, 10, 20, 10):
        system = openmm.System()
        system.addForce(engine._barostat(start, settings()))
        engine.reseed_barostat(system, 3, step)
        seeds.add(system.getForce(0).getRandomNumberSeed())
    assert len(seeds) == 3
    assert 0 not in seeds


def test_pressure_needs_a_box_and_a_thermostat(tmp_path, model_file):
    with pytest.raises(ConfigError, match=r"pressure_bar: .* periodic box, and `sn2:Cl,Br,3.2` has none"):
        simulate(settings(start="sn2:Cl,Br,3.2"), model_file, tmp_path / "run")
    with pytest.raises(ValidationError, match="pressure_bar needs a thermostat"):
        settings(friction_per_ps=0.0)
