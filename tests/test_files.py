import errno
import os

import pytest

from lorem_openmm.errors import ConfigError
from lorem_openmm.files import ascii_path, atomic_path, expand_home, read_json, sha256_of_file, write_json, write_text


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


def test_links_are_written_through(tmp_path):
    (tmp_path / "disk").mkdir()
    for number, target in enumerate(("there", "not_yet")):
        link = tmp_path / f"link{number}"
        link.symlink_to(tmp_path / "disk" / target)
        if target == "there":
            (tmp_path / "disk" / target).write_text("old")
        write_text(link, "new")
        assert link.is_symlink()
        assert (tmp_path / "disk" / target).read_text() == "new"
    assert sorted(os.listdir(tmp_path / "disk")) == ["not_yet", "there"]


def test_devices_and_pipes_get_the_content_and_stay(tmp_path):
    master, terminal = os.openpty()  # a device whose folder lets nobody put another file in its place
    write_text(os.ttyname(terminal), "printed")
    assert os.read(master, 100) == b"printed"
    os.close(terminal)
    os.close(master)
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    write_text(tmp_path / "pipe", "through")
    assert os.read(reader, 100) == b"through"
    os.close(reader)
    assert os.listdir(tmp_path) == ["pipe"]


def test_a_folder_in_the_place_of_a_file_is_named(tmp_path):
    with pytest.raises(IsADirectoryError) as error:
        write_text(tmp_path, "x")
    assert error.value.filename == str(tmp_path)


def no_space(*_):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_is_named_with_the_file(tmp_path, monkeypatch):
    with pytest.raises(OSError, match="No space left") as error, atomic_path(tmp_path / "a"):
        no_space()
    assert error.value.filename == str(tmp_path / "a")
    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(OSError, match="No space left") as error, atomic_path(tmp_path / "b"):
        raise RuntimeError("unexpected pos 64 vs 0")  # as PyTorch has it
    assert error.value.filename == str(tmp_path / "b")
    assert os.listdir(tmp_path) == []


def test_home_is_expanded_at_the_start_alone(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    assert expand_home("~/a/~b") == "/home/me/a/~b"
    assert expand_home("a~") == "a~"
    with pytest.raises(ConfigError, match="name of a user"):
        expand_home("~nobody-has-this-name/a")


def test_letters_beyond_ascii_have_a_plain_name(tmp_path):
    (tmp_path / "ü.dcd").write_text("content")
    with ascii_path(tmp_path / "ü.dcd") as name:
        assert str(name).isascii()
        assert name.suffix == ".dcd"
        assert name.read_text() == "content"
    with ascii_path(tmp_path) as name:
        assert name == tmp_path
