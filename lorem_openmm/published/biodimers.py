"""The published dimers: the same frames with the growth of the separation as one more number."""

import re
from pathlib import Path
from typing import TextIO

from lorem_openmm.data.extxyz_layout import check_layout
from lorem_openmm.errors import DataError

LABELS = ("AA", "CA", "CC", "CP", "PA", "PP")
_NUMBERS = ("energy", "distance", "distance_initial", "energyA", "energyB")


def convert_biodimers(source: Path, stream: TextIO) -> int:
    """Copies every frame and adds ``separation_growth`` = distance − distance_initial in Å.

    Atoms, boxes and all other entries stay as they are, digit by digit.

    Returns:
        The number of frames.

    Raises:
        DataError: If the file is cut off, or a frame lacks an entry; file and frame are named.
    """
    n_frames = check_layout(source)
    with source.open(encoding="utf-8") as frames:
        for frame in range(n_frames):
            header = frames.readline()
            comment = frames.readline().rstrip("\n")
            growth = _growth(comment, f"{source}, frame {frame} (counted from 0)")
            stream.write(f"{header}{comment} separation_growth={growth!r}\n")
            for _ in range(int(header)):
                stream.write(frames.readline())
    return n_frames


def _growth(comment: str, place: str) -> float:
    entries = dict(re.findall(r"(\w+)=(\"[^\"]*\"|\S+)", comment))
    try:
        values = {key: float(entries[key]) for key in _NUMBERS}
    except KeyError as error:
        raise DataError(
            f"{place}: needs the entries {', '.join(_NUMBERS)} and label; {error} is missing. It has: "
            f"{', '.join(entries) or 'none'}."
        ) from None
    except ValueError as error:
        raise DataError(f"{place}: {', '.join(_NUMBERS)} must be numbers ({error}).") from None
    if entries.get("label") not in LABELS:
        raise DataError(f"{place}: label must be one of {', '.join(LABELS)}, received {entries.get('label')}.")
    if "forces:R:3" not in entries.get("Properties", ""):
        raise DataError(f"{place}: needs a column `forces:R:3`, received Properties={entries.get('Properties')}.")
    return values["distance"] - values["distance_initial"]
