import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from lorem_openmm import cli
from lorem_openmm.errors import ConfigError
from lorem_openmm.outputs import claim, set_aside

HOLDER = """
import sys, time
from lorem_openmm.outputs import claim
with claim(sys.argv[1]):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.mark.slow
def test_a_second_process_is_told_who_writes_and_a_kill_frees_the_place(tmp_path):
    output = tmp_path / "made" / "by" / "one"
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, output], stdout=subprocess.PIPE)
    try:
        assert holder.stdout.readline() == b"held\n"
        for _ in range(2):
            with pytest.raises(ConfigError, match=rf"one: one process .*, but process {holder.pid} on \S+ does"):
                claim(output).__enter__()
        with claim(tmp_path / "made" / "by" / "another"):
            pass
    finally:
        holder.kill()
        holder.wait()
    with claim(output):
        pass
    assert list(output.parent.iterdir()) == []


def test_a_link_and_its_target_are_one_place(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with claim(tmp_path / "link"), pytest.raises(ConfigError, match="one process at a time"):
        claim(tmp_path / "real").__enter__()


@pytest.mark.parametrize("place", ["file/run", "/proc/run"])
def test_a_place_that_cannot_be_written_is_named_at_once(tmp_path, place):
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"run: must be writable, but .* is not .*change `output`"):
        claim(tmp_path / place).__enter__()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_is_named_at_once(tmp_path):
    (tmp_path / "run").mkdir(mode=0o500)
    with pytest.raises(ConfigError, match=r"run: must be writable.*Permission denied"):
        claim(tmp_path / "run").__enter__()


def test_without_locks_there_is_a_warning(tmp_path, monkeypatch):
    def refuse(lock):
        raise OSError(37, "No locks available")

    monkeypatch.setattr("filelock.FileLock.acquire", refuse)
    with pytest.warns(UserWarning, match="no locks"), claim(tmp_path / "run"):
        pass


def test_what_is_outdated_is_kept_under_the_next_free_name(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    for number in (1, 2, 3):
        (folder / "value").write_text(str(number))
        assert set_aside(folder, "is old") == tmp_path / f"run.old-{number}"
        assert list(folder.iterdir()) == []
    assert [(tmp_path / f"run.old-{number}" / "value").read_text() for number in (1, 2, 3)] == ["1", "2", "3"]


@pytest.mark.parametrize(
    ("command", "place"),
    [
        ("label made", "labels/made.xyz"),
        ("prepare mine", "data/mine.safetensors"),
        ("train r", "runs/r"),
        ("export r", "models/r.safetensors"),
        ("evaluate r", "evaluation/r"),
        ("compare r", "comparison"),
        ("study t", "studies/t"),
        ("analyze s", "analysis/s"),
        ("window u 1", "umbrellas/u/window-1"),
        ("simulate s", "simulations/s"),
        ("free-energy u", "free_energy/u"),
        ("verdict", "verdict"),
    ],
)
def test_every_command_that_writes_claims_its_place(tmp_path, monkeypatch, capsys, command, place):
    monkeypatch.chdir(tmp_path)
    Path("c.yaml").write_text(
        "datasets: {mine: {structures: a.xyz}, made: {label: {kind: sn2}}}\nmodels: {m: {}}\ntraining: {t: {}}\n"
        "runs: {r: {datasets: [mine], model: m, training: t}}\nsimulations: {s: {run: r, start: 'water:8'}}\n"
        "umbrellas: {u: {run: r, start: 'sn2:Cl,Cl,3', coordinate: bond_difference, first: 1, last: 2}}\n"
        "studies: {t: {kind: errors, runs: [r]}}\n"
    )
    with claim(Path("results") / place), warnings.catch_warnings():
        assert cli.main([*command.split(), "--config", "c.yaml"]) == 1
    assert f"results/{place}: one process at a time may write here" in capsys.readouterr().err
