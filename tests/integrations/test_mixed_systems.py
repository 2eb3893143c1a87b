"""ML/MM: energies put together by hand, ends of the interpolation, link atoms, constraints, images."""

import itertools
import math

import numpy as np
import openmm
import pytest
import torch
from ase import Atoms
from helpers import graph_of, small_potential
from made_contexts import PLATFORMS_AND_BOTH
from made_systems import BOTH, PLATFORMS, assert_close, context_of, expected, needs_openmmtorch, results
from openmm import app, unit
from openmmml import MLPotential

from lorem_openmm.kernels.coulomb import Coulomb
from lorem_openmm.sums.batched import BatchedPairSum

COULOMB = 138.93545764  # kJ/mol nm/e², OpenMM's constant
CUTOFF = 0.6  # nm, of the force field
SUBSET = [3, 4, 5, 9, 10, 11]


def waters(n: int = 6, edge: float = 14.0) -> Atoms:
    """Waters on a grid, turned at random and rattled, in a cubic box of ``edge`` Å."""
    generator = np.random.default_rng(4)
    shape = np.array([[0.0, 0.0, 0.0], [0.9572, 0.0, 0.0], [-0.2400, 0.9266, 0.0]])
    atoms = Atoms(cell=[edge] * 3, pbc=True)
    for k in range(n):
        turn = np.linalg.qr(generator.normal(size=(3, 3)))[0]
        corner = np.array([k % 3, k // 3 % 2, k // 6]) * 3.4
        atoms += Atoms("OHH", shape @ turn + corner + generator.normal(scale=0.2, size=3))
    atoms.rattle(0.03, seed=6)
    return atoms


def topology_of_waters(atoms: Atoms, periodic: bool) -> app.Topology:
    topology, oxygen = app.Topology(), None
    chain = topology.addChain()
    for k, symbol in enumerate(atoms.symbols):
        if k % 3 == 0:
            residue = topology.addResidue("HOH", chain)
        atom = topology.addAtom(("O", "H1", "H2")[k % 3], app.Element.getBySymbol(symbol), residue)
        if k % 3 == 0:
            oxygen = atom
        else:
            topology.addBond(oxygen, atom)
    if periodic:
        topology.setPeriodicBoxVectors(atoms.cell[:] / 10.0)
    return topology


def force_field_system(topology: app.Topology, periodic: bool, rigid: bool = False) -> openmm.System:
    settings = {"nonbondedMethod": app.PME, "nonbondedCutoff": CUTOFF} if periodic else {}
    system = app.ForceField("tip3p.xml").createSystem(topology, rigidWater=rigid, **settings)
    for force in system.getForces():
        if isinstance(force, openmm.NonbondedForce) and periodic:
            force.setEwaldErrorTolerance(1e-6)
            force.setUseDispersionCorrection(False)
    return system


def mixed(model, topology, mm_system, subset=SUBSET, boundary="box", **options):
    options = {"device": "cpu", "precision": "double"} | options
    potential = MLPotential("lorem", modelPath=model, boundary=boundary)
    return potential.createMixedSystem(topology, mm_system, subset, **options)


# -- the energy by hand --


def ewald_energy(atoms: Atoms, charges: np.ndarray) -> float:
    """½ Σ q φ of all images in kJ/mol by the project's converged Ewald sum, whose Madelung constants are tested."""
    module = BatchedPairSum(Coulomb(0.6), 4.0, 0.25, 10**9)
    graph = graph_of(atoms, cutoff=4.0)
    vectors = graph.positions[graph.neighbors] - graph.positions[graph.centers]
    vectors = vectors + graph.cell_shifts @ graph.cell[0]
    q = torch.tensor(charges).unsqueeze(1)
    potentials = module(q, graph, vectors.norm(dim=1))  # ½ Σ q/r, in e/Å
    return float((q * potentials).sum()) * COULOMB * 10.0


def nearest(atoms: Atoms, i: int, j: int) -> float:
    return atoms.get_distance(i, j, mic=bool(atoms.pbc.all())) / 10.0


def by_hand(atoms: Atoms, model, boundary: str) -> float:
    """Everything but the model's own part, as mechanical embedding defines it, plus the model's own part."""
    charges = np.tile([-0.834, 0.417, 0.417], len(atoms) // 3)
    inside = np.isin(np.arange(len(atoms)), SUBSET)
    pairs = list(itertools.combinations(range(len(atoms)), 2))
    within = [(i, j) for i, j in pairs if inside[i] and inside[j]]
    excluded = [(i, j) for i, j in pairs if i // 3 == j // 3 and not inside[i]]
    if atoms.pbc.all():
        energy = ewald_energy(atoms, charges)
        if boundary == "box":  # the model sees its own images: none of the force field's between them
            energy -= ewald_energy(atoms, np.where(inside, charges, 0.0))
        else:  # images of the model's atoms act on it through the force field's charges
            energy -= sum(COULOMB * charges[i] * charges[j] / nearest(atoms, i, j) for i, j in within)
        energy -= sum(COULOMB * charges[i] * charges[j] / nearest(atoms, i, j) for i, j in excluded)
    else:
        alone = set(within) | set(excluded)
        energy = sum(COULOMB * charges[i] * charges[j] / nearest(atoms, i, j) for i, j in pairs if (i, j) not in alone)
    for i, j in pairs:  # Lennard-Jones between oxygens
        if i % 3 == 0 and j % 3 == 0 and not (inside[i] and inside[j]):
            r = nearest(atoms, i, j)
            if r < CUTOFF or not atoms.pbc.all():
                s = (0.31507524065751241 / r) ** 6
                energy += 4.0 * 0.635968 * (s * s - s)
    for i, j in itertools.product(SUBSET, range(0, len(atoms), 3)):  # hydrogens of the region with oxygens outside
        r = nearest(atoms, i, j)
        if i % 3 and not inside[j] and (r < CUTOFF or not atoms.pbc.all()):
            s = ((0.0400013524 + 0.31507524065751241) / 2 / r) ** 6
            energy += 4.0 * math.sqrt(0.192464 * 0.635968) * (s * s - s)
    for oxygen in range(0, len(atoms), 3):  # bonds and angle of the force field's waters
        if not inside[oxygen]:
            for hydrogen in (1, 2):
                energy += 0.5 * 462750.4 * (nearest(atoms, oxygen, oxygen + hydrogen) - 0.09572) ** 2
            angle = math.radians(atoms.get_angle(oxygen + 1, oxygen, oxygen + 2, mic=bool(atoms.pbc.all())))
            energy += 0.5 * 836.8 * (angle - 1.82421813418) ** 2
    seen = atoms[SUBSET]
    seen.pbc = atoms.pbc.all() and boundary == "box"
    return energy + expected(model, seen)[0]


@pytest.mark.parametrize("platform", PLATFORMS)
@pytest.mark.parametrize("case", ["vacuum", "box", "box, region in vacuum"])
def test_the_energy_put_together_by_hand(model_file, case, platform):
    atoms = waters()
    atoms.pbc = case != "vacuum"
    boundary = "vacuum" if "region" in case else "box"
    topology = topology_of_waters(atoms, case != "vacuum")
    system = mixed(model_file, topology, force_field_system(topology, case != "vacuum"), boundary=boundary)
    found = results(context_of(system, atoms, platform))[0]
    assert found - expected_inside(atoms, model_file, boundary) == pytest.approx(
        by_hand(atoms, model_file, boundary) - expected_inside(atoms, model_file, boundary), abs=2e-3
    )


def expected_inside(atoms: Atoms, model, boundary: str) -> float:
    """The model's part, taken off before comparing: 1e5 kJ/mol would hide the rest."""
    seen = atoms[SUBSET]
    seen.pbc = atoms.pbc.all() and boundary == "box"
    return expected(model, seen)[0]


# -- interpolation --


@pytest.mark.parametrize(
    ("precision", "platform"),
    [
        ("single", "CPU"),
        ("double", "Reference"),
        *(pytest.param("double", *entry.values, marks=entry.marks) for entry in PLATFORMS[2:]),
    ],
)
@pytest.mark.parametrize("case", ["vacuum", "box", "box, region in vacuum"])
def test_interpolation_ends_at_both_systems(model_file, case, precision, platform):
    atoms = waters()
    atoms.pbc = case != "vacuum"
    topology = topology_of_waters(atoms, case != "vacuum")
    mm_system = force_field_system(topology, case != "vacuum")
    options = {"boundary": "vacuum" if "region" in case else "box", "precision": precision}
    plain = results(context_of(mm_system, atoms, platform))
    full = results(context_of(mixed(model_file, topology, mm_system, **options), atoms, platform))
    context = context_of(mixed(model_file, topology, mm_system, interpolate=True, **options), atoms, platform)
    assert_close(results(context), full, 1e-5)  # 1 is the default
    context.setParameter("lambda_interpolate", 0.0)
    assert_close(results(context), plain, 1e-5)
    context.setParameter("lambda_interpolate", 0.25)
    between = [0.25 * a + 0.75 * b for a, b in zip(full, plain, strict=True)]
    assert_close(results(context), between, 1e-5)
    assert abs(full[0] - plain[0]) > 1.0  # the ends differ


@pytest.mark.parametrize(("platform", "implementation"), PLATFORMS_AND_BOTH)
def test_a_region_across_the_boundary_and_boxes_away(model_file, platform, implementation):
    atoms = waters()
    topology = topology_of_waters(atoms, True)
    for boundary in ("box", "vacuum"):
        mm_system = force_field_system(topology, True)
        system = mixed(model_file, topology, mm_system, boundary=boundary, implementation=implementation)
        context = context_of(system, atoms, platform)
        wanted = results(context)
        moved, generator = atoms.copy(), np.random.default_rng(1)
        boxes = np.repeat(generator.integers(-3, 4, size=(len(atoms) // 3, 3)), 3, axis=0)
        boxes[SUBSET] = generator.integers(-3, 4, size=(len(SUBSET), 3))  # only the force field's molecules stay whole
        moved.positions += [9.0, -5.0, 13.0] + 14.0 * boxes
        assert np.ptp(moved.positions[SUBSET], axis=0).max() > 40.0
        context.setPositions(moved.positions / 10.0)
        assert_close(results(context), wanted, 1e-5)


@pytest.mark.parametrize("implementation", BOTH)
def test_a_region_of_half_the_box_is_an_error(model_file, implementation):
    atoms = waters()
    topology = topology_of_waters(atoms, True)
    system = mixed(
        model_file, topology, force_field_system(topology, True), boundary="vacuum", implementation=implementation
    )
    atoms.positions[9:12] += [0.0, 4.0, 0.0]
    with pytest.raises(Exception, match=r"boundary='vacuum': the atoms of the model must span less than half"):
        results(context_of(system, atoms))


def test_a_region_in_vacuum_is_reported_as_short_range(model_file):
    assert MLPotential("lorem", modelPath=model_file, boundary="vacuum")._impl.getMLLongRange() is False


def test_a_pure_system_in_vacuum_ignores_the_box(model_file):
    atoms = waters(2)
    potential = MLPotential("lorem", modelPath=model_file, boundary="vacuum")
    system = potential.createSystem(topology_of_waters(atoms, True), device="cpu", precision="double")
    assert not system.usesPeriodicBoundaryConditions()
    alone = atoms.copy()
    alone.pbc = False
    assert_close(results(context_of(system, atoms)), expected(model_file, alone), 1e-10)


# -- constraints, groups, link atoms --


@pytest.mark.parametrize("remove", [True, False])
def test_constraints_within_the_region(model_file, remove):
    atoms = waters()
    topology = topology_of_waters(atoms, True)
    mm_system = force_field_system(topology, True, rigid=True)
    system = mixed(model_file, topology, mm_system, removeConstraints=remove)
    pairs = {tuple(sorted(system.getConstraintParameters(k)[:2])) for k in range(system.getNumConstraints())}
    assert len(pairs) == (12 if remove else 18)
    assert ((3, 4) in pairs) is not remove


def test_the_force_group_and_the_subset(model_file):
    atoms = waters()
    topology = topology_of_waters(atoms, True)
    system = mixed(model_file, topology, force_field_system(topology, True), forceGroup=7)
    energy, forces = results(context_of(system, atoms), groups=1 << 7)
    wanted = expected(model_file, atoms[SUBSET])
    assert_close((energy, forces[SUBSET]), wanted, 1e-9)
    assert not np.delete(forces, SUBSET, axis=0).any()


@pytest.mark.parametrize("implementation", BOTH)
def test_molecules_of_the_region_stay_molecules(model_file, implementation):
    """For barostats and wrapping, although openmm-ml takes their bonds away."""
    atoms = waters()
    topology = topology_of_waters(atoms, True)
    mm_system = force_field_system(topology, True)
    system = mixed(model_file, topology, mm_system, implementation=implementation)
    plain, found = context_of(mm_system, atoms), context_of(system, atoms)
    assert [sorted(members) for members in found.getMolecules()] == [
        sorted(members) for members in plain.getMolecules()
    ]
    assert len(found.getMolecules()) == 6


METHYLACETAMIDE = """\
HETATM    1  C   ACE A   1       1.500   0.100   0.000  1.00  0.00           C
HETATM    2  CH3 ACE A   1       0.000   0.000   0.000  1.00  0.00           C
HETATM    3  O   ACE A   1       2.100   1.150   0.100  1.00  0.00           O
HETATM    4  N   NME A   2       2.120  -1.080  -0.060  1.00  0.00           N
HETATM    5  C   NME A   2       3.570  -1.200  -0.020  1.00  0.00           C
CONECT    1    2    3    4
CONECT    4    5
END
"""


@pytest.fixture(scope="module")
def methylacetamide(tmp_path_factory):
    path = tmp_path_factory.mktemp("pdb") / "nma.pdb"
    path.write_text(METHYLACETAMIDE)
    file, force_field = app.PDBFile(str(path)), app.ForceField("amber14-all.xml")
    modeller = app.Modeller(file.topology, file.positions)
    modeller.addHydrogens(force_field, platform=openmm.Platform.getPlatform("Reference"))
    return modeller.topology, modeller.positions, force_field.createSystem(modeller.topology)


@pytest.mark.parametrize(
    ("implementation", "interpolate"),  # interpolation copies forces, which a TorchForce cannot stand: it is refused
    [("pythonforce", False), ("pythonforce", True), pytest.param("torchforce", False, marks=needs_openmmtorch)],
)
def test_link_atoms_cap_the_bonds_that_are_cut(model_file, methylacetamide, implementation, interpolate):
    topology, positions, mm_system = methylacetamide
    names = [(atom.residue.name, atom.name) for atom in topology.atoms()]
    methyl = [k for k, (residue, name) in enumerate(names) if residue == "ACE" and name[0] in "CH" and name != "C"]
    carbon, carbonyl = names.index(("ACE", "CH3")), names.index(("ACE", "C"))
    info = mixed(
        model_file,
        topology,
        mm_system,
        methyl,
        forceGroup=3,
        returnInfo=True,
        implementation=implementation,
        interpolate=interpolate,
        linkAtomDistances=[(carbon, carbonyl, 1.11 * unit.angstrom)],
    )
    system, capped = info["system"], info["topology"]
    assert capped.getNumAtoms() == topology.getNumAtoms() + 1 == system.getNumParticles()
    assert topology.getNumAtoms() == len(names)  # not changed in place
    assert info["oldToNew"] == list(range(len(names)))
    assert system.isVirtualSite(len(names))

    context = openmm.Context(system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatform("Reference"))
    context.setPositions([*positions, openmm.Vec3(0, 0, 0)])
    context.computeVirtualSites()
    r = np.array(positions.value_in_unit(unit.angstrom))
    bond = r[carbonyl] - r[carbon]
    cap = r[carbon] + 1.11 * bond / np.linalg.norm(bond)
    placed = context.getState(positions=True).getPositions(asNumpy=True).value_in_unit(unit.angstrom)
    assert np.abs(placed[-1] - cap).max() < 1e-6
    region = Atoms("".join(names[k][1][0] for k in methyl) + "H", np.vstack([r[methyl], cap]))
    if interpolate:  # one force holds both ends: what is tested below is its part
        full = results(context)
        context.setParameter("lambda_interpolate", 0.0)
        plain = openmm.Context(mm_system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatform("Reference"))
        plain.setPositions(positions)
        assert results(context)[0] == pytest.approx(results(plain)[0], rel=1e-6)
        assert abs(full[0] - results(plain)[0]) > 1.0
        return
    energy, forces = results(context, groups=1 << 3)
    assert energy == pytest.approx(expected(model_file, region)[0], rel=1e-9)
    assert np.abs(forces[carbonyl]).max() > 1.0  # the cap's force reaches the atom it points to
    assert forces[methyl].sum(axis=0) + forces[carbonyl] == pytest.approx(np.zeros(3), abs=1e-3)
    step = 1e-5
    for axis in range(3):
        sides = []
        for sign in (1.0, -1.0):
            displaced = r / 10.0
            displaced[carbonyl, axis] += sign * step
            context.setPositions(np.vstack([displaced, cap / 10.0]))
            context.computeVirtualSites()
            sides.append(results(context, groups=1 << 3)[0])
        slope = -(sides[0] - sides[1]) / (2.0 * step)
        assert slope == pytest.approx(forces[carbonyl, axis], rel=1e-3, abs=1e-2)


def test_options_of_the_embedding_reach_openmm_ml(model_file):
    atoms = waters()
    topology = topology_of_waters(atoms, True)
    with pytest.raises(ValueError, match="does not support the mlLongRange option"):
        mixed(model_file, topology, force_field_system(topology, True), mlLongRange=True)


def test_a_model_without_long_range(tmp_path):
    atoms, potential = waters(), small_potential(long_range=False)
    topology = topology_of_waters(atoms, True)
    mm_system = force_field_system(topology, True)
    boxed, alone = (mixed(potential, topology, mm_system, boundary=kind) for kind in ("box", "vacuum"))
    # The region is far smaller than the box, so that a short-range model sees no image either way.
    assert_close(results(context_of(boxed, atoms)), results(context_of(alone, atoms)), 1e-9)
