"""Training steps: gradients, learning, clipping, validation, logs."""

import csv
from pathlib import Path

import pytest
import torch
from ase.io import read, write
from small_training import settings

from lorem_openmm import config
from lorem_openmm.data.baseline import as_table
from lorem_openmm.data.batching import StructureSet
from lorem_openmm.data.prepare import prepare_dataset
from lorem_openmm.data.store import joint_baseline, read_store
from lorem_openmm.errors import ConfigError, DataError, TrainingError
from lorem_openmm.potential import Potential
from lorem_openmm.training.devices import choose_device
from lorem_openmm.training.losses import loss, residuals
from lorem_openmm.training.train import initial_potential, train


def load(store: Path, dtype: torch.dtype) -> tuple[StructureSet, Potential]:
    data = [read_store(store)]
    baseline = joint_baseline(data).energies
    model = settings().models["tiny"]
    structures = StructureSet(data, "train", model.cutoff, as_table(baseline), dtype=dtype)
    return structures, initial_potential(model, baseline, seed=0).to(dtype)


def test_gradient_of_the_loss_is_its_slope(dimer_store: Path) -> None:
    structures, potential = load(dimer_store, torch.float64)
    graph, labels = structures.batch(range(5))
    training = config.Training(energy_weight=0.7, force_weight=0.4)

    def value() -> torch.Tensor:
        return loss(residuals(potential(graph, create_graph=True), graph, labels), training)

    parameters = dict(potential.named_parameters())
    gradients = dict(zip(parameters, torch.autograd.grad(value(), parameters.values()), strict=True))
    random = torch.Generator().manual_seed(1)
    for name, parameter in parameters.items():
        direction = torch.randn(parameter.shape, generator=random, dtype=torch.float64)
        slope = float((gradients[name] * direction).sum())
        ends = []
        for sign in (1, -1):
            with torch.no_grad():
                parameter += sign * 1e-5 * direction
            ends.append(value().item())
            with torch.no_grad():
                parameter -= sign * 1e-5 * direction
        assert (ends[0] - ends[1]) / 2e-5 == pytest.approx(slope, rel=2e-5, abs=1e-8), name


def test_learns_a_few_frames(dimer_store: Path, tmp_path: Path) -> None:
    frames = read(dimer_store.with_suffix(".xyz"), index=":6")
    write(tmp_path / "few.xyz", frames, format="extxyz")
    dataset = config.Dataset(train=str(tmp_path / "few.xyz"), split=config.Split(validation_fraction=0.0))
    prepare_dataset(dataset, "few", None, 4.0, tmp_path / "few.safetensors")
    run = settings(150, batch_size=6, learning_rate=1e-2, constant_epochs=50)
    result = train(run, "small", [tmp_path / "few.safetensors"], tmp_path / "run", device="cpu", progress=False)
    rows = list(csv.DictReader((tmp_path / "run" / "metrics.csv").open()))
    assert float(rows[-1]["train_loss"]) < 0.02 * float(rows[0]["train_loss"])
    assert "validation_energy_rmse" not in rows[0]  # selected by the training errors
    assert result.metrics["score"] > 1.98


def test_validates_every_few_epochs_and_at_the_end(dimer_store: Path, tmp_path: Path) -> None:
    train(settings(5, validate_every=2), "small", [dimer_store], tmp_path, device="cpu", progress=False)
    rows = list(csv.DictReader((tmp_path / "metrics.csv").open()))
    assert [row["score"] != "" for row in rows] == [False, True, False, True, True]
    lines = [line for line in (tmp_path / "train.log").read_text().splitlines() if line.startswith("epoch")]
    assert ["validation" in line for line in lines] == [False, True, False, True, True]


def test_writes_tensorboard_events(dimer_store: Path, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    train(settings(3), "small", [dimer_store], tmp_path, device="cpu", progress=False)
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    rows = list(csv.DictReader((tmp_path / "metrics.csv").open()))
    scalars = events.Scalars("validation_forces_rmse")
    assert [event.step for event in scalars] == [1, 2, 3]
    assert [event.value for event in scalars] == pytest.approx(
        [float(row["validation_forces_rmse"]) for row in rows], rel=1e-6
    )


def test_clipping_limits_the_first_step(dimer_store: Path, tmp_path: Path) -> None:
    train(settings(1, gradient_clip=1e-12), "small", [dimer_store], tmp_path, device="cpu", progress=False)
    from lorem_openmm.training.checkpoints import load_best

    trained, _ = load_best(tmp_path)
    _, initial = load(dimer_store, torch.float32)
    # Adam divides by the size of the gradient plus 1e-8: a gradient of 1e-12 moves the weights 1e-4 as much.
    moves = [(a - b).abs().max().item() for a, b in zip(trained.parameters(), initial.parameters(), strict=True)]
    assert 0 < max(moves) < 1e-5


def test_loss_that_is_not_a_number_stops(dimer_store: Path, tmp_path: Path) -> None:
    run = settings(3, learning_rate=1e30, min_learning_rate=1e29)
    with pytest.raises(TrainingError, match="Lower `learning_rate`"):
        train(run, "small", [dimer_store], tmp_path, device="cpu", progress=False)


def test_two_data_sets_and_stress_are_trained_together(dimer_store: Path, tmp_path: Path) -> None:
    from helpers import rattled_box

    random = torch.Generator().manual_seed(0)
    frames = []
    for seed in range(10):
        atoms = rattled_box(seed)
        atoms.numbers[atoms.numbers == 17] = 6
        atoms.info |= {"energy": float(len(atoms)), "stress": 0.01 * torch.randn(9, generator=random).numpy()}
        atoms.info["stress"] = atoms.info["stress"].reshape(3, 3) + atoms.info["stress"].reshape(3, 3).T
        atoms.arrays["forces"] = torch.randn(len(atoms), 3, generator=random).numpy()
        frames.append(atoms)
    write(tmp_path / "boxes.xyz", frames, format="extxyz")
    dataset = config.Dataset(structures=str(tmp_path / "boxes.xyz"), stress_key="stress")
    prepare_dataset(dataset, "boxes", None, 4.0, tmp_path / "boxes.safetensors")
    stores = [dimer_store, tmp_path / "boxes.safetensors"]
    run = settings(2, stress_weight=1.0, validate_every=1)
    result = train(run, "small", stores, tmp_path / "run", device="cpu", progress=False)
    assert result.metrics["train_stress_rmse"] > 0
    assert result.metrics["validation_stress_rmse"] > 0


def test_devices() -> None:
    assert choose_device("cpu").type == "cpu"
    with pytest.raises(ConfigError, match="must be auto, cpu"):
        choose_device("gpu0")
    if not torch.cuda.is_available():
        assert choose_device("auto").type == "cpu"
        with pytest.raises(ConfigError, match="not available here"):
            choose_device("cuda")


def test_missing_store_and_unwritable_folder(dimer_store: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        train(settings(), "small", [tmp_path / "none.safetensors"], tmp_path, device="cpu")
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="must be writable"):
        train(settings(), "small", [dimer_store], tmp_path / "file" / "run", device="cpu")
