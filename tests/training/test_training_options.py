"""Averaged weights, augmentation, early stopping, other optimisers: alone, killed, continued."""

import csv
import multiprocessing
import signal
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from ase.build import bulk
from ase.calculators.lj import LennardJones
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from helpers import graph_of, rattled_molecule, small_potential
from small_training import settings, train_small

from lorem_openmm import config
from lorem_openmm.data.baseline import as_table
from lorem_openmm.data.batching import StructureSet
from lorem_openmm.data.prepare import prepare_dataset
from lorem_openmm.data.store import joint_baseline, read_store
from lorem_openmm.training import train as train_module
from lorem_openmm.training.averaging import WeightAverage
from lorem_openmm.training.checkpoints import changes, load_best, read_checkpoint
from lorem_openmm.training.module import TrainingBatches
from lorem_openmm.training.train import train

NEW_KEYS = ("training.ema_decay", "training.rotational_augmentation", "training.patience")


def rows_of(output: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((output / "metrics.csv").open()))


def run(store: Path, output: Path, epochs: int, **training: object) -> train_module.Result:
    return train(settings(epochs, **training), "small", [store], output, device="cpu", progress=False)


class Recording(WeightAverage):
    """Notes the weights after each step, and those that each validation sees."""

    def __init__(self, decay: float) -> None:
        super().__init__(decay)
        self.steps: list[dict[str, torch.Tensor]] = []
        self.validated: list[dict[str, torch.Tensor]] = []
        made.append(self)

    def on_train_batch_end(self, trainer, pl_module, *arguments) -> None:
        self.steps.append(_copy(pl_module))
        super().on_train_batch_end(trainer, pl_module, *arguments)

    def on_validation_start(self, trainer, pl_module) -> None:
        super().on_validation_start(trainer, pl_module)
        self.validated.append(_copy(pl_module))

    def on_validation_end(self, trainer, pl_module) -> None:
        super().on_validation_end(trainer, pl_module)
        now = _copy(pl_module)
        assert all(torch.equal(now[name], value) for name, value in self.steps[-1].items())


made: list[Recording] = []


def _copy(module) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in module.potential.model.named_parameters()}


def test_averaged_weights_are_validated_and_selected(dimer_store: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(train_module, "WeightAverage", Recording)
    made.clear()
    result = run(dimer_store, tmp_path, 5, ema_decay=0.8)
    (seen,) = made
    steps_per_epoch = len(seen.steps) // 5
    for epoch, validated in enumerate(seen.validated, start=1):
        steps = seen.steps[: epoch * steps_per_epoch]
        weights = 0.8 ** np.arange(len(steps))[::-1]
        for name, value in validated.items():
            expected = sum(w * step[name].double() for w, step in zip(weights, steps, strict=True)) / weights.sum()
            torch.testing.assert_close(value.double(), expected, rtol=1e-6, atol=1e-7)
        assert any((validated[name] - steps[-1][name]).abs().max() > 1e-3 for name in validated)
    potential, about = load_best(tmp_path)
    best = dict(potential.model.named_parameters())
    assert all(torch.equal(best[name], value) for name, value in seen.validated[result.epoch - 1].items())
    data = [read_store(dimer_store)]
    structures = StructureSet(data, "validation", 4.0, as_table(joint_baseline(data).energies))
    graph, labels = structures.batch(range(len(structures)))
    rmse = (potential.evaluate(graph).forces - labels.forces).square().mean().sqrt().item() * 1000
    assert rmse == pytest.approx(about["metrics"]["validation_forces_rmse"], rel=1e-4)


def test_results_follow_the_average() -> None:
    potential, graph = small_potential(), graph_of(rattled_molecule())
    module, average = SimpleNamespace(potential=potential), WeightAverage(0.5)
    average.on_train_batch_end(None, module)
    before = potential.evaluate(graph).energy
    with torch.no_grad():
        for parameter in potential.model.parameters():
            parameter.mul_(1.1)
    trained = potential.evaluate(graph).energy
    average.on_validation_start(None, module)
    averaged = potential.evaluate(graph).energy
    average.on_validation_end(None, module)
    assert abs(trained - before) > 1e-3
    assert torch.equal(averaged, before)
    assert torch.equal(potential.evaluate(graph).energy, trained)


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ["lamb", "muon"])
def test_killed_with_all_options(dimer_store: Path, tmp_path: Path, optimizer: str) -> None:
    options = {"optimizer": optimizer, "ema_decay": 0.9, "rotational_augmentation": True, "patience": 50}
    run(dimer_store, tmp_path / "whole", 4, **options)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["lorem_openmm.training.train"])
    process = context.Process(
        target=train_small, args=(dimer_store, tmp_path / "killed", 4, "rename", 3), kwargs=options
    )
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    run(dimer_store, tmp_path / "killed", 4, **options)
    ends = []
    for name in ("whole", "killed"):
        last, best = (read_checkpoint(tmp_path / name / "checkpoints" / f"{kind}.ckpt") for kind in ("last", "best"))
        average = last["callbacks"]["WeightAverage"]
        assert average["n_updates"] == last["global_step"] > 0
        ends.append({"weights": last["state_dict"], "average": average["average"], "best": best["state_dict"]})
    for kind, weights in ends[0].items():
        assert all(torch.equal(value, ends[1][kind][name]) for name, value in weights.items()), kind
    tables = [[{**row, "seconds": ""} for row in rows_of(tmp_path / name)] for name in ("whole", "killed")]
    assert tables[0] == tables[1]
    assert float(tables[0][-1]["train_loss"]) < float(tables[0][0]["train_loss"])


def test_augmentation_turns_each_epoch_anew_and_leaves_the_loss(dimer_store: Path, tmp_path: Path) -> None:
    data = [read_store(dimer_store)]
    structures = StructureSet(data, "train", 4.0, as_table(joint_baseline(data).energies), dtype=torch.float64)
    training = config.Training(batch_size=8, rotational_augmentation=True)
    plain = list(TrainingBatches(structures, config.Training(batch_size=8), lambda: 3))
    first, again, other = (list(TrainingBatches(structures, training, lambda e=e: e)) for e in (3, 3, 4))
    for (a, _), (b, _), (p, p_labels), (_, a_labels) in zip(first, again, plain, first, strict=True):
        assert torch.equal(a.positions, b.positions)
        assert torch.equal(a_labels.structures, p_labels.structures)
        assert (a.positions - p.positions).abs().max() > 0.5
        assert torch.equal(a.centers, p.centers)
    place = first[0][1].structures[0]
    alike = next((g, labels) for g, labels in other if place in labels.structures)
    system = int((alike[1].structures == place).nonzero())
    in_third = first[0][0].positions[first[0][0].system_index == 0]
    in_fourth = alike[0].positions[alike[0].system_index == system]
    assert (in_third - in_fourth).abs().max() > 0.1
    # the model is equivariant: trainings differ by rounding alone
    for name, augmented in (("plain", False), ("turned", True)):
        run(dimer_store, tmp_path / name, 2, rotational_augmentation=augmented)
    losses = [[float(row["train_loss"]) for row in rows_of(tmp_path / name)] for name in ("plain", "turned")]
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)
    assert losses[1] != losses[0]


def test_ends_early_and_does_not_go_on(dimer_store: Path, tmp_path: Path) -> None:
    options = {"patience": 2, "learning_rate": 1e-30, "min_learning_rate": 1e-31}  # nothing changes
    result = run(dimer_store, tmp_path, 9, **options)
    assert (result.epoch, len(rows_of(tmp_path))) == (1, 3)
    assert "stopped after epoch 3: no better score since epoch 1" in (tmp_path / "train.log").read_text()
    written = (tmp_path / "checkpoints" / "last.ckpt").stat().st_mtime_ns
    assert run(dimer_store, tmp_path, 9, **options) == result
    assert len(rows_of(tmp_path)) == 3
    assert (tmp_path / "checkpoints" / "last.ckpt").stat().st_mtime_ns == written


def test_patience_counts_epochs_at_validations(dimer_store: Path, tmp_path: Path) -> None:
    options = {"learning_rate": 1e-30, "min_learning_rate": 1e-31, "validate_every": 2}
    run(dimer_store, tmp_path / "impatient", 9, patience=1, **options)
    assert len(rows_of(tmp_path / "impatient")) == 4
    run(dimer_store, tmp_path / "patient", 5, **options)
    assert len(rows_of(tmp_path / "patient")) == 5


def test_better_scores_keep_a_training_going(dimer_store: Path, tmp_path: Path) -> None:
    run(dimer_store, tmp_path, 6, patience=3)
    rows = rows_of(tmp_path)
    scores = [float(row["score"]) for row in rows]
    assert len(rows) == 6
    assert max(scores[1:]) > scores[0]


def test_seed_decides(dimer_store: Path, tmp_path: Path) -> None:
    """Same seed, same bits; another seed, other weights and another order."""
    options = {"optimizer": "lamb", "rotational_augmentation": True, "ema_decay": 0.5}
    tables = []
    for name, seed in (("first", 3), ("again", 3), ("other", 4)):
        run(dimer_store, tmp_path / name, 1, seed=seed, **options)
        tables.append([{**row, "seconds": ""} for row in rows_of(tmp_path / name)])
    assert tables[0] == tables[1]
    assert tables[0][0]["train_loss"] != tables[2][0]["train_loss"]


def test_checkpoint_older_than_a_key_is_continued(dimer_store: Path, tmp_path: Path) -> None:
    result = run(dimer_store, tmp_path, 2)
    path = tmp_path / "checkpoints" / "last.ckpt"
    content = read_checkpoint(path)
    present = dict(content["identity"])
    for key in NEW_KEYS:
        del content["identity"][key]
    torch.save(content, path)
    assert run(dimer_store, tmp_path, 2) == result
    without_data = {key: value for key, value in present.items() if not key.startswith("data")}
    old = {key: value for key, value in present.items() if key not in NEW_KEYS}
    assert changes(old, present) == ""
    assert changes(old, present | {"training.ema_decay": 0.9}) == "  training.ema_decay: 0.0 there, 0.9 now"
    assert "data.0 (sha256): None there" in changes(without_data, present)
    assert changes(present | {"training.gone": 1}, present) == "  training.gone: 1 there, None now"


def test_learns_stress_with_forces(tmp_path: Path) -> None:
    """Both fall together only if they are derivatives of one energy with the data's signs and units."""
    random, frames = np.random.default_rng(0), []
    for _ in range(12):
        atoms = bulk("Ar", "fcc", a=4.5 * random.uniform(0.96, 1.06), orthorhombic=True)
        atoms.set_cell(atoms.cell[:] @ (np.eye(3) + random.normal(scale=0.02, size=(3, 3))), scale_atoms=True)
        atoms.rattle(0.1, rng=random)
        atoms.calc = LennardJones(sigma=2.9, epsilon=0.1, rc=4.0, smooth=True)
        values = {"energy": atoms.get_potential_energy(), "forces": atoms.get_forces()}
        atoms.info["stress_label"] = atoms.get_stress(voigt=False)
        atoms.calc = SinglePointCalculator(atoms, **values)
        frames.append(atoms)
    write(tmp_path / "argon.xyz", frames, format="extxyz")
    dataset = config.Dataset(
        train=str(tmp_path / "argon.xyz"), stress_key="stress_label", split=config.Split(validation_fraction=0.0)
    )
    store = tmp_path / "argon.safetensors"
    prepare_dataset(dataset, "argon", None, 4.0, store)
    weights = {"energy_weight": 0.0, "force_weight": 0.1, "stress_weight": 100.0}
    options = {"batch_size": 6, "learning_rate": 1e-2, "constant_epochs": 20, "long_range": False, **weights}
    run(store, tmp_path / "run", 60, **options)
    first, *_, last = rows_of(tmp_path / "run")
    assert float(first["train_stress_r2"]) < 0.5
    assert float(last["train_stress_r2"]) > 0.9
    assert float(last["train_forces_r2"]) > 0.9
