"""Entries of the comment lines as columns of a store."""

from typing import Any

import numpy as np

from lorem_openmm import config
from lorem_openmm.data.structures import Structure
from lorem_openmm.errors import DataError, did_you_mean

MAX_TEXT_VALUES = 1000  # distinct values of a text entry that is worth keeping
_NUMBERS = (int, float, np.integer, np.floating, np.bool_)  # bool is an int


def info_columns(dataset: config.Dataset, structures: list[Structure]) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Turns the info entries into columns: numbers, or texts with few different values.

    Args:
        dataset: Names the entries of the classes and separations.
        structures: The structures.

    Returns:
        The arrays ``info.<key>``, ``class_index`` and ``separation`` of a store, and the metadata about them.

    Raises:
        DataError: If the class or separation key does not fit.
    """
    arrays: dict[str, np.ndarray] = {}
    texts: dict[str, list[str]] = {}
    dropped = []
    for key in sorted({key for structure in structures for key in structure.info}):
        values = [structure.info.get(key) for structure in structures]
        if (numbers := _number_column(values)) is not None:
            arrays[f"info.{key}"] = numbers
        elif (coded := _text_column(values)) is not None:
            arrays[f"info.{key}"], texts[key] = coded
        else:
            dropped.append(key)
    class_index, class_names = _classes(dataset.class_key, structures)
    arrays |= {
        "class_index": class_index,
        "separation": _separations(dataset.separation_key, structures),
    }
    metadata = {
        "info_text": texts,
        "info_dropped": dropped,
        "class_key": dataset.class_key,
        "class_names": class_names,
        "separation_key": dataset.separation_key,
    }
    return arrays, metadata


def _number_column(values: list[Any]) -> np.ndarray | None:
    if not all(value is None or isinstance(value, _NUMBERS) for value in values):
        return None
    return np.array([np.nan if value is None else float(value) for value in values])


def _text_column(values: list[Any]) -> tuple[np.ndarray, list[str]] | None:
    if not all(value is None or isinstance(value, (str, *_NUMBERS)) for value in values):
        return None
    names = sorted({str(value) for value in values if value is not None})
    if len(names) > MAX_TEXT_VALUES:
        return None
    codes = {text: code for code, text in enumerate(names)}
    return np.array([-1 if v is None else codes[str(v)] for v in values], dtype=np.int32), names


def _classes(key: str | None, structures: list[Structure]) -> tuple[np.ndarray, list[str]]:
    if key is None:
        return np.full(len(structures), -1, dtype=np.int32), []
    coded = _text_column([structure.info.get(key) for structure in structures])
    if coded is None or not coded[1]:
        raise DataError(
            f"{structures[0].place}: `class_key` must name an info entry with 1 to {MAX_TEXT_VALUES} "
            f"different texts or numbers, received '{key}' which has "
            f"{_received(coded)}.{_known(key, structures)}"
        )
    return coded


def _separations(key: str | None, structures: list[Structure]) -> np.ndarray:
    if key is None:
        return np.full(len(structures), np.nan)
    numbers = _number_column([structure.info.get(key) for structure in structures])
    if numbers is None or np.all(np.isnan(numbers)):
        raise DataError(
            f"{structures[0].place}: `separation_key` must name an info entry that is a number, received "
            f"'{key}' which has {'other values' if numbers is None else 'none'}.{_known(key, structures)}"
        )
    return numbers


def _received(coded: tuple[np.ndarray, list[str]] | None) -> str:
    return "none" if coded is not None else "more, or values of another kind"


def _known(key: str, structures: list[Structure]) -> str:
    known = sorted(structures[0].info)
    return f"{did_you_mean(key, known)} This frame has: {', '.join(known) or 'none'}. Correct the data set."
