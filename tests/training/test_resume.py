"""Trainings that are killed end as if they had not been."""

import csv
import multiprocessing
import os
import re
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from small_training import prepare_dimers, settings, train_small

from lorem_openmm.errors import ConfigError, DataError, ModelFileError
from lorem_openmm.outputs import claim
from lorem_openmm.training.checkpoints import load_best, read_checkpoint
from lorem_openmm.training.train import train

EPOCHS = 30
KILL_SEED = int(os.environ.get("LOREM_KILL_SEED", "0"))  # of the moments at which trainings are killed


def start(store: Path, output: Path, epochs: int = EPOCHS, **kwargs: object) -> multiprocessing.Process:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["lorem_openmm.training.train"])
    process = context.Process(target=train_small, args=(store, output, epochs), kwargs=kwargs)
    process.start()
    return process


def epochs_done(output: Path) -> int:
    table = output / "metrics.csv"
    return max(len(table.read_text().splitlines()) - 1, 0) if table.exists() else 0


def finish(store: Path, output: Path) -> None:
    process = start(store, output)
    process.join()
    assert process.exitcode == 0


@pytest.fixture(scope="module")
def uninterrupted(dimer_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("uninterrupted") / "run"
    finish(dimer_store, output)
    return output


def assert_same_end(output: Path, expected: Path) -> None:
    for name in ("last.ckpt", "best.ckpt"):
        ours, theirs = (read_checkpoint(folder / "checkpoints" / name)["state_dict"] for folder in (output, expected))
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[key], theirs[key]) for key in ours)
    rows, expected_rows = (list(csv.DictReader((folder / "metrics.csv").open())) for folder in (output, expected))
    for row in rows + expected_rows:
        del row["seconds"]
    assert rows == expected_rows
    lines = re.findall(r"^epoch +(\d+)/", (output / "train.log").read_text(), flags=re.MULTILINE)
    assert [int(number) for number in lines] == list(range(1, EPOCHS + 1))
    assert not list((output / "checkpoints").glob(".*"))


@pytest.mark.slow
def test_killed_at_random_moments(dimer_store: Path, uninterrupted: Path, tmp_path: Path) -> None:
    output, random, n_killed = tmp_path / "run", np.random.default_rng(KILL_SEED), 0
    for number in range(3):
        process = start(dimer_store, output)
        goal = epochs_done(output) + 1 if number else 1
        while process.is_alive() and epochs_done(output) < goal:
            time.sleep(0.005)
        time.sleep(wait := random.uniform(0, 0.5))
        process.kill()
        print(f"kill {number}: seed {KILL_SEED}, {wait:.3f} s after epoch {goal}")  # shown if the test fails
        process.join()
        n_killed += process.exitcode == -signal.SIGKILL
    assert n_killed == 3, "the training ended before it was killed: give it more epochs"
    finish(dimer_store, output)
    assert_same_end(output, uninterrupted)


@pytest.mark.slow
@pytest.mark.parametrize("die", ["write", "rename"])
def test_killed_inside_a_save(dimer_store: Path, uninterrupted: Path, tmp_path: Path, die: str) -> None:
    output = tmp_path / "run"
    process = start(dimer_store, output, die=die, after=5)
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert epochs_done(output) == 5
    finish(dimer_store, output)
    assert_same_end(output, uninterrupted)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*Trying the checkpoint before it")
@pytest.mark.parametrize("damage", ["truncated", "altered"])
def test_damaged_newest_checkpoint_falls_back(
    dimer_store: Path, uninterrupted: Path, tmp_path: Path, damage: str
) -> None:
    output = tmp_path / "run"
    process = start(dimer_store, output, die="rename", after=6)
    process.join()
    newest = output / "checkpoints" / "last.ckpt"
    content = bytearray((output / "checkpoints" / "previous.ckpt").read_bytes())
    if damage == "altered":
        for place in range(len(content) // 2, len(content) // 2 + 128):  # one byte may lie between two records
            content[place] ^= 0x10
    newest.write_bytes(content if damage == "altered" else content[: len(content) // 2])
    with pytest.raises(ModelFileError, match="cannot be read"):
        read_checkpoint(newest)
    finish(dimer_store, output)
    assert_same_end(output, uninterrupted)


def test_the_best_weights_are_where_checkpoints_of_earlier_versions_have_them(uninterrupted: Path) -> None:
    parts = read_checkpoint(uninterrupted / "checkpoints" / "last.ckpt")["callbacks"]
    best = read_checkpoint(uninterrupted / "checkpoints" / "best.ckpt")
    assert parts["Keeper"]["best"]["epoch"] == best["epoch"]


def test_all_checkpoints_damaged(dimer_store: Path, tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    for name in ("last.ckpt", "previous.ckpt"):
        (folder / name).write_bytes(b"not a checkpoint")
    with pytest.warns(UserWarning, match="before it"), pytest.raises(ModelFileError, match=r"previous\.ckpt"):
        train(settings(), "small", [dimer_store], tmp_path, device="cpu", progress=False)


def test_other_settings_or_data_start_anew_beside_the_old_training(
    dimer_store: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    output = tmp_path / "run"
    linked = tmp_path / "linked"
    linked.symlink_to(output, target_is_directory=True)
    train(settings(1), "small", [dimer_store], output, device="cpu", progress=False)
    first = (output / "metrics.csv").read_text()
    train(settings(2, learning_rate=1e-3), "small", [dimer_store], linked, device="cpu", progress=False)
    assert re.search(r"starts anew:\n.*training\.learning_rate: 0\.005 there, 0\.001 now", caplog.text, re.DOTALL)
    assert f"now in {output}.old-1" in caplog.text
    assert (tmp_path / "run.old-1" / "metrics.csv").read_text() == first
    assert linked.is_symlink()
    assert epochs_done(output) == 2
    other = prepare_dimers(tmp_path, n_dimers=9)
    train(settings(1, learning_rate=1e-3), "small", [other], output, device="cpu", progress=False)
    assert re.search(r"data\.0 \(sha256\): \S+ there", caplog.text)
    assert (epochs_done(tmp_path / "run.old-2"), epochs_done(output)) == (2, 1)


def test_what_cannot_be_begun_moves_nothing(dimer_store: Path, tmp_path: Path) -> None:
    output = tmp_path / "run"
    train(settings(1), "small", [dimer_store], output, device="cpu", progress=False)
    with pytest.raises(DataError):
        train(settings(1), "small", [tmp_path / "none.safetensors"], output, device="cpu", progress=False)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run"]


def test_one_process_trains_in_a_folder(dimer_store: Path, tmp_path: Path) -> None:
    with claim(tmp_path / "run"), pytest.raises(ConfigError, match="one process at a time may write here"):
        train(settings(1), "small", [dimer_store], tmp_path / "run", device="cpu", progress=False)


def test_an_interruption_from_the_keyboard_is_handed_on(
    dimer_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background is born without
    try:
        with monkeypatch.context() as patch:
            patch.setattr("lorem_openmm.training.history.History.on_train_epoch_start", interrupt)
            with pytest.raises(KeyboardInterrupt):
                train(settings(2), "small", [dimer_store], tmp_path / "run", device="cpu", progress=False)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
    train(settings(2), "small", [dimer_store], tmp_path / "run", device="cpu", progress=False)
    assert epochs_done(tmp_path / "run") == 2


def test_finished_training_is_not_repeated(dimer_store: Path, tmp_path: Path) -> None:
    first = train(settings(2), "small", [dimer_store], tmp_path, device="cpu", progress=False)
    lines = (tmp_path / "metrics.csv").read_text()
    second = train(settings(2), "small", [dimer_store], tmp_path, device="cpu", progress=False)
    assert first == second
    assert (tmp_path / "metrics.csv").read_text() == lines


def test_best_checkpoint_reproduces_its_metrics(dimer_store: Path, tmp_path: Path) -> None:
    result = train(settings(8), "small", [dimer_store], tmp_path, device="cpu", progress=False)
    rows = list(csv.DictReader((tmp_path / "metrics.csv").open()))
    best = max(rows, key=lambda row: float(row["score"]))
    potential, about = load_best(tmp_path)
    assert about["epoch"] == result.epoch == int(best["epoch"])
    assert about["metrics"]["score"] == float(best["score"])
    assert potential.species == [1, 6, 8]
    assert about["identity"]["model.cutoff"] == 4.0
