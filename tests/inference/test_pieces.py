"""Each piece of the hot path against the naive formula or the reference module, each pullback against autograd."""

import math

import pytest
import torch
from helpers import rattled_box, small_potential

from lorem_openmm.inference.basis import AngularFunctions, RadialFunctions
from lorem_openmm.inference.electrostatics import Electrostatics
from lorem_openmm.inference.layers import Norms, Perceptron, ResidualUpdate
from lorem_openmm.inference.long_range import RealSpace
from lorem_openmm.inference.neighbors import Block, build_table, sort_half_list
from lorem_openmm.inference.products import Product, WholeProduct, pad_atoms
from lorem_openmm.inference.reflections import ReflectionProduct, reflection_classes
from lorem_openmm.nn.coulomb import direct_potentials, reciprocal_potentials, screened_coulomb
from lorem_openmm.nn.equivariant import DegreeNorm, TensorProduct
from lorem_openmm.nn.mesh import mesh_potentials
from lorem_openmm.nn.mesh_kernel import mesh_settings
from lorem_openmm.nn.radial import RadialBasis
from lorem_openmm.nn.scalar import MLP, Update
from lorem_openmm.nn.spherical import component_order, spherical_harmonics

TIGHT = {"rtol": 1e-11, "atol": 1e-12}


@pytest.fixture(autouse=True)
def _double():
    torch.manual_seed(3)
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def slopes(y: torch.Tensor, gradient: torch.Tensor, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
    return torch.autograd.grad(y, inputs, gradient)


@pytest.mark.parametrize("cutoff", ["smooth_cutoff", "cosine_cutoff"])
@pytest.mark.parametrize("basis", ["basic_bernstein", "basic_gaussian", "basic_fourier", "basic_chebyshev"])
def test_radial_functions(basis, cutoff):
    reference = RadialBasis(4.0, 8, basis, cutoff)
    module = RadialFunctions(reference)
    distances = torch.rand(3, 7) * 4.2 + 0.1
    distances[0, 0], distances[1, 1] = 1e-15, 8.0
    found = module(distances)
    r = distances.clone().requires_grad_(True)
    expected = reference(r.flatten()).view(3, 7, 8).transpose(1, 2)
    torch.testing.assert_close(found, expected, **TIGHT)
    gradient = torch.randn_like(found)
    expected_slope = slopes(expected, gradient, r)[0][:, 1:]
    torch.testing.assert_close(
        module.pullback(distances, found, gradient)[:, 1:], expected_slope, rtol=1e-9, atol=1e-10
    )
    assert bool((found[:, :, 0].isfinite()).all())
    assert float(found[1, :, 1].abs().max()) < 1e-200


@pytest.mark.parametrize("max_degree", [1, 2, 3, 6])
def test_angular_functions(max_degree):
    module = AngularFunctions(max_degree)
    vectors = torch.randn(3, 2, 5).requires_grad_(True)
    directions = vectors / vectors.norm(dim=0)
    found = module(directions)
    naive = spherical_harmonics(max_degree, directions.flatten(1).t())[:, component_order(max_degree)]
    torch.testing.assert_close(found, naive.view(2, 5, -1).transpose(1, 2), **TIGHT)
    gradient = torch.randn_like(found)
    turn = module.pullback(found.detach(), gradient).transpose(0, 1)
    tangential = (turn - (turn * directions).sum(dim=0) * directions) / vectors.norm(dim=0)
    torch.testing.assert_close(tangential, slopes(naive.view(2, 5, -1).transpose(1, 2), gradient, vectors)[0], **TIGHT)


@pytest.mark.parametrize("kind", [Product, WholeProduct, ReflectionProduct])
@pytest.mark.parametrize("degrees", [(3, 3, 3), (2, 3, 3), (3, 3, 2), (1, 2, 2), (0, 0, 0)])
@pytest.mark.parametrize("n_atoms", [1, 5, 16])
def test_products(kind, degrees, n_atoms):
    reference = TensorProduct(*degrees, channels=3)
    x1, x2 = (torch.randn(n_atoms, 3, (L + 1) ** 2).requires_grad_(True) for L in degrees[:2])
    expected = reference(x1, x2, reference.matrices())
    module = kind(reference, degrees)
    found = module(x1.permute(1, 2, 0), x2.permute(1, 2, 0))
    torch.testing.assert_close(found, expected.permute(1, 2, 0), **TIGHT)
    gradient = torch.randn_like(expected)
    first, second = module.pullback(x1.permute(1, 2, 0), x2.permute(1, 2, 0), gradient.permute(1, 2, 0))
    of_first, of_second = slopes(expected, gradient, x1, x2)
    torch.testing.assert_close(first, of_first.permute(1, 2, 0), **TIGHT)
    torch.testing.assert_close(second, of_second.permute(1, 2, 0), **TIGHT)


def test_reflection_classes_are_those_of_the_polynomials():
    # degree 1 in e3x's order is x, y, z; degree 2 is x² − y², xy, xz, yz and z² up to factors
    assert reflection_classes(1).tolist() == [0, 4, 2, 1]
    assert reflection_classes(2).tolist() == [0, 0, 6, 5, 3, 0, 4, 2, 1]
    assert pad_atoms(torch.ones(1, 2, 17)).shape == (1, 2, 32)


def test_perceptron_and_update():
    mlp, update = MLP([5, 7, 6, 4]), Update(4, 5)
    for parameter in [*mlp.parameters(), *update.parameters()]:
        torch.nn.init.normal_(parameter)
    x, message = torch.randn(3, 4).requires_grad_(True), torch.randn(3, 5).requires_grad_(True)
    y, hidden = Perceptron(mlp)(message)
    torch.testing.assert_close(y, mlp(message), **TIGHT)
    gradient = torch.randn(3, 4)
    found = Perceptron(mlp).pullback(hidden, gradient)
    torch.testing.assert_close(found, slopes(mlp(message), gradient, message)[0], **TIGHT)
    y, saved = ResidualUpdate(update)(x, message)
    torch.testing.assert_close(y, update(x, message), **TIGHT)
    of_x, of_message = slopes(update(x, message), gradient, x, message)
    # the new x does not pass the derivative with respect to the old one: it starts as a constant of the species
    found = ResidualUpdate(update).pullback(saved, gradient)
    torch.testing.assert_close(found[1], of_message, **TIGHT)
    torch.testing.assert_close(found[0], of_x, **TIGHT)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_norms(smoothing):
    reference = DegreeNorm(2, smoothing)
    x = torch.randn(4, 3, 9)
    x[0, 1] = 0.0
    x.requires_grad_(True)
    module = Norms(reference)
    by_channel = x.detach().permute(1, 2, 0).contiguous()
    found, saved = module(by_channel)
    torch.testing.assert_close(found, reference(x), **TIGHT)
    gradient = torch.randn_like(found)
    of_x = slopes(reference(x), gradient, x)[0]
    torch.testing.assert_close(module.pullback(by_channel, saved, gradient), of_x.permute(1, 2, 0), **TIGHT)


def test_real_space_slopes():
    module = RealSpace(4.0, 1.0)
    distances = (torch.rand(2, 6) * 3.5 + 0.4).requires_grad_(True)
    weights = module.weights(distances)
    torch.testing.assert_close(weights, 0.5 * torch.erfc(distances / math.sqrt(2.0)) / distances, **TIGHT)
    expected = slopes(0.5 * screened_coulomb(distances, 1.0, 4.0), torch.ones_like(weights), distances)[0]
    torch.testing.assert_close(module.slopes(distances, weights), expected, **TIGHT)


@pytest.mark.parametrize("kind", ["direct", "ewald", "mesh"])
def test_electrostatics(kind):
    atoms = rattled_box()
    positions, cell = torch.tensor(atoms.positions), torch.tensor(atoms.cell[:])
    charges, adjoint = torch.randn(7, 4), torch.randn(7, 4)
    module = Electrostatics(1.0, 0.5, kind != "direct", 0 if kind == "mesh" else 100, 5e-5)

    def reference(q: torch.Tensor, r: torch.Tensor, h: torch.Tensor) -> torch.Tensor:
        if kind == "direct":
            return direct_potentials(q[None], r[None], torch.ones(1, 7, 1))[0]
        if kind == "ewald":
            return reciprocal_potentials(q[None], r[None], h[None], 1.0, 0.5)[0]
        return mesh_potentials(q, r, h, 1.0, *mesh_settings(5e-5))

    for scale in (1.0, 1.05):  # a changed cell is noticed
        r, h = positions * scale, cell * scale
        potentials, state = module(charges, r, h)
        q, x = charges.clone().requires_grad_(True), r.clone().requires_grad_(True)
        strain = torch.zeros(3, 3).requires_grad_(True)
        expected = reference(q, x + x @ strain, h + h @ strain)
        torch.testing.assert_close(potentials, expected, **TIGHT)
        of_charges, of_positions, of_strain = slopes(expected, adjoint, q, x, strain)
        found = module.pullback(state, charges, adjoint)
        torch.testing.assert_close(found[0], of_charges, rtol=1e-10, atol=1e-11)
        torch.testing.assert_close(found[1], of_positions, rtol=1e-10, atol=1e-11)
        torch.testing.assert_close(module.strain_gradient(state, charges, adjoint), of_strain, rtol=1e-9, atol=1e-10)


def test_density_sums_over_neighbors():
    potential = small_potential()
    from lorem_openmm.inference.short_range import DensityFunctions, EdgeFunctions

    species = [1, 8]
    density, edges = DensityFunctions(potential.model, species), EdgeFunctions(potential.model).double()
    positions = torch.tensor([[0.0, 0.0, 0.0], [0.9, 0.3, 0.1], [0.2, 1.0, -0.4]])  # H, H, O
    pairs = torch.tensor([[0, 1], [0, 2], [1, 2]])
    table = build_table(sort_half_list(pairs, torch.zeros(3, 3), 3), [2, 1], 10, 8.0, torch.float64)
    block: Block = table.blocks[0]
    found_edges = edges(positions.t().contiguous(), block.empty, block)
    _, message, factors = density(found_edges, block)
    numbers = torch.tensor([1, 1, 8])
    types = torch.tensor([[a, b] for a in species for b in species])
    rows = potential.model.fold(types).short_range.radial_table.view(2, 2, 8, -1)
    counts = torch.tensor(potential.model.short_range.component_counts)
    for i in range(3):
        naive_message, naive_factors = torch.zeros(16), torch.zeros(16, 6)
        for j in range(3):
            if i != j:
                vector = positions[j] - positions[i]
                rho = potential.model.radial(vector.norm()[None])[0]
                y = spherical_harmonics(3, (vector / vector.norm())[None])[0, component_order(3)]
                row = rho @ rows[int(numbers[i] == 8), int(numbers[j] == 8)]
                naive_message += row[:16]
                by_degree = row[16:].view(4, 6).repeat_interleave(counts, dim=0)
                naive_factors += y[:, None] * by_degree
        torch.testing.assert_close(message[i], naive_message, **TIGHT)
        torch.testing.assert_close(factors[:, :, i].t(), naive_factors, **TIGHT)
