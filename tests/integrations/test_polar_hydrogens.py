"""Hydrogens without Lennard-Jones term in the force field: what they get towards it, and what is left alone."""

import itertools

import ase.io
import mdtraj
import numpy as np
import openmm
import pytest
from ase import Atoms
from helpers import small_potential
from made_systems import PLATFORMS, assert_close, context_of, results
from openmm import app
from openmmml import MLPotential

from lorem_openmm import config
from lorem_openmm.errors import ConfigError
from lorem_openmm.export import PRETRAINED
from lorem_openmm.integrations.polar_hydrogens import NAME, bare_hydrogens, lennard_jones
from lorem_openmm.sampling.fragments import all_fragments
from lorem_openmm.simulate.force_fields import force_field as force_field_of
from lorem_openmm.simulate.force_fields import with_bonds
from lorem_openmm.simulate.simulation import simulate
from lorem_openmm.simulate.systems import read_structure

SIGMA, EPSILON = 2 * 0.02245 / 2 ** (1 / 6), 0.046 * 4.184  # nm, kJ/mol: CHARMM's polar hydrogens
OXYGEN = 0.31507524065751241, 0.635968  # TIP3P's
CUTOFF, SWITCH = 0.6, 0.5  # nm
REGION = [0, 1, 2]
MOVED = 0.17  # nm: where a hydrogen of the region is put off an oxygen outside


def waters(periodic: bool) -> tuple[app.Topology, Atoms]:
    """Six waters, a hydrogen of the first at a short distance of the second's oxygen."""
    generator = np.random.default_rng(7)
    shape = np.array([[0.0, 0.0, 0.0], [0.9572, 0.0, 0.0], [-0.2400, 0.9266, 0.0]])
    topology = app.Topology()
    chain, atoms = topology.addChain(), Atoms()
    for k in range(6):
        corner = np.array([k % 3 * 3.1, k // 3 * 3.1, 0.0])
        atoms += Atoms("OHH", shape @ np.linalg.qr(generator.normal(size=(3, 3)))[0] + corner)
        residue = topology.addResidue("HOH", chain)
        members = [topology.addAtom(n, app.Element.getBySymbol(n[0]), residue) for n in ("O", "H1", "H2")]
        for hydrogen in members[1:]:
            topology.addBond(members[0], hydrogen)
    atoms.positions[1] = atoms.positions[3] + [0.0, 0.0, 10.0 * MOVED]
    if periodic:
        atoms.set_cell([13.0] * 3)
        atoms.pbc = True
        topology.setPeriodicBoxVectors(np.eye(3) * 1.3)
    return topology, atoms


def force_field(topology: app.Topology, method=app.NoCutoff) -> openmm.System:
    settings = {"nonbondedMethod": method, "nonbondedCutoff": CUTOFF, "switchDistance": SWITCH}
    return app.ForceField("tip3p.xml").createSystem(topology, rigidWater=False, **settings)


def nonbonded(system: openmm.System) -> openmm.NonbondedForce:
    return next(force for force in system.getForces() if isinstance(force, openmm.NonbondedForce))


def mixed(topology, system, region=REGION, boundary="vacuum", **options) -> openmm.System:
    potential = MLPotential("lorem", modelPath=small_potential(seed=3), boundary=boundary)
    return potential.createMixedSystem(topology, system, region, device="cpu", precision="double", **options)


def added(system: openmm.System) -> list[openmm.Force]:
    return [force for force in system.getForces() if force.getName() == NAME]


def difference(topology, system, atoms, platform="Reference", **options) -> tuple[float, np.ndarray]:
    """Energy and forces with the terms, less those without."""
    (e1, f1), (e0, f0) = (
        results(context_of(mixed(topology, system, polarHydrogenRepulsion=on, **options), atoms, platform))
        for on in (True, False)
    )
    return e1 - e0, f1 - f0


def by_hand(atoms: Atoms, periodic: bool) -> float:
    sigma, epsilon = (SIGMA + OXYGEN[0]) / 2, np.sqrt(EPSILON * OXYGEN[1])
    energy = 0.0
    for hydrogen, oxygen in itertools.product((1, 2), range(3, len(atoms), 3)):
        r = atoms.get_distance(hydrogen, oxygen, mic=periodic) / 10.0
        s = (sigma / r) ** 6
        x = np.clip((r - SWITCH) / (CUTOFF - SWITCH), 0.0, 1.0)
        energy += 4 * epsilon * (s * s - s) * (1 - 10 * x**3 + 15 * x**4 - 6 * x**5 if periodic else 1.0)
    return energy


@pytest.mark.parametrize("platform", PLATFORMS)
@pytest.mark.parametrize(
    ("method", "boundary"), [(app.NoCutoff, "vacuum"), (app.PME, "vacuum"), (app.PME, "box"), (app.LJPME, "vacuum")]
)
def test_the_energy_and_forces_of_the_terms(method, boundary, platform):
    periodic = method is not app.NoCutoff
    topology, atoms = waters(periodic)
    system = force_field(topology, method)
    nonbonded(system).setUseDispersionCorrection(False)
    energy, forces = difference(topology, system, atoms, platform, boundary=boundary)
    assert energy == pytest.approx(by_hand(atoms, periodic), rel=1e-4, abs=2e-3)
    assert abs(energy) > 0.1
    assert forces.sum(axis=0) == pytest.approx(np.zeros(3), abs=0.05)
    for axis in range(3):
        sides = []
        for sign in (1.0, -1.0):
            moved = atoms.copy()
            moved.positions[1, axis] += sign * 1e-4
            sides.append(by_hand(moved, periodic))
        assert forces[1, axis] == pytest.approx(-(sides[0] - sides[1]) / 2e-5, rel=1e-3, abs=0.1)


@pytest.mark.parametrize("interpolate", [False, True])
def test_they_are_those_of_the_force_field_with_other_parameters(interpolate):
    """Cutoff, switch, long-range correction: as if the NonbondedForce had them; pairs in the region are LOREM's."""
    topology, atoms = waters(True)
    system = force_field(topology, app.PME)
    changed = openmm.XmlSerializer.clone(system)
    for index in (1, 2):
        charge = nonbonded(changed).getParticleParameters(index)[0]
        nonbonded(changed).setParticleParameters(index, charge, SIGMA, EPSILON)
    found = context_of(mixed(topology, system, interpolate=interpolate), atoms)
    wanted = context_of(mixed(topology, changed, polarHydrogenRepulsion=False), atoms)
    assert results(found)[0] == pytest.approx(results(wanted)[0], abs=2e-3)
    assert results(found)[1] == pytest.approx(results(wanted)[1], abs=1e-2)


def test_interpolation_leaves_the_force_field_alone():
    topology, atoms = waters(True)
    system = force_field(topology, app.PME)
    context = context_of(mixed(topology, system, interpolate=True), atoms)
    full = results(context)[0]
    context.setParameter("lambda_interpolate", 0.0)
    plain = results(context_of(system, atoms))
    assert_close(results(context), plain, 1e-5)
    context.setParameter("lambda_interpolate", 0.25)
    assert results(context)[0] == pytest.approx(0.25 * full + 0.75 * plain[0], rel=1e-7)


def test_pairs_across_a_cut_bond_stay_as_the_force_field_has_them():
    """O-H of methanol: C is excluded, hydrogens of the methyl group have scaled terms of their own, 0 here."""
    start = read_structure("dimer:methanol,methanol,1.0")
    topology = with_bonds(start)
    system = force_field_of(["fragments"]).createSystem(topology)
    atoms = Atoms([a.element.symbol for a in topology.atoms()], start.positions)
    region = [1, 5]
    assert [atoms.symbols[k] for k in region] == ["O", "H"]
    changed = openmm.XmlSerializer.clone(system)
    nonbonded(changed).setParticleParameters(5, nonbonded(changed).getParticleParameters(5)[0], SIGMA, EPSILON)
    systems = mixed(topology, system, region), mixed(topology, changed, region, polarHydrogenRepulsion=False)
    energies = []
    for one in systems:
        context = openmm.Context(one, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatform("Reference"))
        context.setPositions(np.vstack([start.positions / 10.0, np.zeros((1, 3))]))  # the link atom
        context.computeVirtualSites()
        energies.append(results(context)[0])
    assert energies[0] == pytest.approx(energies[1], abs=1e-6)


def test_they_come_back_from_xml_with_the_pressure_of_the_box():
    topology, atoms = waters(True)
    system = mixed(topology, force_field(topology, app.PME))
    again = openmm.XmlSerializer.deserialize(openmm.XmlSerializer.serialize(system))
    for scale in (1.0, 1.02):
        scaled = atoms.copy()
        scaled.set_cell(atoms.cell[:] * scale, scale_atoms=True)
        energies = []
        for one in (system, again):
            context = context_of(one, scaled)
            context.setPeriodicBoxVectors(*(scaled.cell[:] / 10.0))
            energies.append(results(context)[0])
        assert energies[0] == energies[1]


# -- which hydrogens, which force fields --


def test_only_hydrogens_without_a_term_are_chosen():
    start = read_structure("dimer:methanol,methylammonium,1.0")
    system = force_field_of(["fragments"]).createSystem(with_bonds(start))
    names = [f"{atom.element.symbol}{atom.index}" for atom in start.topology.atoms()]
    found = [names[k] for k in bare_hydrogens(start.topology, system, range(len(names)))]
    assert found == ["H5", "H11", "H12", "H13"]  # of O-H and N-H3
    assert bare_hydrogens(start.topology, system, range(6, 14)) == [11, 12, 13]


def test_nothing_changes_where_there_is_none():
    start = read_structure("dimer:methane,methane,1.0")
    topology = with_bonds(start)
    system = force_field_of(["fragments"]).createSystem(topology)
    one, other = (mixed(topology, system, range(5), polarHydrogenRepulsion=on) for on in (True, False))
    assert [force.getName() for force in one.getForces()] == [force.getName() for force in other.getForces()]


def test_terms_that_a_parameter_switches_on_are_terms():
    topology, _ = waters(False)
    system = force_field(topology)
    nonbonded(system).addGlobalParameter("switch", 0.0)
    nonbonded(system).addParticleParameterOffset("switch", 1, 0.0, 0.1, 0.2)
    assert bare_hydrogens(topology, system, REGION) == [2]


TABLES = {
    "acoef(type1, type2)/r^12 - bcoef(type1, type2)/r^6": lambda a: a,  # ForceField's LennardJonesForce
    "(a/r6)^2 - b/r6; r6=r^6; a=acoef(type1, type2); b=bcoef(type1, type2)": np.sqrt,  # CHARMM, GROMACS and Amber files
}


def custom(topology: app.Topology, energy: str, hydrogen: tuple[float, float]) -> openmm.System:
    """The water of the force field with Lennard-Jones terms in a table, as CHARMM's force fields have them."""
    system = force_field(topology)
    sigma, epsilon = np.array([OXYGEN, hydrogen]).T
    sigma, epsilon = (sigma[:, None] + sigma) / 2, np.sqrt(epsilon[:, None] * epsilon)
    force = openmm.CustomNonbondedForce(energy)
    force.addPerParticleParameter("type")
    a, b = TABLES[energy](4 * epsilon * sigma**12).ravel(), (4 * epsilon * sigma**6).ravel()
    for name, values in (("acoef", a), ("bcoef", b)):
        force.addTabulatedFunction(name, openmm.Discrete2DFunction(2, 2, values.tolist()))
    plain = nonbonded(system)
    for k in range(system.getNumParticles()):
        plain.setParticleParameters(k, plain.getParticleParameters(k)[0], 1.0, 0.0)
        force.addParticle([float(k % 3 > 0)])
    for k in range(plain.getNumExceptions()):
        force.addExclusion(*plain.getExceptionParameters(k)[:2])
    system.addForce(force)
    return system


@pytest.mark.parametrize("energy", TABLES)
def test_terms_in_a_custom_force_are_found(energy):
    topology, atoms = waters(False)
    found = lennard_jones(custom(topology, energy, (0.0, 0.0)))
    assert found.sigma[3] == pytest.approx(OXYGEN[0], rel=1e-6)
    assert found.epsilon[3] == pytest.approx(OXYGEN[1], rel=1e-6)
    assert difference(topology, custom(topology, energy, (0.0, 0.0)), atoms)[0] == pytest.approx(
        by_hand(atoms, False), rel=1e-4, abs=1e-3
    )
    with_terms = custom(topology, energy, (SIGMA, EPSILON))  # CHARMM's own: nothing to add
    assert bare_hydrogens(topology, with_terms, REGION) == []
    assert not added(mixed(topology, with_terms))


def test_charmm_itself_needs_nothing():
    topology, _ = waters(False)
    system = app.ForceField("charmm36_2024/water.xml").createSystem(topology)
    assert lennard_jones(system).holder is not None
    assert not added(mixed(topology, system))


def test_a_custom_force_that_is_not_understood_is_warned_about():
    topology, _ = waters(False)
    system = force_field(topology)
    plain = nonbonded(system)
    for k in range(system.getNumParticles()):
        plain.setParticleParameters(k, plain.getParticleParameters(k)[0], 1.0, 0.0)
    force = openmm.CustomNonbondedForce("1000*exp(-20*r)")
    for _ in range(system.getNumParticles()):
        force.addParticle([])
    for k in range(plain.getNumExceptions()):
        force.addExclusion(*plain.getExceptionParameters(k)[:2])
    system.addForce(force)
    with pytest.warns(UserWarning, match="polarHydrogenRepulsion: finds Lennard-Jones terms in"):
        assert not added(mixed(topology, system))


def test_the_argument_is_checked():
    topology, _ = waters(False)
    system = force_field(topology)
    with pytest.raises(ConfigError, match="polarHydrogenRepulsion: must be True or False, received 'yes'"):
        mixed(topology, system, polarHydrogenRepulsion="yes")
    with pytest.raises(ConfigError, match="polarHydrogenRepulsion: unknown argument of createSystem"):
        MLPotential("lorem").createSystem(topology, polarHydrogenRepulsion=True)


# -- what it is for --


def test_without_them_a_hydrogen_falls_onto_an_oxygen():
    """The model holds no bond here; force field and minimisation do the rest."""
    topology, atoms = waters(False)
    distances = []
    for on in (True, False):
        context = context_of(mixed(topology, force_field(topology), polarHydrogenRepulsion=on), atoms)
        openmm.LocalEnergyMinimizer.minimize(context, 10.0, 300)
        r = context.getState(positions=True).getPositions(asNumpy=True)._value * 10.0
        distances.append(np.linalg.norm(r[[1, 2]][:, None] - r[3::3], axis=-1).min())
    assert 1.0 < distances[0] < 2.0
    assert distances[1] < 0.5


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:solvent. the charges")
def test_an_ammonium_ion_lives_in_water(tmp_path):
    """4,000 steps with the shipped model, in the smallest box that the cutoff allows."""
    ase.io.write(tmp_path / "ion.xyz", all_fragments()["methylammonium"].atoms())
    settings = config.Simulation(
        run="r",
        start=str(tmp_path / "ion.xyz"),
        steps=4000,
        report_interval=10,
        solvent={"box_edge": 19.0, "equilibration_ps": 0.5},
    )
    summary = simulate(settings, PRETRAINED, tmp_path / "run")
    assert summary["solvent"]["polar_hydrogen_repulsion"]["atoms"] == [5, 6, 7]
    assert 280.0 < summary["temperature_mean"] < 325.0
    trajectory = mdtraj.load_dcd(str(tmp_path / "run" / "trajectory.dcd"), top=str(tmp_path / "run" / "topology.pdb"))
    oxygens = [8 + 3 * k for k in range(summary["solvent"]["n_waters"])]
    to_water = mdtraj.compute_distances(trajectory, list(itertools.product((5, 6, 7), oxygens)), periodic=True)
    bonds = mdtraj.compute_distances(trajectory, [(1, 5), (1, 6), (1, 7)], periodic=False)
    assert len(trajectory) == 400
    assert to_water.min() > 0.12
    assert bonds.max() < 0.14
