"""Charges, messages and real-space sums against the network's, gradients against autograd through the network."""

import pytest
import torch
from helpers import rattled_box, small_potential
from made_rows import assert_close, naive_pullback, neighborhood, random, sorted_by_species

from lorem_openmm.inference.blocks.equivariant_charges import EquivariantChargesByHand
from lorem_openmm.inference.model import edge_forces, edge_virial
from lorem_openmm.inference.products import Product
from lorem_openmm.inference.reflections import ReflectionProduct
from lorem_openmm.inference.short_range import EdgeFunctions
from lorem_openmm.nn.blocks.equivariant_charges import EquivariantChargesBlock

DEGREES = [(L, Lc) for L in range(5) for Lc in sorted({0, L // 2, L})]


def network(max_degree: int, max_charge_degree: int, **changes: object) -> EquivariantChargesBlock:
    model = small_potential(max_degree=max_degree, max_charge_degree=max_charge_degree, **changes).model
    return model.long_range


@pytest.mark.parametrize(("max_degree", "max_charge_degree"), DEGREES)
def test_charges_and_their_gradient(max_degree, max_charge_degree):
    naive = network(max_degree, max_charge_degree)
    numbers = torch.ones(7, dtype=torch.long)
    module = EquivariantChargesByHand(naive, Product)
    x, spherical = random(7, 16), random(3, (max_degree + 1) ** 2, 7, seed=1)
    found, state = module.charges(x, spherical, None)

    def forward(x, spherical):
        return [naive.charges(x, spherical.permute(2, 0, 1), numbers)]

    assert_close(found, forward(x, spherical)[0])
    gradient = random(*found.shape, seed=2)
    expected = naive_pullback(forward, [x, spherical], [gradient])
    for a, b in zip(module.charges_pullback(state, gradient), expected, strict=True):
        assert_close(a, b)


@pytest.mark.parametrize("norm_smoothing", [0.0, 0.1])
@pytest.mark.parametrize("product", [Product, ReflectionProduct])
@pytest.mark.parametrize(("max_degree", "max_charge_degree"), DEGREES)
def test_messages_and_their_gradient(max_degree, max_charge_degree, product, norm_smoothing):
    naive = network(max_degree, max_charge_degree, norm_smoothing=norm_smoothing)
    module = EquivariantChargesByHand(naive, product)
    x, spherical = random(7, 16), random(3, (max_degree + 1) ** 2, 7, seed=1)
    charges, potentials = random(2, 7, 1 + (max_charge_degree + 1) ** 2, seed=2)
    numbers = torch.ones(7, dtype=torch.long)

    def forward(potentials, x, spherical):
        return [naive.receive(x, spherical.permute(2, 0, 1), charges, potentials, numbers)]

    found, state = module.receive(x, spherical, charges, potentials, None)
    assert_close(found, forward(potentials, x, spherical)[0])
    expected = naive_pullback(forward, [potentials, x, spherical], [torch.ones_like(found)])
    for a, b in zip(module.receive_pullback(state)[1:], expected, strict=True):
        assert_close(a, b)


def test_features_and_potentials_of_an_isolated_atom_stay_finite():
    module = EquivariantChargesByHand(network(3, 2), Product)
    x, spherical = random(2, 16), torch.zeros(3, 16, 2, dtype=torch.float64)
    for potentials in (torch.zeros(2, 10, dtype=torch.float64), random(2, 10)):
        _, state = module.receive(x, spherical, potentials, potentials, None)
        assert all(bool(torch.isfinite(value).all()) for value in module.receive_pullback(state)[1:])


def test_forces_and_virial_of_edge_gradients():
    near = neighborhood(sorted_by_species(rattled_box()))
    table = near.table
    edge_functions = EdgeFunctions(small_potential().model).double()

    class State:
        def __init__(self, edges):
            self.edges = edges

    states, gradients = [], []
    forces, virial = torch.zeros(3, 7, dtype=torch.float64), torch.zeros(3, 3, dtype=torch.float64)
    for block, offsets in zip(table.blocks, near.offsets, strict=True):
        edges = edge_functions(near.positions.t(), offsets, block)
        full = (block.empty[0] == 0).double()
        gradient = random(3, len(block.neighbors), seed=block.first) * full  # those of empty slots vanish
        centers = torch.arange(block.first, block.first + block.size).repeat_interleave(edges.distances.shape[1])
        forces.index_add_(1, centers, gradient)
        forces.index_add_(1, block.neighbors, -gradient)
        vectors = near.positions[block.neighbors] - near.positions[centers] + offsets.t()
        virial += vectors.t() @ gradient.t()
        states.append(State(edges))
        gradients.append(gradient)
    assert_close(edge_forces(table, gradients), forces)
    assert_close(edge_virial(states, gradients), virial)
