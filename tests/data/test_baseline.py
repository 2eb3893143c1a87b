"""Per-element energies by least squares."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from lorem_openmm.data.baseline import as_table, composition_energies, count_elements, fit_baseline, outside_span


def test_exact_energies_are_found():
    random = np.random.default_rng(0)
    elements, truth = np.array([1, 6, 8]), np.array([-13.6, -1030.0, -2040.0])
    counts = random.integers(0, 9, size=(50, 3))
    baseline = fit_baseline(elements, counts, counts @ truth)
    assert baseline.determined
    np.testing.assert_allclose([baseline.energies[z] for z in elements], truth, rtol=1e-10)


def test_one_composition_takes_the_shortest_solution():
    baseline = fit_baseline(np.array([1, 8]), np.array([[2, 1]] * 4), np.array([-9.0, -11, -10, -10]))
    assert not baseline.determined
    np.testing.assert_allclose([baseline.energies[1], baseline.energies[8]], [-4.0, -2.0])


def test_absent_elements_get_no_energy():
    baseline = fit_baseline(np.array([1, 6, 8]), np.array([[2, 0, 1], [1, 0, 1]]), np.array([-4.0, -3.0]))
    assert sorted(baseline.energies) == [1, 8]
    assert as_table(baseline.energies)[6] == 0


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), n_elements=st.integers(1, 4), n_structures=st.integers(1, 30))
def test_same_as_least_squares_on_all_structures(seed, n_elements, n_structures):
    random = np.random.default_rng(seed)
    counts = random.integers(0, 3, size=(n_structures, n_elements))
    counts[:, 0] += 1
    energies = random.normal(size=n_structures)
    present = counts.any(axis=0)
    expected = np.linalg.lstsq(counts[:, present], energies, rcond=None)[0]
    baseline = fit_baseline(np.arange(1, n_elements + 1), counts, energies)
    np.testing.assert_allclose(list(baseline.energies.values()), expected, atol=1e-9)


def test_compositions_outside_the_span_of_the_training_set():
    training = np.array([[2, 1, 0], [4, 2, 0], [4, 0, 1]])  # H2O, (H2O)2, CH4
    counts = np.array([[2, 1, 0], [8, 2, 1], [0, -2, 1], [1, 0, 0], [2, 1, 1]])
    assert outside_span(training, counts).tolist() == [False, False, False, True, True]
    assert not outside_span(np.array([[2, 0], [1, 1]]), np.array([[0, 5], [9, 1]])).any()


def test_counts_and_sums():
    numbers, offsets = np.array([1, 1, 8, 6, 8, 8]), np.array([0, 3, 4, 6])
    elements, counts = count_elements(numbers, offsets)
    np.testing.assert_array_equal(elements, [1, 6, 8])
    np.testing.assert_array_equal(counts, [[2, 0, 1], [0, 1, 0], [0, 0, 2]])
    table = as_table({1: -0.5, 6: -37.0, 8: -75.0})
    np.testing.assert_array_equal(composition_energies(table, numbers, offsets), [-76.0, -37.0, -150.0])


def test_sums_do_not_lose_digits_in_large_sets():
    """A running sum over 10⁶ atoms of −2040 eV would be off by 1e-6 eV at its end."""
    n_structures = 200_000
    numbers, offsets = np.full(5 * n_structures, 8), np.arange(n_structures + 1) * 5
    table = as_table({8: -2040.123456789})
    sums = composition_energies(table, numbers, offsets)
    np.testing.assert_allclose(sums, 5 * -2040.123456789, rtol=1e-15)
