"""Profiles from biased samples of potentials whose free energy is known."""

from itertools import pairwise

import numpy as np
import openmm
import pytest
from made_simulations import topology_of

from lorem_openmm.analysis.mbar import (
    Samples,
    find_barrier,
    independent,
    inefficiency,
    mbar_profile,
    neighbor_overlap,
)
from lorem_openmm.config import Bias
from lorem_openmm.errors import DataError
from lorem_openmm.simulate.bias import CENTER, add_bias, measure
from lorem_openmm.simulate.start import Start

KT = 8.617333262e-5 * 300.0
GRID = np.linspace(-4.0, 4.0, 8001)


def barrier(x):
    return 0.3 * np.exp(-((x / 0.5) ** 2)) + 0.05 * x


def draw(potential, centers, stiffness, count, seed=0, grid=GRID):
    """Exact samples of exp(−(U + bias)/kT), by inverting the cumulative distribution."""
    rng = np.random.default_rng(seed)
    drawn = []
    for center in centers:
        weights = np.exp(-(potential(grid) + 0.5 * stiffness * (grid - center) ** 2) / KT)
        drawn.append(np.interp(rng.random(count), (np.cumsum(weights) - 0.5 * weights) / weights.sum(), grid))
    return Samples(drawn, np.asarray(centers), stiffness, 300.0)


def exact(potential, edges):
    """−kT ln of the mean of exp(−U/kT) over each bin."""
    bins = [np.linspace(low, high, 101) for low, high in pairwise(edges)]
    return np.array([-KT * np.log(np.mean(np.exp(-potential(points) / KT))) for points in bins])


def deviations(found, expected, reference):
    """How many standard errors the differences to a reference bin are off."""
    off = (found.values - found.values[reference]) - (expected - expected[reference])
    errors = found.errors[:, reference]
    return off[errors > 0] / errors[errors > 0]  # without bins that are empty


def test_a_known_profile_comes_back_within_its_errors():
    centers, edges = np.linspace(-1.5, 1.5, 13), np.linspace(-1.5, 1.5, 51)
    off = []
    for seed in range(4):
        found = mbar_profile(draw(barrier, centers, 3.0, 300, seed), edges)
        off.append(deviations(found, exact(barrier, edges), 10))
        assert np.abs(off[-1]).max() < 4.0  # of 49 bins
        assert found.errors[:, 10].max() < 0.02
    assert 0.8 < np.concatenate(off).std() < 1.3  # neither too small nor too large
    assert found.values.min() == 0.0
    assert found.counts.sum() <= 13 * 300
    assert found.overlap.sum(axis=1) == pytest.approx(np.ones(13))


def test_unequal_windows_and_empty_bins():
    samples = draw(barrier, [0.8, 1.0, 1.2], 3.0, 400)
    samples = samples._replace(coordinates=[samples.coordinates[0][:50], *samples.coordinates[1:]])
    edges = np.linspace(-1.5, 1.5, 31)
    found = mbar_profile(samples, edges)
    empty = found.counts == 0
    assert empty[:10].all()
    assert np.isnan(found.values[empty]).all()
    assert np.isnan(found.errors[empty]).all()
    expected = exact(barrier, edges)
    assert np.abs(deviations(found, expected, 24)).max() < 4.0


def test_free_pairs_are_flat_once_the_shells_are_taken_out():
    grid = np.linspace(1e-3, 12.0, 12001)
    samples = draw(lambda r: -2.0 * KT * np.log(r), np.linspace(2.0, 6.0, 17), 2.0, 1600, grid=grid)
    edges = np.linspace(2.0, 6.0, 41)
    flat, plain = mbar_profile(samples, edges, radial=True), mbar_profile(samples, edges)
    assert np.abs(deviations(flat, np.zeros(40), 20)).max() < 4.0
    growth = plain.values[0] - plain.values[-1]
    assert growth == pytest.approx(2.0 * KT * np.log(5.95 / 2.05), abs=4.0 * plain.errors[0, -1])
    assert growth > 6.0 * plain.errors[0, -1]


def test_real_dynamics_of_a_pair_gives_its_potential():
    """Two argon atoms with a known potential, biased and run by OpenMM."""
    start = Start(topology_of([["Ar"], ["Ar"]]), np.array([[0.0, 0, 0], [0, 0, 3.0]]), [[0], [1]])
    system = openmm.System()
    for _ in range(2):
        system.addParticle(40.0)
    pair = openmm.CustomBondForce("height*exp(-((r-0.4)/0.05)^2)")
    pair.addGlobalParameter("height", 0.1 * 96.48533212331)
    pair.addBond(0, 1, [])
    system.addForce(pair)
    force = add_bias(system, start, Bias(coordinate="center_distance", center=3.0, stiffness=2.0))
    integrator = openmm.LangevinMiddleIntegrator(300.0, 5.0, 0.004)
    integrator.setRandomNumberSeed(7)
    context = openmm.Context(system, integrator, openmm.Platform.getPlatform("Reference"))
    context.setPositions(start.positions / 10.0)
    centers, coordinates = np.linspace(3.0, 5.0, 9), []
    for center in centers:
        context.setParameter(CENTER, center / 10.0)
        integrator.step(1000)
        series = np.empty(600)
        for k in range(len(series)):
            integrator.step(20)
            series[k] = measure(context, force)
        coordinates.append(independent(series, inefficiency(series)))
    edges = np.linspace(3.0, 5.0, 26)
    found = mbar_profile(Samples(coordinates, centers, 2.0, 300.0), edges, radial=True)
    expected = exact(lambda r: 0.1 * np.exp(-(((r - 4.0) / 0.5) ** 2)), edges)
    assert np.abs(deviations(found, expected, 0)).max() < 4.0
    assert found.errors[12, 0] < 0.015
    assert found.values[12] - found.values[0] == pytest.approx(0.1 - expected[0], abs=4.0 * found.errors[12, 0])


def test_correlated_frames_count_less():
    rng = np.random.default_rng(0)
    series, memory = np.zeros(20_000), 0.9
    for k in range(1, len(series)):
        series[k] = memory * series[k - 1] + rng.normal()
    exact_g = (1 + memory) / (1 - memory)
    assert inefficiency(series) == pytest.approx(exact_g, rel=0.15)
    assert inefficiency(rng.normal(size=5000)) == pytest.approx(1.0, abs=0.1)
    assert inefficiency(np.full(20, 1.5)) == 20.0
    assert len(independent(series, exact_g)) == pytest.approx(20_000 / exact_g, abs=1)


def test_windows_that_do_not_meet_show_in_the_overlap():
    good, where = neighbor_overlap(
        mbar_profile(draw(barrier, [0.8, 1.0, 1.2], 3.0, 200), np.linspace(0.5, 1.5, 11)).overlap
    )
    assert good > 0.1
    bad, where = neighbor_overlap(
        mbar_profile(draw(barrier, [0.8, 1.0, 3.0], 30.0, 200), np.linspace(0.5, 1.5, 11)).overlap
    )
    assert bad < 0.01
    assert where == 1


def test_a_window_without_samples_and_samples_elsewhere_are_errors():
    samples = draw(barrier, [0.8, 1.0], 3.0, 10)
    with pytest.raises(DataError, match="window 1: must have at least one sample"):
        mbar_profile(samples._replace(coordinates=[samples.coordinates[0], np.empty(0)]), np.linspace(0, 1, 5))
    with pytest.raises(DataError, match=r"must reach the profile, 3.00 to 3.50 Å; none does"):
        mbar_profile(samples, np.linspace(3.0, 3.5, 5))


def test_the_barrier_is_between_the_wells():
    x = np.linspace(-2.0, 2.0, 41)
    found = find_barrier((x**2 - 1.0) ** 2 + 0.1 * x)
    assert x[list(found)] == pytest.approx([-1.0, 0.0, 1.0], abs=0.1)
    assert find_barrier(x) is None
    assert find_barrier(x**2) is None
    values = (x**2 - 1.0) ** 2
    values[[0, 20]] = np.nan
    assert find_barrier(values).top in (19, 21)
