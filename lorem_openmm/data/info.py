"""Entries of the comment lines as columns: while they are read, and in a store."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from lorem_openmm import config
from lorem_openmm.errors import DataError, did_you_mean

MAX_TEXT_VALUES = 1000  # distinct values of a text entry that is worth keeping
_NUMBERS = (int, float, np.integer, np.floating, np.bool_)  # bool is an int
_SIMPLE = (str, *_NUMBERS)

Part = np.ndarray | tuple[np.ndarray, list[str]] | list[Any]
"""One entry of consecutive frames: all real or all whole numbers, codes and texts, or any values (None: none)."""


class _Other:
    """Stands for a value that no column can hold."""


def encode(infos: Sequence[Mapping[str, Any]], kept: frozenset[str]) -> dict[str, Part]:
    """Turns the info entries of frames into compact parts of columns.

    Args:
        infos: The entries of each frame.
        kept: Keys whose values are kept whatever they are.
    """
    keys = dict.fromkeys(key for info in infos for key in info)
    return {key: _part([info.get(key) for info in infos], key in kept) for key in keys}


def _part(values: list[Any], keep: bool) -> Part:
    kinds = set(map(type, values))
    if kinds in ({np.float64}, {np.int64}):
        return np.array(values)
    if kinds == {str}:
        return _coded(values)
    if keep:
        return values
    return [value if value is None or isinstance(value, _SIMPLE) else _Other() for value in values]


class InfoTable:
    """The info entries of all structures by key, compact, in the order of the structures."""

    def __init__(self) -> None:
        self._parts: dict[str, list[tuple[int, Part]]] = {}
        self._columns: dict[str, Column] = {}
        self.n_structures = 0

    def append(self, parts: Mapping[str, Part], n_structures: int) -> None:
        """Adds the entries of the next structures.

        Args:
            parts: Result of :func:`encode`.
            n_structures: Number of structures.
        """
        for key, part in parts.items():
            self._parts.setdefault(key, []).append((self.n_structures, part))
        self.n_structures += n_structures

    @property
    def keys(self) -> list[str]:
        """Returns the keys that occur, sorted."""
        return sorted(self._parts)

    def column(self, key: str) -> "Column":
        """Returns the entries of a key; of an unknown key, none."""
        if key not in self._columns:
            self._columns[key] = Column(self._parts.get(key, []), self.n_structures)
        return self._columns[key]

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Returns the entries of one structure."""
        entries = ((key, self.column(key)[index]) for key in self._parts)
        return {key: value for key, value in entries if value is not None}


class Column:
    """One entry of all structures: one array where they are alike, else a list."""

    def __init__(self, parts: Sequence[tuple[int, Part]], n_structures: int) -> None:
        self.numbers: np.ndarray | None = None
        self.texts: tuple[np.ndarray, list[str]] | None = None
        self.values: list[Any] = []
        whole = sum(_length(part) for _, part in parts) == n_structures
        kinds = {part.dtype.kind if isinstance(part, np.ndarray) else type(part) for _, part in parts}
        if whole and len(kinds) == 1 and kinds <= {"f", "i"}:
            self.numbers = np.concatenate([part for _, part in parts])
        elif whole and kinds == {tuple}:
            self.texts = _join_texts([part for _, part in parts])  # type: ignore[misc]
        else:
            self.values = [None] * n_structures
            for start, part in parts:
                self.values[start : start + _length(part)] = _items(part)

    def __getitem__(self, index: int) -> Any:
        if self.numbers is not None:
            return self.numbers[index]
        return self.texts[1][self.texts[0][index]] if self.texts is not None else self.values[index]

    def as_numbers(self) -> np.ndarray | None:
        """Returns [n_structures] numbers, NaN: none; None where some values are not."""
        if self.numbers is not None:
            return self.numbers.astype(np.float64)
        if self.texts is not None or not all(value is None or isinstance(value, _NUMBERS) for value in self.values):
            return None
        return np.array([np.nan if value is None else float(value) for value in self.values])

    def as_texts(self) -> tuple[np.ndarray, list[str]] | None:
        """Returns codes [n_structures] (−1: none) and texts; None where there are too many, or other values."""
        if self.texts is not None:
            return self.texts if len(self.texts[1]) <= MAX_TEXT_VALUES else None
        values = self.values if self.numbers is None else list(self.numbers)
        if not all(value is None or isinstance(value, _SIMPLE) for value in values):
            return None
        codes, names = _coded([None if value is None else str(value) for value in values])
        return (codes, names) if len(names) <= MAX_TEXT_VALUES else None


def _coded(texts: Sequence[str | None]) -> tuple[np.ndarray, list[str]]:
    """Returns the code of each text (−1: none), and the texts that occur, sorted."""
    names = sorted({text for text in texts if text is not None})
    code_of = {text: code for code, text in enumerate(names)}
    return np.array([-1 if text is None else code_of[text] for text in texts], dtype=np.int32), names


def _length(part: Part) -> int:
    return len(part[0]) if isinstance(part, tuple) else len(part)


def _items(part: Part) -> Iterator[Any]:
    if isinstance(part, tuple):
        return (part[1][code] for code in part[0].tolist())
    return iter(part)


def _join_texts(parts: Sequence[tuple[np.ndarray, list[str]]]) -> tuple[np.ndarray, list[str]]:
    names = sorted({name for _, part_names in parts for name in part_names})
    place = {text: code for code, text in enumerate(names)}
    codes = [np.array([place[name] for name in part_names], dtype=np.int32)[part] for part, part_names in parts]
    return np.concatenate(codes), names


def info_columns(dataset: config.Dataset, table: InfoTable, place: str) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Turns the info entries into columns: numbers, or texts with few different values.

    Args:
        dataset: Names the entries of the classes and separations.
        table: The entries.
        place: File and frame of the first structure.

    Returns:
        The arrays ``info.<key>``, ``class_index`` and ``separation`` of a store, and the metadata about them.

    Raises:
        DataError: If the class or separation key does not fit.
    """
    arrays: dict[str, np.ndarray] = {}
    texts: dict[str, list[str]] = {}
    dropped = []
    for key in table.keys:
        if (numbers := table.column(key).as_numbers()) is not None:
            arrays[f"info.{key}"] = numbers
        elif (coded := table.column(key).as_texts()) is not None:
            arrays[f"info.{key}"], texts[key] = coded
        else:
            dropped.append(key)
    class_index, class_names = _classes(dataset.class_key, table, place)
    arrays |= {"class_index": class_index, "separation": _separations(dataset.separation_key, table, place)}
    metadata = {
        "info_text": texts,
        "info_dropped": dropped,
        "class_key": dataset.class_key,
        "class_names": class_names,
        "separation_key": dataset.separation_key,
    }
    return arrays, metadata


def _classes(key: str | None, table: InfoTable, place: str) -> tuple[np.ndarray, list[str]]:
    if key is None:
        return np.full(table.n_structures, -1, dtype=np.int32), []
    coded = table.column(key).as_texts()
    if coded is None or not coded[1]:
        received = "more, or values of another kind" if coded is None else "none"
        raise DataError(
            f"{place}: `class_key` must name an info entry with 1 to {MAX_TEXT_VALUES} different texts or numbers, "
            f"received '{key}' which has {received}.{_known(key, table)}"
        )
    return coded


def _separations(key: str | None, table: InfoTable, place: str) -> np.ndarray:
    if key is None:
        return np.full(table.n_structures, np.nan)
    numbers = table.column(key).as_numbers()
    if numbers is None or np.all(np.isnan(numbers)):
        raise DataError(
            f"{place}: `separation_key` must name an info entry that is a number, received "
            f"'{key}' which has {'other values' if numbers is None else 'none'}.{_known(key, table)}"
        )
    return numbers


def _known(key: str, table: InfoTable) -> str:
    known = sorted(table[0])
    return f"{did_you_mean(key, known)} This frame has: {', '.join(known) or 'none'}. Correct the data set."
