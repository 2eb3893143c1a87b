import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import molecule
from helpers import graph_of, rattled_box, rattled_molecule
from whole_operators import near_rows

from lorem_openmm.kernels.choice import choose_kernel
from lorem_openmm.model import edge_vectors, lengths
from lorem_openmm.sums.batched import BatchedPairSum
from lorem_openmm.sums.transfer import Transfer

CUTOFF = 4.0


def moved(values, graph):
    transfer = Transfer(CUTOFF)
    weights = transfer.weights(lengths(edge_vectors(graph)))
    return transfer(values, weights, graph.centers, graph.neighbors)


def random_values(n, channels=3, seed=0):
    return torch.randn(n, channels, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_every_fragment_is_neutral_and_deaf_to_a_constant():
    far = molecule("CH3OH")
    far.positions += [9.0, 0.0, 0.0]
    both = rattled_molecule() + far
    graph = graph_of(both, rattled_box(), cutoff=CUTOFF)
    result = moved(random_values(len(graph.positions)), graph)
    fragments = np.split(result.numpy(), [len(both) - len(far), len(both)])
    for fragment in fragments:
        np.testing.assert_allclose(fragment.sum(axis=0), 0, atol=1e-14)
    assert result.abs().min() > 0
    torch.testing.assert_close(moved(torch.ones_like(result), graph), torch.zeros_like(result), atol=1e-14, rtol=0)


def test_symmetric():
    graph = graph_of(rattled_box(), cutoff=CUTOFF)
    a, b = random_values(len(graph.positions), 1), random_values(len(graph.positions), 1, 1)
    assert float((a * moved(b, graph)).sum()) == pytest.approx(float((b * moved(a, graph)).sum()), abs=1e-13)


def test_lone_atom_has_nothing_to_move():
    graph = graph_of(Atoms("Cl"), cutoff=CUTOFF)
    assert moved(random_values(1), graph).abs().max() == 0


def test_rows_give_what_edges_give_and_their_slopes_are_gradients():
    atoms = rattled_box()
    graph = graph_of(atoms, cutoff=CUTOFF)
    rows, vectors = near_rows(graph.positions, graph.cell[0], CUTOFF, size=3)
    transfer, values, adjoint = Transfer(CUTOFF), random_values(len(atoms)), random_values(len(atoms), 3, 1)
    distances = [near.distances.clone().requires_grad_() for near in rows]
    rows = [near._replace(distances=d) for near, d in zip(rows, distances, strict=True)]
    found = transfer.of_rows(values, [transfer.weights(d) for d in distances], rows)
    torch.testing.assert_close(found, moved(values, graph), rtol=0, atol=1e-13)
    expected = torch.autograd.grad((adjoint * found).sum(), distances)
    for slope, reference in zip(transfer.row_slopes(adjoint, values, rows), expected, strict=True):
        torch.testing.assert_close(slope.detach(), reference, rtol=0, atol=1e-13)
    assert all(len(v) > 0 for v in vectors)


@pytest.mark.parametrize(("exponent", "expected"), [(1, 3.0), (2, 4.0), (3, 5.0)])
def test_what_fragments_feel_falls_two_powers_faster(exponent, expected):
    pair_sum = BatchedPairSum(choose_kernel(exponent, 1.0, False), CUTOFF, 0.5)
    energies = []
    for distance in (80.0, 160.0):
        other = rattled_molecule("CH3OH")
        other.positions += [distance, 0.3 * distance, 0.0]
        pair, alone = rattled_molecule() + other, [rattled_molecule(), other]
        values = random_values(len(pair))[:, :1]
        total = []
        for atoms, t in ((pair, values), (alone[0], values[: len(alone[0])]), (alone[1], values[len(alone[0]) :])):
            graph = graph_of(atoms, cutoff=CUTOFF)
            q = moved(t, graph)
            total.append(float((q * pair_sum(q, graph, lengths(edge_vectors(graph)))).sum()))
        energies.append(abs(total[0] - total[1] - total[2]))
    assert np.log2(energies[0] / energies[1]) == pytest.approx(expected, abs=0.1)
