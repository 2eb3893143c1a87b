"""Reads YAML strictly: a key that stands twice is an error, not a silent choice of the last one."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from lorem_openmm.errors import ConfigError
from lorem_openmm.files import expand_home

MERGE = "tag:yaml.org,2002:merge"


def read_yaml(path: str | Path) -> dict[str, Any]:
    """Reads a mapping from a YAML file (JSON is YAML too).

    Merge keys (``<<``) are taken in; what a mapping says itself goes before what it takes in.

    Args:
        path: The file; a byte order mark at its start is allowed.

    Raises:
        ConfigError: If the file cannot be read, is not YAML in UTF-8, names a key twice, or is not a mapping.
    """
    path = Path(expand_home(str(path)))
    text = _text(path)
    try:
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        faults = list(_repeated(node, "", set()))
        values = None if faults or node is None else loader.construct_document(node)
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not valid YAML: {error}") from None
    except RecursionError:
        raise ConfigError(f"{path}: not valid YAML: sections in sections without end") from None
    except ValueError as error:  # of a date or a number that looks like one but is not
        raise ConfigError(f"{path}: not valid YAML: {error}; put the value into quotes") from None
    if faults:
        raise ConfigError(f"{path}: {len(faults)} fault(s)\n" + "\n".join(f"  {fault}" for fault in faults))
    if not isinstance(values, dict):
        received = "an empty file" if values is None else type(values).__name__
        raise ConfigError(f"{path}: must be a mapping of sections, received {received}")
    return values


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{path}: must be a text file in UTF-8, but its byte {error.start} is not ({error.reason}). Is it the "
            "configuration? If so, save it as UTF-8"
        ) from None


def _repeated(node: yaml.Node | None, where: str, seen: set[int]) -> Iterator[str]:
    """Yields a line for each key that stands twice in one mapping."""
    if node is None or id(node) in seen:  # an alias leads to the same node again
        return
    seen.add(id(node))
    if isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            yield from _repeated(item, f"{where}{index}.", seen)
    if not isinstance(node, yaml.MappingNode):
        return
    lines: dict[str, int] = {}
    for key, value in node.value:
        name, line = str(key.value), key.start_mark.line + 1
        if name in lines:
            advice = "write `<<: [*first, *second]`" if key.tag == MERGE else "remove or rename one"
            yield f"{where}{name}: stands twice, in lines {lines[name]} and {line}; {advice}"
        lines[name] = line
        yield from _repeated(value, f"{where}{name}.", seen)
