"""Calculators, potentials, reporters and systems are pickled and copied before and after use, and leave the process."""

import copy
import io
import multiprocessing
import pickle
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from ase.io import read, write
from helpers import rattled_box, rattled_molecule, small_potential
from made_systems import context_of, results, system_of, topology_of
from openmmml import MLPotential

import lorem_openmm
from lorem_openmm.errors import ConfigError, DataError, UnknownElementError

COPIES = {"pickle": lambda thing: pickle.loads(pickle.dumps(thing)), "deepcopy": copy.deepcopy}  # noqa: S301
copies = pytest.mark.parametrize("copied", COPIES.values(), ids=list(COPIES))


@copies
@pytest.mark.parametrize("make", [rattled_molecule, rattled_box])
def test_calculators(copied, make):
    atoms = make()
    atoms.calc = lorem_openmm.LoremCalculator(small_potential())
    fresh = copied(atoms)
    energy = atoms.get_potential_energy()
    used = copied(atoms)
    atoms.positions[1, 0] = np.nan
    with pytest.raises(DataError, match="must be finite"):
        atoms.get_potential_energy()
    failed = copied(atoms)
    failed.positions[:] = fresh.positions
    for other in (fresh, used, failed):
        assert other.get_potential_energy() == energy
        other.rattle(0.1)
        assert other.get_potential_energy() != energy
    assert copied(atoms.calc).potential is not atoms.calc.potential


def test_compiled_calculators(monkeypatch):
    from lorem_openmm.inference import compiled

    monkeypatch.setattr(compiled, "load_or_compile", lambda module, _: lambda positions: list(module(positions)))
    atoms = rattled_molecule()
    atoms.calc = lorem_openmm.LoremCalculator(small_potential(), compile=True)
    energies = [atoms.get_potential_energy()]
    for copied in COPIES.values():
        other = copied(atoms)
        other.calc.reset()
        energies.append(other.get_potential_energy())
        assert other.calc._dynamics.is_compiled
    assert energies[1:] == energies[:1] * 2


@pytest.mark.parametrize("suffix", ["traj", "xyz", "json"])
def test_structures_are_written_with_their_results(tmp_path, suffix):
    atoms = rattled_box()
    atoms.calc = lorem_openmm.LoremCalculator(small_potential())
    energy = atoms.get_potential_energy()
    write(tmp_path / f"a.{suffix}", atoms)
    assert read(tmp_path / f"a.{suffix}").get_potential_energy() == pytest.approx(energy, abs=1e-5)


def test_a_calculator_forgets_a_structure_that_failed():
    calculator = lorem_openmm.LoremCalculator(small_potential())
    known, unknown = rattled_molecule(), rattled_molecule()
    energy = calculator.get_potential_energy(known)
    unknown.numbers[0] = 7
    for _ in range(2):
        with pytest.raises(UnknownElementError, match="does not know N"):
            calculator.get_potential_energy(unknown)
    assert calculator.get_potential_energy(known) == energy


@copies
def test_potentials_follow_their_own_weights(copied):
    from helpers import graph_of

    graph, potential = graph_of(rattled_molecule()), small_potential().requires_grad_(False)
    before = potential.evaluate(graph).energy
    other = copied(potential)
    other.model.species_embedding.weight[:] *= 2.0
    assert other.evaluate(graph).energy != before
    assert potential.evaluate(graph).energy == before


@copies
@pytest.mark.parametrize("in_memory", [False, True])
def test_systems_and_what_makes_them(model_file, copied, in_memory):
    atoms = rattled_box()
    potential = MLPotential("lorem", modelPath=small_potential() if in_memory else model_file)
    made = copied(potential).createSystem(topology_of(atoms), device="cpu")  # its own potential has gone by now
    system = potential.createSystem(topology_of(atoms), device="cpu")
    before = copied(system)
    context = context_of(system, atoms)
    wanted = results(context)[0]
    for other in (made, before, copied(system), copied(potential).createSystem(topology_of(atoms), device="cpu")):
        assert results(context_of(other, atoms))[0] == wanted
    context.setPositions(np.full((len(atoms), 3), np.nan))
    with pytest.raises(Exception, match="must be finite"):
        results(context)
    assert results(context_of(copied(system), atoms))[0] == wanted


@copies
def test_reporters_append_to_their_file(tmp_path, model_file, copied):
    atoms = rattled_molecule()
    system = system_of(atoms, model_file)
    context = context_of(system, atoms)
    state = context.getState(positions=True)

    simulation = SimpleNamespace(currentStep=7, system=system)
    reporter = lorem_openmm.DecompositionReporter(tmp_path / "parts.csv", 10)
    for one in (reporter, copied(reporter), reporter):
        one.report(simulation, state)
    lines = (tmp_path / "parts.csv").read_text().splitlines()
    assert lines[0].startswith("step,time_ps")
    assert len(lines) == 4
    assert len(set(lines[1:])) == 1
    assert copied(lorem_openmm.DecompositionReporter(io.StringIO(), 5))._stream.getvalue().startswith("step")
    with (tmp_path / "open.csv").open("w") as stream, pytest.raises(ConfigError, match="give it a path"):
        copied(lorem_openmm.DecompositionReporter(stream, 5))
    with pytest.raises(ConfigError, match="reportInterval: must be a number of steps"):
        lorem_openmm.DecompositionReporter(tmp_path / "parts.csv", 0)
    with pytest.raises(ConfigError, match="state: must have positions"):
        lorem_openmm.decompose(system, context.getState(energy=True))


def energy_of(atoms) -> float:
    atoms.calc.reset()
    return atoms.get_potential_energy()


@pytest.mark.slow
def test_a_pool_of_spawned_processes():
    atoms = rattled_box()
    atoms.calc = lorem_openmm.LoremCalculator(small_potential())
    wanted = atoms.get_potential_energy()
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.map_async(energy_of, [atoms]).get(120) == [wanted]


FORK = """
import os, sys, torch, lorem_openmm
from ase import Atoms
torch.set_num_threads(2)
start = lorem_openmm.read_structure("water:64")
numbers = [atom.element.atomic_number for atom in start.topology.atoms()]
def energy():
    atoms = Atoms(numbers, start.positions, cell=start.box, pbc=True)
    atoms.calc = lorem_openmm.LoremCalculator(sys.argv[1])
    return atoms.get_potential_energy()
wanted = energy()
child = os.fork()
if child == 0:
    os._exit(0 if torch.get_num_threads() == 1 and abs(energy() - wanted) < 1e-3 else 3)
assert torch.get_num_threads() == 2
print("child ended with", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.slow
def test_a_forked_process_computes_where_its_parent_had_threads(model_file):
    command = [sys.executable, "-c", FORK, str(model_file)]
    run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=240)
    assert run.stdout.split("\n")[0] == "child ended with 0", run.stderr
