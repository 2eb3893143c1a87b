"""From the registry to extended XYZ: by download, by hand, and what is said where neither works."""

import io
import json
import socket
import tarfile
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import get_args

import ase.io
import numpy as np
import pytest
from made_server import serve
from published_formats import biodimers_text, cumulene_arrays, padded, runner_text, save, shifted

from lorem_openmm.cli import main
from lorem_openmm.config.data import RegistryName
from lorem_openmm.errors import ConfigError, DataError, FetchError
from lorem_openmm.published import catalogue
from lorem_openmm.published.download import Retries
from lorem_openmm.published.fetch import fetch
from lorem_openmm.published.molecule_arrays import SN2_SHIFTS

QUICK = Retries(attempts=2, wait=0.0, timeout=5.0)


def tar_of(**members):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, text in members.items():
            info = tarfile.TarInfo(f"datasets/{name}/input.data")
            info.size = len(text)
            archive.addfile(info, io.BytesIO(text.encode()))
    return buffer.getvalue()


@pytest.fixture
def point_at(monkeypatch):
    """Lets a record fetch from a server of the test: the address and the checksum are all that changes."""

    def change(name, **settings):
        record = catalogue.REGISTRY[name]
        sources = tuple(replace(source, **settings) for source in record.sources)
        monkeypatch.setitem(catalogue.REGISTRY, name, replace(record, sources=sources))

    return change


def test_every_record_says_where_from_and_what_is_unknown():
    assert tuple(catalogue.REGISTRY) == get_args(RegistryName)
    for record in catalogue.REGISTRY.values():
        assert record.citations
        assert record.licence
        for source in record.sources:
            assert source.page.startswith("https://")
            assert source.url is None or source.url.startswith("https://")
            assert (source.member is None) == (source.member_name is None)
            assert source.md5 is None or len(source.md5) == 32
    folders = [(source.folder, source.file) for record in catalogue.REGISTRY.values() for source in record.sources]
    assert all("/" not in file for _, file in folders)


def test_two_sets_share_one_download(tmp_path, point_at):
    texts = {"AuMgO": runner_text(["Mg", "O", "Au"], 1, 20 * np.eye(3)) * 2, "NaCl": runner_text(["Na", "Cl"], 2) * 3}
    with serve(tar_of(**texts)) as server:
        for name, n_structures in (("mgo_surface", 2), ("nacl_cluster", 3)):
            point_at(name, url=server.url, md5=None)
            summary = fetch(name, tmp_path, tmp_path / f"{name}.xyz", QUICK)
            assert summary["n_structures"] == n_structures == len(ase.io.read(tmp_path / f"{name}.xyz", ":"))
            assert json.loads((tmp_path / f"{name}.json").read_text()) == summary
    assert len(server.requests) == 1
    assert ase.io.read(tmp_path / "mgo_surface.xyz").pbc.all()
    assert not ase.io.read(tmp_path / "nacl_cluster.xyz").pbc.any()
    recorded = json.loads((tmp_path / "checksums.json").read_text())
    folder = "materialscloud-bk6kw-4b895"
    assert set(recorded) == {f"{folder}/datasets.tar.gz", f"{folder}/AuMgO-input.data", f"{folder}/NaCl-input.data"}


def test_jobs_side_by_side_wait_for_one_another(tmp_path, point_at):
    texts = {"AuMgO": runner_text(["Mg", "O"], 1, 20 * np.eye(3)), "NaCl": runner_text(["Na", "Cl"], 2)}
    with serve(tar_of(**texts), cuts=[100, 100]) as server, ThreadPoolExecutor(2) as pool:
        names = ("mgo_surface", "nacl_cluster")
        for name in names:
            point_at(name, url=server.url, md5=None)
        jobs = [pool.submit(fetch, name, tmp_path, tmp_path / f"{name}.xyz", QUICK) for name in names]
        assert [job.result()["n_structures"] for job in jobs] == [1, 1]
    assert server.requests == [None, "bytes=100-", "bytes=200-"]


def test_a_second_fetch_needs_no_network(tmp_path, point_at):
    with serve(biodimers_text(6).encode()) as server:
        point_at("biodimers", url=server.url, md5=None)
        fetch("biodimers", tmp_path, tmp_path / "biodimers.xyz", QUICK)
    first = (tmp_path / "biodimers.xyz").read_bytes()
    fetch("biodimers", tmp_path, tmp_path / "biodimers.xyz", QUICK)
    assert (tmp_path / "biodimers.xyz").read_bytes() == first


def test_a_published_checksum_refuses_another_file(tmp_path, point_at):
    with serve(biodimers_text(6).encode()) as server:
        point_at("biodimers", url=server.url)
        with pytest.raises(FetchError, match="MD5 must be cdf5f3e139bd56a2c31014c8e50e8b93"):
            fetch("biodimers", tmp_path, tmp_path / "biodimers.xyz", QUICK)
    assert not (tmp_path / "biodimers.xyz").exists()
    by_hand = tmp_path / "materialscloud-405an-d8183" / "bio_dimers.xyz"
    by_hand.write_text(biodimers_text(6))
    with pytest.raises(FetchError, match="is not the published file"):
        fetch("biodimers", tmp_path, tmp_path / "biodimers.xyz", QUICK)
    assert by_hand.exists()  # what a person put there is not ours to remove


def test_a_changed_file_is_refused_by_the_lock_file(tmp_path):
    path = save(tmp_path / "zenodo-17130729" / "cumulene.npz", cumulene_arrays(5))
    assert fetch("cumulene", tmp_path, tmp_path / "cumulene.xyz", QUICK)["n_structures"] == 5
    save(path, cumulene_arrays(6))
    with pytest.raises(FetchError, match="not the file that was used before"):
        fetch("cumulene", tmp_path, tmp_path / "cumulene.xyz", QUICK)


def test_a_file_that_cannot_be_read_is_not_recorded(tmp_path):
    path = tmp_path / "zenodo-17130729" / "cumulene.npz"
    path.parent.mkdir()
    path.write_text("not an archive")
    with pytest.raises(DataError, match="Remove it and fetch it again"):
        fetch("cumulene", tmp_path, tmp_path / "cumulene.xyz", QUICK)
    save(path, cumulene_arrays(5))
    assert fetch("cumulene", tmp_path, tmp_path / "cumulene.xyz", QUICK)["n_structures"] == 5


def test_archives_and_members_put_by_hand(tmp_path):
    member = save(tmp_path / "made.npz", shifted(padded(9), SN2_SHIFTS))
    archive = tmp_path / "zenodo-17130729" / "source_data.zip"
    archive.parent.mkdir()
    with zipfile.ZipFile(archive, "w") as zipped:
        zipped.write(member, "source_data/datasets/sn2/sn2_reactions_shifted.npz")
    assert fetch("sn2_reactions", tmp_path, tmp_path / "sn2.xyz", QUICK)["n_structures"] == 9
    with pytest.raises(FetchError, match=r"has no file 'source_data/datasets/cumulene/cumulene\.npz'.*by hand to"):
        fetch("cumulene", tmp_path, tmp_path / "cumulene.xyz", QUICK)
    archive.unlink()  # the unpacked member is enough
    assert fetch("sn2_reactions", tmp_path, tmp_path / "sn2.xyz", QUICK)["n_structures"] == 9


def test_without_network_it_says_which_file_to_put_where(tmp_path, point_at):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    point_at("cumulene", url=f"http://127.0.0.1:{port}/source_data.zip")
    with pytest.raises(FetchError) as error:
        fetch("cumulene", tmp_path, tmp_path / "cumulene.xyz", QUICK)
    message = str(error.value)
    assert "refused" in message
    assert f"{tmp_path}/zenodo-17130729/source_data.zip  (size unknown)  from https://doi.org/" in message
    assert f"{tmp_path}/zenodo-17130729/cumulene.npz" in message
    assert "is not certain" in message
    save(tmp_path / "zenodo-17130729" / "cumulene.npz", cumulene_arrays(3))
    assert fetch("cumulene", tmp_path, tmp_path / "cumulene.xyz", QUICK)["n_structures"] == 3


def test_the_command_lists_and_fetches(tmp_path, capsys):
    assert main(["fetch", "--to", str(tmp_path)]) == 0
    listing = capsys.readouterr().out
    assert all(name in listing for name in catalogue.REGISTRY)
    assert "address not certain" in listing
    save(tmp_path / "zenodo-2605341" / "sn2_reactions.npz", padded(6))
    assert main(["fetch", "sn2_reactions", "--to", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert "6 structures" in said
    assert "note: the set was published with 452709 structures" in said
    assert (tmp_path / "sn2_reactions.xyz").is_file()


def test_an_unknown_name_gets_the_nearest_one(tmp_path):
    with pytest.raises(ConfigError, match=r"no data set named 'biodimer'\. Did you mean 'biodimers'"):
        fetch("biodimer", tmp_path, tmp_path / "x.xyz")
