"""Sums of inverse powers: against torch-pme, brute force, differences; in vacuum, by Ewald sum and on the mesh."""

import math

import pytest
import torch
import torchpme
from ase import Atoms
from charged_systems import random_cell, random_charges
from helpers import graph_of, rattled_molecule
from whole_operators import results

from lorem_openmm.graph import with_geometry
from lorem_openmm.kernels.inverse_power import InversePower
from lorem_openmm.model import edge_vectors, lengths
from lorem_openmm.sums.batched import BatchedPairSum
from lorem_openmm.sums.operator import PairOperator

EXPONENTS = [1, 2, 3, 4, 5, 6]
SIGMA, CUTOFF, WAVELENGTH, ACCURACY = 1.2, 4.8, 0.6, 5e-5
ALWAYS_EWALD, ALWAYS_MESH = 10**9, 0


def by_autograd(potentials, charges, adjoint, graph):
    """V, dE/dq, dE/dr, dE/dε of E = Σ g V."""
    q, r = charges.clone().requires_grad_(), graph.positions.clone().requires_grad_()
    strain = torch.zeros(3, 3, dtype=q.dtype, requires_grad=True)
    bend = torch.eye(3, dtype=q.dtype) + strain
    bent = with_geometry(graph, r @ bend, graph.cell @ bend)
    values = potentials(q, bent, lengths(edge_vectors(bent)))
    return [values.detach(), *torch.autograd.grad((adjoint * values).sum(), [q, r, strain], allow_unused=True)]


def of_torch_pme(exponent, graph):
    potential = torchpme.InversePowerLawPotential(exponent=exponent, smearing=SIGMA)
    calculator = torchpme.EwaldCalculator(potential, lr_wavelength=WAVELENGTH, full_neighbor_list=True).double()
    pairs = torch.stack([graph.centers, graph.neighbors], dim=1)
    return lambda q, bent, distances: calculator(q, bent.cell[0], bent.positions, pairs, distances)


def assert_equal(found, expected, tolerance):
    for value, other in zip(found, expected, strict=True):
        assert float((value - other).abs().max()) <= tolerance * float(other.abs().max())


@pytest.mark.parametrize("exponent", EXPONENTS)
def test_ewald_and_mesh_are_torch_pmes_ewald(exponent):
    """Potentials, forces and stress of charges that are not neutral, by autograd and by hand; scripted, too."""
    atoms = random_cell("triclinic", 30)
    graph = graph_of(atoms, cutoff=CUTOFF)
    charges, adjoint = random_charges(30) + 0.3, random_charges(30, seed=1)
    kernel = InversePower(SIGMA, exponent)
    expected = by_autograd(of_torch_pme(exponent, graph), charges, adjoint, graph)
    for most, tolerance in ((ALWAYS_EWALD, 2e-9), (ALWAYS_MESH, 5e-5)):
        ours = by_autograd(BatchedPairSum(kernel, CUTOFF, WAVELENGTH, most, ACCURACY), charges, adjoint, graph)
        assert_equal(ours, expected, tolerance)
        operator = torch.jit.script(PairOperator(kernel, CUTOFF, WAVELENGTH, True, most, ACCURACY))
        by_hand = results(operator, charges, graph.positions, graph.cell[0], adjoint, CUTOFF)
        assert_equal(by_hand, ours, 1e-12)


@pytest.mark.parametrize("exponent", EXPONENTS)
def test_direct_sum_is_the_double_loop(exponent):
    atoms = rattled_molecule()
    n = len(atoms)
    charges, adjoint = random_charges(n), random_charges(n, seed=1)
    kernel = InversePower(SIGMA, exponent)
    expected = torch.zeros_like(charges)
    for i in range(n):
        for j in range(n):
            if i != j:
                expected[i] += 0.5 * charges[j] * atoms.get_distance(i, j) ** -exponent
    graph = graph_of(atoms, cutoff=CUTOFF)
    ours = by_autograd(BatchedPairSum(kernel, CUTOFF, WAVELENGTH), charges, adjoint, graph)
    torch.testing.assert_close(ours[0], expected, rtol=1e-12, atol=0)
    operator = PairOperator(kernel, CUTOFF, WAVELENGTH, False, ALWAYS_EWALD, ACCURACY)
    by_hand = results(operator, charges, graph.positions, graph.cell[0], adjoint)
    assert_equal(by_hand, ours, 1e-12)


@pytest.mark.parametrize("method", ["direct", "ewald", "mesh"])
@pytest.mark.parametrize("exponent", EXPONENTS)
def test_gradients_by_hand_are_slopes(exponent, method):
    """Central differences of E = Σ g V along random directions of charges, positions and strain."""
    atoms = random_cell("triclinic", 12, spacing=1.5)
    positions, cell = torch.tensor(atoms.positions), torch.tensor(atoms.cell[:])
    charges, adjoint = random_charges(12) + 0.3, random_charges(12, seed=1)
    most = ALWAYS_MESH if method == "mesh" else ALWAYS_EWALD
    # Real space to 7σ: at a shorter cutoff its step would enter the differences.
    cutoff = 7 * 0.6
    operator = PairOperator(InversePower(0.6, exponent), cutoff, 0.3, method != "direct", most, ACCURACY)
    reach = None if method == "direct" else cutoff
    gradients = results(operator, charges, positions, cell, adjoint, reach)[1:]

    def energy(moves):
        bend = torch.eye(3, dtype=cell.dtype) + moves[2]
        moved = charges + moves[0], (positions + moves[1]) @ bend, cell @ bend
        return float((adjoint * results(operator, *moved, adjoint, reach)[0]).sum())

    generator = torch.Generator().manual_seed(3)
    for which, gradient in enumerate(gradients):
        way = torch.randn(gradient.shape, generator=generator, dtype=gradient.dtype)
        moves = [torch.zeros_like(charges), torch.zeros_like(positions), torch.zeros_like(cell)]
        moves[which] = 1e-5 * way
        slope = (energy(moves) - energy([-move for move in moves])) / 2e-5
        assert slope == pytest.approx(float((gradient * way).sum()), rel=1e-6, abs=1e-7)


@pytest.mark.parametrize("most", [ALWAYS_EWALD, ALWAYS_MESH])
@pytest.mark.parametrize("exponent", [3, 6])
def test_second_derivatives(exponent, most):
    atoms = random_cell("triclinic", 4, spacing=1.5)
    graph = graph_of(atoms, cutoff=2.4)
    module = BatchedPairSum(InversePower(0.6, exponent), 2.4, 0.4, most, 1e-3)

    def values(charges, positions, cell):
        moved = with_geometry(graph, positions, cell)
        return module(charges, moved, lengths(edge_vectors(moved))).tanh()

    inputs = [t.clone().requires_grad_() for t in (random_charges(4, 2), graph.positions, graph.cell)]
    assert torch.autograd.gradgradcheck(values, inputs, eps=1e-6, atol=1e-5, rtol=1e-4)


def lattice_sum(atoms: Atoms, charges: torch.Tensor, exponent: int, reach: int) -> torch.Tensor:
    """½ Σ q_j / r^p over all images within a sphere, and the integral of their mean density beyond."""
    cell = torch.tensor(atoms.cell[:])
    positions = torch.tensor(atoms.positions)
    images = torch.cartesian_prod(*[torch.arange(-reach - 1, reach + 2, dtype=cell.dtype)] * 3) @ cell
    radius = reach * float(cell[0, 0])
    totals = []
    for i in range(len(atoms)):
        vectors = positions[:, None] + images - positions[i]
        squares = vectors.square().sum(dim=2)
        inside = (squares > 0) & (squares < radius**2)
        powers = torch.where(inside, squares, torch.ones_like(squares)).pow(-exponent / 2)
        totals.append((charges * torch.where(inside, powers, torch.zeros_like(powers)).sum(dim=1)).sum())
    density = charges.sum() / torch.linalg.det(cell)
    beyond = 4.0 * math.pi * density / ((exponent - 3) * radius ** (exponent - 3))
    return 0.5 * (torch.stack(totals) + beyond)


@pytest.mark.parametrize("most", [ALWAYS_EWALD, ALWAYS_MESH])
@pytest.mark.parametrize(("exponent", "tolerance"), [(4, 2e-4), (5, 3e-5), (6, 1e-6)])
def test_charges_all_positive_give_the_sum_over_all_images(exponent, tolerance, most):
    """Where the lattice sum converges for any charges, the background is part of it and not a choice."""
    atoms = random_cell("cubic", 5, spacing=1.6)
    charges = random_charges(5, 1).abs() + 0.5
    module = BatchedPairSum(InversePower(0.9, exponent), 6 * 0.9, 0.4, most, 1e-6)
    graph = graph_of(atoms, cutoff=module.cutoff)
    found = module(charges, graph, lengths(edge_vectors(graph))).flatten()
    expected = lattice_sum(atoms, charges.flatten(), exponent, 24)
    share = 0.5 * module.kernel.background * float(charges.sum()) / atoms.get_volume() / float(expected.mean())
    assert share > 100 * tolerance  # so that the test sees it
    assert_equal([found], [expected], tolerance)


@pytest.mark.parametrize("exponent", EXPONENTS)
def test_the_split_does_not_matter(exponent):
    """For p = 3, of neutral charges only."""
    atoms = random_cell("skewed", 20)
    charges = random_charges(20)
    charges = charges - charges.mean(dim=0) if exponent == 3 else charges + 0.5
    found = []
    for smearing in (0.9, 1.2):
        module = BatchedPairSum(InversePower(smearing, exponent), 7 * smearing, smearing / 2.5)
        graph = graph_of(atoms, cutoff=module.cutoff)
        found.append(module(charges, graph, lengths(edge_vectors(graph))))
    assert_equal(found[:1], found[1:], 1e-9)
