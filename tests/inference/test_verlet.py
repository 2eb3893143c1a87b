"""Tables made with a skin hold what fresh lists hold, whatever atoms and cell do."""

import numpy as np
import pytest
import torch
from ase import Atoms
from helpers import graph_of, rattled_box, rattled_molecule, small_potential

from lorem_openmm.inference import verlet
from lorem_openmm.inference.dynamics import Dynamics
from lorem_openmm.inference.neighbors import NeighborTable
from lorem_openmm.inference.verlet import ALL_PAIRS_LIMIT, Neighborhood, VerletList
from lorem_openmm.model import edge_vectors

CUTOFF = 4.0


def skewed_box() -> Atoms:
    """A cell whose heights are below the cutoff; its atoms sorted by species."""
    atoms = rattled_box()
    atoms.set_cell([[4.6, 0.0, 0.0], [1.9, 3.9, 0.0], [-2.1, 1.7, 3.7]], scale_atoms=True)
    return atoms[np.argsort(atoms.numbers, kind="stable")]


def lists(
    atoms: Atoms, skin: float = 0.6, scripted: bool = True, block_size: int = 3, dtype: torch.dtype = torch.float64
) -> torch.nn.Module:
    counts = np.unique(atoms.numbers, return_counts=True)[1].tolist()
    module = VerletList(CUTOFF, bool(atoms.pbc.all()), skin, dtype)
    module.set_rows(counts, block_size)
    return torch.jit.script(module) if scripted else module


def call(module: torch.nn.Module, atoms: Atoms) -> Neighborhood:
    return module(torch.tensor(atoms.positions), torch.tensor(atoms.cell[:]))


def moved(atoms: Atoms, positions: np.ndarray, cell: np.ndarray | None = None) -> Atoms:
    return Atoms(atoms.numbers, positions, cell=atoms.cell[:] if cell is None else cell, pbc=atoms.pbc)


def slots(found: Neighborhood) -> torch.Tensor:
    """(i, j, vector) of every slot, empty ones included."""
    rows = []
    for block, offsets in zip(found.table.blocks, found.offsets, strict=True):
        centers = torch.arange(block.first, block.first + block.size)
        centers = centers.repeat_interleave(block.neighbors.shape[0] // block.size)
        vectors = found.positions[block.neighbors] + offsets.t() - found.positions[centers]
        rows.append(torch.cat([centers[:, None], block.neighbors[:, None], vectors], dim=1))
    return torch.cat(rows)


def rounded(rows: torch.Tensor, cutoff: float) -> list[tuple[float, ...]]:
    inside = torch.linalg.vector_norm(rows[:, 2:], dim=1) < cutoff
    return sorted(tuple(row) for row in (rows[inside].numpy().round(6) + 0.0).tolist())


def pairs_within(found: Neighborhood, cutoff: float) -> list[tuple[float, ...]]:
    """Sorted (i, j, vector) of the edges within a cutoff."""
    return rounded(slots(found), cutoff)


def pairs_of(atoms: Atoms, cutoff: float) -> list[tuple[float, ...]]:
    graph = graph_of(atoms)
    return rounded(torch.cat([graph.centers[:, None], graph.neighbors[:, None], edge_vectors(graph)], dim=1), cutoff)


def assert_same_edges(found: Neighborhood, atoms: Atoms) -> None:
    assert pairs_within(found, CUTOFF - 1e-5) == pairs_of(atoms, CUTOFF - 1e-5)


def walk(atoms: Atoms, steps: int, seed: int, box_noise: float):
    """A random walk of the atoms and, if asked for, of the cell, whose atoms follow it every other time."""
    rng = np.random.default_rng(seed)
    positions, cell = atoms.positions.copy(), atoms.cell[:].copy()
    for step in range(steps):
        positions = positions + rng.normal(scale=0.03, size=positions.shape)
        if box_noise:
            deformation = np.eye(3) + rng.normal(scale=box_noise, size=(3, 3))
            cell = cell @ deformation
            if step % 2:
                positions = positions @ deformation
        yield moved(atoms, positions, cell)


@pytest.mark.parametrize("box_noise", [0.0, 0.003, 0.02])
def test_skin_list_holds_the_pairs_of_a_fresh_list(box_noise):
    module = lists(skewed_box())
    frames = list(walk(skewed_box(), 60, 3, box_noise))
    for frame in frames:
        assert_same_edges(call(module, frame), frame)
    assert 1 < module.rebuilds < len(frames)


def test_every_slot_has_its_reverse_and_empty_ones_are_out_of_reach():
    found = call(lists(skewed_box()), skewed_box())
    table: NeighborTable = found.table
    assert len(table.blocks) == 3
    torch.testing.assert_close(table.reverse[table.reverse], torch.arange(table.reverse.shape[0]))
    rows, back = slots(found), slots(found)[table.reverse]
    distances = torch.linalg.vector_norm(rows[:, 2:], dim=1)
    full = distances < CUTOFF + 0.6
    assert 0 < int((~full).sum()) < int(full.sum())
    torch.testing.assert_close(back[full][:, [1, 0]], rows[full][:, :2])
    torch.testing.assert_close(back[full][:, 2:], -rows[full][:, 2:], rtol=0, atol=1e-12)
    torch.testing.assert_close(distances[~full], torch.full_like(distances[~full], 2 * CUTOFF))


@pytest.mark.parametrize("block_size", [1, 2, 100])
def test_slots_are_grouped_by_the_species_of_the_neighbour(block_size):
    atoms = skewed_box()
    found = call(lists(atoms, block_size=block_size), atoms)
    species = np.unique(atoms.numbers, return_inverse=True)[1]
    for block in found.table.blocks:
        assert block.size <= block_size
        groups = np.repeat(np.arange(3), block.slot_counts)
        neighbors = block.neighbors.view(block.size, -1)
        empty = block.empty.view(3, block.size, -1)[0] > 0
        for row in range(block.size):
            kept = ~empty[row].numpy()
            np.testing.assert_array_equal(species[neighbors[row].numpy()[kept]], groups[kept])
    assert_same_edges(found, atoms)


def test_fixed_cell_rebuilds_when_an_atom_has_moved_by_half_the_skin():
    module = lists(skewed_box(), skin=0.6)
    call(module, skewed_box())
    for distance, rebuilds in [(0.299, 1), (0.301, 2)]:
        atoms = skewed_box()
        atoms.positions[2, 1] += distance
        call(module, atoms)
        assert module.rebuilds == rebuilds


def test_small_scaling_of_the_cell_keeps_the_list_and_a_large_one_does_not():
    module, atoms = lists(skewed_box()), skewed_box()
    for scale, rebuilds in [(1.0, 1), (1.01, 1), (0.99, 1), (0.9, 2)]:
        frame = moved(atoms, atoms.positions * scale, atoms.cell[:] * scale)
        assert_same_edges(call(module, frame), frame)
        assert module.rebuilds == rebuilds


def test_images_approach_when_the_cell_shrinks_and_atoms_stand_still():
    atoms = Atoms("C2", positions=[[0.1, 0.0, 0.0], [15.4, 0.0, 0.0]], cell=[20.0] * 3, pbc=True)
    module = lists(atoms)
    assert pairs_within(call(module, atoms), CUTOFF) == []
    smaller = moved(atoms, atoms.positions, np.diag([19.2, 20.0, 20.0]))
    assert len(pairs_within(call(module, smaller), CUTOFF)) == 2


def test_atoms_several_boxes_away():
    atoms = skewed_box()
    away = moved(atoms, atoms.positions + np.random.default_rng(2).integers(-4000, 4001, size=(7, 3)) @ atoms.cell[:])
    module = lists(atoms)
    call(module, atoms)
    assert pairs_within(call(module, away), CUTOFF - 1e-5) == pairs_of(atoms, CUTOFF - 1e-5)
    assert module.rebuilds == 2  # a wrap looks like a displacement
    potential = small_potential().float()
    single = Dynamics(potential, atoms.numbers.tolist(), True, 0.6)
    near, far = (single(torch.tensor(a.positions), torch.tensor(a.cell[:])) for a in (atoms, away))
    torch.testing.assert_close(near.forces, far.forces, rtol=1e-5, atol=1e-5)


def test_small_molecules_list_all_pairs_once():
    atoms = rattled_molecule()
    atoms = atoms[np.argsort(atoms.numbers, kind="stable")]
    module = lists(atoms)
    for frame in walk(moved(atoms, atoms.positions * 2.0 + 100.0), 5, 4, 0.0):
        found = call(module, frame)
        assert len(pairs_within(found, 1e3)) >= len(atoms) * (len(atoms) - 1)
        assert_same_edges(found, frame)
    assert module.rebuilds == 1


def test_large_molecules_have_lists():
    n_atoms = ALL_PAIRS_LIMIT + 8
    atoms = Atoms(f"C{n_atoms}", np.random.default_rng(0).random((n_atoms, 3)) * 9.0)
    module = lists(atoms)
    for scale in (1.0, 1.02, 1.3):
        frame = moved(atoms, atoms.positions * scale)
        assert_same_edges(call(module, frame), frame)
    assert module.rebuilds == 2


@pytest.mark.parametrize("scripted", [False, True])
@pytest.mark.parametrize(
    "atoms",
    [
        Atoms("C"),
        Atoms("C", positions=[[30.0, 30.0, 30.0]], cell=[50.0] * 3, pbc=True),
        Atoms("C", positions=[[1.0, 1.0, 1.0]], cell=[3.0] * 3, pbc=True),
        Atoms("C40", positions=np.arange(120.0).reshape(40, 3) * 20.0),
    ],
    ids=["one atom", "one atom in a large box", "one atom and its images", "atoms far apart"],
)
def test_empty_and_single_atom_lists(atoms, scripted):
    assert_same_edges(call(lists(atoms, scripted=scripted), atoms), atoms)
    potential = small_potential()
    module = Dynamics(potential, atoms.numbers.tolist(), bool(atoms.pbc.all()))
    found = (torch.jit.script(module) if scripted else module)(
        torch.tensor(atoms.positions), torch.tensor(atoms.cell[:])
    )
    expected = potential.evaluate(graph_of(atoms))
    torch.testing.assert_close(found.energy, expected.energy, rtol=1e-13, atol=0)
    torch.testing.assert_close(found.forces, expected.forces, rtol=1e-10, atol=1e-10)


def test_a_cell_without_volume_is_reported():
    atoms = skewed_box()
    with pytest.raises(RuntimeError, match="must have a volume"):
        call(lists(atoms, scripted=False), moved(atoms, np.zeros((7, 3)), np.diag([5.0, 5.0, 0.0])))


@pytest.mark.parametrize("step", ["build_table", "sort_half_list"])
def test_a_list_that_could_not_be_made_is_made_by_the_next_call(step, monkeypatch):
    atoms = skewed_box()
    far = atoms.positions.copy()
    far[0] += atoms.cell[0]
    far[1] += 1.0
    module, far = lists(atoms, scripted=False), moved(atoms, far)
    call(module, atoms)

    def no_memory(*arguments: object) -> None:
        raise RuntimeError("out of memory")

    with monkeypatch.context() as patch:
        patch.setattr(verlet, step, no_memory)
        with pytest.raises(RuntimeError, match="out of memory"):
            call(module, far)
    expected = call(lists(far, scripted=False), far)
    assert pairs_within(call(module, far), CUTOFF) == pairs_within(expected, CUTOFF)
