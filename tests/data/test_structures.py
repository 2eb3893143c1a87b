"""Reading extended XYZ: labels under any key, and a clear error for every kind of damage."""

from pathlib import Path

import numpy as np
import pytest
from helpers import read_structures
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_frames import labelled_atoms, write_frames

from lorem_openmm.data.extxyz_layout import check_layout
from lorem_openmm.data.structures import from_atoms
from lorem_openmm.errors import DataError

HEADER = 'Properties=species:S:1:pos:R:3:forces:R:3 energy=-30.5 pbc="F F F"'
FRAME = f"2\n{HEADER}\nH 0.0 0.0 0.0 0.1 0.2 0.3\nH 0.0 0.0 0.7 -0.1 -0.2 -0.3\n"


def read(tmp_path: Path, text: str, **keys):
    path = tmp_path / "frames.xyz"
    path.write_text(text)
    return list(read_structures(path, **keys))


def test_default_keys(tmp_path):
    (structure,) = read(tmp_path, FRAME)
    np.testing.assert_array_equal(structure.atomic_numbers, [1, 1])
    np.testing.assert_array_equal(structure.positions, [[0, 0, 0], [0, 0, 0.7]])
    np.testing.assert_array_equal(structure.forces, [[0.1, 0.2, 0.3], [-0.1, -0.2, -0.3]])
    assert structure.energy == -30.5
    assert structure.stress is None
    assert not structure.periodic
    assert (structure.file, structure.frame) == (str(tmp_path / "frames.xyz"), 0)


def test_other_keys_and_info(tmp_path):
    text = FRAME.replace("forces:R", "dft_forces:R").replace("energy=", "label=AA n=3 dft_energy=")
    (structure,) = read(tmp_path, text, energy_key="dft_energy", forces_key="dft_forces")
    assert structure.energy == -30.5
    assert structure.forces[0, 2] == 0.3
    assert structure.info == {"label": "AA", "n": 3}


def test_labels_beside_others_of_the_standard_names(tmp_path):
    text = FRAME.replace("forces:R:3", "forces:R:3:mm_forces:R:3").replace("energy=", "mm_energy=7 energy=")
    text = text.replace("0.3\n", "0.3 1 2 3\n")
    (structure,) = read(tmp_path, text, energy_key="mm_energy", forces_key="mm_forces")
    assert structure.energy == 7
    np.testing.assert_array_equal(structure.forces, [[1, 2, 3], [1, 2, 3]])


@pytest.mark.parametrize(
    ("key", "values"),
    [
        ("stress", "1 6 5 6 2 4 5 4 3"),
        ("dft_stress", "1 6 5 6 2 4 5 4 3"),
        ("dft_stress", "1 2 3 4 5 6"),
    ],
)
def test_stress_as_nine_or_six_numbers(tmp_path, key, values):
    lattice = 'Lattice="5 0 0 0 5 0 0 0 5"'
    text = FRAME.replace('pbc="F F F"', f'{lattice} {key}="{values}" pbc="T T T"')
    (structure,) = read(tmp_path, text, stress_key=key)
    np.testing.assert_array_equal(structure.stress, [[1, 6, 5], [6, 2, 4], [5, 4, 3]])
    (structure,) = read(tmp_path, text)
    assert structure.stress is None


def test_lattice_rows_are_cell_vectors(tmp_path):
    text = FRAME.replace('pbc="F F F"', 'Lattice="5 0 0 1 6 0 2 3 7"')
    (structure,) = read(tmp_path, text)
    assert structure.periodic
    np.testing.assert_array_equal(structure.cell, [[5, 0, 0], [1, 6, 0], [2, 3, 7]])


def test_box_of_a_molecule_in_vacuum_is_dropped(tmp_path):
    (structure,) = read(tmp_path, FRAME.replace("pbc=", 'Lattice="5 0 0 0 5 0 0 0 5" pbc='))
    np.testing.assert_array_equal(structure.cell, np.zeros((3, 3)))


@pytest.mark.parametrize("spelling", ['Properties="{}"', "myProperties=x:y Properties={}", "Properties = {}"])
def test_spellings_of_properties(tmp_path, spelling):
    properties = "species:S:1:pos:R:3:forces:R:3"
    (structure,) = read(tmp_path, FRAME.replace("Properties=" + properties, spelling.format(properties)))
    assert structure.forces[0, 2] == 0.3


def test_windows_line_ends(tmp_path):
    path = tmp_path / "frames.xyz"
    path.write_bytes(FRAME.replace("\n", "\r\n").encode())
    assert len(list(read_structures(path))) == 1


def test_blank_lines_at_the_end_are_fine(tmp_path):
    assert len(read(tmp_path, FRAME + FRAME + "\n  \n")) == 2


DAMAGE = {
    "last frame without its last line": (FRAME + FRAME[: FRAME.rindex("H")], 1, "the file ends after 1"),
    "last line cut between columns": (FRAME + FRAME[:-8], 1, "must have 7 columns"),
    "last line cut within a number": (FRAME + FRAME[:-2], 1, "does not end with a newline"),
    "last newline missing": (FRAME + FRAME[:-1], 1, "does not end with a newline"),
    "only the count of the last frame": (FRAME + "2\n", 1, "it was cut off"),
    "comment cut": (FRAME + "2\n" + HEADER, 1, "it was cut off"),
    "atom count too large": (FRAME.replace("2\n", "3\n", 1) + FRAME, 0, "must have 7 columns"),
    "atom count too large at the end": (FRAME + FRAME.replace("2\n", "3\n", 1), 1, "announces 3 atoms"),
    "atom count too small": (FRAME.replace("2\n", "1\n", 1) + FRAME, 1, "must be the number of atoms"),
    "atom count zero": (FRAME + f"0\n{HEADER}\n", 1, "at least one atom"),
    "blank line between frames": (FRAME + "\n" + FRAME, 1, "blank but more text follows"),
    "a column too many": (FRAME.replace("0.3\nH", "0.3 0.4\nH"), 0, "received 8"),
    "a word among the numbers": (FRAME + FRAME.replace("0.7", "x.7"), 1, "column 4 must be a number, received 'x.7'"),
    "an unknown symbol": (
        FRAME + FRAME.replace("H 0.0 0.0 0.7", "Qq 0.0 0.0 0.7"),
        1,
        "line 8 (atom 1 of 2): the symbol",
    ),
    "broken Properties": (FRAME.replace("pos:R:3", "pos:3:R"), 0, "name:type:columns"),
    "energy missing": (FRAME + FRAME.replace("energy=-30.5", ""), 1, "no energy under the name 'energy'"),
    "energy a word": (FRAME.replace("-30.5", "low"), 0, "must be numbers"),
    "two energies": (FRAME.replace("-30.5", '"1 2"'), 0, "must be one number, received 2"),
    "forces missing": (FRAME.replace("forces:R", "velo:R"), 0, "no forces under the name 'forces'"),
    "forces with two columns": (FRAME.replace("forces:R:3", "forces:R:2:x:R:1"), 0, "shape [2, 3]"),
    "slab": (FRAME.replace("F F F", "T T F"), 0, "all three directions or in none"),
    "periodic without a cell": (FRAME.replace("F F F", "T T T"), 0, "three independent cell vectors"),
    "flat cell": (
        FRAME.replace('pbc="F F F"', 'Lattice="5 0 0 0 5 0 5 5 0"'),
        0,
        "three independent cell vectors",
    ),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_named_with_file_and_frame(tmp_path, name):
    text, frame, expected = DAMAGE[name]
    with pytest.raises(DataError) as caught:
        read(tmp_path, text)
    message = str(caught.value)
    assert expected in message
    assert message.startswith(f"{tmp_path / 'frames.xyz'}, frame {frame} (counted from 0)")


def test_near_key_is_suggested(tmp_path):
    with pytest.raises(DataError, match="Did you mean 'dft_energy'"):
        read(tmp_path, FRAME.replace("energy=", "dft_energy="), energy_key="dft_energie")


def test_stress_of_wrong_length(tmp_path):
    with pytest.raises(DataError, match="9 numbers, or 6 in Voigt order"):
        read(tmp_path, FRAME.replace("energy=", 'w="1 2 3 4" energy='), stress_key="w")


def test_missing_file_empty_file_and_binary_file(tmp_path):
    with pytest.raises(DataError, match="cannot be read"):
        list(read_structures(tmp_path / "absent.xyz"))
    (tmp_path / "empty.xyz").write_text("\n\n")
    with pytest.raises(DataError, match="holds no frames"):
        list(read_structures(tmp_path / "empty.xyz"))
    (tmp_path / "binary.xyz").write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(DataError, match="is text in UTF-16"):
        list(read_structures(tmp_path / "binary.xyz"))


def test_a_file_name_with_an_at_sign_is_not_an_index(tmp_path):
    path = tmp_path / "frames@1.xyz"
    path.write_text(FRAME * 3)
    assert len(list(read_structures(path))) == 3


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut=st.integers(min_value=1), data=st.data())
def test_no_cut_passes_unnoticed(tmp_path, cut, data):
    """A file cut at any byte is refused, or is whole frames."""
    frames = [labelled_atoms(index, periodic=index == 1) for index in range(3)]
    text = write_frames(tmp_path / "whole.xyz", frames).read_text()
    cut %= len(text)
    (tmp_path / "cut.xyz").write_text(text[:cut])
    try:
        n_frames = check_layout(tmp_path / "cut.xyz")
    except DataError:
        return
    write_frames(tmp_path / "part.xyz", frames[:n_frames])
    assert (tmp_path / "part.xyz").read_text().strip() == text[:cut].strip()


def test_from_atoms_matches_the_file(tmp_path):
    atoms = labelled_atoms(4, periodic=True, stress=True)
    write_frames(tmp_path / "a.xyz", [atoms])
    (read_back,) = read_structures(tmp_path / "a.xyz", stress_key="stress")
    direct = from_atoms(atoms, stress_key="stress")
    np.testing.assert_allclose(read_back.positions, direct.positions, atol=1e-8)
    np.testing.assert_allclose(read_back.cell, direct.cell)
    np.testing.assert_allclose(read_back.stress, direct.stress)
    assert read_back.energy == direct.energy


@pytest.mark.reference_data
@pytest.mark.parametrize(
    ("file", "n_frames", "n_atoms", "energy"),
    [
        ("gnl_cumulene/train.xyz", 200, 7, -3174.430700848959),
        ("water_rpbe_d3/train.xyz", 40, 192, -933.4166530484531),
        ("biodimers_curves/test-id0.xyz", 3, 23, -13963.137062983),
    ],
)
def test_reference_files_with_default_keys(reference_data, file, n_frames, n_atoms, energy):
    structures = list(read_structures(reference_data / file))
    assert len(structures) == n_frames
    assert structures[0].energy == energy
    assert structures[0].forces.shape == (n_atoms, 3)
