"""Files in chunks: the same frames wherever they are cut."""

from pathlib import Path

import numpy as np
import pytest
from made_frames import labelled_atoms, write_frames

from lorem_openmm.data import chunks
from lorem_openmm.data.chunks import read_chunk, split_file
from lorem_openmm.data.structures import Keys
from lorem_openmm.errors import DataError
from lorem_openmm.files import sha256_of_file

FRAME = "1\nProperties=species:S:1:pos:R:3:forces:R:3 energy={}\nO 0 0 0 1 2 3\n"


def energies(path: Path, chunk_bytes: int) -> list[float]:
    chunks, sha256 = split_file(path, chunk_bytes)
    assert sha256 == sha256_of_file(path)
    found = [read_chunk(chunk, Keys()) for chunk in chunks]
    assert [chunk.n_frames for chunk in chunks] == [len(frames) for frames in found]
    assert [s.frame for frames in found for s in frames] == list(range(sum(map(len, found))))
    return [s.energy for frames in found for s in frames]


@pytest.mark.parametrize("chunk_bytes", [1, 100, 1000, 10**6])
@pytest.mark.parametrize("read_bytes", [7, 300, 2**24])
def test_the_size_of_the_pieces_does_not_matter(tmp_path, monkeypatch, chunk_bytes, read_bytes):
    monkeypatch.setattr(chunks, "_READ_BYTES", read_bytes)
    frames = [labelled_atoms(index, periodic=index % 5 == 0) for index in range(30)]
    path = write_frames(tmp_path / "frames.xyz", frames)
    np.testing.assert_array_equal(energies(path, chunk_bytes), [atoms.get_potential_energy() for atoms in frames])
    assert (len(split_file(path, chunk_bytes)[0]) == 30) == (chunk_bytes < 200)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("read_bytes", [1, 2**24])
def test_line_ends(tmp_path, monkeypatch, end, read_bytes):
    monkeypatch.setattr(chunks, "_READ_BYTES", read_bytes)
    path = tmp_path / "frames.xyz"
    text = "".join(FRAME.format(k) for k in range(4)) + "\n \n"
    path.write_bytes(text.replace("\n", end).encode())
    assert energies(path, 1) == [0, 1, 2, 3]
    assert len(split_file(path, 1)[0]) == (1 if end == "\r" else 4)


def test_a_lone_carriage_return_ends_a_line(tmp_path):
    path = tmp_path / "frames.xyz"
    path.write_bytes((FRAME.format(0) + FRAME.format("1\rO 1 1 1 1 1 1")).encode())
    with pytest.raises(DataError, match=r"frame 2 .* must be the number of atoms"):
        split_file(path)


def test_text_behind_blank_lines_is_refused_whatever_is_read_at_once(tmp_path, monkeypatch):
    path = tmp_path / "frames.xyz"
    path.write_text(FRAME.format(0) + "\n\n" + FRAME.format(1))
    for read_bytes in (1, 70, 2**24):
        monkeypatch.setattr(chunks, "_READ_BYTES", read_bytes)
        with pytest.raises(DataError, match="blank but more text follows"):
            split_file(path)
