import math

import pytest
import torch
import torchpme
from ase import Atoms
from charged_systems import CRYSTALS, potentials, random_cell, random_charges
from helpers import graph_of, rattled_box, rattled_molecule

from lorem_openmm.graph import with_geometry
from lorem_openmm.kernels.coulomb import Coulomb
from lorem_openmm.model import edge_vectors, lengths
from lorem_openmm.sums.batched import BatchedPairSum
from lorem_openmm.sums.direct import DirectSum
from lorem_openmm.sums.ewald import EwaldSum

ALWAYS_EWALD, ALWAYS_MESH = 10**9, 0


def solver(name, smearing, reach=6.0, **settings):
    """An accurate sum: real space to 6σ, where erfc(6/√2) is 2e-9."""
    most = {"ewald": ALWAYS_EWALD, "mesh": ALWAYS_MESH}[name]
    return BatchedPairSum(Coulomb(smearing), reach * smearing, smearing / 2, max_ewald_atoms=most, **settings)


@pytest.mark.parametrize("scale", [1 / 2.0353610, 1.0, 3.4951291])
@pytest.mark.parametrize("name", CRYSTALS)
@pytest.mark.parametrize(("method", "tolerance"), [("ewald", 4e-6), ("mesh", 3e-5)])
def test_madelung_constants(method, tolerance, name, scale):
    crystal = CRYSTALS[name]
    atoms = Atoms(numbers=[1] * len(crystal.charges), cell=crystal.cell, scaled_positions=crystal.fractional, pbc=True)
    atoms.set_cell(atoms.cell * 4.2 * scale, scale_atoms=True)
    charges = torch.tensor(crystal.charges, dtype=torch.float64).unsqueeze(1)
    energy = (charges * potentials(solver(method, 0.8 * scale), charges, atoms)).sum()
    madelung = -float(energy) * 4.2 * scale / crystal.units
    assert madelung == pytest.approx(crystal.madelung, rel=tolerance)


@pytest.mark.parametrize("method", ["ewald", "mesh"])
def test_one_charge_in_a_cube_against_its_background(method):
    """V = −½ · 2.837297 / L for the simple cubic lattice of charges in a neutralising background."""
    atoms = Atoms("H", positions=[[1.1, 2.2, 0.3]], cell=[6.0, 6.0, 6.0], pbc=True)
    value = potentials(solver(method, 1.1), torch.ones(1, 1, dtype=torch.float64), atoms)
    assert float(value) == pytest.approx(-0.5 * 2.8372974794806 / 6.0, rel=1e-5)


@pytest.mark.parametrize("shape", ["cubic", "skewed"])
@pytest.mark.parametrize("method", ["ewald", "mesh"])
def test_charged_cells_do_not_depend_on_the_smearing(method, shape):
    atoms = random_cell(shape, 40)
    charges = random_charges(40) + 0.5
    values = [potentials(solver(method, smearing), charges, atoms) for smearing in (0.9, 1.1, 1.4)]
    scale = values[0].square().mean().sqrt()
    for other in values[1:]:
        assert float((other - values[0]).abs().max() / scale) < 1e-4


@pytest.mark.parametrize("shape", ["cubic", "triclinic", "skewed"])
def test_ewald_is_that_of_torch_pme(shape):
    atoms = random_cell(shape, 30)
    module = solver("ewald", 1.2, reach=4.0)
    graph = graph_of(atoms, cutoff=module.cutoff)
    distances = lengths(edge_vectors(graph))
    charges = random_charges(30)
    calculator = torchpme.EwaldCalculator(
        torchpme.CoulombPotential(smearing=1.2), lr_wavelength=0.6, full_neighbor_list=True
    ).to(torch.float64)
    pairs = torch.stack([graph.centers, graph.neighbors], dim=1)
    expected = calculator(charges, graph.cell[0], graph.positions, pairs, distances)
    torch.testing.assert_close(module(charges, graph, distances), expected, rtol=1e-9, atol=1e-9)


def test_mesh_agrees_with_p3m_of_torch_pme():
    atoms = random_cell("triclinic", 30)
    module = solver("mesh", 1.2, reach=4.0)
    graph = graph_of(atoms, cutoff=module.cutoff)
    distances = lengths(edge_vectors(graph))
    charges = random_charges(30)
    calculator = torchpme.P3MCalculator(
        torchpme.CoulombPotential(smearing=1.2), mesh_spacing=0.2, interpolation_nodes=5, full_neighbor_list=True
    ).to(torch.float64)
    pairs = torch.stack([graph.centers, graph.neighbors], dim=1)
    expected = calculator(charges, graph.cell[0], graph.positions, pairs, distances)
    torch.testing.assert_close(module(charges, graph, distances), expected, rtol=0, atol=2e-4)


def test_direct_sum_is_the_double_loop():
    atoms = rattled_molecule()
    charges = random_charges(len(atoms), 2)
    expected = torch.zeros_like(charges)
    for i in range(len(atoms)):
        for j in range(len(atoms)):
            if i != j:
                expected[i] += 0.5 * charges[j] / atoms.get_distance(i, j)
    torch.testing.assert_close(potentials(solver("ewald", 1.0), charges, atoms), expected, rtol=1e-12, atol=1e-12)


def test_coincident_atoms_and_lone_atoms_stay_finite():
    positions = torch.tensor([[[0.0, 0, 0], [0, 0, 0], [1, 0, 0]]], dtype=torch.float64, requires_grad=True)
    charges = torch.ones(1, 3, 1, dtype=torch.float64)
    direct = DirectSum(Coulomb(1.0))
    values = direct.potentials(direct.prepare(positions, torch.ones_like(charges)), charges)
    torch.testing.assert_close(values.flatten(), torch.tensor([0.5, 0.5, 1.0], dtype=torch.float64))
    (slope,) = torch.autograd.grad(values.square().sum(), positions, create_graph=True)
    (curvature,) = torch.autograd.grad(slope.square().sum(), positions)
    assert torch.isfinite(slope).all()
    assert torch.isfinite(curvature).all()
    alone = potentials(solver("ewald", 1.0), torch.ones(1, 2, dtype=torch.float64), Atoms("H"))
    assert (alone == 0).all()


@pytest.mark.parametrize("method", ["ewald", "mesh"])
def test_forces_and_stress_are_derivatives(method):
    """Central differences of a random function of the potentials, in positions and in the strain of the cell."""
    atoms = random_cell("triclinic", 12, spacing=1.5)
    # Real space to 7σ: at a shorter cutoff its step of erfc(r/√2σ)/r would enter the differences.
    module = solver(method, 0.6, reach=7.0)
    charges = random_charges(12)
    readout = random_charges(12, seed=1)
    graph = graph_of(atoms, cutoff=module.cutoff)

    def energy(positions, strain):
        bend = torch.eye(3, dtype=torch.float64) + strain
        bent = with_geometry(graph, positions @ bend, graph.cell @ bend)
        return (readout * module(charges, bent, lengths(edge_vectors(bent))).tanh()).sum()

    positions = graph.positions.clone().requires_grad_()
    strain = torch.zeros(3, 3, dtype=torch.float64, requires_grad=True)
    slopes = torch.autograd.grad(energy(positions, strain), [positions, strain])
    for which, index in [(0, (0, 0)), (0, (5, 1)), (0, (11, 2)), (1, (0, 0)), (1, (2, 1)), (1, (0, 2))]:
        step = [torch.zeros_like(positions), torch.zeros_like(strain)]
        step[which][index] = 1e-4 if which == 0 else 1e-5
        with torch.no_grad():
            rise = energy(positions + step[0], strain + step[1]) - energy(positions - step[0], strain - step[1])
        expected = float(rise) / (2 * float(step[which][index]))
        assert float(slopes[which][index]) == pytest.approx(expected, rel=1e-6, abs=1e-7)


@pytest.mark.parametrize("method", ["ewald", "mesh"])
def test_atoms_several_boxes_away(method):
    atoms = random_cell("skewed", 20)
    charges = random_charges(20)
    module = solver(method, 1.0)
    inside = potentials(module, charges, atoms)
    shifts = torch.randint(-4, 5, (20, 3), generator=torch.Generator().manual_seed(0)).numpy()
    atoms.positions += shifts @ atoms.cell[:]
    torch.testing.assert_close(potentials(module, charges, atoms), inside, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("method", ["ewald", "mesh"])
def test_zero_charges(method):
    atoms = random_cell("cubic", 10)
    charges = torch.zeros(10, 2, dtype=torch.float64, requires_grad=True)
    values = potentials(solver(method, 1.0), charges, atoms)
    (slope,) = torch.autograd.grad(values.sum(), charges)
    assert (values == 0).all()
    assert torch.isfinite(slope).all()


def mixed_batch():
    return [rattled_molecule(), rattled_box(), random_cell("triclinic", 30), rattled_molecule("H2O")]


@pytest.mark.parametrize("max_ewald_atoms", [ALWAYS_EWALD, 20, ALWAYS_MESH])
def test_a_mixed_batch_equals_its_structures_one_at_a_time(max_ewald_atoms):
    structures = mixed_batch()
    sizes = [len(atoms) for atoms in structures]
    module = BatchedPairSum(Coulomb(1.0), 4.0, 0.5, max_ewald_atoms=max_ewald_atoms)
    charges = random_charges(sum(sizes))
    together = potentials(module, charges, *structures)
    for atoms, q, value in zip(structures, charges.split(sizes), together.split(sizes), strict=True):
        torch.testing.assert_close(potentials(module, q, atoms), value, rtol=1e-12, atol=1e-12)


def test_each_structure_chooses_by_its_own_number_of_atoms():
    atoms = random_cell("cubic", 30)
    charges = random_charges(30)

    def values(max_ewald_atoms, *others):
        module = BatchedPairSum(Coulomb(1.0), 4.0, 0.5, max_ewald_atoms=max_ewald_atoms, mesh_accuracy=1e-3)
        more = random_charges(sum(map(len, others)))
        return potentials(module, torch.cat([charges, more]), atoms, *others)[:30]

    ewald, mesh = values(30), values(29)
    assert 1e-7 < float((mesh - ewald).square().mean().sqrt() / ewald.square().mean().sqrt()) < 1e-3
    torch.testing.assert_close(values(30, random_cell("cubic", 31, seed=1)), ewald, rtol=0, atol=1e-12)
    torch.testing.assert_close(values(29, random_cell("cubic", 20, seed=1)), mesh, rtol=0, atol=1e-12)


def test_half_of_the_pair_sum_is_the_energy():
    """E = Σ_i q_i V_i counts each pair once, so that two far charges in a large box attract by q1 q2 / r."""
    atoms = Atoms("H2", positions=[[0, 0, 0], [0, 0, 2.0]], cell=[60.0, 60.0, 60.0], pbc=True)
    charges = torch.tensor([[1.0], [-1.0]], dtype=torch.float64)
    for method in ("ewald", "mesh"):
        energy = float((charges * potentials(solver(method, 2.5), charges, atoms)).sum())
        dipole_images = -2 * math.pi / 3 * 2.0**2 / 60.0**3  # of the conducting boundary, cubic lattice
        assert energy == pytest.approx(-1 / 2.0 + dipole_images, abs=2e-5)


def test_ewald_sum_of_a_batch_with_different_cells():
    """Padding of atoms and of wave vectors changes nothing, in values and gradients by hand."""
    structures = [random_cell("cubic", 10), random_cell("skewed", 25, seed=3)]
    q, g, positions = torch.zeros(3, 2, 25, 3, dtype=torch.float64)
    cells = torch.stack([torch.tensor(atoms.cell[:]) for atoms in structures])
    for i, atoms in enumerate(structures):
        q[i, : len(atoms)], g[i, : len(atoms)] = random_charges(len(atoms)), random_charges(len(atoms), seed=1)
        positions[i, : len(atoms)] = torch.tensor(atoms.positions)
    ewald = EwaldSum(Coulomb(1.0), 0.5)

    def results(q, g, positions, cells):
        terms = ewald.terms(cells)
        phases = ewald.phases(positions, terms)
        values, structure = ewald.potentials(phases, q, terms)
        pulled = ewald.pullback(phases, structure, q, g, terms)
        return [values, *pulled, ewald.strain(phases, structure, q, g, terms)]

    together = results(q, g, positions, cells)
    for i, atoms in enumerate(structures):
        n = len(atoms)
        alone = results(q[i, :n], g[i, :n], positions[i, :n], cells[i])
        for both, one in zip(together, alone, strict=True):
            torch.testing.assert_close(both[i, : len(one)], one, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("max_ewald_atoms", [ALWAYS_EWALD, ALWAYS_MESH])
def test_geometry_is_prepared_once_for_any_number_of_charges(max_ewald_atoms):
    structures = mixed_batch()
    module = BatchedPairSum(Coulomb(1.0), 4.0, 0.5, max_ewald_atoms=max_ewald_atoms)
    graph = graph_of(*structures)
    distances = lengths(edge_vectors(graph))
    geometry = module.prepare(graph, distances)
    n_atoms = sum(map(len, structures))
    for seed in range(3):
        charges = random_charges(n_atoms, seed=seed)
        torch.testing.assert_close(module.potentials(geometry, charges), module(charges, graph, distances))
