"""Trainings that start from the weights of another model."""

import csv
import multiprocessing
import re
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read, write
from command_line import project
from parity_cases import checkpoint_folder
from small_training import fine_tuning, settings, train_small

from lorem_openmm import config, export
from lorem_openmm.cli import main
from lorem_openmm.data.baseline import as_table
from lorem_openmm.data.batching import StructureSet
from lorem_openmm.data.prepare import prepare_dataset
from lorem_openmm.data.store import joint_baseline, read_store
from lorem_openmm.errors import ConfigError, ModelFileError
from lorem_openmm.integrations.initial_model import read_initial_model
from lorem_openmm.potential import Potential
from lorem_openmm.training.checkpoints import load_best, read_checkpoint
from lorem_openmm.training.initial import weights_hash
from lorem_openmm.training.losses import loss, residuals
from lorem_openmm.training.train import Result, train

STORED = Path(__file__).parents[1] / "parity" / "stored"
ZEROS = {1: -4.0, 6: 90.0, 8: 7.0}  # eV, from one method to the other
ONE_BATCH = {"batch_size": 1000, "constant_epochs": 0}


@pytest.fixture(scope="module")
def base(dimer_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model file of a model that has learnt the dimers a little."""
    folder = tmp_path_factory.mktemp("base")
    train(settings(20, learning_rate=1e-2), "small", [dimer_store], folder, device="cpu", progress=False)
    export.save(load_best(folder)[0], folder / "base.safetensors")
    return folder / "base.safetensors"


@pytest.fixture(scope="module")
def other_store(dimer_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A few dimers labelled by another method: other zeros of energy, weaker interactions."""
    folder, frames = tmp_path_factory.mktemp("other"), read(dimer_store.with_suffix(".xyz"), index="::2")
    for atoms in frames:
        energy = atoms.get_potential_energy() + sum(ZEROS[number] for number in atoms.numbers)
        atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=0.95 * atoms.get_forces())
    write(folder / "other.xyz", frames, format="extxyz")
    prepare_dataset(config.Dataset(structures=str(folder / "other.xyz")), "other", None, 4.0, folder / "o.safetensors")
    return folder / "o.safetensors"


def tune(chosen: config.Config, store: Path, output: Path) -> Result:
    initial = read_initial_model(chosen.runs["small"].initial_model)
    return train(chosen, "small", [store], output, device="cpu", progress=False, initial=initial)


def first_row(output: Path) -> dict[str, str]:
    return next(csv.DictReader((output / "metrics.csv").open()))


def loss_of(potential: Potential, store: Path, baseline: dict[int, float], training: config.Training) -> float:
    structures = StructureSet([read_store(store)], "train", potential.cutoff, as_table(baseline))
    graph, labels = structures.batch(range(len(structures)))
    return loss(residuals(potential(graph), graph, labels), training).item()


def test_starts_from_exactly_these_weights(base: Path, other_store: Path, tmp_path: Path) -> None:
    chosen = fine_tuning(base, 1, **ONE_BATCH)
    layout = project(tmp_path, other_store, chosen)
    assert main(["train", "small", "--config", str(tmp_path / "small.yaml"), "--device", "cpu"]) == 0
    output = layout.run("small")
    fitted = joint_baseline([read_store(other_store)]).energies
    expected = loss_of(read_initial_model(base), other_store, fitted, chosen.training["short"])
    assert float(first_row(output)["train_loss"]) == pytest.approx(expected, rel=1e-5)
    assert load_best(output)[0].baseline == fitted
    assert "# starts from the weights" in (output / "train.log").read_text()
    assert "untrained" not in (output / "train.log").read_text()
    assert main(["export", "small", "--config", str(tmp_path / "small.yaml")]) == 0
    record = export.read_metadata(layout.model("small"))["training"]
    assert record["initial_weights_sha256"] == weights_hash(read_initial_model(base))


def test_learns_faster_than_from_scratch(base: Path, other_store: Path, tmp_path: Path) -> None:
    tune(fine_tuning(base, 3), other_store, tmp_path / "tuned")
    train(settings(3), "small", [other_store], tmp_path / "scratch", device="cpu", progress=False)
    tuned, scratch = (
        [float(row["train_loss"]) for row in csv.DictReader((tmp_path / name / "metrics.csv").open())]
        for name in ("tuned", "scratch")
    )
    assert all(ours < 0.5 * theirs for ours, theirs in zip(tuned, scratch, strict=True))
    assert tuned[-1] < 0.3 * scratch[-1]


def test_keeps_the_energies_per_element_if_told_so(
    base: Path, dimer_store: Path, other_store: Path, tmp_path: Path
) -> None:
    chosen = fine_tuning(base, 1, keep_baseline=True, **ONE_BATCH)
    initial = read_initial_model(base)
    initial.baseline[8] += 0.25  # not what a fit would give
    export.save(Potential(initial.model, initial.baseline), tmp_path / "shifted.safetensors")
    chosen = fine_tuning(tmp_path / "shifted.safetensors", 1, keep_baseline=True, **ONE_BATCH)
    tune(chosen, dimer_store, tmp_path / "run")
    expected = loss_of(initial, dimer_store, initial.baseline, chosen.training["short"])
    assert float(first_row(tmp_path / "run")["train_loss"]) == pytest.approx(expected, rel=1e-5)
    assert load_best(tmp_path / "run")[0].baseline == initial.baseline
    huge = Potential(initial.model, {number: energy + 1e4 for number, energy in initial.baseline.items()})
    export.save(huge, tmp_path / "huge.safetensors")
    with pytest.raises(ConfigError, match=r"zero of energy.*Leave"):
        tune(fine_tuning(tmp_path / "huge.safetensors", 1, keep_baseline=True), other_store, tmp_path / "refused")
    few = Potential(initial.model, {1: -13.0})
    export.save(few, tmp_path / "few.safetensors")
    with pytest.raises(ConfigError, match="lacks C, O"):
        tune(fine_tuning(tmp_path / "few.safetensors", 1, keep_baseline=True), other_store, tmp_path / "refused")


@pytest.mark.parametrize("case", ["small", "scalar_messages"])
def test_from_a_lorem_jax_checkpoint(dimer_store: Path, tmp_path: Path, case: str) -> None:
    folder = checkpoint_folder(STORED / case)
    initial = read_initial_model(folder)
    chosen = fine_tuning(folder, 1, **ONE_BATCH)
    model = initial.model.hyperparameters
    store = tmp_path / "dimers.safetensors"
    source = str(dimer_store.with_suffix(".xyz"))
    prepare_dataset(config.Dataset(structures=source), "dimers", None, model.cutoff, store)
    chosen = chosen.model_copy(update={"models": {"tiny": model}})
    tune(chosen, store, tmp_path / "run")
    fitted = joint_baseline([read_store(store)]).energies
    expected = loss_of(initial, store, fitted, chosen.training["short"])
    assert float(first_row(tmp_path / "run")["train_loss"]) == pytest.approx(expected, rel=1e-5)
    new = sorted(set(fitted) - set(initial.baseline))
    assert ("start untrained" in (tmp_path / "run" / "train.log").read_text()) == bool(new)


def test_elements_the_initial_model_lacks_are_named(base: Path, dimer_store: Path, tmp_path: Path) -> None:
    initial = read_initial_model(base)
    export.save(Potential(initial.model, {1: -13.0, 6: -1000.0}), tmp_path / "hc.safetensors")
    tune(fine_tuning(tmp_path / "hc.safetensors", 1), dimer_store, tmp_path / "run")
    assert "which start untrained: O" in (tmp_path / "run" / "train.log").read_text()
    assert load_best(tmp_path / "run")[0].species == [1, 6, 8]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cutoff": 3.5}, r"cutoff: 4.0 there, 3.5 in models.tiny\n  smearing: 1.0 there, 0.875 .*\n  wavelength"),
        ({"num_features": 9, "long_range": False}, r"num_features: 8 there, 9 .*\n  long_range: True there, False"),
        ({"smearing": 1.0, "wavelength": 0.5}, ""),  # what is in force anyway
    ],
)
def test_other_hyperparameters_are_refused(
    base: Path, dimer_store: Path, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    chosen = fine_tuning(base, 1)
    chosen = chosen.model_copy(update={"models": {"tiny": chosen.models["tiny"].model_copy(update=change)}})
    if not message:
        tune(chosen, dimer_store, tmp_path)
        return
    with pytest.raises(ConfigError, match=rf"runs\.small\.initial_model: .*differs in\n  {message}"):
        tune(chosen, dimer_store, tmp_path)
    assert not (tmp_path / "metrics.csv").exists()


def test_faults_of_the_initial_model(base: Path, dimer_store: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no model was given"):
        train(fine_tuning(base, 1), "small", [dimer_store], tmp_path, device="cpu", progress=False)
    with pytest.raises(ConfigError, match="keep_baseline needs `initial_model`"):
        config.parse(config.Run, {"datasets": ["a"], "model": "b", "training": "c", "keep_baseline": True}, "run")
    with pytest.raises(ModelFileError, match=r"no such model; give a model file .* or the folder"):
        read_initial_model(tmp_path / "nothing")
    with pytest.raises(ModelFileError, match=r"model\.yaml"):
        read_initial_model(tmp_path)


@pytest.mark.slow
def test_killed_and_continued(base: Path, dimer_store: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["lorem_openmm.training.train"])
    arguments = (dimer_store, tmp_path / "killed", 5)
    process = context.Process(target=train_small, args=arguments, kwargs={"die": "write", "after": 3, "initial": base})
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    train_small(*arguments, initial=base)
    train_small(dimer_store, tmp_path / "whole", 5, initial=base)
    ours, theirs = (
        read_checkpoint(tmp_path / name / "checkpoints" / "last.ckpt")["state_dict"] for name in ("killed", "whole")
    )
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    initial = read_initial_model(base)
    assert not np.allclose(initial.model.readout.layers[0].weight, ours["potential.model.readout.layers.0.weight"])
    with torch.no_grad():
        initial.model.readout.layers[0].weight[0, 0] += 1e-3
    export.save(initial, tmp_path / "other.safetensors")
    # Other initial weights, or none, are another training: it starts anew, and the old one is kept.
    tune(fine_tuning(tmp_path / "other.safetensors", 1), dimer_store, tmp_path / "killed")
    assert "initial.weights (sha256)" in caplog.text
    train(settings(1), "small", [dimer_store], tmp_path / "killed", device="cpu", progress=False)
    assert re.search(r"initial\.weights \(sha256\): '.*' there, None now", caplog.text)
    kept = read_checkpoint(tmp_path / "killed.old-1" / "checkpoints" / "last.ckpt")["state_dict"]
    assert all(torch.equal(kept[name], ours[name]) for name in ours)
    assert (tmp_path / "killed.old-2" / "metrics.csv").is_file()
