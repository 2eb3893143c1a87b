"""Arrays that grow on disk, for data larger than memory."""

from pathlib import Path
from typing import BinaryIO

import numpy as np

_COPIED_AT_ONCE = 2**20


class Spool:
    """Arrays of a known row shape that are appended to, in a folder that the caller removes.

    Integers are kept in the narrowest signed type that holds all of them: neighbour lists are most of a store.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._streams: dict[str, BinaryIO] = {}
        self._types: dict[str, np.dtype] = {}
        self._shapes: dict[str, tuple[int, ...]] = {}

    def append(self, name: str, values: np.ndarray) -> None:
        """Adds rows.

        Args:
            name: Name of the array.
            values: [n_rows, …]; a wider integer type than before widens the array.
        """
        if name not in self._streams:
            self._streams[name] = self._path(name, values.dtype).open("wb")
            self._types[name], self._shapes[name] = values.dtype, values.shape[1:]
        elif values.dtype.itemsize > self._types[name].itemsize:
            self._widen(name, values.dtype)
        values.astype(self._types[name], copy=False).tofile(self._streams[name])

    def arrays(self) -> dict[str, np.ndarray]:
        """Returns all arrays as views of their files; nothing may be appended afterwards."""
        return {name: self._view(name) for name in self._streams}

    def close(self) -> None:
        """Closes the files."""
        for stream in self._streams.values():
            stream.close()

    def _path(self, name: str, dtype: np.dtype) -> Path:
        return self.folder / f"{name}.{dtype}"

    def _view(self, name: str) -> np.ndarray:
        self._streams[name].flush()
        path, shape = Path(self._streams[name].name), self._shapes[name]
        if path.stat().st_size == 0:  # cannot be mapped
            return np.zeros((0, *shape), self._types[name])
        return np.asarray(np.memmap(path, self._types[name], "r")).reshape(-1, *shape)

    def _widen(self, name: str, dtype: np.dtype) -> None:
        before = self._view(name)
        stream = self._path(name, dtype).open("wb")
        for start in range(0, len(before), _COPIED_AT_ONCE):
            before[start : start + _COPIED_AT_ONCE].astype(dtype).tofile(stream)
        self._streams[name].close()
        Path(self._streams[name].name).unlink()
        self._streams[name], self._types[name] = stream, dtype
