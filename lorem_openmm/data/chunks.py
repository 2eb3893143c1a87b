"""Extended XYZ files in pieces of whole frames, which may be read in any order and in several processes."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from lorem_openmm.data.extxyz import Keys, parse_frames
from lorem_openmm.data.frames import Frames
from lorem_openmm.data.layout import check_layout, open_text
from lorem_openmm.errors import DataError

CHUNK_BYTES = 2**20  # decides the pieces, never the number of processes: about 1500 frames of 6 atoms
_READ_BYTES = 2**21


class Chunk(NamedTuple):
    """Whole frames of a file.

    Attributes:
        path: The file.
        start: first byte.
        n_bytes: length; 0: all the file, whose lines end in an unusual way.
        first: number of the first frame.
        n_frames: number of frames.
    """

    path: Path
    start: int
    n_bytes: int
    first: int
    n_frames: int


def split_file(path: Path, chunk_bytes: int = CHUNK_BYTES) -> tuple[list[Chunk], str]:
    """Finds the frames of a file by its newlines and atom counts.

    Args:
        path: The file.
        chunk_bytes: A chunk ends with the first frame that brings it to this size.

    Returns:
        The chunks, and the SHA-256 of the file.

    Raises:
        DataError: If the file cannot be read or its layout is wrong.
    """
    try:
        with path.open("rb") as stream:
            chunks, sha256 = _Splitter(path, chunk_bytes).split(stream)
    except OSError:
        with open_text(path):  # raises with advice
            raise
    if not chunks:
        n_frames = check_layout(path)  # raises, unless lines end in an unusual way
        chunks = [Chunk(path, 0, 0, 0, n_frames)]
    return chunks, sha256


def read_chunk(chunk: Chunk, keys: Keys) -> Frames:
    """Reads the frames of a chunk.

    Args:
        chunk: Which.
        keys: Names of the labels.

    Raises:
        DataError: If a frame breaks a rule. Where the file's layout is wrong, ``check_layout`` says it better.
    """
    if chunk.n_bytes == 0:
        with open_text(chunk.path) as stream:
            return parse_frames(stream.read().rstrip() + "\n", keys, str(chunk.path), 0)
    with chunk.path.open("rb") as binary:
        binary.seek(chunk.start)
        content = binary.read(chunk.n_bytes)
    try:
        text = content.decode("utf-8").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise DataError(f"{chunk.path}: not a text file in UTF-8 ({error}). Give extended XYZ.") from None
    return parse_frames(text, keys, str(chunk.path), chunk.first)


def read_frames(path: Path, energy_key: str, forces_key: str, stress_key: str | None) -> Iterator[Frames]:
    """Reads a file chunk by chunk.

    Args:
        path: The file.
        energy_key: Name of the total energy.
        forces_key: Name of the forces.
        stress_key: Name of the stress; None: not read.

    Raises:
        DataError: If a frame breaks a rule.
    """
    keys = Keys(energy_key, forces_key, stress_key)
    for chunk in split_file(path)[0]:
        yield read_chunk(chunk, keys)


class _Splitter:
    """Walks from atom count to atom count; it gives up on whatever is unusual, and ``check_layout`` decides."""

    def __init__(self, path: Path, chunk_bytes: int) -> None:
        self.path, self.chunk_bytes = path, chunk_bytes
        self.chunks: list[Chunk] = []
        self.start = self.end = 0  # of the chunk that grows, in bytes
        self.first = self.n_frames = 0

    def split(self, stream: BinaryIO) -> tuple[list[Chunk], str]:
        digest, rest, usual, lone_returns = hashlib.sha256(), b"", True, 0
        while block := stream.read(_READ_BYTES):
            digest.update(block)
            lone_returns += block.count(b"\r") - (rest[-1:] + block).count(b"\r\n")
            rest += block
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
            self.chunks.append(Chunk(self.path, self.start, self.end - self.start, self.first, self.n_frames))
        self.start, self.first, self.n_frames = self.end, self.first + self.n_frames, 0
