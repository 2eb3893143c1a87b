"""What kind of file holds the structures: told by its first bytes, not by its name; compressed files are unpacked."""

import bz2
import gzip
import lzma
import shutil
import stat
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import IO

from lorem_openmm.data.extxyz_layout import READ_FORMATS, not_readable
from lorem_openmm.errors import DataError

XYZ = "extended XYZ"
TRAJ, DB, VASP_XML, OUTCAR = "traj", "db", "vasp-xml", "vasp-out"  # ASE's names of its formats
NPZ, HDF5 = "npz", "hdf5"

_COMPRESSED: dict[bytes, Callable[[Path], IO[bytes]]] = {
    b"\x1f\x8b": gzip.open,  # type: ignore[dict-item]
    b"BZh": bz2.open,
    b"\xfd7zXZ\x00": lzma.open,
}
_BINARY = {
    b"- of Ulm": TRAJ,
    b"SQLite format 3\x00": DB,
    b"PK\x03\x04": NPZ,
    b"\x89HDF\r\n\x1a\n": HDF5,
}
_REFUSED = {
    b"\x28\xb5\x2f\xfd": "is compressed by zstd. Unpack it first (`unzstd`).",
    b"7z\xbc\xaf": "is a 7z archive. Unpack it first.",
    b"\x93NUMPY": "is a single NumPy array. Give elements, positions, energies and forces in one .npz file.",
    b"CDF": "is a NetCDF file, which holds no energies. Give the labels with the structures.",
    b"\xff\xfe": "is text in UTF-16. Save it in UTF-8.",
    b"\xfe\xff": "is text in UTF-16. Save it in UTF-8.",
    b"\x80": "is a pickle, which could run any program when it is read. Write the structures in another format.",
}
_FIRST_BYTES = 4096


def find_format(path: Path, name: str | None = None, advice: str = READ_FORMATS) -> str:
    """Returns the format of a file that is not compressed.

    Args:
        path: The file.
        name: Its name in errors, where it is a copy of another one.
        advice: What is read, for errors.

    Raises:
        DataError: If it cannot be read, or is of a kind that no reader takes.
    """
    name, head = name or str(path), _head(path)
    for magic, kind in _BINARY.items():
        if head.startswith(magic):
            return kind
    for magic, what in _REFUSED.items():
        if head.startswith(magic):
            raise DataError(f"{name}: {what}")
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if text.startswith(b"<?xml") and b"<modeling" in text:
        return VASP_XML
    if text.startswith(b"vasp."):
        return OUTCAR
    if text.startswith(b"<"):
        first_line = text.split(b"\n", 1)[0][:40].decode("utf-8", "replace").strip()
        raise DataError(f"{name}: is XML or a web page, received '{first_line}'. {advice}")
    if b"\x00" in head:
        raise DataError(f"{name}: is not text: its first {len(head)} bytes hold zeros. {advice}")
    return XYZ


def unpack(path: Path, folder: Path) -> Path:
    """Returns a file as it is, or its content in a folder if it is compressed by gzip, bzip2 or xz.

    Args:
        path: The file.
        folder: Where the content goes; the caller removes it.

    Raises:
        DataError: If it cannot be read, or is damaged.
    """
    head = _head(path)
    opener = next((opener for magic, opener in _COMPRESSED.items() if head.startswith(magic)), None)
    if opener is None:
        return path
    number = sum(1 for _ in folder.iterdir())
    target = folder / f"unpacked-{number}"
    with target.open("wb") as output:  # a full disk is no fault of the data
        try:
            with opener(path) as stream:
                shutil.copyfileobj(stream, output, 2**20)
        except (EOFError, gzip.BadGzipFile, lzma.LZMAError, zlib.error, OSError) as error:
            if isinstance(error, OSError) and error.errno:
                raise
            raise DataError(
                f"{path}: cannot be unpacked ({error}): it was cut off or damaged. Copy or compress it again."
            ) from None
    return target


def _head(path: Path) -> bytes:
    """Reads the first bytes of a regular file."""
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
            raise DataError(
                f"{path}: must be a regular file, because it is read more than once; received a pipe or a device. "
                "Write the data to a file first."
            )
        with path.open("rb") as stream:
            return stream.read(_FIRST_BYTES)
    except OSError as error:
        raise not_readable(path, error) from None
