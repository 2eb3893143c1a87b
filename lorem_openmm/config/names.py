"""What may be the name of an entry, and what a path: both become files and arguments of commands."""

import unicodedata
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator

from lorem_openmm.files import expand_home

LONGEST_NAME = 100  # bytes: file names have 255, and get endings and the marks of temporary files
WILDCARDS = "{}"
SEPARATORS = "/\\"
FORMULAS = "$"  # in figures


def check_name(name: str) -> str:
    """Returns the name of an entry, which has to be the name of a file and an argument of a command as well.

    Args:
        name: Key of `datasets`, `models`, `training`, `runs`, `simulations`, `umbrellas` or `studies`.

    Raises:
        ValueError: Naming the character that cannot be in it, or what else is wrong.
    """
    if not name:
        raise ValueError("the name must not be empty")
    if name[0] in "-.":
        raise ValueError(f"the name must not begin with {name[0]!r}: it becomes a file and an argument of commands")
    if name != name.strip():
        raise ValueError("the name must not begin or end with a space")
    why = "files, folders, jobs of the workflow and lines of figures are named by it"
    _refuse_characters(name, SEPARATORS + WILDCARDS + FORMULAS, "the name", why)
    if len(name.encode("utf-8", "replace")) > LONGEST_NAME:
        raise ValueError(f"the name must have at most {LONGEST_NAME} bytes, as it becomes the name of files")
    return name


def check_path(path: str) -> str:
    """Returns a path with ``~`` replaced by the home folder.

    Raises:
        ValueError: If it is empty, or has characters that the workflow cannot handle.
    """
    if not path.strip():
        raise ValueError("the path must not be empty; write `.` for the present folder")
    if path[0] == "-":
        raise ValueError(f"the path must not begin with '-', which begins options of commands; write ./{path}")
    if path != path.strip():
        raise ValueError("the path must not begin or end with a space")
    _refuse_characters(path, WILDCARDS, "the path", "braces are wildcards of the workflow; rename the file or folder")
    return expand_home(path)


def _check_paths(paths: str | list[str]) -> str | list[str]:
    if isinstance(paths, str):
        return check_path(paths)
    if not paths:
        raise ValueError("the list of files must not be empty")
    return [check_path(path) for path in paths]


def _refuse_characters(text: str, characters: str, what: str, why: str) -> None:
    for character in text:
        if character in characters:
            raise ValueError(f"{what} must not contain {character!r}: {why}")
        if unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp"):
            raise ValueError(f"{what} must not contain {character!r}, which cannot be printed")


def _not_a_number(name: Any) -> Any:
    """YAML reads unquoted ``1``, ``yes`` and ``2020-01-01`` as other things than text."""
    if not isinstance(name, str):
        raise ValueError(f"the name must be text, but YAML reads {name} as {type(name).__name__}: put it into quotes")
    return name


Name = Annotated[str, BeforeValidator(_not_a_number), AfterValidator(check_name)]
FilePath = Annotated[str, AfterValidator(check_path)]
FilePaths = Annotated[str | list[str], AfterValidator(_check_paths)]
