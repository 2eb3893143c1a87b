"""Fragments, displacements, contact distances and the S_N2 path."""

import numpy as np
import pytest
from ase.data import vdw_radii
from scipy.spatial.distance import cdist

from lorem_openmm.config import DimersLabel
from lorem_openmm.errors import ConfigError
from lorem_openmm.label.engines import TbliteEngine
from lorem_openmm.label.surfaces import contact_shift, surface_gap
from lorem_openmm.sampling.dimers import Dimer, dimer_complex, growths
from lorem_openmm.sampling.displacements import (
    BOND_SPRING,
    SITE_SPRING,
    random_rotation,
    thermal_displacements,
)
from lorem_openmm.sampling.fragments import FAMILIES, all_fragments, fragment, pair_class
from lorem_openmm.sampling.sn2_path import BONDS, barrier_distance, sn2_complex, sn2_path_point
from lorem_openmm.sampling.sn2_sampling import Reaction
from lorem_openmm.units import EV_PER_KELVIN


def test_fragments_are_minima_with_closed_shells():
    pytest.importorskip("tblite")
    engine = TbliteEngine("GFN2-xTB")
    for item in all_fragments().values():
        assert item.family in FAMILIES
        assert (item.charge != 0) == (item.family == "C")
        assert (item.numbers.sum() - item.charge) % 2 == 0
        assert abs(engine.calculate(item.atoms(), item.charge, engine.attempts[0]).forces).max() < 0.02, item.name


def test_every_default_fragment_exists():
    for name in DimersLabel(kind="dimers").fragments:
        assert fragment(name).name == name


def test_an_unknown_fragment_is_refused_with_the_nearest_name():
    with pytest.raises(ConfigError, match=r"'acetat'.*Did you mean 'acetate'"):
        fragment("acetat")


def test_classes_are_the_papers():
    names = {"C": "acetate", "P": "methanol", "A": "propane"}
    found = {
        pair_class(fragment(names[a]), fragment(names[b]))
        for a in "CPA"
        for b in "CPA"
        if "CPA".index(a) <= "CPA".index(b)
    }
    assert {"".join(sorted(word)) for word in found} == {"CC", "CP", "AC", "PP", "AP", "AA"}
    assert found <= {"AA", "CA", "CC", "CP", "PA", "PP"}


def test_displacements_of_a_diatomic_have_the_variance_of_its_springs():
    numbers, positions, temperature = np.array([6, 8]), np.array([[0.0, 0, 0], [0, 0, 1.2]]), 400.0
    rng = np.random.default_rng(1)
    draws = np.array([thermal_displacements(numbers, positions, temperature, rng) for _ in range(4000)])
    thermal = EV_PER_KELVIN * temperature
    stretch = draws[:, 1, 2] - draws[:, 0, 2]
    assert stretch.var() == pytest.approx(2 * thermal / (2 * BOND_SPRING + SITE_SPRING), rel=0.1)
    assert draws[:, 0, 0].var() == pytest.approx(thermal / SITE_SPRING, rel=0.1)


@pytest.mark.parametrize("name", ["acetate", "acetamide", "propane", "toluene"])
def test_displacements_carry_about_the_energy_of_harmonic_vibrations(name):
    pytest.importorskip("tblite")
    engine, item, rng, temperature = TbliteEngine("GFN2-xTB"), fragment(name), np.random.default_rng(0), 300.0
    attempt = engine.attempts[0]
    rest = engine.calculate(item.atoms(), item.charge, attempt).energy
    energies = []
    for _ in range(20):
        atoms = item.atoms()
        atoms.positions += thermal_displacements(item.numbers, item.positions, temperature, rng)
        energies.append(engine.calculate(atoms, item.charge, attempt).energy - rest)
    harmonic = 0.5 * EV_PER_KELVIN * temperature * (3 * len(item.numbers) - 6)
    assert 0.5 * harmonic < np.mean(energies) < 2 * harmonic


def test_contact_is_where_the_nearest_atoms_reach_the_factor():
    rng = np.random.default_rng(5)
    a, b = fragment("acetamide"), fragment("methylammonium")
    turned = b.positions @ random_rotation(rng).T
    direction = np.array([0.0, 0.6, 0.8])
    shift = contact_shift(a.numbers, a.positions, b.numbers, turned, direction, 0.8)
    ratios = cdist(a.positions, turned + shift * direction) / (vdw_radii[a.numbers][:, None] + vdw_radii[b.numbers])
    assert ratios.min() == pytest.approx(0.8, abs=1e-9)
    farther = [surface_gap(a.numbers, a.positions, b.numbers, turned + (shift + s) * direction) for s in (0, 1, 5)]
    assert farther[0] < 0 < farther[2]
    assert np.all(np.diff(farther) > 0)


def test_a_dimer_grows_by_its_centres_of_mass():
    section = DimersLabel(kind="dimers")
    dimer = Dimer(fragment("acetate"), fragment("toluene"), section, np.random.default_rng(2))
    near, far = dimer.frame(0.0).atoms, dimer.frame(7.5).atoms
    assert far.info["separation"] - near.info["separation"] == pytest.approx(7.5, abs=1e-5)
    assert far.info["separation_growth"] == pytest.approx(7.5, abs=1e-5)
    n_first = len(fragment("acetate").numbers)
    assert near.positions[:n_first] == pytest.approx(far.positions[:n_first])  # the conformations stay
    assert np.diff(growths(section)) == pytest.approx(np.sort(np.diff(growths(section))))  # densest near contact


def test_starting_structures_for_simulations():
    atoms = dimer_complex("acetate", "methylammonium", 4.0)
    assert len(atoms) == 15
    assert atoms.info["separation_growth"] == pytest.approx(4.0, abs=1e-5)
    assert sn2_complex("Cl", "Br", 3.2).get_distance(0, 1) == pytest.approx(3.2, abs=1e-8)


@pytest.mark.parametrize(("x", "y"), [("Cl", "Br"), ("F", "I"), ("Cl", "Cl")])
def test_the_path_is_the_same_seen_from_both_sides(x, y):
    for coordinate in (-5.0, -0.4, 0.0, 0.3, 2.0):
        there, back = sn2_path_point(x, y, coordinate), sn2_path_point(y, x, -coordinate)
        assert there.get_distance(0, 1) - there.get_distance(2, 1) == pytest.approx(coordinate, abs=1e-9)
        assert there.get_distance(0, 1) == pytest.approx(back.get_distance(2, 1), abs=1e-9)
        assert there.positions[3:, 2] == pytest.approx(-back.positions[3:, 2], abs=1e-9)
    assert sn2_path_point(x, y, 12.0).get_distance(1, 2) == pytest.approx(BONDS[y], abs=1e-4)


def test_a_distance_inside_the_barrier_is_refused():
    with pytest.raises(ConfigError, match="at least that of the barrier"):
        sn2_complex("Cl", "Br", 1.9)
    with pytest.raises(ConfigError, match="received 'At'"):
        sn2_complex("Cl", "At", 4.0)


@pytest.mark.parametrize("reach", [(15.0, 9.0), (0.0, 9.0), (15.0, 0.0)])
def test_places_stay_within_reach_and_cover_both_sides(reach):
    reaction, rng = Reaction("Cl", "Br", reach), np.random.default_rng(0)
    places = [reaction.place(share, rng) for share in np.linspace(0, 1, 41)]
    to_x = np.array([atoms.get_distance(0, 1) for atoms in places])
    to_y = np.array([atoms.get_distance(2, 1) for atoms in places])
    limits = [limit or barrier_distance("Cl", "Br", side) for limit, side in zip(reach, (True, False), strict=True)]
    assert to_x.max() == pytest.approx(limits[0], abs=1e-6)
    assert to_y.max() == pytest.approx(limits[1], abs=1e-6)
