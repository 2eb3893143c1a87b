"""The quick reader gives what ASE gives, and takes its own way where it should."""

from io import StringIO
from pathlib import Path

import ase.io
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_frames import labelled_atoms, write_frames

from lorem_openmm.data import extxyz
from lorem_openmm.data.extxyz import parse_frames
from lorem_openmm.data.structures import Keys, Structure, from_atoms
from lorem_openmm.errors import DataError

COLUMNS = "Properties=species:S:1:pos:R:3:forces:R:3"
ATOMS = "H 0.0 0.0 0.0 0.1 0.2 0.3\nCl 0.0 1e-1 .7 -0.1 -2 -0.30\n"
BOX = 'Lattice="5 0 0 1 6 0 2 3 7.5"'


def through_ase(text: str, keys: Keys) -> Structure:
    return from_atoms(ase.io.read(StringIO(text), index=0, format="extxyz"), *keys, "made.xyz", 3)


def assert_same(ours: Structure, theirs: Structure) -> None:
    for name in ("atomic_numbers", "positions", "cell", "forces", "stress"):
        np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name), err_msg=name)
    assert repr((ours.energy, ours.periodic, ours.place)) == repr((theirs.energy, theirs.periodic, theirs.place))
    assert ours.info.keys() == theirs.info.keys()
    for key, value in theirs.info.items():
        assert type(ours.info[key]) is type(value), key
        np.testing.assert_equal(ours.info[key], value)


def compare(text: str, keys: Keys = Keys()) -> None:  # noqa: B008 (immutable)
    """Both read the same, or both refuse."""
    try:
        expected = through_ase(text, keys)
    except Exception:
        with pytest.raises(DataError, match=r"made.xyz, frame 3 \(counted from 0\)"):
            parse_frames(text, keys, "made.xyz", 3)
        return
    (found,) = parse_frames(text, keys, "made.xyz", 3)
    assert_same(found, expected)


@pytest.fixture
def without_ase(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object) -> None:
        raise AssertionError("went through ASE")

    monkeypatch.setattr(extxyz, "_with_ase", refuse)


COMMON = [
    f"{COLUMNS} energy=-1.5",
    f"energy=-1.5e+03 {COLUMNS}   ",
    f'{COLUMNS} energy=7 pbc="F F F" label=AA n=3 big=123456789012345678 x=-.5 y=+5. z=1e400',
    f'{COLUMNS} energy=-1 {BOX} pbc="T T T" charge=-1 note="two words" path=a/b.c:d(1)',
    f'{COLUMNS} energy=-1 {BOX} stress="1 2 3 2 4 5 3 5 6" virial="1 2 3 4 5 6 7 8 9"',
    f'{COLUMNS} energy=-1 free_energy=-1 magmom=0 dipole="0.1 0.2 0.3" vector="1 2 3" mixed="1 2.5" quoted="5"',
    f'{COLUMNS} energy=nan flag=T other=False several="T F T" word=none near=infinite not=1.2.3 e=e5',
    f"{COLUMNS} energy=-1 energy=-2 twice=1 twice=two",
]


@pytest.mark.parametrize("comment", COMMON)
def test_common_comments_need_no_ase(comment, without_ase):
    compare(f"2\n{comment}\n{ATOMS}", Keys(stress="stress" if "stress" in comment else None))


ODD = [
    f"{COLUMNS} energy=-1 lonely",
    f"{COLUMNS} energy=-1 a='single quotes' b={{1 2}} c=[3 4] d=\"with 'inner' [ones]\"",
    f'{COLUMNS} energy=-1 a=1,2,3 b="4, 5" uid=007 c=007 d=0x10 e=1_000 f=1e5 g=-0 h=99999999999999999999',
    f'{COLUMNS} energy=-1 a="" b= c',
    f'{COLUMNS} energy=-1 a="  " b=2',
    f"{COLUMNS}\tenergy=-1\ta=5",
    f"{COLUMNS} energy=-1 name=Å µ=3",
    f'{COLUMNS} energy=-1 a="es\\"caped" b=back\\ slash',
    f'{COLUMNS} energy=-1 a="_JSON [1, 2]" b="_JSON {{}}" b=x=y',
    f'{COLUMNS} energy=-1 "quoted key"=3 9=nine _a=1 a-b=2 ä=1',
    f"{COLUMNS} energy = -1",
    f"{COLUMNS} energy=-1 pbc=F",
    f"{COLUMNS} energy=-1 pbc=T {BOX}",
    f'{COLUMNS} energy=-1 pbc="1 1 1" {BOX}',
    f'{COLUMNS} energy=-1 pbc="T T F" {BOX}',
    f'{COLUMNS} energy=-1 pbc="T T"',
    f'{COLUMNS} energy=-1 pbc="T T T"',
    f'{COLUMNS} energy=-1 Lattice="5 0 0 0 5 0"',
    f'{COLUMNS} energy=-1 Lattice="5 0 0 0 5 0 5 5 0"',
    f'{COLUMNS} energy=-1 {BOX} stress="1 2 3 4 5 6"',
    f"{COLUMNS} energy=low",
    f'{COLUMNS} energy="1 2"',
    f"{COLUMNS} energy=T",
    f"{COLUMNS} dft_energy=1",
    f"{COLUMNS} energy=-1 dipole=far magmom=x",
    "energy=-1",
    "",
    f"{COLUMNS}:R energy=-1",
    f"{COLUMNS}:x:Q:1 energy=-1",
    'Properties="species:S:1:pos:R:3:forces:R:3" energy=-1',
    'Properties="species:S:1:pos:R:3:forces:R:3" energy="-1" {BOX}',
]


@pytest.mark.parametrize("comment", ODD)
def test_odd_comments(comment):
    compare(f"2\n{comment}\n{ATOMS}")


@pytest.mark.parametrize(
    ("columns", "atoms"),
    [
        ("pos:R:3:species:S:1:forces:R:3", "0 0 0 H 1 2 3\n0 0 1 O 4 5 6\n"),
        ("forces:R:3:pos:R:3:species:S:1", "1 2 3 0 0 0 H\n4 5 6 0 0 1 O\n"),
        ("species:S:1:pos:R:3:forces:R:3:tag:I:1:name:S:2", "h 0 0 0 1 2 3 7 a b\nCL 0 0 1 4 5 6 -8 c d\n"),
        ("species:S:1:pos:R:3:forces:R:3:mm_forces:R:3:charges:R:1", "H 0 0 0 1 2 3 4 5 6 7\nO 0 0 1 4 5 6 7 8 9 0\n"),
        ("species:S:1:pos:R:3:Z:I:1:forces:R:3", "H 0 0 0 9 1 2 3\nO 0 0 1 9 4 5 6\n"),
        ("Z:I:1:pos:R:3:forces:R:3", "1 0 0 0 1 2 3\n8 0 0 1 4 5 6\n"),
        ("species:S:1:pos:R:3:forces:R:3:fixed:L:1", "H 0 0 0 1 2 3 T\nO 0 0 1 4 5 6 F\n"),
        ("species:S:1:pos:R:3:forces:R:3:move_mask:L:1", "H 0 0 0 1 2 3 T\nO 0 0 1 4 5 6 F\n"),
        ("species:S:1:pos:R:3:forces:R:3:energy:R:1", "H 0 0 0 1 2 3 5\nO 0 0 1 4 5 6 5\n"),
        ("species:S:1:pos:R:3:forces:R:3:forces:R:3", "H 0 0 0 1 2 3 5 5 5\nO 0 0 1 4 5 6 5 5 5\n"),
        ("species:S:1:pos:R:3:forces:R:3:tag:I:1", "H 0 0 0 1 2 3 1.5\nO 0 0 1 4 5 6 2\n"),
        ("species:S:1:pos:R:3:forces:R:3:tag:I:1", "H 0 0 0 1 2 3 99999999999\nO 0 0 1 4 5 6 2\n"),
        ("species:S:1:pos:R:3:forces:R:3:x:R:1", "H 0 0 0 1 2 3 nan\nO 0 0 1 4 5 6 x\n"),
        ("species:S:1:pos:R:3:forces:R:3", "H 0 0 0 1 2 nan\nO 0 0 inf 4 5 1_0\n"),
        ("species:S:1:pos:R:3:forces:R:3", "Qq 0 0 0 1 2 3\nO 0 0 1 4 5 6\n"),
        ("species:S:1:pos:R:3:forces:R:3", "X 0 0 0 1 2 3\nO 0 0 1 4 5 6\n"),
        ("species:S:1:pos:R:3:forces:I:3", "H 0 0 0 1 2 3\nO 0 0 1 4 5 6\n"),
        ("species:S:1:pos:R:3:forces:R:1:forces:R:2", "H 0 0 0 1 2 3\nO 0 0 1 4 5 6\n"),
        ("species:S:1:pos:R:2:forces:R:3:x:R:1", "H 0 0 0 1 2 3\nO 0 0 1 4 5 6\n"),
    ],
)
def test_columns(columns, atoms):
    for keys in (Keys(), Keys(forces="mm_forces"), Keys(energy="forces")):
        compare(f"2\nProperties={columns} energy=-3.5\n{atoms}", keys)


def test_further_columns_need_no_ase(without_ase):
    columns = "species:S:1:tag:I:1:pos:R:3:x:R:2:forces:R:3:name:S:1:mm_forces:R:3"
    atoms = "H -1 0 0 0 5 6 1 2 3 a 7 8 9\nO 2 0 0 1 5 6 4 5 6 b 7 8 -9\n"
    for keys in (Keys(), Keys(forces="mm_forces")):
        compare(f"2\nProperties={columns} energy=-3.5\n{atoms}", keys)


WORDS = st.text(st.sampled_from("aZ_09.eE+-TF/:(,'= \"{[\\é"), min_size=1, max_size=6)
VALUES = st.one_of(
    WORDS,
    WORDS.map(lambda word: f'"{word}"'),
    st.floats().map(repr),
    st.integers(-(10**20), 10**20).map(str),
    st.lists(st.one_of(st.integers(-9, 9).map(str), st.floats().map(repr)), min_size=1, max_size=9).map(
        lambda values: '"' + " ".join(values) + '"'
    ),
)
KEYS = st.sampled_from(["a", "b", "energy", "free_energy", "stress", "virial", "pbc", "Lattice", "uid", "dipole"])


@settings(max_examples=400, deadline=None)
@given(st.lists(st.tuples(KEYS, VALUES), max_size=4), st.sampled_from([None, "stress", "virial", "a"]))
def test_any_comment(entries, stress_key):
    extra = " ".join(f"{key}={value}" for key, value in entries)
    compare(f"2\nenergy=-1.25 {COLUMNS} {extra}\n{ATOMS}", Keys(stress=stress_key))


def test_what_ase_writes_needs_no_ase_to_read(tmp_path: Path, without_ase):
    frames = [labelled_atoms(index, periodic=index % 3 == 0, stress=index % 3 == 0) for index in range(40)]
    text = write_frames(tmp_path / "frames.xyz", frames).read_text()
    expected = ase.io.read(tmp_path / "frames.xyz", index=":", format="extxyz")
    found = parse_frames(text, Keys(stress="stress"), "made.xyz", 100)
    assert len(found) == 40
    for index, (ours, atoms) in enumerate(zip(found, expected, strict=True)):
        assert_same(ours, from_atoms(atoms, stress_key="stress", file="made.xyz", frame=100 + index))


def test_odd_frames_among_common_ones_keep_their_places():
    other = "1\nProperties=species:S:1:forces:R:3:pos:R:3 energy=2\nO 1 2 3 4 5 6\n"
    lonely = f"2\n{COLUMNS} energy=3 lonely\n{ATOMS}"
    common = f"2\n{COLUMNS} energy=1\n{ATOMS}"
    order = [common, common, lonely, other, other, lonely, lonely, common]
    found = parse_frames("".join(order), Keys(), "made.xyz", 5)
    assert found.arrays["energy"].tolist() == [1, 1, 3, 2, 2, 3, 3, 1]
    assert [structure.frame for structure in found] == list(range(5, 13))
    assert found.arrays["sizes"].tolist() == [2, 2, 2, 1, 1, 2, 2, 2]
    assert found[3].forces.tolist() == [[1, 2, 3]]
    bad = common.replace("0.3\n", "0.3x\n")
    with pytest.raises(DataError, match=r"frame 9 .* must be a number, received '0.3x'"):
        parse_frames("".join([*order[:4], bad, *order[5:]]), Keys(), "made.xyz", 5)


def test_columns_that_only_add_up_over_two_lines_are_refused():
    named = ATOMS.replace("\n", " name\n")
    shifted = ATOMS.replace("Cl", "name Cl").replace("-0.30\n", "-0.30 name\n")
    assert named.split() == shifted.split()
    comment = f"{COLUMNS}:name:S:1 energy=1"
    with pytest.raises(DataError, match=r"frame 4 .* must have 8 columns"):
        parse_frames(f"2\n{comment}\n{named}2\n{comment}\n{shifted}", Keys(), "made.xyz", 3)


def test_arrays_of_equal_text_are_not_shared():
    text = f'2\n{COLUMNS} energy=1 vector="1 2 3"\n{ATOMS}' * 2
    first, second = parse_frames(text, Keys(), "made.xyz", 0)
    first.info["vector"][0] = 9
    assert second.info["vector"].tolist() == [1, 2, 3]


@pytest.mark.reference_data
@pytest.mark.parametrize("file", ["gnl_cumulene/train.xyz", "water_rpbe_d3/train.xyz", "biodimers_curves/test-id0.xyz"])
def test_reference_files(reference_data: Path, file: str, without_ase):
    expected = ase.io.read(reference_data / file, index=":", format="extxyz")
    found = parse_frames((reference_data / file).read_text(), Keys(), "made.xyz", 0)
    for frame, (ours, atoms) in enumerate(zip(found, expected, strict=True)):
        assert_same(ours, from_atoms(atoms, file="made.xyz", frame=frame))
