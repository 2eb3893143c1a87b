"""Molecules in water: the mixed system's energy by hand, charges, refusals, equilibration, runs that continue."""

import random

import ase.io
import mdtraj
import numpy as np
import openmm
import pytest
from ase import Atoms
from helpers import graph_of
from openmm import app, unit

from lorem_openmm.config import Simulation, Solvent
from lorem_openmm.errors import ConfigError, SimulationError
from lorem_openmm.export import PRETRAINED, load
from lorem_openmm.sampling.fragments import all_fragments
from lorem_openmm.simulate import engine, solvate
from lorem_openmm.simulate.energy import read_state
from lorem_openmm.simulate.simulation import simulate
from lorem_openmm.simulate.systems import read_structure

KJ_PER_MOL_PER_EV = 96.48533212331
COULOMB = 138.93545764438198  # kJ/mol nm/e²
BOX = Solvent(box_edge=19.0)
REFERENCE = engine.choose_platform("cpu", "double")


def settings(**changes):
    values = {
        "run": "r",
        "start": "dimer:methanol,acetamide,0.5",
        "steps": 20,
        "report_interval": 5,
        "restraint": 0.5,
        "restraint_distance": 3.0,
        "solvent": {"box_edge": 19.0, "equilibration_ps": 0.1},
    }
    return Simulation(**{**values, **changes})


def in_water(text, solvent=BOX):
    return solvate.solvate(read_structure(text), solvent)


def context_of(system, positions, platform=REFERENCE):
    context = openmm.Context(system, openmm.VerletIntegrator(1e-3), platform.platform, platform.properties)
    context.setPositions(positions / 10.0)
    return context


def results(context):
    state = context.getState(energy=True, forces=True)
    return state.getPotentialEnergy()._value, state.getForces(asNumpy=True)._value


def within_solute(start, system):
    """Energy in kJ/mol of the force field's pairs of solute atoms, summed by hand."""
    force = next(force for force in system.getForces() if isinstance(force, openmm.NonbondedForce))
    exceptions = {}
    for k in range(force.getNumExceptions()):
        first, second, *parameters = force.getExceptionParameters(k)
        exceptions[frozenset((first, second))] = [value._value for value in parameters]
    atoms = [k for members in start.solute for k in members]
    single = [[value._value for value in force.getParticleParameters(k)] for k in atoms]
    energy = 0.0
    for j, second in enumerate(atoms):
        for i, first in enumerate(atoms[:j]):
            (q1, s1, e1), (q2, s2, e2) = single[i], single[j]
            product, sigma, epsilon = exceptions.get(
                frozenset((first, second)), (q1 * q2, (s1 + s2) / 2, np.sqrt(e1 * e2))
            )
            r = np.linalg.norm(start.positions[second] - start.positions[first]) / 10.0
            assert r < 0.8, "beyond this distance Lennard-Jones is switched off slowly"
            energy += COULOMB * product / r + 4 * epsilon * ((sigma / r) ** 12 - (sigma / r) ** 6)
    return energy


@pytest.mark.parametrize("text", ["dimer:acetate,methylammonium,0.5", "dimer:methanol,water,1.0"])
def test_the_energy_is_the_force_field_with_lorem_in_the_molecules(model_file, text):
    start = in_water(text)
    known = solvate.force_field_system(start, BOX)
    mixed = solvate.mixed_system(start, BOX, model_file, device="cpu", precision="double")
    atoms = [k for members in start.solute for k in members]
    symbols = [atom.element.symbol for atom in start.topology.atoms()]
    molecules = Atoms([symbols[k] for k in atoms], start.positions[atoms])
    inside = load(model_file, dtype="float64").evaluate(graph_of(molecules))
    by_force_field, _ = results(context_of(known, start.positions))
    bonded = bonded_energy(known, start)
    model = float(inside.energy[0]) * KJ_PER_MOL_PER_EV
    energy, _ = results(context_of(mixed, start.positions))
    expected = by_force_field - within_solute(start, known) - bonded + polar_hydrogens(start, known)
    # Beyond the cutoff, three polar hydrogens feel 200 waters by −0.02 kJ/mol, which the sum by hand leaves out.
    assert energy - model == pytest.approx(expected - 0.02, rel=1e-5, abs=0.01)
    assert abs(expected) < abs(model) * 0.1  # so that the line above says something about small numbers, too


def polar_hydrogens(start, system):
    """Energy in kJ/mol of the molecules' hydrogens without Lennard-Jones term with oxygens of water, by hand."""
    force = next(force for force in system.getForces() if isinstance(force, openmm.NonbondedForce))
    epsilon = np.array([force.getParticleParameters(k)[2]._value for k in range(force.getNumParticles())])
    solute = np.concatenate(start.solute)
    bare = solute[epsilon[solute] == 0.0]
    assert len(bare) == {15: 3, 9: 3}[len(solute)]  # N-H3, or O-H and those of a water
    oxygens = np.setdiff1d(np.flatnonzero(epsilon), solute)
    steps = (start.positions[bare][:, None] - start.positions[oxygens]) / 10.0
    steps -= 1.9 * np.round(steps / 1.9)
    r = np.linalg.norm(steps, axis=-1)
    s = ((0.04000135 + 0.315) / 2 / r[r < 0.9]) ** 6
    mixed = 4.0 * np.sqrt(0.192464 * epsilon[oxygens[0]])
    return mixed * (s * s - s).sum()


def bonded_energy(system, start):
    """Energy of the force field's bonds and angles: waters around are rigid, so all are in the molecules."""
    only = openmm.System()
    for k in range(system.getNumParticles()):
        only.addParticle(system.getParticleMass(k))
    for force in system.getForces():
        if isinstance(force, (openmm.HarmonicBondForce, openmm.HarmonicAngleForce)):
            only.addForce(openmm.XmlSerializer.clone(force))
    return results(context_of(only, start.positions))[0]


def test_images_of_the_molecules_are_the_same_molecules(model_file):
    start = in_water("dimer:methanol,acetamide,1.0")
    system = solvate.mixed_system(start, BOX, model_file, device="cpu", precision="double")
    context = context_of(system, start.positions)
    energy, forces = results(context)
    moved = start.positions.copy()
    moved[start.solute[0] + start.solute[1]] += 19.0 * np.array([1.0, -2.0, 3.0])
    context.setPositions(moved / 10.0)
    again, forces_again = results(context)
    assert again == pytest.approx(energy, rel=1e-9)
    assert np.abs(forces_again - forces).max() < 1e-5 * np.abs(forces).max()


@pytest.mark.parametrize("name", sorted(all_fragments()))
def test_charges_of_a_fragment_sum_to_its_charge(tmp_path, name):
    ase.io.write(tmp_path / "fragment.xyz", all_fragments()[name].atoms())
    start = in_water(str(tmp_path / "fragment.xyz"))
    system = solvate.force_field_system(start, BOX)
    force = next(force for force in system.getForces() if isinstance(force, openmm.NonbondedForce))
    charges = [force.getParticleParameters(k)[0]._value for k in start.solute[0]]
    assert sum(charges) == pytest.approx(all_fragments()[name].charge, abs=1e-9)
    assert solvate.total_charge(system) == pytest.approx(all_fragments()[name].charge, abs=1e-6)


@pytest.mark.parametrize("halogen", ["F", "Cl", "Br"])
def test_sn2_complexes_have_the_charge_of_the_ion(halogen):
    start = in_water(f"sn2:{halogen},{halogen},3.2")
    system = solvate.force_field_system(start, BOX)
    assert solvate.total_charge(system) == pytest.approx(-1.0, abs=1e-6)
    force = next(force for force in system.getForces() if isinstance(force, openmm.NonbondedForce))
    assert force.getParticleParameters(0)[0]._value == -1.0


def test_a_charged_box_is_warned_about_and_can_be_neutralized(model_file):
    start = in_water("sn2:Cl,Br,3.2")
    with pytest.warns(UserWarning, match=r"sum to -1.000 e.*neutralize"):
        solvate.mixed_system(start, BOX, model_file, device="cpu")
    neutral = Solvent(box_edge=19.0, neutralize=True)
    start = in_water("sn2:Cl,Br,3.2", neutral)
    summary = solvate.describe(start, neutral)
    assert summary["ions"] == ["NA"]
    assert summary["total_charge"] == 0.0
    assert summary["polar_hydrogen_repulsion"] is None  # no polar hydrogens
    random.random()  # noqa: S311 (must not change which water becomes the ion)
    again = in_water("sn2:Cl,Br,3.2", neutral)
    assert np.array_equal(again.positions, start.positions)


def test_only_water_around_the_molecules_is_constrained(model_file):
    start = in_water("dimer:methanol,water,1.0")
    system = solvate.mixed_system(start, BOX, model_file, device="cpu")
    n_waters = len(start.molecules) - 2
    assert system.getNumConstraints() == 3 * n_waters
    inner = set(start.solute[0] + start.solute[1])
    assert not any(inner & set(system.getConstraintParameters(k)[:2]) for k in range(system.getNumConstraints()))
    assert engine.degrees_of_freedom(system) == 3 * len(start.positions) - 3 * n_waters - 3
    system.setParticleMass(0, 0.0)
    assert engine.degrees_of_freedom(system) == 3 * len(start.positions) - 3 * n_waters - 6


def test_openmm_knows_which_atoms_are_a_molecule(model_file):
    start = in_water("dimer:methanol,acetamide,1.0")
    context = context_of(solvate.mixed_system(start, BOX, model_file, device="cpu"), start.positions)
    assert sorted(sorted(members) for members in context.getMolecules()) == sorted(start.molecules)


def test_water_that_is_too_close_is_moved_off_the_molecules():
    start = in_water("dimer:methanol,water,1.0")
    positions = start.positions.copy()
    water = start.molecules[-1]
    positions[water] += positions[0] - positions[water[0]] + 0.6  # beside the first atom
    crowded = start._replace(positions=positions)
    relaxed = solvate.relax_water(crowded, BOX, REFERENCE.platform, REFERENCE.properties)
    solute = np.concatenate(start.solute)
    assert np.array_equal(relaxed.positions[solute], positions[solute])
    energies = [
        results(context_of(solvate.force_field_system(start, BOX), r.positions))[0] for r in (start, crowded, relaxed)
    ]
    assert energies[1] > energies[0] + 1e4
    assert energies[2] < energies[0]


def test_water_comes_to_its_density_around_fixed_molecules():
    solvent = Solvent(box_edge=20.0, equilibration_ps=2.0)
    start = in_water("dimer:acetate,methylammonium,1.0", solvent)
    device = engine.choose_platform("cpu", "single", solvent=True)
    done = solvate.equilibrate(start, solvent, start.positions, 300.0, 1.0, 1, device.platform, device.properties)
    edge = done.topology.getPeriodicBoxVectors()[0][0].value_in_unit(unit.angstrom)
    before, after = (start.positions[:15], done.positions[:15])
    assert np.abs((after - after[0]) - (before - before[0])).max() < 1e-9
    grams = 18.015 * (len(start.molecules) - 2) + 59.0 + 32.0
    assert 0.93 < grams / 0.60221 / edge**3 < 1.03
    assert grams / 0.60221 / 20.0**3 < 0.93  # as filled, it was too thin
    symbols = np.array([atom.element.symbol for atom in done.topology.atoms()])
    steps = done.positions[15:][symbols[15:] == "O"][:, None] - done.positions[:15][symbols[:15] != "H"]
    steps -= edge * np.round(steps / edge)
    assert 2.4 < np.linalg.norm(steps, axis=-1).min() < 3.2  # hydrogen bonds


def read(folder):
    trajectory = mdtraj.load_dcd(str(folder / "trajectory.dcd"), top=str(folder / "topology.pdb"))
    state = read_state(folder / "state.csv")
    return 10.0 * trajectory.xyz, np.array([values for name, values in state.items() if name != "speed"])


def test_a_run_in_water_continues_as_if_it_had_not_stopped(tmp_path):
    summary = simulate(settings(), PRETRAINED, tmp_path / "straight")
    simulate(settings(steps=10), PRETRAINED, tmp_path / "twice")
    assert simulate(settings(), PRETRAINED, tmp_path / "twice")["steps"] == 20
    # To rounding: the CPU platform makes its neighbour list anew, and sums single-precision numbers in its order.
    for again, straight in zip(read(tmp_path / "twice"), read(tmp_path / "straight"), strict=True):
        assert np.array_equal(again[:2], straight[:2])
        assert again == pytest.approx(straight, rel=1e-6, abs=1e-4)
    assert summary["platform"] == "CPU"
    assert summary["solvent"]["n_solute_atoms"] == 15
    wall = summary["solvent"]["polar_hydrogen_repulsion"]
    assert (wall["atoms"], wall["names"][0]) == ([5, 13, 14], "H4 of MOL")
    assert wall["sigma_angstrom"] == pytest.approx(0.400, abs=1e-4)
    assert wall["epsilon_ev"] == pytest.approx(0.046 * 4.184 / KJ_PER_MOL_PER_EV, rel=1e-6)
    n_waters = summary["solvent"]["n_waters"]
    assert summary["degrees_of_freedom"] == 3 * 15 + 6 * n_waters - 3
    state = read_state(tmp_path / "straight" / "state.csv")
    kelvin = 2.0 * state["kinetic_energy"] / summary["degrees_of_freedom"] / 8.617333262e-5
    assert state["temperature"] == pytest.approx(kelvin, rel=1e-6)
    assert 200.0 < summary["temperature_mean"] < 400.0
    assert abs(state["volume"] - 1.9**3).min() > 1e-3  # nm³: of the box that came to equilibrium
    topology = app.PDBFile(str(tmp_path / "straight" / "topology.pdb")).topology
    assert [residue.name for residue in topology.residues()][1:3] == ["MOL", "HOH"]


def test_unknown_molecules_are_named_and_can_be_given(tmp_path):
    cyanide = tmp_path / "hcn.xyz"
    cyanide.write_text("3\n\nH 0 0 -1.065\nC 0 0 0\nN 0 0 1.156\n")
    with pytest.raises(ConfigError, match=r"know none with the elements and bonds of CHN .*molecule 1.*Add an OpenMM"):
        in_water(str(cyanide))
    own = tmp_path / "hcn.xml"
    own.write_text(
        '<ForceField><AtomTypes><Type name="a" class="a" element="H" mass="1"/><Type name="b" class="b" element="C" '
        'mass="12"/><Type name="c" class="c" element="N" mass="14"/></AtomTypes><Residues><Residue name="HCN">'
        '<Atom name="H" type="a" charge="0.15"/><Atom name="C" type="b" charge="0.28"/><Atom name="N" type="c" '
        'charge="-0.43"/><Bond atomName1="H" atomName2="C"/><Bond atomName1="C" atomName2="N"/></Residue></Residues>'
        '<NonbondedForce coulomb14scale="0.8333333333333334" lj14scale="0.5"><UseAttributeFromResidue name="charge"/>'
        '<Atom type="a" sigma="0.2" epsilon="0.06"/><Atom type="b" sigma="0.36" epsilon="0.6"/>'
        '<Atom type="c" sigma="0.32" epsilon="0.7"/></NonbondedForce></ForceField>'
    )
    solvent = Solvent(box_edge=19.0, force_field=["amber14/tip3p.xml", str(own)])
    start = in_water(str(cyanide), solvent)
    assert solvate.total_charge(solvate.force_field_system(start, solvent)) == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"start": "dimer:methanol,acetamide,9.0"}, r"solvent.box_edge: must be at least 2.* Å: .*received 19 Å"),
        ({"solvent": {"box_edge": 18.0}}, r"solvent.box_edge: must be at least 18.9 Å: twice the cutoff"),
        ({"restraint_distance": 10.0}, r"restraint_distance: must keep the molecules within half of the box"),
        ({"solvent": {"force_field": ["none.xml"]}}, r"solvent.force_field: none.xml must be OpenMM force-field files"),
    ],
)
def test_impossible_boxes_leave_nothing_behind(tmp_path, model_file, changes, message):
    with pytest.raises(ConfigError, match=message):
        simulate(settings(**changes), model_file, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_molecules_that_nothing_holds_are_warned_about(model_file):
    start = in_water("dimer:methanol,acetamide,1.0")
    with pytest.warns(UserWarning, match="nothing holds the molecules together"):
        engine.create_system(start, settings(restraint=0.0), model_file, REFERENCE)


def test_a_box_of_its_own_is_refused(tmp_path):
    structure = tmp_path / "box.xyz"
    structure.write_text('3\nLattice="9 0 0 0 9 0 0 0 9" pbc="T T T"\nO 0 0 0\nH 0.76 0.59 0\nH -0.76 0.59 0\n')
    with pytest.raises(ConfigError, match="received a periodic structure"):
        in_water(str(structure))


def test_molecules_that_leave_half_of_the_box_are_explained(tmp_path):
    solvent = {"box_edge": 19.0, "equilibration_ps": 0.0}
    far = settings(restraint=0.0, temperature=1e5, steps=400, solvent=solvent, reactive=True)
    with pytest.warns(UserWarning, match="nothing holds"), pytest.raises(SimulationError, match="span half of the box"):
        simulate(far, PRETRAINED, tmp_path / "run")
