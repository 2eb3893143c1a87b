"""Files as people have them: marks, compression, wrong symbols and numbers, other kinds; read, or named with advice."""

import bz2
import gzip
import lzma
import os
from pathlib import Path

import numpy as np
import pytest
from helpers import read_structures
from made_frames import labelled_atoms, write_frames

from lorem_openmm import config
from lorem_openmm.data.prepare import prepare_dataset
from lorem_openmm.data.store import read_store
from lorem_openmm.errors import DataError

HEADER = 'Properties=species:S:1:pos:R:3:forces:R:3 energy=-30.5 pbc="F F F"'
FRAME = f"2\n{HEADER}\nH 0.0 0.0 0.0 0.1 0.2 0.3\nC 0.0 0.0 0.7 -0.1 -0.2 -0.3\n"


def prepare(path: Path, **settings: object) -> dict:
    return prepare_dataset(
        config.Dataset(structures=str(path), **settings), "made", None, 4.0, path.parent / "store" / "made.safetensors"
    )


def refused(path: Path) -> str:
    """What both entry points say, which must be the same."""
    with pytest.raises(DataError) as caught:
        prepare(path)
    with pytest.raises(DataError) as other:
        list(read_structures(path))
    assert str(caught.value) == str(other.value)
    return str(caught.value)


@pytest.mark.parametrize("read_bytes", [1, 2**21])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_byte_order_mark_is_not_part_of_the_text(tmp_path, monkeypatch, end, read_bytes):
    monkeypatch.setattr("lorem_openmm.data.chunks._READ_BYTES", read_bytes)
    path = tmp_path / "mark.xyz"
    path.write_bytes(b"\xef\xbb\xbf" + (FRAME * 3 + "\n").replace("\n", end).encode())
    structures = list(read_structures(path))
    assert [s.frame for s in structures] == [0, 1, 2]
    assert structures[2].forces[1, 2] == -0.3


@pytest.mark.parametrize("opener", [gzip.open, bz2.open, lzma.open])
def test_compressed_files_are_read_whatever_their_name(tmp_path, opener):
    frames = [labelled_atoms(index) for index in range(30)]
    plain = write_frames(tmp_path / "plain.xyz", frames)
    packed = tmp_path / "data"
    with opener(packed, "wb") as stream:
        stream.write(plain.read_bytes())
    prepare(packed)
    found = read_store(tmp_path / "store" / "made.safetensors")
    np.testing.assert_array_equal(found["energy"], [s.energy for s in read_structures(plain)])
    assert [s.file for s in read_structures(packed)] == [str(packed)] * 30
    packed.write_bytes(packed.read_bytes()[:-20])
    assert "cannot be unpacked" in refused(packed)
    with opener(packed, "wb") as stream:
        stream.write(FRAME.replace("C 0.0", "C1 0.0").encode())
    assert refused(packed).startswith(f"{packed}, frame 0 (counted from 0): line 4 (atom 1 of 2): the symbol")


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("D", "Isotopes differ in mass only, which the energy does not depend on: write H."),
        ("t", "write H."),
        ("6", "atomic number of C: write C, or name the column Z:I:1"),
        ("C1", "write C if"),
        ("Cl-", "write Cl if"),
        ("na+", "write Na if"),
        ("O_w", "write O if"),
        ("Qq", "Write the element"),
        ("0", "Write the element"),
        ("Å", "Write the element"),
    ],
)
def test_symbols_that_are_no_elements(tmp_path, word, expected):
    path = tmp_path / "made.xyz"
    path.write_text(FRAME * 2 + FRAME.replace("C 0.0", f"{word} 0.0"), encoding="utf-8")
    message = refused(path)
    assert message.startswith(f"{path}, frame 2 (counted from 0): line 12 (atom 1 of 2): the symbol of an atom must be")
    assert f"received '{word}'" in message
    assert expected in message


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("1.0D+00", "write E for D"),
        ("-3.5d-2", "write E for D"),
        ("********", "too few places"),
        ("0,25", "a point, not a comma"),
        ("--", "Correct the file"),
        ("1..5", "Correct the file"),
    ],
)
def test_numbers_that_are_none(tmp_path, word, expected):
    path = tmp_path / "made.xyz"
    path.write_text(FRAME + FRAME.replace("0.7", word))
    message = refused(path)
    assert message.startswith(f"{path}, frame 1 (counted from 0): line 8 (atom 1 of 2): column 4 must be a number")
    assert expected in message
    path.write_text(FRAME + FRAME.replace("-30.5", word))
    message = refused(path)
    assert "frame 1 (counted from 0): the energy 'energy' must be" in message
    assert expected in message or (word == "0,25" and "a point, not a comma" in message)


OTHER_KINDS = {
    "utf16": (FRAME.encode("utf-16"), "UTF-16. Save it in UTF-8"),
    "utf16 without mark": (FRAME.encode("utf-16-le"), "not text"),
    "zeros after a crash": (bytes(5000), "not text"),
    "latin1": (FRAME.replace("energy", "name=Å energy").encode("latin-1"), "not a text file in UTF-8"),
    "zstd": (b"\x28\xb5\x2f\xfd" + bytes(9), "unzstd"),
    "pickle": (b"\x80\x04\x95" + bytes(9), "pickle"),
    "npy": (b"\x93NUMPY\x01" + bytes(9), "one .npz file"),
    "web page": (b"<!DOCTYPE html>\n<html>", "a web page"),
    "pdb": (b"CRYST1   10.000   10.000\nATOM\n", "does not look like extended XYZ. Data sets are read from"),
    "plain xyz": (b"1\nhydrogen\nH 0 0 0\n", "no energy under the name 'energy'"),
    "plain xyz with forces": (b"1\nenergy=3\nH 0 0 0 0 0 0\n", "Properties=species:S:1:pos:R:3:forces:R:3"),
    "nothing": (b"", "holds no frames"),
    "a mark alone": (b"\xef\xbb\xbf", "holds no frames"),
    "blank lines": (b"\n\n", "holds no frames"),
}


@pytest.mark.parametrize("kind", OTHER_KINDS)
def test_other_kinds_of_files(tmp_path, kind):
    content, expected = OTHER_KINDS[kind]
    path = tmp_path / "made.xyz"
    path.write_bytes(content)
    message = refused(path)
    assert message.startswith(str(path))
    assert expected in message


def test_what_is_no_regular_file(tmp_path):
    assert "Is a directory). Name the files" in refused_before(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    assert "a pipe or a device" in refused_before(tmp_path / "pipe")
    assert "a pipe or a device" in refused_before(Path("/dev/zero"))
    assert "relative paths start" in refused_before(tmp_path / "absent")


def refused_before(path: Path) -> str:
    with pytest.raises(DataError, match=str(path)) as caught:
        list(read_structures(path))
    return str(caught.value)
