"""Downloads against a real server on this machine: whole, cut, changed, refused, and no server at all."""

import json
import socket

import numpy as np
import pytest
from made_server import serve

from lorem_openmm.errors import FetchError
from lorem_openmm.published.checksums import check_file, record_files
from lorem_openmm.published.download import Retries, download

CONTENT = np.random.default_rng(0).bytes(3_500_000)  # several chunks
QUICK = Retries(attempts=3, wait=0.01, timeout=5.0)


def accept(_part):
    pass


def test_a_whole_file(tmp_path):
    with serve(CONTENT) as server:
        download(server.url, tmp_path / "new" / "file.bin", accept, QUICK)
    assert (tmp_path / "new" / "file.bin").read_bytes() == CONTENT
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["file.bin"]
    assert server.requests == [None]


def test_cut_connections_are_continued_where_they_stopped(tmp_path):
    with serve(CONTENT, cuts=[1_200_000, 700_000]) as server:
        download(server.url, tmp_path / "file.bin", accept, QUICK)
    assert (tmp_path / "file.bin").read_bytes() == CONTENT
    assert server.requests == [None, "bytes=1200000-", "bytes=1900000-"]


def test_progress_resets_the_patience_but_none_ends_it(tmp_path):
    with serve(CONTENT, cuts=[500_000] * 6) as server:  # six cuts, three attempts
        download(server.url, tmp_path / "file.bin", accept, QUICK)
    assert (tmp_path / "file.bin").read_bytes() == CONTENT
    with serve(CONTENT, cuts=[0] * 9) as server, pytest.raises(FetchError, match="3 tries without progress"):
        download(server.url, tmp_path / "other.bin", accept, QUICK)


def test_an_earlier_run_is_continued(tmp_path):
    path = tmp_path / "file.bin"
    with serve(CONTENT, cuts=[1_000_000], statuses=[None, 404]) as server:
        with pytest.raises(FetchError, match="404"):
            download(server.url, path, accept, QUICK)
        assert not path.exists()
        download(server.url, path, accept, QUICK)
    assert path.read_bytes() == CONTENT
    assert server.requests[-1] == "bytes=1000000-"


@pytest.mark.parametrize(("etag", "checksummed", "resumed"), [(None, True, True), (None, False, False)])
def test_a_part_that_nothing_identifies_is_continued_only_if_a_checksum_will_tell(tmp_path, etag, checksummed, resumed):
    with serve(CONTENT, cuts=[1_000_000], etag=etag) as server:
        download(server.url, tmp_path / "file.bin", accept, QUICK, checksummed)
    assert (tmp_path / "file.bin").read_bytes() == CONTENT
    assert server.requests == [None, "bytes=1000000-" if resumed else None]


def test_a_file_that_changed_meanwhile_is_not_glued_together(tmp_path):
    path = tmp_path / "file.bin"
    (tmp_path / "file.bin.part").write_bytes(b"old" * 100)
    with serve(CONTENT, etag='"two"') as server:
        (tmp_path / "file.bin.part.json").write_text(json.dumps({"url": server.url, "validator": '"one"'}))
        download(server.url, path, accept, QUICK)
    assert path.read_bytes() == CONTENT
    assert server.requests == ["bytes=300-"]


def test_a_part_that_is_already_whole_is_taken(tmp_path):
    (tmp_path / "file.bin.part").write_bytes(CONTENT)
    with serve(CONTENT) as server:
        (tmp_path / "file.bin.part.json").write_text(json.dumps({"url": server.url, "validator": '"one"'}))
        download(server.url, tmp_path / "file.bin", accept, QUICK)
    assert (tmp_path / "file.bin").read_bytes() == CONTENT
    assert server.requests == ["bytes=3500000-"]


def test_a_server_without_ranges_starts_again(tmp_path):
    with serve(CONTENT, cuts=[1_000_000], ranges=False) as server:
        download(server.url, tmp_path / "file.bin", accept, QUICK)
    assert (tmp_path / "file.bin").read_bytes() == CONTENT
    # What was had before is no progress: a server that never sends the whole file is given up.
    with serve(CONTENT, cuts=[900_000, 500_000, 800_000] * 3, ranges=False) as server, pytest.raises(FetchError):
        download(server.url, tmp_path / "other.bin", accept, QUICK)
    assert len(server.requests) == 3


def test_a_busy_server_is_asked_again(tmp_path):
    with serve(CONTENT, statuses=[503, 429]) as server:
        download(server.url, tmp_path / "file.bin", accept, QUICK)
    assert (tmp_path / "file.bin").read_bytes() == CONTENT
    assert len(server.requests) == 3


def test_a_missing_file_is_not_asked_for_again(tmp_path):
    with serve(CONTENT, statuses=[404]) as server, pytest.raises(FetchError, match="404"):
        download(server.url, tmp_path / "file.bin", accept, QUICK)
    assert len(server.requests) == 1


def test_no_server(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/file"
    with pytest.raises(FetchError, match="refused"):
        download(url, tmp_path / "file.bin", accept, QUICK)


def test_a_wrong_file_never_gets_its_name(tmp_path):
    def check(part):
        check_file(part, "set/file.bin", tmp_path / "checksums.json", "0" * 32)

    with serve(CONTENT) as server, pytest.raises(FetchError, match=r"MD5 must be 0000.*received") as error:
        download(server.url, tmp_path / "file.bin", check, QUICK)
    assert "fetch it again" in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_a_web_page_is_not_taken_for_the_file(tmp_path):
    page = b"<html>moved</html>"
    with serve(page, kind="text/html; charset=utf-8") as server, pytest.raises(FetchError, match="sent a web page"):
        download(server.url, tmp_path / "file.npz", accept, QUICK)
    assert list(tmp_path.iterdir()) == []


def test_recorded_files_are_compared(tmp_path):
    lock = tmp_path / "checksums.json"
    (tmp_path / "a").write_bytes(b"first")
    record_files(lock, {"set/a": check_file(tmp_path / "a", "set/a", lock, None)})
    (tmp_path / "b").write_bytes(b"other")
    record_files(lock, {"set/b": check_file(tmp_path / "b", "set/b", lock, None)})
    assert set(json.loads(lock.read_text())) == {"set/a", "set/b"}
    check_file(tmp_path / "a", "set/a", lock, None)
    (tmp_path / "a").write_bytes(b"later")
    with pytest.raises(FetchError, match="not the file that was used before") as error:
        check_file(tmp_path / "a", "set/a", lock, None)
    assert f"remove its entry from {lock}" in str(error.value)
