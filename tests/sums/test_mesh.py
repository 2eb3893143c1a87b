import numpy as np
import pytest
import torch
from ase import Atoms
from charged_systems import random_cell, random_charges

from lorem_openmm.errors import ConfigError
from lorem_openmm.kernels.coulomb import Coulomb
from lorem_openmm.sums.ewald import EwaldSum
from lorem_openmm.sums.mesh_points import block_width, mesh_settings, mesh_size, spline_weights
from lorem_openmm.sums.mesh_terms import MeshCell
from lorem_openmm.sums.mesh_tiles import TiledMeshSum
from lorem_openmm.sums.real_space import RealSpace

SIGMA = 1.25


def tensors(atoms: Atoms, dtype: torch.dtype = torch.float64):
    return torch.tensor(atoms.positions, dtype=dtype), torch.tensor(atoms.cell[:], dtype=dtype)


def ewald(charges, positions, cell):
    module = EwaldSum(Coulomb(SIGMA), SIGMA / 2)
    terms = module.terms(cell)
    return module.potentials(module.phases(positions, terms), charges, terms)[0]


def on_mesh(charges, positions, cell, spacing=0.7, order=8, sizes=None):
    module = TiledMeshSum(MeshCell(Coulomb(SIGMA), spacing, order))
    terms = module.cell.terms(cell, sizes or module.cell.sizes(cell))
    return module.potentials(module.prepare(positions, terms), charges, terms)


def real_space(charges, positions, cell):
    """The other part of the potentials, to 6σ, by brute force over images."""
    n = int(np.ceil(6 * SIGMA / np.linalg.norm(np.linalg.inv(cell.numpy()), axis=0).max() ** -1)) + 1
    images = torch.cartesian_prod(*[torch.arange(-n, n + 1, dtype=cell.dtype)] * 3) @ cell
    fractional = positions @ torch.linalg.inv(cell)
    wrapped = positions - torch.floor(fractional).detach() @ cell
    vectors = (wrapped[None] - wrapped[:, None])[:, :, None] + images
    squares = vectors.square().sum(3)
    distances = torch.where(squares > 1e-12, squares, torch.full_like(squares, 1e6)).sqrt()
    return 0.5 * RealSpace(Coulomb(SIGMA), 6 * SIGMA).weights(distances).sum(2) @ charges


def rms(values):
    return float(values.detach().square().mean().sqrt())


def slopes(values, readout, inputs):
    return torch.autograd.grad((readout * values).sum(), inputs, retain_graph=True)


@pytest.mark.parametrize("shape", ["cubic", "triclinic", "skewed"])
@pytest.mark.parametrize("accuracy", [1e-3, 3e-4, 5e-5, 1e-5, 1e-6])
def test_error_of_forces_and_potentials_is_below_the_accuracy(accuracy, shape):
    atoms = random_cell(shape, 80)
    positions, cell = tensors(atoms)
    positions.requires_grad_()
    charges, readout = random_charges(80), random_charges(80, seed=1)
    exact = ewald(charges, positions, cell)
    total = exact + real_space(charges, positions, cell)
    values = on_mesh(charges, positions, cell, *mesh_settings(accuracy))
    assert rms(values - exact) < accuracy * rms(total)
    (error,) = slopes(values - exact, readout, [positions])
    (force,) = slopes(total, readout, [positions])
    assert rms(error) < accuracy * rms(force)


def test_settings_refuse_what_the_mesh_cannot_do():
    with pytest.raises(ConfigError, match=r"mesh_accuracy: .* 1e-6, not 1e-07"):
        mesh_settings(1e-7)


@pytest.mark.parametrize("shape", ["triclinic", "skewed"])
def test_stress_agrees_with_ewald(shape):
    atoms = random_cell(shape, 80)
    positions, cell = tensors(atoms)
    charges, readout = random_charges(80), random_charges(80, seed=1)
    strain = torch.zeros(3, 3, dtype=torch.float64, requires_grad=True)
    bend = torch.eye(3, dtype=torch.float64) + strain
    values = on_mesh(charges, positions @ bend, cell @ bend, *mesh_settings(5e-5))
    exact = ewald(charges, positions @ bend, cell @ bend)
    (stress,) = slopes(values, readout, [strain])
    (expected,) = slopes(exact, readout, [strain])
    assert rms(stress - expected) < 1e-4 * rms(expected)


def test_single_precision():
    atoms = random_cell("triclinic", 200)
    positions, cell = tensors(atoms)
    charges, readout = random_charges(200), random_charges(200, seed=1)
    results = []
    for dtype in (torch.float64, torch.float32):
        x = positions.to(dtype).requires_grad_()
        values = on_mesh(charges.to(dtype), x, cell.to(dtype))
        results.append((values.double(), slopes(values, readout.to(dtype), [x])[0].double()))
    for exact, single in zip(*results, strict=True):
        assert rms(single - exact) < 1e-5 * rms(exact)


@pytest.mark.parametrize("sizes", [[24, 8, 21], [5, 27, 3], [32, 30, 36]])
def test_first_and_second_derivatives(sizes):
    """In charges, positions and cell; axes of several blocks, of one block, and shorter than the spline."""
    atoms = random_cell("triclinic", 4, spacing=1.0)
    positions, cell = tensors(atoms)
    inputs = [t.requires_grad_() for t in (random_charges(4, 2), positions, cell)]

    def values(charges, positions, cell):
        return on_mesh(charges, positions, cell, sizes=sizes).tanh()

    assert torch.autograd.gradcheck(values, inputs, eps=1e-5, atol=1e-7, rtol=1e-6)
    assert torch.autograd.gradgradcheck(lambda q, x: values(q, x, cell.detach()), inputs[:2], eps=1e-5, atol=1e-6)


def test_one_atom_feels_no_force_anywhere_on_the_mesh():
    """The mesh's force of a charge on itself would be the largest of its errors."""
    cell = torch.eye(3, dtype=torch.float64) * 9.0
    charges = torch.tensor([[1.0]], dtype=torch.float64)
    places = torch.rand(20, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 9.0
    exact = ewald(charges, places[:1], cell).item()
    for place in places:
        position = place[None].clone().requires_grad_()
        value = on_mesh(charges, position, cell)
        assert value.item() == pytest.approx(exact, rel=1e-12)
        assert float(slopes(value, charges, [position])[0].abs().max()) < 1e-13


def test_forces_are_smooth_across_the_mesh():
    """An atom is moved through two mesh cells: its force has no steps and integrates to the change of energy."""
    atoms = random_cell("skewed", 30)
    positions, cell = tensors(atoms)
    charges = random_charges(30, 1)
    spacing = float(torch.linalg.vector_norm(cell[0])) / mesh_size(cell, 0.7 * SIGMA)[0]
    n = 400
    direction = cell[0] / torch.linalg.vector_norm(cell[0])
    forces, energies = [], []
    for i in range(n + 1):
        moved = positions.clone()
        moved[3] += 2 * spacing * i / n * direction
        moved.requires_grad_()
        values = on_mesh(charges, moved, cell)
        energies.append((charges * values).sum().item())
        forces.append(float(-slopes(values, charges, [moved])[0][3] @ direction))
    forces = np.array(forces)
    # A step of the force would be a large second difference: these go with the square of the stride.
    assert np.abs(np.diff(forces, 2)).max() < 1e-4 * np.ptp(forces)
    step = 2 * spacing / n
    work = step * (forces[0] / 2 + forces[1:-1].sum() + forces[-1] / 2)
    assert work == pytest.approx(energies[0] - energies[-1], rel=1e-5)


def test_net_force_is_below_the_accuracy():
    atoms = random_cell("cubic", 80)
    positions, cell = tensors(atoms)
    positions.requires_grad_()
    charges = random_charges(80)
    (force,) = slopes(on_mesh(charges, positions, cell), charges, [positions])
    assert float(force.detach().mean(0).abs().max()) < 5e-5 * rms(force)


def test_empty_blocks_are_skipped():
    """A droplet in a large box: the few occupied blocks give what Ewald gives."""
    atoms = random_cell("cubic", 40)
    atoms.set_cell(np.diag([34.0, 30.0, 36.0]))
    atoms.positions += [29.0, 3.0, 17.0]  # across a face
    positions, cell = tensors(atoms)
    charges = random_charges(40)
    assert [n // block_width(n) for n in mesh_size(cell, 0.7 * SIGMA)] == [4, 5, 6]
    values = on_mesh(charges, positions, cell)
    exact = ewald(charges, positions, cell)
    assert rms(values - exact) < 5e-5 * rms(exact)


def test_terms_can_be_kept_while_the_cell_stays():
    atoms = random_cell("triclinic", 20)
    positions, cell = tensors(atoms)
    charges = random_charges(20)
    module = TiledMeshSum(MeshCell(Coulomb(SIGMA), 0.7, 8))
    terms = module.cell.terms(cell, module.cell.sizes(cell))
    for shift in (0.0, 0.7):
        kept = module.potentials(module.prepare(positions + shift, terms), charges, terms)
        torch.testing.assert_close(kept, on_mesh(charges, positions + shift, cell), rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("order", [4, 6, 8])
def test_splines(order):
    """Partition of unity, first moment at the atom, and M_p by its recursion on the real axis."""
    offsets = torch.linspace(-0.5, 0.5, 11, dtype=torch.float64)
    weights = spline_weights(offsets, order)

    def spline(p, x):
        if p == 1:
            return 1.0 if 0 <= x < 1 else 0.0
        return (x * spline(p - 1, x) + (p - x) * spline(p - 1, x - 1)) / (p - 1)

    expected = [[spline(order, float(s) + 0.5 + order - 1 - k) for k in range(order)] for s in offsets[:-1]]
    torch.testing.assert_close(weights[:-1], torch.tensor(expected, dtype=torch.float64), rtol=1e-12, atol=1e-15)
    torch.testing.assert_close(weights.sum(1), torch.ones_like(offsets), rtol=1e-14, atol=0)
    points = torch.arange(order, dtype=torch.float64) - (order // 2 - 1)
    torch.testing.assert_close(weights @ points, offsets + 0.5, rtol=0, atol=1e-14)
    scripted = torch.jit.script(spline_weights)
    torch.testing.assert_close(scripted(offsets, order), weights, rtol=1e-15, atol=0)


def test_sizes_can_be_cut_into_blocks_and_are_fast_to_transform():
    for length in np.arange(0.3, 140.0, 0.37):
        (n, *_) = mesh_size(torch.eye(3) * float(length), 0.875)
        assert length / 0.875 <= n <= max(1.15 * length / 0.875, length / 0.875 + 2)
        assert n % block_width(n) == 0
        assert block_width(n) >= min(n, 7)  # as wide as the halo of the widest spline
        for factor in (2, 3, 5, 7):
            while n % factor == 0:
                n //= factor
        assert n == 1
