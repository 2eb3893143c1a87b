"""Files in chunks of whole frames, which may be read in any order and in several processes."""

import hashlib
from codecs import BOM_UTF8
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from lorem_openmm.data.array_files import Part, list_parts, read_parts
from lorem_openmm.data.ase_files import count_frames, read_atoms
from lorem_openmm.data.conversion import Conversion, convert
from lorem_openmm.data.extxyz import parse_frames
from lorem_openmm.data.extxyz_layout import check_layout, not_readable, open_text
from lorem_openmm.data.formats import DB, HDF5, NPZ, TRAJ, XYZ, find_format
from lorem_openmm.data.frames import Frames, join_frames
from lorem_openmm.data.structures import Keys, Structure, from_atoms
from lorem_openmm.errors import DataError
from lorem_openmm.files import sha256_of_file

CHUNK_BYTES = 2**20  # decides the chunks, never the number of processes: about 1500 frames of 6 atoms
_READ_BYTES = 2**21
_FRAMES_AT_ONCE = 1000
_AS_IT_IS = Conversion()


class Chunk(NamedTuple):
    """Whole frames of a file.

    Attributes:
        path: The file.
        start: first byte.
        n_bytes: length; 0: all the file, whose lines end in an unusual way.
        first: number of the first frame.
        n_frames: number of frames.
        name: Name of the file in errors, where ``path`` is its unpacked content.
        kind: its format; of all but extended XYZ, the bytes mean nothing.
        parts: Parts of .npz and HDF5, the frames by group.
    """

    path: Path
    start: int
    n_bytes: int
    first: int
    n_frames: int
    name: str
    kind: str = XYZ
    parts: tuple[Part, ...] = ()


def split_file(path: Path, chunk_bytes: int = CHUNK_BYTES, name: str | None = None) -> tuple[list[Chunk], str]:
    """Finds the frames of a file by its newlines and atom counts.

    Args:
        path: The file, unpacked.
        chunk_bytes: A chunk ends with the first frame that brings it to this size.
        name: Its name in errors, where it is the content of another file.

    Returns:
        The chunks, and the SHA-256 of the file.

    Raises:
        DataError: If the file cannot be read or its layout is wrong.
    """
    name = name or str(path)
    if (kind := find_format(path, name)) != XYZ:
        return _chunks(path, kind, name), sha256_of_file(path)
    try:
        with path.open("rb") as stream:
            chunks, sha256 = _Splitter(path, chunk_bytes, name).split(stream)
    except OSError as error:
        raise not_readable(path, error) from None
    if not chunks:
        n_frames = check_layout(path, name)  # raises, unless lines end in an unusual way
        chunks = [Chunk(path, 0, 0, 0, n_frames, name)]
    return chunks, sha256


def _chunks(path: Path, kind: str, name: str) -> list[Chunk]:
    """Divides the frames of a file that is not extended XYZ."""
    if kind in (NPZ, HDF5):
        parts = [tuple(group) for group in list_parts(path, kind, name, _FRAMES_AT_ONCE)]
        counts = [sum(part.n_frames for part in group) for group in parts]
    else:
        n_frames = count_frames(path, kind, name)
        at_once = _FRAMES_AT_ONCE if kind in (TRAJ, DB) else max(n_frames, 1)  # others are read from their beginning
        counts = [min(at_once, n_frames - start) for start in range(0, n_frames, at_once)]
        parts = [()] * len(counts)
    if not counts:
        raise DataError(f"{name}: holds no frames. Give a file with at least one structure.")
    first = np.cumsum([0, *counts]).tolist()
    return [
        Chunk(path, 0, 0, start, count, name, kind, group)
        for start, count, group in zip(first, counts, parts, strict=False)
    ]


def read_chunk(chunk: Chunk, keys: Keys, conversion: Conversion = _AS_IT_IS) -> Frames:
    """Reads the frames of a chunk.

    Raises:
        DataError: If a frame breaks a rule. Where the file's layout is wrong, ``check_layout`` says it better.
    """
    if chunk.kind == XYZ:
        return convert(_read_text(chunk, keys), conversion)
    if chunk.kind in (NPZ, HDF5):
        structures, units = read_parts(
            chunk.path, chunk.kind, chunk.name, chunk.parts, keys, chunk.first, conversion.units
        )
        return convert(_joined(structures), conversion._replace(units=units))
    frames = read_atoms(chunk.path, chunk.kind, chunk.name, chunk.first, chunk.n_frames)
    structures = [from_atoms(atoms, *keys, chunk.name, chunk.first + k) for k, atoms in enumerate(frames)]
    return convert(_joined(structures), conversion)


def _joined(structures: list[Structure]) -> Frames:
    for structure in structures:
        if len(structure.atomic_numbers) == 0:
            raise DataError(f"{structure.place}: a frame needs at least one atom, received none. Remove the frame.")
    return join_frames(structures)


def _read_text(chunk: Chunk, keys: Keys) -> Frames:
    """Reads the frames of a chunk of extended XYZ."""
    if chunk.n_bytes == 0:
        with open_text(chunk.path) as stream:
            return parse_frames(stream.read().rstrip() + "\n", keys, chunk.name, 0)
    with chunk.path.open("rb") as binary:
        binary.seek(chunk.start)
        content = binary.read(chunk.n_bytes)
    try:
        text = content.decode("utf-8").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise DataError(f"{chunk.name}: not a text file in UTF-8 ({error}). Give extended XYZ.") from None
    return parse_frames(text, keys, chunk.name, chunk.first)


def explain(chunk: Chunk) -> None:
    """Says what is wrong with the file of a chunk that cannot be read, if its layout, symbols or numbers are.

    What is wrong with the layout comes before all else, and lines are counted in the file.

    Raises:
        DataError: If something is.
    """
    if chunk.kind == XYZ:
        check_layout(chunk.path, chunk.name)
        check_layout(chunk.path, chunk.name, words=True)


class _Splitter:
    """Walks from atom count to atom count; it gives up on whatever is unusual, and ``check_layout`` decides."""

    def __init__(self, path: Path, chunk_bytes: int, name: str) -> None:
        self.path, self.chunk_bytes, self.name = path, chunk_bytes, name
        self.chunks: list[Chunk] = []
        self.start = self.end = 0  # of the chunk that grows, in bytes
        self.first = self.n_frames = 0

    def split(self, stream: BinaryIO) -> tuple[list[Chunk], str]:
        digest, rest, usual, lone_returns = hashlib.sha256(), b"", True, 0
        if stream.read(len(BOM_UTF8)) == BOM_UTF8:
            self.start = self.end = len(BOM_UTF8)
            digest.update(BOM_UTF8)
        else:
            stream.seek(0)
        while content := stream.read(_READ_BYTES):
            digest.update(content)
            lone_returns += content.count(b"\r") - (rest[-1:] + content).count(b"\r\n")
            rest += content
            if usual:
                usual, used = self._walk(rest)
            rest = rest[used:] if usual else rest[-1:]
        self._close()
        whole = usual and lone_returns == 0 and not rest.strip()
        return (self.chunks if whole else []), digest.hexdigest()

    def _walk(self, text: bytes) -> tuple[bool, int]:
        """Passes over the whole frames at the start of ``text``; whether all was usual, and the bytes passed."""
        ends = np.flatnonzero(np.frombuffer(text, np.uint8) == 10).tolist()
        line, place = 0, 0
        while line < len(ends):
            try:
                n_atoms = int(text[place : ends[line]])
            except ValueError:
                return not text[place:].strip(), place  # blank lines at the end are usual
            if n_atoms < 1:
                return False, place
            line += n_atoms + 2
            if line > len(ends):
                break
            self.end += ends[line - 1] + 1 - place
            place = ends[line - 1] + 1
            self.n_frames += 1
            if self.end - self.start >= self.chunk_bytes:
                self._close()
        return True, place

    def _close(self) -> None:
        if self.n_frames:
            self.chunks.append(
                Chunk(self.path, self.start, self.end - self.start, self.first, self.n_frames, self.name)
            )
        self.start, self.first, self.n_frames = self.end, self.first + self.n_frames, 0
