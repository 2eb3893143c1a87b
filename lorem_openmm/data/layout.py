"""The layout of extended XYZ files: whether every frame is whole."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

from lorem_openmm.errors import DataError

DEFAULT_PROPERTIES = "species:S:1:pos:R:3"


def check_layout(path: str | Path) -> int:
    """Checks that an extended XYZ file is whole: atom counts, columns, no blank lines between frames.

    Args:
        path: The file.

    Returns:
        The number of frames.

    Raises:
        DataError: If a frame is cut off or the lines do not match its atom count.
    """
    path = Path(path)
    n_frames, line_number = 0, 0
    with open_text(path) as stream:
        try:
            while header := stream.readline():
                line_number += 1
                place = f"{path}, frame {n_frames} (counted from 0)"
                if not header.strip():
                    _only_blank_lines(stream, place, line_number)
                    break
                n_atoms = _atom_count(header, place, line_number)
                n_columns = _column_count(stream.readline(), place)
                line_number += 1
                for n_read in range(n_atoms):
                    line = stream.readline()
                    line_number += 1
                    _check_atom_line(line, n_columns, n_read, n_atoms, place, line_number)
                n_frames += 1
        except UnicodeDecodeError as error:
            raise DataError(f"{path}: not a text file in UTF-8 ({error}). Give extended XYZ.") from None
    if n_frames == 0:
        raise DataError(f"{path}: holds no frames. Give extended XYZ with at least one structure.")
    return n_frames


def check_frame(lines: Sequence[str], file: str, frame: int, whole: bool = False) -> int:
    """Checks the layout of one frame.

    Args:
        lines: Its lines without newlines: at least those of the atom count and the comment.
        file: Name used in errors.
        frame: Number used in errors.
        whole: Whether ``lines`` is the whole frame, so that its atom lines are checked too.

    Returns:
        The number of atoms.

    Raises:
        DataError: If the lines do not match the atom count.
    """
    place = f"{file}, frame {frame} (counted from 0)"
    n_atoms = _atom_count(lines[0], place, 1)
    if whole:
        n_columns = _column_count(lines[1] + "\n", place)
        for n_read, line in enumerate([*lines[2:], *[""] * (n_atoms + 2 - len(lines))]):
            _check_atom_line(line and line + "\n", n_columns, n_read, n_atoms, place, 3 + n_read)
    return n_atoms


def open_text(path: Path) -> TextIO:
    """Opens a text file for reading.

    Args:
        path: The file.

    Raises:
        DataError: If it cannot be opened.
    """
    try:
        return path.open(encoding="utf-8")
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read ({error.strerror}). Check the path; relative paths start at the working folder."
        ) from None


def _only_blank_lines(stream: TextIO, place: str, line_number: int) -> None:
    if any(line.strip() for line in stream):
        raise DataError(
            f"{place}: line {line_number} is blank but more text follows. Frames must follow one another "
            "without blank lines. Remove the line, or correct the atom count of the frame before."
        )


def _atom_count(line: str, place: str, line_number: int) -> int:
    try:
        n_atoms = int(line)
    except ValueError:
        raise DataError(
            f"{place}: line {line_number} must be the number of atoms, received '{line.strip()[:60]}'. The "
            "atom count of the frame before is probably too small: correct it."
        ) from None
    if n_atoms < 1:
        raise DataError(
            f"{place}: line {line_number}: a frame needs at least one atom, received {n_atoms}. Remove the frame."
        )
    return n_atoms


def _column_count(comment: str, place: str) -> int:
    if not comment.endswith("\n"):
        raise DataError(f"{place}: the file ends before the frame's atoms: it was cut off. Write the file again.")
    found = re.search(r"(?:^|\s)Properties\s*=\s*[\"']?([^\s\"']+)", comment)
    properties = found[1] if found else DEFAULT_PROPERTIES
    try:
        return sum(int(columns) for columns in properties.split(":")[2::3])
    except ValueError:
        raise DataError(
            f"{place}: `Properties` must be name:type:columns triples, received '{properties[:80]}'. Correct it."
        ) from None


def _check_atom_line(line: str, n_columns: int, n_read: int, n_atoms: int, place: str, line_number: int) -> None:
    if not line:
        raise DataError(
            f"{place}: the frame announces {n_atoms} atoms but the file ends after {n_read}: it was cut "
            "off, or the atom count is too large. Write the file again, or correct the count."
        )
    n_found = len(line.split())
    if n_found != n_columns:
        raise DataError(
            f"{place}: line {line_number} (atom {n_read} of {n_atoms}) must have {n_columns} columns as "
            f"`Properties` says, received {n_found}: '{line.strip()[:60]}'. The line is damaged or the atom "
            "count is wrong: correct it."
        )
    if not line.endswith("\n"):
        raise DataError(
            f"{place}: line {line_number}, the last of the file, does not end with a newline, so its last "
            "number may be cut off. Write the file again; if it is complete, add the newline."
        )
