"""Molecules at close quarters: what is drawn, and that nothing else overlaps."""

from collections import Counter

import numpy as np
import pytest
from ase.data import covalent_radii
from scipy.spatial.distance import cdist

from lorem_openmm.sampling.encounters import downhill, draw_encounter, shares_hydrogen
from lorem_openmm.sampling.fragments import fragment


def drawn(first: str, second: str, count: int = 60):
    a, b, rng = fragment(first), fragment(second), np.random.default_rng(0)
    return a, b, [draw_encounter(a, b, 400.0, rng) for _ in range(count)]


def test_every_kind_occurs_where_a_hydrogen_bond_is_possible() -> None:
    kinds = Counter(encounter.kind for encounter in drawn("methanol", "acetamide", 200)[2])
    assert set(kinds) == {"approach", "hydrogen_bond", "transfer"}
    assert min(kinds.values()) > 15


def test_steps_downhill_lower_the_energy_of_rigid_molecules() -> None:
    """Two charges at the molecules' ends attract each other: the molecules turn and approach."""
    a, b = fragment("methanol"), fragment("acetamide")
    n_a, rng = len(a.numbers), np.random.default_rng(0)
    positions = np.vstack([a.positions, b.positions + np.array([9.0, 0.0, 0.0])])
    ends = 1, n_a + 2

    def distance() -> float:
        return float(np.linalg.norm(positions[ends[1]] - positions[ends[0]]))

    distances = [distance()]
    for _ in range(30):
        forces = np.zeros_like(positions)
        forces[ends[0]] = (positions[ends[1]] - positions[ends[0]]) / distance()
        forces[ends[1]] = -forces[ends[0]]
        positions = downhill(a, b, positions, forces, 1e-6, rng)
        distances.append(distance())
    assert distances[0] - distances[-1] > 3.0
    for item, part in ((a, positions[:n_a]), (b, positions[n_a:])):
        assert np.abs(cdist(part, part) - cdist(item.positions, item.positions)).max() < 1e-3


def test_steps_downhill_are_short() -> None:
    a, b, encounters = drawn("methanol", "acetamide", 5)
    rng = np.random.default_rng(1)
    for encounter in encounters:
        before = np.vstack([a.positions, b.positions + np.array([6.0, 0.0, 0.0])])
        forces = rng.standard_normal(before.shape) * rng.choice([1e-4, 30.0])
        moved = np.linalg.norm(downhill(a, b, before, forces, 1e-9, rng) - before, axis=1)
        assert 0.05 < moved.max() <= 0.55, encounter.kind


@pytest.mark.parametrize("pair", [("propane", "toluene"), ("methylammonium", "tetramethylammonium")])
def test_without_acceptors_molecules_only_approach(pair: tuple[str, str]) -> None:
    assert {encounter.kind for encounter in drawn(*pair)[2]} == {"approach"}


def test_a_hydrogen_is_between_donor_and_acceptor() -> None:
    a, b, encounters = drawn("methylammonium", "acetate", 100)
    for encounter in encounters:
        hydrogens = encounter.first[a.numbers == 1]
        oxygens = encounter.second[b.numbers == 8]
        nearest = cdist(hydrogens, oxygens).min()
        if encounter.kind == "hydrogen_bond":
            assert 1.0 < nearest < 3.0
        elif encounter.kind == "transfer":
            donors = encounter.first[a.numbers > 1]
            detours = cdist(hydrogens, donors)[:, :, None] + cdist(hydrogens, oxygens)[:, None] - cdist(donors, oxygens)
            hydrogen, donor, oxygen = np.unravel_index(detours.argmin(), detours.shape)
            assert detours[hydrogen, donor, oxygen] < 1e-9  # on the straight line
            assert cdist(hydrogens[[hydrogen]], [donors[donor], oxygens[oxygen]]).min() > 0.99


@pytest.mark.parametrize("pair", [("acetate", "methylammonium"), ("toluene", "acetamide"), ("methanol", "methanol")])
def test_molecules_stay_whole_and_apart(pair: tuple[str, str]) -> None:
    a, b, encounters = drawn(*pair)
    for encounter in encounters:
        for item, positions in ((a, encounter.first), (b, encounter.second)):
            before = cdist(item.positions, item.positions)
            bonded = np.outer(item.numbers > 1, item.numbers > 1) & (before < 1.9)
            assert np.abs(cdist(positions, positions) - before)[bonded].max() < 0.4
        heavy_pairs = np.outer(a.numbers > 1, b.numbers > 1)
        radii = np.add.outer(covalent_radii[a.numbers], covalent_radii[b.numbers])
        ratios = cdist(encounter.first, encounter.second) / radii
        assert ratios[heavy_pairs].min() > 1.25  # no bond between them
        assert ratios.min() > 0.7


def test_the_same_random_numbers_give_the_same_structure() -> None:
    (*_, first), (*_, second) = drawn("methanol", "methanol", 5), drawn("methanol", "methanol", 5)
    assert all(np.array_equal(x.second, y.second) for x, y in zip(first, second, strict=True))


def test_a_shared_hydrogen_is_seen() -> None:
    numbers = np.array([8, 1, 8])
    for place, expected in ((1.0, False), (1.35, True), (1.6, True)):
        assert shares_hydrogen(numbers, np.array([[0.0, 0, 0], [place, 0, 0], [2.5, 0, 0]]), 2) is expected
    assert not shares_hydrogen(numbers, np.array([[0.0, 0, 0], [1.0, 0, 0], [2.5, 0, 0]]), 3)  # one molecule
