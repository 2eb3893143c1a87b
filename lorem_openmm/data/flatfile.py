"""Arrays in a safetensors file, written and mapped without a copy in memory.

The safetensors package serialises in memory before it writes; here arrays may be views of larger files than that.
The bytes are those the package would write.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lorem_openmm.errors import DataError

_TYPES: dict[str, Any] = {
    "F64": np.float64,
    "F32": np.float32,
    "I64": np.int64,
    "I32": np.int32,
    "I16": np.int16,
    "I8": np.int8,
    "U8": np.uint8,
    "BOOL": np.bool_,
}
_NAMES = {np.dtype(kind): name for name, kind in _TYPES.items()}
_ORDER = ["BOOL", "U8", "I8", "I16", "I32", "F32", "F64", "I64"]  # of the package: larger types come first
_BYTES_AT_ONCE = 2**22


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray], text: str) -> None:
    """Writes arrays and a text.

    Args:
        path: The file.
        arrays: By name; little-endian numbers or booleans.
        text: Kept as the metadata ``lorem``.
    """
    names = sorted(arrays, key=lambda name: (-_ORDER.index(_NAMES[arrays[name].dtype]), name))
    header: dict[str, Any] = {"__metadata__": {"lorem": text}}
    end = 0
    for name in names:
        start, end = end, end + arrays[name].nbytes
        header[name] = {
            "dtype": _NAMES[arrays[name].dtype],
            "shape": list(arrays[name].shape),
            "data_offsets": [start, end],
        }
    head = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    head += b" " * (-len(head) % 8)
    with path.open("wb") as stream:
        stream.write(len(head).to_bytes(8, "little") + head)
        for name in names:
            for portion in _portions(arrays[name]):
                stream.write(portion)


def map_arrays(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Opens a file without reading its arrays.

    Returns:
        Read-only views of the file by name, and the JSON of the metadata ``lorem`` (empty where there is none).

    Raises:
        DataError: If the file is missing, truncated or no safetensors file.
    """
    header, start, size = _header(path)
    try:
        metadata = json.loads(header.pop("__metadata__", {})["lorem"])
    except (KeyError, TypeError, ValueError):
        metadata = {}
    end = max((entry["data_offsets"][1] for entry in header.values()), default=0)
    if size != start + end:
        raise DataError(
            f"{path}: the file must have {start + end} bytes, received {size}: it is truncated or damaged. "
            "Prepare the data set again."
        )
    content = np.asarray(np.memmap(path, dtype=np.uint8, mode="r"))  # slices of a plain array are quicker
    arrays = {
        name: content[start + entry["data_offsets"][0] : start + entry["data_offsets"][1]]
        .view(_TYPES[entry["dtype"]])
        .reshape(entry["shape"])
        for name, entry in header.items()
    }
    return arrays, metadata


def content_hash(arrays: Mapping[str, np.ndarray]) -> str:
    """Returns the SHA-256 of names, types, shapes and values of the arrays, whatever their order."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        digest.update(f"{name} {arrays[name].dtype.str} {arrays[name].shape};".encode())
        for portion in _portions(arrays[name]):
            digest.update(portion)
    return digest.hexdigest()


def _portions(array: np.ndarray) -> Iterator[memoryview]:
    """Yields the bytes of an array, some at a time."""
    rows = max(1, _BYTES_AT_ONCE // max(1, array.nbytes // max(1, len(array))))
    for start in range(0, len(array) if array.size else 0, rows):
        yield np.ascontiguousarray(array[start : start + rows]).reshape(-1).view(np.uint8).data


def _header(path: Path) -> tuple[dict[str, Any], int, int]:
    try:
        with path.open("rb") as stream:
            size = path.stat().st_size
            length = int.from_bytes(stream.read(8), "little")
            if not 2 <= length <= size - 8:
                raise ValueError("header length beyond the end")
            header = json.loads(stream.read(length))
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}). Run `lorem-openmm prepare` first.") from None
    except ValueError as error:
        raise DataError(
            f"{path}: not a whole safetensors file ({error}): it is truncated or damaged. Prepare the data set again."
        ) from None
    return header, 8 + length, size
