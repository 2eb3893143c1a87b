"""The layout of extended XYZ files: whether every frame is whole."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, TextIO

from ase.data import atomic_numbers, chemical_symbols

from lorem_openmm.errors import DataError

DEFAULT_PROPERTIES = "species:S:1:pos:R:3"
READ_FORMATS = (
    "Data sets are read from extended XYZ, ASE's .traj and .db, VASP's vasprun.xml and OUTCAR, .npz and HDF5, all of "
    "them also compressed by gzip, bzip2 or xz: convert the file, for example with `ase convert`."
)


class _Columns(NamedTuple):
    """What the atom lines of a frame must hold: a letter of `Properties` per column, and where the symbol is."""

    kinds: str
    species: int | None
    is_declared: bool


def check_layout(path: str | Path, name: str | None = None, words: bool = False) -> int:
    """Checks that an extended XYZ file is whole: atom counts, columns, no blank lines between frames.

    Args:
        path: The file.
        name: Its name in errors, where it is a copy of another one.
        words: Whether symbols and numbers are checked, too.

    Returns:
        The number of frames.

    Raises:
        DataError: If a frame is cut off or the lines do not match its atom count.
    """
    path, name = Path(path), name or str(path)
    n_frames, line_number = 0, 0
    with open_text(path) as stream:
        try:
            while header := stream.readline():
                line_number += 1
                place = f"{name}, frame {n_frames} (counted from 0)"
                if not header.strip():
                    _only_blank_lines(stream, place, line_number)
                    break
                n_atoms = _atom_count(header, place, f"line {line_number}", n_frames)
                columns = _column_kinds(stream.readline(), place)
                line_number += 1
                for n_read in range(n_atoms):
                    line = stream.readline()
                    line_number += 1
                    where = f"line {line_number} (atom {n_read} of {n_atoms})"
                    _check_atom_line(line, columns, n_read, n_atoms, place, where, words)
                n_frames += 1
        except UnicodeDecodeError as error:
            raise DataError(f"{name}: not a text file in UTF-8 ({error}). Give extended XYZ.") from None
    if n_frames == 0:
        raise DataError(f"{name}: holds no frames. Give extended XYZ with at least one structure.")
    return n_frames


def check_frame(lines: Sequence[str], file: str, frame: int, whole: bool = False) -> int:
    """Checks the layout of one frame.

    Args:
        lines: Its lines without newlines: at least those of the atom count and the comment.
        file: Name used in errors.
        frame: Number used in errors.
        whole: Whether ``lines`` is the whole frame, so that its atom lines are checked too, word by word.

    Returns:
        The number of atoms.

    Raises:
        DataError: If the lines do not match the atom count.
    """
    place = f"{file}, frame {frame} (counted from 0)"
    n_atoms = _atom_count(lines[0], place, "line 1 of the frame", frame)
    if whole:
        columns = _column_kinds(lines[1] + "\n", place)
        for n_read, line in enumerate([*lines[2:], *[""] * (n_atoms + 2 - len(lines))]):
            where = f"line {3 + n_read} of the frame (atom {n_read} of {n_atoms})"
            _check_atom_line(line and line + "\n", columns, n_read, n_atoms, place, where, words=True)
    return n_atoms


def open_text(path: Path) -> TextIO:
    """Opens a text file for reading; a byte order mark is not part of the text.

    Raises:
        DataError: If it cannot be opened.
    """
    try:
        return path.open(encoding="utf-8-sig")
    except OSError as error:
        raise not_readable(path, error) from None


def not_readable(path: Path, error: OSError) -> DataError:
    """Returns the error to raise where a file of structures cannot be read."""
    advice = "Check the path; relative paths start at the working folder."
    if isinstance(error, IsADirectoryError):
        advice = "Name the files in the folder."
    elif isinstance(error, PermissionError):
        advice = "Give yourself the right to read it."
    return DataError(f"{path}: cannot be read ({error.strerror or error}). {advice}")


def _only_blank_lines(stream: TextIO, place: str, line_number: int) -> None:
    if any(line.strip() for line in stream):
        raise DataError(
            f"{place}: line {line_number} is blank but more text follows. Frames must follow one another "
            "without blank lines. Remove the line, or correct the atom count of the frame before."
        )


def _atom_count(line: str, place: str, where: str, frame: int) -> int:
    try:
        n_atoms = int(line)
    except ValueError:
        advice = (
            "The atom count of the frame before is probably too small: correct it."
            if frame
            else f"The file does not look like extended XYZ. {READ_FORMATS}"
        )
        raise DataError(
            f"{place}: {where} must be the number of atoms, received {line.strip()[:60]!r}. {advice}"
        ) from None
    if n_atoms < 1:
        raise DataError(f"{place}: {where}: a frame needs at least one atom, received {n_atoms}. Remove the frame.")
    return n_atoms


def _column_kinds(comment: str, place: str) -> _Columns:
    if not comment.endswith("\n"):
        raise DataError(f"{place}: the file ends before the frame's atoms: it was cut off. Write the file again.")
    found = re.search(r"(?:^|\s)Properties\s*=\s*[\"']?([^\s\"']+)", comment)
    properties = found[1] if found else DEFAULT_PROPERTIES
    words = properties.split(":")
    try:
        counts = [int(columns) for columns in words[2::3]]
    except ValueError:
        raise DataError(
            f"{place}: `Properties` must be name:type:columns triples, received '{properties[:80]}'. Correct it."
        ) from None
    kinds = "".join((kind[:1] or "?") * count for kind, count in zip(words[1::3], counts, strict=False))
    species = sum(counts[: words[::3].index("species")]) if "species" in words[::3] else None
    return _Columns(kinds, species, found is not None)


def _check_atom_line(
    line: str, columns: _Columns, n_read: int, n_atoms: int, place: str, where: str, words: bool
) -> None:
    if not line:
        raise DataError(
            f"{place}: the frame announces {n_atoms} atoms but the file ends after {n_read}: it was cut "
            "off, or the atom count is too large. Write the file again, or correct the count."
        )
    found = line.split()
    if len(found) != len(columns.kinds):
        why = "as `Properties` says" if columns.is_declared else "as its comment line has no `Properties`"
        advice = (
            "The line is damaged or the atom count is wrong: correct it."
            if columns.is_declared
            else "Extended XYZ names its columns, for example Properties=species:S:1:pos:R:3:forces:R:3."
        )
        raise DataError(
            f"{place}: {where} must have {len(columns.kinds)} columns {why}, received {len(found)}: "
            f"'{line.strip()[:60]}'. {advice}"
        )
    if not line.endswith("\n"):
        raise DataError(
            f"{place}: {where}, the last of the file, does not end with a newline, so its last "
            "number may be cut off. Write the file again; if it is complete, add the newline."
        )
    if words:
        _check_words(found, columns, f"{place}: {where}")


def _check_words(words: Sequence[str], columns: _Columns, where: str) -> None:
    """Checks the symbol of an atom and that real columns are numbers."""
    for column, (word, kind) in enumerate(zip(words, columns.kinds, strict=True)):
        if column == columns.species and word.capitalize() not in atomic_numbers:
            raise DataError(
                f"{where}: the symbol of an atom must be that of an element, received '{word[:20]}'. "
                f"{symbol_advice(word)}"
            )
        if kind == "R" and not is_number(word):
            raise DataError(
                f"{where}: column {column + 1} must be a number, received '{word[:40]}'. {number_advice(word)}"
            )


def is_number(word: str) -> bool:
    """Returns whether a word is a number as Python reads it."""
    try:
        float(word)
    except ValueError:
        return False
    return True


def number_advice(word: str) -> str:
    """Returns what to do about a word that should be a number."""
    if "*" in word:
        return "The program that wrote it had too few places for the number: write the file again with wider columns."
    if is_number(re.sub("[dD]", "e", word, count=1)):
        return "It is an exponent as Fortran writes it: write E for D (1.0E+00)."
    if is_number(word.replace(",", ".")):
        return "Write a point, not a comma, before the decimals."
    return "Correct the file, or write it again."


def symbol_advice(word: str) -> str:
    """Returns what to do about a word that should be the symbol of an element."""
    if word.upper() in ("D", "T"):
        return "Isotopes differ in mass only, which the energy does not depend on: write H."
    if word.isdecimal() and 0 < int(word) < len(chemical_symbols):
        symbol = chemical_symbols[int(word)]
        return f"It is the atomic number of {symbol}: write {symbol}, or name the column Z:I:1 in `Properties`."
    letters = re.match("[A-Za-z]*", word)[0]  # type: ignore[index]  # matches always
    for symbol in (letters[:2].capitalize(), letters[:1].upper()):
        if symbol in atomic_numbers and symbol != "X":
            return f"It looks like the name or ion of an atom, not its element: write {symbol} if that is meant."
    return "Write the element, or remove the atom if it is none (a dummy atom or a site)."
