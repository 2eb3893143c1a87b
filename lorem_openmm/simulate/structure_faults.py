"""What is wrong with a file that a parser could not read."""

import re
from contextlib import suppress
from pathlib import Path

import numpy as np

from lorem_openmm.data.extxyz_layout import number_advice, symbol_advice


def why_unreadable(path: Path, error: Exception, index: int | None) -> str:
    """Returns what a parser stumbled over, with the line where that is known.

    Args:
        path: The file.
        error: What the parser raised.
        index: Which structure was asked for; None: the usual one.
    """
    if isinstance(error, StopIteration) or (isinstance(error, IndexError) and index not in (None, 0, -1)):
        return "the file holds fewer"
    text = f"{type(error).__name__}: {error!s:.200}"
    quoted = re.search(r"'([^']+)'", str(error))
    word = quoted[1] if quoted else ""
    if isinstance(error, KeyError) and re.fullmatch(r"\S{1,10}", word):
        text = f"'{word}' is not the symbol of an element. {symbol_advice(word)}"
    elif isinstance(error, ValueError) and "could not convert string to float" in str(error):
        text = f"'{word}' is not a number. {number_advice(word)}"
    elif isinstance(error, np.exceptions.DTypePromotionError | TypeError) and path.suffix.lower() == ".cif":
        text = "a coordinate is missing or is no number"
    text = text.rstrip(".")
    line = _line_of(path, word)
    return f"line {line}: {text}" if line else text


def _line_of(path: Path, word: str) -> int | None:
    if not word:
        return None
    with suppress(OSError), path.open(encoding="utf-8", errors="replace") as stream:
        for number, line in enumerate(stream, 1):
            if word in line.split() or (len(word) > 3 and word in line):
                return number
    return None
