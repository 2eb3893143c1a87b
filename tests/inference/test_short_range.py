"""Edges, densities and features of blocks against the network evaluated edge by edge, gradients against autograd."""

import numpy as np
import pytest
import torch
from ase import Atoms
from helpers import graph_of, rattled_box, rattled_molecule, small_potential
from made_rows import assert_close, naive_pullback, neighborhood, random, sorted_by_species

from lorem_openmm.inference.edge_maps import EdgeMaps
from lorem_openmm.inference.features import BlockFeatures
from lorem_openmm.inference.neighbors import RowBlock
from lorem_openmm.inference.products import Product
from lorem_openmm.inference.reflections import ReflectionProduct
from lorem_openmm.inference.short_range import DensityFunctions, EdgeFunctions, Edges
from lorem_openmm.inference.verlet import Neighborhood
from lorem_openmm.model import Lorem, edge_vectors
from lorem_openmm.ops.spherical import degree_of_component

STRUCTURES = {"molecule": rattled_molecule, "box": rattled_box}


def network(**changes: object) -> Lorem:
    return small_potential(**changes).model


def rows_of(structure: str, block_size: int = 3) -> tuple[Atoms, Neighborhood]:
    atoms = sorted_by_species(STRUCTURES[structure]())
    return atoms, neighborhood(atoms, block_size)


def slots(
    block: RowBlock, near: Neighborhood, offsets: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Centers, neighbours and vectors of the slots of a block, one after the other."""
    centers = torch.arange(block.first, block.first + block.size).repeat_interleave(len(block.neighbors) // block.size)
    return centers, block.neighbors, near.positions[block.neighbors] - near.positions[centers] + offsets.t()


def edge_forward(module: EdgeFunctions, near: Neighborhood, block: RowBlock):
    """Distances, radial and angular functions of offsets."""

    def forward(offsets: torch.Tensor) -> tuple[torch.Tensor, ...]:
        edges = module(near.positions.t(), offsets, block)
        return edges.distances, edges.radial, edges.angular

    return forward


@pytest.mark.parametrize("structure", STRUCTURES)
@pytest.mark.parametrize("max_degree", range(5))
def test_edges_and_their_gradient(max_degree, structure):
    model = network(max_degree=max_degree, max_charge_degree=0)
    module = EdgeFunctions(model).double()
    _, near = rows_of(structure)
    for block, offsets in zip(near.table.blocks, near.offsets, strict=True):
        edges = module(near.positions.t(), offsets, block)
        _, _, vectors = slots(block, near, offsets)
        distances = vectors.norm(dim=1)
        shape = (block.size, len(distances) // block.size, -1)
        assert_close(edges.distances.flatten(), distances)
        assert_close(edges.directions.flatten(1).t(), vectors / distances[:, None])
        assert_close(edges.radial, model.radial(distances).view(shape).transpose(1, 2))
        assert_close(edges.angular, model.angular(vectors / distances[:, None]).view(shape).transpose(1, 2))

        forward = edge_forward(module, near, block)
        slope, radial, angular = (random(*value.shape, seed=i) for i, value in enumerate(forward(offsets)))
        (expected,) = naive_pullback(forward, [offsets], [slope, radial, angular])
        assert_close(module.pullback(edges, radial, angular, slope), expected)


def test_coincident_atoms_have_no_direction():
    atoms = Atoms("HHO", [[0.0, 0.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.3, 0.9]])
    near = neighborhood(atoms)
    module = EdgeFunctions(network()).double()
    block, offsets = near.table.blocks[0], near.offsets[0]
    edges = module(near.positions.t(), offsets, block)
    together = edges.distances < 1e-10
    assert int(together.sum()) == 2
    assert not edges.directions[:, together].any()
    pulled = module.pullback(
        edges, random(*edges.radial.shape), random(*edges.angular.shape), random(*edges.distances.shape)
    )
    assert bool(torch.isfinite(pulled).all())
    assert not pulled.view(3, *together.shape)[:, together].any()


def naive_density(
    model: Lorem, numbers: torch.Tensor, block: RowBlock, edges: Edges
) -> tuple[torch.Tensor, torch.Tensor]:
    """Scalar message [n, d] and factors [n, 2s, (L+1)²], the pair network evaluated on every slot."""
    short, h = model.short_range, model.hyperparameters
    centers = torch.arange(block.first, block.first + block.size)[:, None].expand(edges.distances.shape)
    pairs = torch.stack([numbers[centers], numbers[block.neighbors].view(centers.shape)], dim=2)
    coefficients = short.pair_radial(model.species_embedding(pairs).flatten(2))
    coefficients = coefficients.view(*centers.shape, h.num_radial, h.num_features)
    features = torch.einsum("njkf,nkj->njf", coefficients, edges.radial)
    degrees = h.max_degree + 1
    spherical = short.spherical_message(features).view(*centers.shape, degrees, h.num_spherical_features)
    spherical = torch.einsum("njlc,lcd->njld", spherical, short.spherical_product.dense)
    spread = spherical[:, :, degree_of_component(h.max_degree)]
    scalar = short.scalar_message(features)
    return scalar.sum(dim=1), torch.einsum("njmd,nmj->ndm", spread, edges.angular)


@pytest.mark.parametrize("kind", [DensityFunctions, EdgeMaps])
@pytest.mark.parametrize("block_size", [2, 100])
@pytest.mark.parametrize("max_degree", range(5))
def test_densities_and_their_gradient(max_degree, block_size, kind):
    model = network(max_degree=max_degree, max_charge_degree=0)
    atoms, near = rows_of("box", block_size)
    numbers = torch.tensor(atoms.numbers)
    module = kind(model, sorted(set(atoms.numbers.tolist())))
    for block, offsets in zip(near.table.blocks, near.offsets, strict=True):
        edges = EdgeFunctions(model).double()(near.positions.t(), offsets, block)
        message, factors, saved = module(edges, block)
        naive_message, naive_factors = naive_density(model, numbers, block, edges)
        assert_close(message, naive_message)
        assert_close(factors, naive_factors.permute(1, 2, 0))

        def naive(radial, angular, edges=edges, block=block):
            filled = edges._replace(radial=radial, angular=angular)
            message, factors = naive_density(model, numbers, block, filled)
            return message, factors.permute(1, 2, 0)

        gradients = random(*message.shape), random(*factors.shape, seed=1)
        expected = naive_pullback(naive, [edges.radial, edges.angular], gradients)
        full = (block.empty[0] == 0).view(block.size, 1, -1)  # functions of empty slots are zero and have no slope
        radial, angular = module.pullback(edges, block, saved, *gradients)
        assert_close(radial * full, expected[0] * full)
        # Y_00 is a constant, which the scalar message may leave out.
        assert_close((angular * full)[:, 1:], (expected[1] * full)[:, 1:])


@pytest.mark.parametrize("structure", STRUCTURES)
@pytest.mark.parametrize("product", [Product, ReflectionProduct])
@pytest.mark.parametrize("density", [DensityFunctions, EdgeMaps])
@pytest.mark.parametrize("norm_smoothing", [0.0, 0.1])
def test_features_and_their_gradient(norm_smoothing, density, product, structure):
    model = network(norm_smoothing=norm_smoothing, long_range=False)
    atoms, near = rows_of(structure)
    graph = graph_of(atoms)
    expected = model(graph).short_range_energies
    module = BlockFeatures(model, sorted(set(atoms.numbers.tolist())), density, product)
    for block, offsets in zip(near.table.blocks, near.offsets, strict=True):

        def forward(offsets, block=block):
            found = module(near.positions.t(), offsets, block)
            return found.energies, found.x, found.spherical, found.edges.distances

        found = module(near.positions.t(), offsets, block)
        assert_close(found.energies, expected[block.first : block.first + block.size])
        x, spherical, slope = (
            random(*value.shape, seed=i) for i, value in enumerate([found.x, found.spherical, found.edges.distances])
        )
        gradients = [torch.ones_like(found.energies), x, spherical, slope]
        (pulled,) = naive_pullback(forward, [offsets], gradients)
        assert_close(module.pullback(found, block, x, spherical, slope), pulled)


@pytest.mark.parametrize(("num_rounds", "equivariant"), [(1, False), (1, True), (2, True)])
def test_rounds_and_their_gradient(num_rounds, equivariant):
    model = network(num_message_passing=num_rounds, equivariant_message_passing=equivariant)
    atoms, near = rows_of("box", 100)
    graph = graph_of(atoms)
    vectors = edge_vectors(graph)
    distances = vectors.norm(dim=1)
    rho, harmonics = model.radial(distances), model.angular(vectors / distances[:, None])
    features = BlockFeatures(model, sorted(set(atoms.numbers.tolist())), DensityFunctions, Product)
    block = near.table.blocks[0]
    edges = features.edges(near.positions.t(), near.offsets[0], block)
    x, spherical = random(7, 16), random(3, 16, 7, seed=1)

    def naive(x, spherical, radial, angular):
        """The rounds over the graph's edges."""
        energies, spherical = torch.zeros_like(x[:, 0]), spherical.permute(2, 0, 1)
        for module in model.rounds:
            x, spherical, more = module(x, spherical, radial, angular, graph, module.fold())
            energies = energies + more
        return x, spherical.permute(1, 2, 0), energies

    found = features.rounds(x, spherical, edges, block)
    for a, b in zip(found[:3], naive(x, spherical, rho, harmonics), strict=True):
        assert_close(a, b)
    gradients = [random(7, 16, seed=2), random(3, 16, 7, seed=3), torch.ones(7, dtype=torch.float64)]
    expected = naive_pullback(naive, [x, spherical, rho, harmonics], gradients)
    pulled = features.rounds.pullback(found[3], gradients[0], gradients[1])
    assert_close(pulled[0], expected[0])
    assert_close(pulled[1], expected[1])
    # The slots are in another order than the graph's edges: compare the sums over the edges of each center.
    for slot_values, slot_gradients, values, slopes in [
        (edges.radial, pulled[2], rho, expected[2]),
        (edges.angular, pulled[3], harmonics, expected[3]),
    ]:
        sums = torch.zeros(7, values.shape[1], dtype=torch.float64).index_add(0, graph.centers, values * slopes)
        assert_close((slot_values * slot_gradients).sum(dim=2), sums)


def test_structures_have_empty_slots_and_blocks_of_one_species_and_of_two():
    """What the tests above rely on."""
    near = rows_of("box")[1]
    counts = [block.center_counts for block in near.table.blocks]
    assert any(0 in count for count in counts)
    assert any(np.count_nonzero(count) > 1 for count in counts)
    assert any(bool(block.empty.any()) for block in near.table.blocks)
