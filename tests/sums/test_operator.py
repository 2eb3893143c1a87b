import numpy as np
import pytest
import torch
from ase import Atoms
from helpers import rattled_molecule
from whole_operators import near_rows
from whole_operators import results as found

from lorem_openmm.kernels.coulomb import Coulomb
from lorem_openmm.sums.direct import DirectSum
from lorem_openmm.sums.ewald import EwaldSum
from lorem_openmm.sums.mesh_places import charges_on_mesh, places_on_mesh, plane_weights, read_rows, rows_of_mesh
from lorem_openmm.sums.mesh_points import mesh_settings, mesh_size, spline_weights
from lorem_openmm.sums.mesh_terms import MeshCell
from lorem_openmm.sums.mesh_tiles import TiledMeshSum, sort_into_tiles
from lorem_openmm.sums.operator import PairOperator
from lorem_openmm.sums.real_space import RealSpace

SIGMA, WAVELENGTH, ACCURACY, CUTOFF = 1.25, 0.625, 5e-5, 5.0
KERNEL = Coulomb(SIGMA)
ALWAYS_EWALD, ALWAYS_MESH = 10**9, 0
METHODS = ["direct", "ewald", "mesh"]
CELLS = {
    "cubic": [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
    "triclinic": [[1, 0, 0], [0.3, 1.1, 0], [-0.4, 0.25, 0.9]],
    "skewed": [[1, 0, 0], [0.9, 1, 0], [0.7, 0.8, 1]],
}
TOLERANCES = {torch.float64: 1e-12, torch.float32: 5e-5}


def random_cell(shape: str, n_atoms: int) -> Atoms:
    """Atoms anywhere, 0.04 per Å³."""
    cell = np.array(CELLS[shape]) * (n_atoms / 0.04 / np.linalg.det(CELLS[shape])) ** (1 / 3)
    places = np.random.default_rng(0).random((n_atoms, 3))
    return Atoms(numbers=np.ones(n_atoms), scaled_positions=places, cell=cell, pbc=True)


def random_charges(n_atoms: int, n_channels: int, seed: int = 0) -> torch.Tensor:
    """Charges that do not add up to zero."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n_atoms, n_channels, generator=generator, dtype=torch.float64)


def module(method, accuracy=ACCURACY):
    most = ALWAYS_MESH if method == "mesh" else ALWAYS_EWALD
    return PairOperator(KERNEL, CUTOFF, WAVELENGTH, method != "direct", most, accuracy)


def reference(method, charges, positions, cell, accuracy=ACCURACY, cutoff=None):
    """V of one structure by the sums that training differentiates."""
    if method == "direct":
        direct = DirectSum(KERNEL)
        return direct.potentials(direct.prepare(positions), charges)
    if method == "ewald":
        ewald = EwaldSum(KERNEL, WAVELENGTH)
        terms = ewald.terms(cell)
        values, _ = ewald.potentials(ewald.phases(positions, terms), charges, terms)
    else:
        mesh = TiledMeshSum(MeshCell(KERNEL, *mesh_settings(accuracy)))
        terms = mesh.cell.terms(cell, mesh.cell.sizes(cell))
        values = mesh.potentials(mesh.prepare(positions, terms), charges, terms)
    if cutoff is None:
        return values
    near = []
    for rows, vectors in zip(*near_rows(positions, cell, cutoff), strict=True):
        weights = RealSpace(KERNEL, cutoff).weights(vectors.norm(dim=2))
        near.append(0.5 * torch.einsum("ns,nsc->nc", weights, charges[rows.neighbors].view(*weights.shape, -1)))
    return values + torch.cat(near)


def inputs(atoms: Atoms, dtype=torch.float64):
    n = len(atoms)
    positions, cell = torch.tensor(atoms.positions, dtype=dtype), torch.tensor(atoms.cell[:], dtype=dtype)
    return random_charges(n, 10).to(dtype), positions, cell, random_charges(n, 10, seed=1).to(dtype)


def expected(method, charges, positions, cell, adjoint, accuracy=ACCURACY, cutoff=None):
    """V, dE/dq, dE/dr and dE/dε by autograd."""
    q, r = charges.clone().requires_grad_(), positions.clone().requires_grad_()
    strain = torch.zeros_like(cell).requires_grad_()
    bend = torch.eye(3, dtype=cell.dtype) + strain
    values = reference(method, q, r @ bend, cell @ bend, accuracy, cutoff)
    return [values.detach(), *torch.autograd.grad((adjoint * values).sum(), [q, r, strain])]


def assert_equal(results, references, tolerance):
    for result, other in zip(results, references, strict=True):
        assert result.dtype == other.dtype
        assert float((result - other).abs().max()) <= tolerance * float(other.abs().max())


CASES = [
    ("direct", "vacuum", 9),
    ("direct", "cubic", 40),
    ("ewald", "cubic", 30),
    ("ewald", "triclinic", 60),
    ("ewald", "skewed", 40),
    ("mesh", "cubic", 10),
    ("mesh", "triclinic", 90),
    ("mesh", "skewed", 60),
    ("mesh", "cubic", 300),
]


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize(("method", "shape", "n_atoms"), CASES)
def test_potentials_and_gradients_are_those_of_the_network(method, shape, n_atoms, dtype):
    atoms = rattled_molecule() if shape == "vacuum" else random_cell(shape, n_atoms)
    atoms.positions[::3] += 2.3 * atoms.cell[0] - 1.4 * atoms.cell[2]  # outside of the cell
    given = inputs(atoms)
    exact = [t.to(dtype) for t in expected(method, *given)]
    assert_equal(found(module(method), *[t.to(dtype) for t in given]), exact, TOLERANCES[dtype])


@pytest.mark.parametrize("scripted", [False, True])
@pytest.mark.parametrize("method", ["ewald", "mesh"])
def test_the_real_space_part_is_in_values_and_gradients(method, scripted):
    given = inputs(random_cell("triclinic", 40))
    operator = torch.jit.script(module(method)) if scripted else module(method)
    assert_equal(found(operator, *given, CUTOFF), expected(method, *given, cutoff=CUTOFF), 1e-12)


@pytest.mark.parametrize("method", METHODS)
def test_geometry_is_prepared_once_for_any_number_of_charges(method):
    operator = module(method)
    _, positions, cell, _ = inputs(random_cell("triclinic", 30))
    rows, _ = near_rows(positions, cell, CUTOFF)
    geometry = operator.prepare(positions, cell, rows)
    for seed in range(3):
        charges = random_charges(30, 2, seed)
        values, _ = operator.potentials(geometry, charges)
        torch.testing.assert_close(values, operator(charges, positions, cell, rows)[0], rtol=0, atol=0)


@pytest.mark.parametrize("method", METHODS)
def test_the_operator_is_symmetric(method):
    """g·(K q) = q·(K g), on which the gradients rest; all but the mesh's rounding."""
    operator = module(method)
    q, positions, cell, g = inputs(random_cell("triclinic", 30))
    geometry = operator.prepare(positions, cell, near_rows(positions, cell, CUTOFF)[0])
    forth, back = [float((a * operator.potentials(geometry, b)[0]).sum()) for a, b in ((g, q), (q, g))]
    assert forth == pytest.approx(back, rel=1e-12)


@pytest.mark.parametrize("accuracy", [1e-3, 3e-4, 1e-6])
def test_other_accuracies_of_the_mesh(accuracy):
    given = inputs(random_cell("triclinic", 30))
    assert_equal(found(module("mesh", accuracy), *given), expected("mesh", *given, accuracy), 1e-12)


def test_a_droplet_leaves_most_blocks_empty():
    atoms = random_cell("cubic", 40)
    atoms.set_cell([34.0, 30.0, 36.0])
    atoms.positions += [29.0, 3.0, 17.0]  # across a face
    given = inputs(atoms)
    assert_equal(found(module("mesh"), *given), expected("mesh", *given), 1e-12)


@pytest.mark.parametrize("method", METHODS)
def test_gradients_are_slopes(method):
    """Central differences of E = Σ g V along random directions of charges, positions and strain."""
    charges, positions, cell, adjoint = inputs(random_cell("triclinic", 12))
    operator = module(method)
    gradients = found(operator, charges, positions, cell, adjoint)[1:]
    generator = torch.Generator().manual_seed(3)

    def energy(step, which, way):
        moves = [torch.zeros_like(charges), torch.zeros_like(positions), torch.zeros_like(cell)]
        moves[which] = step * way
        bend = torch.eye(3, dtype=cell.dtype) + moves[2]
        values, _ = operator(charges + moves[0], (positions + moves[1]) @ bend, cell @ bend, [])
        return float((adjoint * values).sum())

    for which, gradient in enumerate(gradients):
        way = torch.randn(gradient.shape, generator=generator, dtype=gradient.dtype)
        step = 1e-5
        slope = (energy(step, which, way) - energy(-step, which, way)) / (2 * step)
        assert slope == pytest.approx(float((gradient * way).sum()), rel=1e-6, abs=1e-7)


@pytest.mark.parametrize("optimized", [True, False])
@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize("method", METHODS)
def test_scripted_equals_eager_as_cell_and_number_of_atoms_change(method, dtype, optimized):
    scripted = torch.jit.script(module(method))
    structures = [random_cell(shape, n) for shape, n in [("cubic", 20), ("cubic", 21), ("skewed", 20), ("cubic", 1)]]
    with torch.jit.optimized_execution(optimized):
        for atoms in structures + structures[:1] * 3:
            given = inputs(atoms, dtype)
            eager = found(module(method), *given)
            largest = [float(t.abs().max()) for t in eager]
            for result, other, size in zip(found(scripted, *given), eager, largest, strict=True):
                tolerance = TOLERANCES[dtype] * max(size, 0.1)
                torch.testing.assert_close(result, other, rtol=0, atol=tolerance)


@pytest.mark.parametrize("scripted", [False, True])
def test_the_number_of_atoms_of_each_call_chooses_the_sum(scripted):
    operator = PairOperator(KERNEL, CUTOFF, WAVELENGTH, True, 20, ACCURACY)
    operator = torch.jit.script(operator) if scripted else operator
    atoms = random_cell("cubic", 21)
    for n_atoms, method in [(21, "mesh"), (20, "ewald"), (21, "mesh"), (1, "ewald")]:
        given = inputs(atoms[:n_atoms])
        results = found(operator, *given)
        if n_atoms > 1:
            assert_equal(results, expected(method, *given), 1e-12)
        else:
            torch.testing.assert_close(results[0], reference(method, *given[:3]), rtol=1e-12, atol=0)


@pytest.mark.parametrize("method", ["ewald", "mesh"])
def test_gradients_belong_to_the_cell_of_their_forward(method):
    """Another cell in between, kept data and all, does not change them."""
    operator = module(method)
    first, second = inputs(random_cell("cubic", 20)), inputs(random_cell("skewed", 25))
    values, saved = operator(*first[:3], [])
    operator(*second[:3], [])
    pulled = operator.pullback(saved, first[0], first[3])
    strain = operator.strain(saved, first[0], first[3])
    assert_equal([values, pulled.charges, pulled.positions, strain], expected(method, *first), 1e-12)


@pytest.mark.parametrize("method", ["ewald", "mesh"])
def test_nothing_is_recomputed_while_the_cell_stays(method):
    operator = module(method)
    charges, positions, cell, adjoint = inputs(random_cell("cubic", 20))

    def kept():
        _, saved = operator(charges, positions, cell.clone(), [])
        operator.pullback(saved, charges, adjoint)
        return getattr(operator, f"_{method}_terms")

    before = kept()
    assert kept() is before
    cell[0, 0] += 1e-9
    assert kept() is not before


@pytest.mark.parametrize("method", METHODS)
def test_no_gradients_need_to_be_recorded(method):
    given = inputs(random_cell("cubic", 15))
    for operator in (module(method), torch.jit.script(module(method))):
        with torch.no_grad():
            assert_equal(found(operator, *given), expected_outside(method, given), 1e-12)


def expected_outside(method, given):
    with torch.enable_grad():
        return expected(method, *given)


@pytest.mark.parametrize("method", ["ewald", "mesh"])
def test_one_atom_feels_no_force(method):
    charges, positions, cell, adjoint = inputs(Atoms("H", positions=[[1.3, 8.1, 4.4]], cell=[9.0] * 3, pbc=True))
    values, of_charges, of_positions, _ = found(module(method), charges, positions, cell, adjoint)
    exact = reference("ewald", charges, positions, cell)
    torch.testing.assert_close(values, exact, rtol=1e-11, atol=0)
    torch.testing.assert_close(of_charges, reference("ewald", adjoint, positions, cell), rtol=1e-11, atol=0)
    assert float(of_positions.abs().max()) < 1e-13


def test_coincident_and_lone_atoms_in_vacuum():
    positions = torch.tensor([[0.0, 0, 0], [0, 0, 0], [1, 0, 0]], dtype=torch.float64)
    given = random_charges(3, 10), positions, torch.zeros(3, 3, dtype=torch.float64), random_charges(3, 10, seed=1)
    results = found(module("direct"), *given)
    assert all(torch.isfinite(t).all() for t in results)
    by_hand, q = results[0], given[0]
    torch.testing.assert_close(by_hand, 0.5 * torch.stack([q[2], q[2], q[0] + q[1]]), rtol=1e-14, atol=0)
    assert_equal(results, expected("direct", *given), 1e-12)
    alone = found(module("direct"), *[t[:1] for t in given[:2]], given[2], given[3][:1])
    assert all((t == 0).all() for t in alone)


@pytest.mark.parametrize("sizes", [[24, 8, 21], [5, 27, 3], [32, 30, 36]])
def test_spreading_and_reading_are_the_sums_over_mesh_points(sizes):
    """Axes of several blocks, of one, and shorter than the spline."""
    generator = torch.Generator().manual_seed(0)
    n, counts = 7, torch.tensor(sizes)
    scaled = torch.rand(n, 3, generator=generator, dtype=torch.float64) * counts * 3 - counts
    charges = torch.randn(n, 2, generator=generator, dtype=torch.float64)
    field = torch.randn(*sizes, 2, generator=generator, dtype=torch.float64)
    spread, read = torch.zeros_like(field), torch.zeros_like(charges)
    for i in range(n):
        left = torch.floor(scaled[i])
        w = spline_weights(scaled[i] - left - 0.5, 8)
        cube = w[0][:, None, None] * w[1][:, None] * w[2]
        x, y, z = [(int(left[a]) - 3 + torch.arange(8)) % sizes[a] for a in range(3)]
        spread.index_put_((x[:, None, None], y[:, None], z), cube[..., None] * charges[i], accumulate=True)
        read[i] = (cube[..., None] * field[x[:, None, None], y[:, None], z]).sum(dim=(0, 1, 2))

    places = places_on_mesh(scaled, sizes, 8)
    assert places.order.sort().values.equal(torch.arange(n))
    torch.testing.assert_close(charges_on_mesh(charges[places.order], places), spread, rtol=1e-13, atol=1e-14)
    planes = plane_weights(places.weights[:, 0], places.weights[:, 1]).unsqueeze(1)
    sums = read_rows(rows_of_mesh(field, places), places, planes)[:, 0]
    torch.testing.assert_close((sums * places.window).sum(dim=1), read[places.order], rtol=1e-13, atol=1e-14)


def test_both_ways_of_spreading_agree():
    """Block by block as on the CPU, and in few large operations as elsewhere."""
    sizes = [24, 8, 21]
    generator = torch.Generator().manual_seed(0)
    scaled = torch.rand(40, 3, generator=generator, dtype=torch.float64) * torch.tensor(sizes)
    charges = random_charges(40, 2)
    places = places_on_mesh(scaled, sizes, 8)
    first = (torch.floor(scaled).long() - 3) % torch.tensor(sizes)
    tiles = sort_into_tiles(first[places.order], places.weights, sizes)
    elsewhere = charges_on_mesh(charges, places._replace(blocks=None, tiles=tiles))
    torch.testing.assert_close(elsewhere, charges_on_mesh(charges, places), rtol=1e-13, atol=1e-14)


def test_mesh_is_cut_into_several_blocks():
    """The largest structure above crosses blocks in every direction."""
    _, positions, cell, _ = inputs(random_cell("cubic", 300))
    sizes = mesh_size(cell, mesh_settings(ACCURACY)[0] * SIGMA)
    blocks = places_on_mesh(positions @ torch.linalg.inv(cell) * torch.tensor(sizes), sizes, 8).blocks
    assert len(blocks.counts) > 8
    assert sum(blocks.counts) == 300
