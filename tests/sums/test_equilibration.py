"""Charges at equilibrium against closed forms, the least energy, differences, a metal's plane; both forms agree."""

import math

import numpy as np
import pytest
import torch
from ase import Atoms
from charged_systems import random_cell
from helpers import graph_of
from whole_operators import near_rows

from lorem_openmm.kernels.choice import choose_kernel
from lorem_openmm.model import edge_vectors, lengths
from lorem_openmm.sums.batched import BatchedPairSum
from lorem_openmm.sums.batched_equilibration import corrections, equilibrate
from lorem_openmm.sums.equilibration import EquilibratedExchange
from lorem_openmm.sums.operator import PairOperator
from lorem_openmm.sums.transfer import Transfer
from lorem_openmm.sums.widths import WidthCorrection, own_hardness
from lorem_openmm.units import COULOMB_EV_ANGSTROM

SIGMA, CUTOFF, WAVELENGTH = 1.0, 6.0, 0.35
KERNEL = choose_kernel(1, SIGMA, True)


def interaction(distance, width_1, width_2):
    """k erf(r/√2γ) / r in eV/e²."""
    return COULOMB_EV_ANGSTROM * math.erf(distance / math.sqrt(2 * (width_1**2 + width_2**2))) / distance


def elements(n, hardness=9.0, width=0.6):
    """η and a of n atoms, all different."""
    spread = torch.linspace(0, 1, n, dtype=torch.float64)
    return torch.stack([hardness + spread, width - 0.2 * spread], dim=1)


def settled(atoms, chi, of_atoms, total=0.0, most_ewald=10**9):
    """Charges by the form of training."""
    pair_sum = BatchedPairSum(KERNEL, CUTOFF, WAVELENGTH, max_ewald_atoms=most_ewald)
    graph = graph_of(atoms, cutoff=CUTOFF)._replace(total_charge=torch.tensor([total], dtype=torch.float64))
    return by_batch(pair_sum, graph, torch.as_tensor(chi), torch.as_tensor(of_atoms))


def by_batch(pair_sum, graph, chi, of_atoms):
    """The same of a graph."""
    distances = lengths(edge_vectors(graph))
    near = corrections(SIGMA, CUTOFF, graph, distances, of_atoms[:, 1])
    return equilibrate(pair_sum, pair_sum.prepare(graph, distances), graph, near, chi, of_atoms)


def moving(atoms, most_ewald=10**9):
    """The form of dynamics, its geometry and rows, and the edge vectors of these."""
    periodic = bool(atoms.pbc.all())
    operator = PairOperator(KERNEL, CUTOFF, WAVELENGTH, periodic, most_ewald, 1e-6)
    positions, cell = torch.tensor(atoms.positions), torch.tensor(atoms.cell[:])
    rows, vectors = near_rows(positions, cell, CUTOFF, periodic=periodic)
    return EquilibratedExchange(operator, Transfer(CUTOFF), True, CUTOFF), positions, cell, rows, vectors


def test_two_charges():
    chi, of_atoms, r = np.array([1.0, 4.0]), np.array([[9.0, 0.6], [13.0, 0.4]]), 2.3
    q = settled(Atoms("HF", [[0, 0, 0], [r, 0, 0]]), chi, of_atoms, total=0.4).numpy()
    # η₁ q₁ + γ q₂ + χ₁ = η₂ q₂ + γ q₁ + χ₂, the Gaussians' own energy in η
    eta = of_atoms[:, 0] + COULOMB_EV_ANGSTROM / (math.sqrt(math.pi) * of_atoms[:, 1])
    gamma = interaction(r, 0.6, 0.4)
    first = (chi[1] - chi[0] + (eta[1] - gamma) * 0.4) / (eta.sum() - 2 * gamma)
    np.testing.assert_allclose(q, [first, 0.4 - first], rtol=1e-9)


def test_three_charges():
    """Water: q_H = (χ_O − χ_H) / (2 η_O + η_H + γ_HH − 4 γ_OH)."""
    half = math.radians(104.5 / 2)
    at = 0.96 * np.array([[0, 0, 0], [math.sin(half), math.cos(half), 0], [-math.sin(half), math.cos(half), 0]])
    chi, of_atoms = np.array([8.0, 4.0, 4.0]), np.array([[13.4, 0.5], [13.0, 0.35], [13.0, 0.35]])
    q = settled(Atoms("OHH", at), chi, of_atoms).numpy()
    eta = of_atoms[:, 0] + COULOMB_EV_ANGSTROM / (math.sqrt(math.pi) * of_atoms[:, 1])
    between = interaction(2 * 0.96 * math.sin(half), 0.35, 0.35)
    hydrogen = 4.0 / (2 * eta[0] + eta[1] + between - 4 * interaction(0.96, 0.5, 0.35))
    np.testing.assert_allclose(q, [-2 * hydrogen, hydrogen, hydrogen], rtol=1e-9)


def test_hard_atoms_keep_what_their_electronegativity_says():
    atoms, chi = Atoms("OHH", np.random.default_rng(0).random((3, 3)) * 2), np.array([3.0, -1.0, 2.0])
    q = settled(atoms, chi, np.array([[1e6, 0.5]] * 3)).numpy()
    np.testing.assert_allclose(q, -(chi - chi.mean()) / 1e6, rtol=1e-4)


@pytest.mark.parametrize("most_ewald", [10**9, 0])
@pytest.mark.parametrize("total", [0.0, -2.0])
@pytest.mark.parametrize("periodic", [False, True])
def test_both_forms_agree_and_the_energy_is_least(periodic, total, most_ewald):
    atoms = random_cell("triclinic", 24)
    atoms.pbc = periodic
    chi = torch.randn(24, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    of_atoms = elements(24)
    q = settled(atoms, chi, of_atoms, total, most_ewald)
    assert float(q.sum()) == pytest.approx(total, abs=1e-11)
    exchange, positions, cell, rows, _ = moving(atoms, most_ewald)
    found = exchange(chi.unsqueeze(1), of_atoms, total, positions, cell, rows)
    mesh = periodic and most_ewald == 0
    torch.testing.assert_close(found.charges[:, 0], q, rtol=0, atol=1e-4 if mesh else 1e-10)
    eta = own_hardness(of_atoms, COULOMB_EV_ANGSTROM)
    near = exchange._potentials(found.state.geometry, found.near, found.charges[:, 0])
    forces = chi + eta * found.charges[:, 0] + 2 * COULOMB_EV_ANGSTROM * near
    assert float(forces.std()) < 1e-10  # all atoms have one chemical potential


def test_iterations_end_where_elimination_does_and_can_be_forgotten():
    atoms = random_cell("cubic", 24)
    atoms.pbc = False
    chi = torch.randn(24, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    exchange, *arguments, _ = moving(atoms)
    dense = exchange(chi, elements(24), 1.0, *arguments).charges
    exchange.max_dense_atoms = 0
    exchange.forget()
    found = exchange(chi, elements(24), 1.0, *arguments).charges
    torch.testing.assert_close(found, dense, rtol=0, atol=1e-10)
    assert not torch.equal(exchange(chi, elements(24), 1.0, *arguments).charges, found)  # begins where it ended
    exchange.forget()
    assert torch.equal(exchange(chi, elements(24), 1.0, *arguments).charges, found)
    with pytest.raises(RuntimeError, match="are not finite"):
        exchange(chi * math.nan, elements(24), 1.0, *arguments)


def test_the_correction_of_the_widths_ends_smoothly():
    correction = WidthCorrection(1.25, 5.0)  # as models have it: at the cutoff both are 1/r but for 1e-4
    r = torch.linspace(0.5, 5.0, 200, dtype=torch.float64, requires_grad=True)
    squares = torch.full_like(r, 0.6)
    c = correction.weights(r, squares)
    (slopes,) = torch.autograd.grad(c.sum(), r)
    torch.testing.assert_close(correction.slopes(r, squares).detach(), slopes, rtol=1e-10, atol=1e-14)
    assert float(c[-1]) == float(slopes[-1]) == 0.0
    near = slice(0, 150)  # no switch yet
    bare = (torch.erf(r / math.sqrt(1.2)) - torch.erf(r / (math.sqrt(2) * 1.25))) / r
    torch.testing.assert_close(c[near], bare[near], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("periodic", [False, True])
def test_gradients_by_hand(periodic):
    """Of an energy g(q, V): those for χ, and the whole ones for the positions, by differences."""
    atoms = random_cell("cubic", 10)
    atoms.pbc = periodic
    generator = torch.Generator().manual_seed(1)
    chi = torch.randn(10, 1, generator=generator, dtype=torch.float64)
    weights = torch.randn(2, 10, 1, generator=generator, dtype=torch.float64)
    of_atoms = elements(10)

    def evaluate(chi, positions):
        moved = atoms.copy()
        moved.positions = positions.numpy()
        exchange, positions, cell, rows, vectors = moving(moved)
        out = exchange(chi, of_atoms, 1.0, positions, cell, rows)
        # V as the exchange hands it on, the correction of the widths included
        v = exchange._potentials(out.state.geometry, out.near, out.charges[:, 0]).unsqueeze(1)
        return float((weights[0] * out.charges + weights[1] * v**2).sum()), exchange, out, v, rows, vectors

    positions = torch.tensor(atoms.positions)
    _, exchange, out, v, rows, vectors = evaluate(chi, positions)
    adjoint = torch.cat([2 * weights[1] * v, torch.zeros_like(v)], dim=1)  # nothing of L V
    found, _ = exchange.pullback(out, adjoint, weights[0], False)
    of_positions = found.positions.clone()
    for near, vector, slope in zip(rows, vectors, found.distances, strict=True):
        pulls = (slope / near.distances).unsqueeze(2) * vector
        of_positions.index_add_(0, near.neighbors, pulls.flatten(0, 1))
        of_positions[near.first : near.first + len(vector)] -= pulls.sum(dim=1)
    for values, gradient in ((chi, found.charges), (positions, of_positions)):
        for index in ((0, 0), (7, values.shape[1] - 1)):
            ends = []
            for sign in (1.0, -1.0):
                other = values.clone()
                other[index] += sign * 1e-4
                ends.append(evaluate(*((other, positions) if values is chi else (chi, other)))[0])
            assert float(gradient[index]) == pytest.approx((ends[0] - ends[1]) / 2e-4, rel=1e-5, abs=1e-7)


def test_differentiable_twice():
    atoms = Atoms("OHHC", np.random.default_rng(3).random((4, 3)) * 3)
    pair_sum = BatchedPairSum(KERNEL, CUTOFF, WAVELENGTH)
    graph = graph_of(atoms, cutoff=CUTOFF)._replace(total_charge=torch.tensor([1.0], dtype=torch.float64))

    def charges(positions, chi, of_atoms):
        return by_batch(pair_sum, graph._replace(positions=positions), chi, of_atoms)

    inputs = tuple(value.clone().requires_grad_() for value in (graph.positions, torch.randn(4).double(), elements(4)))
    assert torch.autograd.gradcheck(charges, inputs)
    assert torch.autograd.gradgradcheck(charges, inputs)


def test_a_metals_plane_screens_a_charge():
    """Soft atoms of equal electronegativity in a plane are a conductor: a charge Q outside at d feels its image.

    Its potential is −(1 + √(2/π) σ/2d) Q/2d: the plane of Gaussians is as thick as these, so that its image plane is
    nearer. What is left, a tenth, is the edge of the plane, which has to hold −Q in all.
    """
    spacing, half, distance = 1.5, 12, 6.0
    grid = spacing * np.arange(-half, half + 1)
    plane = np.array([[x, y, 0.0] for x in grid for y in grid])
    atoms = Atoms(numbers=np.ones(len(plane) + 1), positions=np.vstack([plane, [[0, 0, distance]]]))
    chi, of_atoms = torch.zeros(len(atoms), 1).double(), torch.full((len(atoms), 2), SIGMA / math.sqrt(2)).double()
    of_atoms[:, 0] = 1e-3
    chi[-1], of_atoms[-1, 0] = -1e6, 1e6  # hard: it keeps 1 e
    exchange, positions, cell, rows, _ = moving(atoms)
    q = exchange(chi, of_atoms, 0.0, positions, cell, rows).charges[:, 0]
    assert float(q[-1]) == pytest.approx(1.0, abs=1e-4)
    potential = float((q[:-1] / torch.linalg.vector_norm(positions[:-1] - positions[-1], dim=1)).sum())
    image = -(1 + math.sqrt(2 / math.pi) * SIGMA / (2 * distance)) / (2 * distance)
    assert potential == pytest.approx(image, rel=0.12)
    nearest = np.argsort((plane**2).sum(axis=1))
    assert (q.numpy()[nearest[:60]] < 0).all()
    assert float(q[nearest[0]]) == float(q[:-1].min())
