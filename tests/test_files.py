import os

import pytest

from lorem_openmm.files import atomic_path, read_json, sha256_of_file, write_json


def test_a_failure_keeps_the_old_file_and_no_other(tmp_path):
    path = tmp_path / "value.json"
    write_json(path, {"a": 1})
    with pytest.raises(RuntimeError, match="half way"), atomic_path(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError("half way")
    assert read_json(path) == {"a": 1}
    assert os.listdir(tmp_path) == ["value.json"]


def test_folders_are_made_and_permissions_are_ordinary(tmp_path):
    path = tmp_path / "a" / "b" / "value.json"
    write_json(path, "Å")
    reference = tmp_path / "reference"
    reference.touch()
    assert read_json(path) == "Å"
    assert path.stat().st_mode == reference.stat().st_mode


def test_hash_is_sha256(tmp_path):
    (tmp_path / "abc").write_bytes(b"abc")
    assert sha256_of_file(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
