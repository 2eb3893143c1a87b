"""Division of structures into training, validation and test set."""

from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np

from lorem_openmm.config import Split
from lorem_openmm.data.structures import Structure
from lorem_openmm.errors import DataError, did_you_mean

SPLITS = ("train", "validation", "test")
TRAIN, VALIDATION, TEST, UNUSED = range(4)


@runtime_checkable
class _InColumns(Protocol):
    """Structures whose info entries are kept in columns."""

    def info_values(self, key: str) -> Iterator[Any]: ...


def divide(
    structures: Sequence[Structure],
    split: Split,
    keep_together: Sequence[Hashable] | None = None,
    class_key: str | None = None,
    take_validation: bool = True,
    take_test: bool = True,
) -> np.ndarray:
    """Divides structures into training, validation and test set.

    The test set is everything above ``split.test_above``, or a random share; the validation set is a random
    share of the rest. Groups stay whole. With ``class_key`` every class gives the same share (to one group).
    Absolute counts take the place of shares; they are met as nearly as whole groups allow. What
    ``split.train_count`` does not claim of the rest is left out, or is the test set where no count names one.

    Args:
        structures: The structures.
        split: Shares, group key, threshold and seed.
        keep_together: Value per structure; equal values stay in one split if ``split.group_by`` is not given.
        class_key: Info key by which the shares are balanced.
        take_validation: Whether to take a validation set from these structures.
        take_test: Whether to take a test set from these structures.

    Returns:
        [n_structures] 0 (train), 1 (validation), 2 (test) or 3 (left out); the same for the same structures and seed.

    Raises:
        DataError: If an info key is missing in a frame, there are too few structures for the counts, or no training
            structure is left.
    """
    result = np.full(len(structures), TRAIN, dtype=np.uint8)
    random = np.random.default_rng(split.seed)
    groups = _groups(structures, split, keep_together)
    _check_counts(structures, split, take_validation, take_test)
    classes = [""] * len(structures)
    if class_key:
        classes = [str(value) for value in _info_values(structures, class_key, "class_key")]
    if take_test and split.test_above is not None:
        result[_above(structures, split.test_above)] = TEST
    elif take_test and (split.test_count is not None or split.train_count is None):
        _assign(result, groups, classes, split.test_fraction, split.test_count, TEST, random)
    if take_validation:
        _assign(result, groups, classes, split.validation_fraction, split.validation_count, VALIDATION, random)
    if split.train_count is not None:
        left = int(np.sum(result == TRAIN)) - split.train_count
        rest = TEST if take_test and split.test_count is None and split.test_above is None else UNUSED
        _assign(result, groups, classes, 0.0, max(left, 0), rest, random)
    if len(structures) and not np.any(result == TRAIN):
        raise DataError(
            f"{structures[0].file}: the training set must not be empty, received {len(structures)} "
            f"structures of which {np.sum(result == VALIDATION)} went to validation and "
            f"{np.sum(result == TEST)} to test. Give more structures, or smaller fractions or a larger "
            "`test_above`."
        )
    return result


def _groups(structures: Sequence[Structure], split: Split, keep_together: Sequence[Hashable] | None) -> np.ndarray:
    values: Sequence[Hashable]
    if split.group_by is not None:
        values = [str(value) for value in _info_values(structures, split.group_by, "split.group_by")]
    else:
        values = keep_together if keep_together is not None else range(len(structures))
    numbers: dict[Hashable, int] = {}
    return np.array([numbers.setdefault(value, len(numbers)) for value in values], dtype=np.int64)


def _assign(
    result: np.ndarray,
    groups: np.ndarray,
    classes: Sequence[str],
    fraction: float,
    count: int | None,
    target: int,
    random: np.random.Generator,
) -> None:
    """Moves a share of the groups that are still training structures, or a number of structures, to ``target``."""
    remaining = np.flatnonzero(result == TRAIN)
    candidates, first, sizes = np.unique(groups[remaining], return_index=True, return_counts=True)
    share = fraction if count is None else min(1.0, count / max(1, len(remaining)))
    if share == 0 or len(candidates) == 0:
        return
    n_taken = max(1, round(share * len(candidates)))
    # Systematic sampling: shuffled, ordered by class, then every n-th from a random start. Each class gives
    # its share without rounding class by class, which would never take from small classes.
    shuffled = random.permutation(len(candidates))
    names = np.array([classes[remaining[first[k]]] for k in shuffled])
    ordered = shuffled[np.argsort(names, kind="stable")]
    places = ((np.arange(n_taken) + random.random()) * len(candidates) / n_taken).astype(np.int64)
    taken = np.zeros(len(candidates), dtype=bool)
    taken[ordered[places]] = True
    if count is not None:
        _meet_count(taken, sizes, count, shuffled)
    result[remaining[np.isin(groups[remaining], candidates[taken])]] = target


def _meet_count(taken: np.ndarray, sizes: np.ndarray, count: int, order: np.ndarray) -> None:
    """Gives back and takes groups, in ``order``, until the number of structures is met as nearly as they allow."""
    excess = int(sizes[taken].sum()) - count
    for group in order[taken[order]]:
        if excess <= 0:
            break
        taken[group] = False
        excess -= int(sizes[group])
    for group in order[~taken[order]]:
        if excess >= 0:
            break
        if sizes[group] <= -excess:
            taken[group] = True
            excess += int(sizes[group])


def _check_counts(structures: Sequence[Structure], split: Split, take_validation: bool, take_test: bool) -> None:
    counts = [split.train_count]
    counts += [split.validation_count] if take_validation else []
    counts += [split.test_count] if take_test else []
    wanted = sum(count for count in counts if count is not None)
    if structures and wanted > len(structures):
        raise DataError(
            f"{structures[0].file}: the counts of `split` must not exceed the number of structures, received "
            f"{wanted} of {len(structures)}. Lower them, or give more structures."
        )


def _above(structures: Sequence[Structure], thresholds: Mapping[str, float]) -> np.ndarray:
    above = np.zeros(len(structures), dtype=bool)
    for key, threshold in thresholds.items():
        for index, value in enumerate(_info_values(structures, key, "split.test_above")):
            try:
                above[index] |= float(value) > threshold
            except (TypeError, ValueError):
                raise DataError(
                    f"{structures[index].place}: the info key '{key}' of `split.test_above` must be a number, "
                    f"received {value!r:.60}. Name another key or correct the frame."
                ) from None
    return above


def _info_values(structures: Sequence[Structure], key: str, setting: str) -> Iterator[Any]:
    """Yields an info entry of every structure, from a column where the structures are kept in columns."""
    if not isinstance(structures, _InColumns):
        yield from (_info(structure, key, setting) for structure in structures)
        return
    for index, value in enumerate(structures.info_values(key)):
        yield _info(structures[index], key, setting) if value is None else value


def _info(structure: Structure, key: str, setting: str) -> Any:
    if key not in structure.info:
        raise DataError(
            f"{structure.place}: the info key '{key}' of `{setting}` is "
            f"missing.{did_you_mean(key, structure.info)} Known: "
            f"{', '.join(sorted(structure.info)) or 'none'}. Correct `{setting}` or add the key to every "
            "frame."
        )
    return structure.info[key]
