"""Division into training, validation and test set."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_frames import labelled_atoms

from lorem_openmm.config import Split
from lorem_openmm.data.splits import TEST, TRAIN, UNUSED, VALIDATION, divide
from lorem_openmm.data.structures import Structure, from_atoms
from lorem_openmm.errors import DataError


def structures(n: int) -> list[Structure]:
    return [from_atoms(labelled_atoms(index), file="set.xyz", frame=index) for index in range(n)]


def counts(splits: np.ndarray) -> list[int]:
    """Structures to train on, to validate, to test, and of no use where there are any; each is in one of these."""
    found = [int(np.sum(splits == part)) for part in (TRAIN, VALIDATION, TEST, UNUSED)]
    assert sum(found) == len(splits)
    return found if found[3] else found[:3]


def test_shares():
    splits = divide(structures(100), Split(validation_fraction=0.25, test_fraction=0.2))
    assert counts(splits) == [60, 20, 20]


def test_deterministic_and_dependent_on_the_seed():
    frames = structures(60)
    first = divide(frames, Split(seed=3))
    np.testing.assert_array_equal(first, divide(frames, Split(seed=3)))
    assert np.any(first != divide(frames, Split(seed=4)))


def test_known_division_does_not_change():
    """A new version that divides otherwise would leak test structures into training of continued work."""
    splits = divide(structures(20), Split(validation_fraction=0.2, test_fraction=0.2, seed=0))
    assert "".join(map(str, splits)) == KNOWN


KNOWN = "01020000000120200102"


@settings(max_examples=60, deadline=None)
@given(
    n=st.integers(15, 60),  # three groups at least: fewer may leave no training set
    size=st.integers(1, 5),
    seed=st.integers(0, 1000),
    validation=st.floats(0, 0.5),
    test=st.floats(0, 0.3),
)
def test_groups_stay_whole(n, size, seed, validation, test):
    frames = [replace(s, info={"group": index // size}) for index, s in enumerate(structures(1) * n)]
    n_groups = -(-n // size)
    split = Split(validation_fraction=validation, test_fraction=test, group_by="group", seed=seed)
    splits = divide(frames, split)
    for group in range(n_groups):
        assert len(set(splits[group * size : (group + 1) * size])) == 1
    n_test = len(set(np.flatnonzero(splits == TEST) // size))
    assert n_test == (max(1, round(test * n_groups)) if test > 0 else 0)


def test_classes_give_equal_shares():
    frames = [replace(s, info={"label": "AAAAAAAABB"[index % 10]}) for index, s in enumerate(structures(1) * 200)]
    labels = np.array([s.info["label"] for s in frames])
    for seed in range(20):
        split = Split(validation_fraction=0.2, test_fraction=0.1, seed=seed)
        splits = divide(frames, split, class_key="label")
        assert abs(int(np.sum(splits[labels == "B"] == TEST)) - 4) <= 1
        assert abs(int(np.sum(splits[labels == "A"] == VALIDATION)) - 29) <= 1


def test_every_class_of_its_own_still_gives_a_validation_set():
    frames = [replace(s, info={"label": str(index)}) for index, s in enumerate(structures(1) * 30)]
    assert counts(divide(frames, Split(), class_key="label")) == [24, 3, 3]


def test_test_set_above_a_threshold():
    frames = structures(40)  # distance = 0.5 · index
    splits = divide(frames, Split(test_above={"distance": 14.0}, validation_fraction=0.5))
    np.testing.assert_array_equal(np.flatnonzero(splits == TEST), np.arange(29, 40))
    assert counts(splits) == [15, 14, 11]


def test_what_is_given_is_not_taken():
    frames = structures(20)
    assert counts(divide(frames, Split(), take_test=False)) == [18, 2, 0]
    assert counts(divide(frames, Split(), take_validation=False)) == [18, 0, 2]
    assert counts(divide(frames, Split(test_above={"distance": 1.0}), take_test=False)) == [18, 2, 0]


def test_absolute_counts_leave_out_what_none_claims():
    splits = divide(structures(60), Split(train_count=20, validation_count=5, test_count=20, seed=1))
    assert counts(splits) == [20, 5, 20, 15]


def test_without_a_count_of_its_own_the_test_set_is_the_rest():
    assert counts(divide(structures(60), Split(train_count=40, validation_count=5))) == [40, 5, 15]
    assert counts(divide(structures(60), Split(train_count=40, validation_count=0, test_count=20))) == [40, 0, 20]
    assert counts(divide(structures(60), Split(validation_count=5, test_count=20))) == [35, 5, 20]
    splits = divide(structures(60), Split(train_count=40, validation_count=5, test_above={"distance": 24.9}))
    assert counts(splits) == [40, 5, 10, 5]
    assert counts(divide(structures(60), Split(train_count=40, validation_count=5), take_test=False)) == [40, 5, 0, 15]


def test_counts_are_met_with_whole_groups():
    """Groups of 1 to 4 structures: the counts are met exactly because single ones are there."""
    random = np.random.default_rng(0)
    groups = np.repeat(np.arange(80), random.integers(1, 5, size=80))
    frames = structures(1) * len(groups)
    for seed in range(10):
        split = Split(train_count=100, validation_count=17, test_count=40, seed=seed)
        splits = divide(frames, split, keep_together=groups.tolist())
        assert counts(splits)[:3] == [100, 17, 40]
        assert all(len(set(splits[groups == group])) == 1 for group in range(80))


def test_counts_keep_the_classes_in_proportion():
    frames = [replace(s, info={"label": "AAAB"[index % 4]}) for index, s in enumerate(structures(1) * 400)]
    labels = np.array([s.info["label"] for s in frames])
    splits = divide(frames, Split(train_count=200, validation_count=40, test_count=80), class_key="label")
    for target, expected in ((TRAIN, 50), (VALIDATION, 10), (TEST, 20)):
        assert abs(int(np.sum(labels[splits == target] == "B")) - expected) <= 1


def test_more_than_there_is_cannot_be_counted():
    with pytest.raises(DataError, match=r"must not exceed the number of structures, received 45 of 40"):
        divide(structures(40), Split(train_count=20, validation_count=5, test_count=20))


def test_equal_values_are_kept_together_without_a_group_key():
    frames = structures(20)
    for seed in range(10):
        splits = divide(frames, Split(test_fraction=0.4, seed=seed), keep_together=[k // 2 for k in range(20)])
        np.testing.assert_array_equal(splits[::2], splits[1::2])


@pytest.mark.parametrize(
    ("split", "class_key", "expected"),
    [
        (Split(group_by="dimer"), None, "info key 'dimer' of `split.group_by` is missing"),
        (Split(group_by="distanse"), None, "Did you mean 'distance'"),
        (Split(test_above={"growth": 4.0}), None, "info key 'growth' of `split.test_above` is missing"),
        (Split(test_above={"label": 4.0}), None, "must be a number, received 'A'"),
        (Split(), "kind", "info key 'kind' of `class_key` is missing"),
        (Split(test_above={"distance": -1.0}), None, "the training set must not be empty, received 9"),
    ],
)
def test_errors(split, class_key, expected):
    with pytest.raises(DataError) as caught:
        divide(structures(9), split, class_key=class_key)
    assert expected in str(caught.value)
    assert "set.xyz" in str(caught.value)
