"""Training against lorem-jax, step by step in float64: the same initial weights, structures and batches.

No seeds are compared: what is left between the two is rounding. make_training_reference.py is the other side.
"""

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import ase.io
import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import molecule
from ase.calculators.morse import MorsePotential
from ase.calculators.singlepoint import SinglePointCalculator

from lorem_openmm import config
from lorem_openmm.data.baseline import as_table
from lorem_openmm.data.batching import StructureSet
from lorem_openmm.data.prepare import prepare_dataset
from lorem_openmm.data.store import joint_baseline, read_store
from lorem_openmm.integrations.lorem_jax import HYPERPARAMETERS, import_checkpoint
from lorem_openmm.model import Lorem
from lorem_openmm.potential import Potential
from lorem_openmm.training.module import TrainingModule
from lorem_openmm.training.train import initial_potential

HERE = Path(__file__).parent
TIME_LIMIT = 600  # s
OPTIMIZERS = [
    name for name in ("adam", "lamb") if name in get_args(config.Training.model_fields["optimizer"].annotation)
]
EPOCHS, CONSTANT_EPOCHS, BATCH_SIZE, SEED = 15, 3, 3, 5
MODEL = config.Model(
    cutoff=4.0,
    max_degree=2,
    max_charge_degree=1,
    num_features=8,
    num_radial=6,
    num_species=4,
    num_spherical_features=3,
)
ELEMENT_ENERGIES = {1: -13.6, 6: -1029.75, 8: -2041.25}

pytestmark = pytest.mark.parity


@dataclass
class Trained:
    """What both codes made of the same task.

    Attributes:
        theirs: loss and learning rate by step, of lorem-jax.
        ours: the same, of this package.
        weights: final weights by name: lorem-jax's, this package's.
        baselines: eV by atomic number: lorem-jax's, this package's.
        initial: lorem-jax's initial weights.
    """

    theirs: list[dict[str, float]]
    ours: list[dict[str, float]]
    weights: tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]
    baselines: tuple[dict[int, float], dict[int, float]]
    initial: dict[str, torch.Tensor]


def frames() -> list[Atoms]:
    """Two molecules in vacuum and a small box, in turn, with energies and forces of a Morse potential, rattled."""
    structures = []
    for _ in range(4):
        structures += [molecule(name) for name in ("CH3OH", "HCOOH", "H2CO")]
        structures[-1].set_cell([[5.1, 0.0, 0.0], [0.4, 5.4, 0.0], [-0.3, 0.5, 5.7]])
        structures[-1].pbc = True
    for seed, atoms in enumerate(structures):
        atoms.rattle(0.1, seed=seed)
        atoms.calc = MorsePotential(epsilon=0.3, r0=1.4, rho0=2.0, rcut1=3.0, rcut2=3.9)
        energy = atoms.get_potential_energy() + sum(ELEMENT_ENERGIES[number] for number in atoms.numbers)
        forces = atoms.get_forces()
        atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=forces)
    return structures


def batches_of_epochs() -> list[list[int]]:
    """One structure of each kind in each: lorem-jax compiles its step for every shape of a batch, for half a minute."""
    random = np.random.default_rng(SEED)
    batches = []
    for _ in range(EPOCHS):
        shuffled = [random.permutation(np.arange(kind, 12, 3)) for kind in range(3)]
        batches += np.stack(shuffled, axis=1).tolist()
    return batches


def settings(optimizer: str) -> config.Training:
    return config.Training(
        epochs=EPOCHS,
        batch_size=BATCH_SIZE,
        optimizer=optimizer,
        learning_rate=2e-3,
        constant_epochs=CONSTANT_EPOCHS,
        energy_weight=0.7,
        seed=SEED,
    )


@pytest.fixture(scope="module", params=OPTIMIZERS)
def trained(request, tmp_path_factory) -> Trained:
    python = Path(os.environ.get("LOREM_JAX_PYTHON") or HERE.parents[1] / ".venv-parity" / "bin" / "python")
    if not python.exists():
        pytest.skip(f"no lorem-jax environment at {python}: `make parity-env` makes it, or set LOREM_JAX_PYTHON")
    folder, training = tmp_path_factory.mktemp("training"), settings(request.param)
    structures = frames()
    ase.io.write(folder / "frames.xyz", structures, format="extxyz")
    batches = batches_of_epochs()
    task = training.model_dump() | {
        "model": {theirs: getattr(MODEL, ours) for theirs, ours in HYPERPARAMETERS.items()},
        "batches": batches,
        "steps_per_epoch": len(structures) // BATCH_SIZE,
    }
    (folder / "training.json").write_text(json.dumps(task))
    made = subprocess.run(
        [python, HERE / "make_training_reference.py", folder],
        capture_output=True,
        text=True,
        check=False,
        timeout=TIME_LIMIT,
    )
    assert made.returncode == 0, made.stderr[-4000:]
    return train_here(folder, training, batches)


def checkpoint(folder: Path) -> tuple[config.Model, dict[str, torch.Tensor], dict[int, float]]:
    return import_checkpoint(folder / "checkpoints" / "latest")


def train_here(folder: Path, training: config.Training, batches: list[list[int]]) -> Trained:
    """The same training with this package's data set, module, optimiser and schedule."""
    _, initial, their_baseline = checkpoint(folder / "initial")
    dataset = config.Dataset(
        train=str(folder / "frames.xyz"), split=config.Split(validation_fraction=0.0, test_fraction=0.0)
    )
    prepare_dataset(dataset, "small", None, MODEL.cutoff, folder / "small.safetensors")
    store = read_store(folder / "small.safetensors")
    baseline = joint_baseline([store]).energies
    structures = StructureSet([store], "train", MODEL.cutoff, as_table(baseline), dtype=torch.float64)
    model = Lorem(MODEL)
    model.load_state_dict(initial)
    module = TrainingModule(Potential(model, baseline).double(), training, len(structures) // BATCH_SIZE)
    parts = module.configure_optimizers()
    optimizer, scheduler = parts["optimizer"], parts["lr_scheduler"]["scheduler"]
    theirs, steps = json.loads((folder / "steps.json").read_text()), []
    for number, batch in enumerate(batches):
        steps.append({"learning_rate": optimizer.param_groups[0]["lr"]})
        optimizer.param_groups[0]["lr"] = theirs[number]["learning_rate"]  # the same to single precision
        optimizer.zero_grad()
        loss = module.training_step(structures.batch(batch), number)
        loss.backward()
        optimizer.step()
        scheduler.step()
        steps[-1]["loss"] = loss.item()
    weights = checkpoint(folder / "final")[1], model.state_dict()
    return Trained(theirs, steps, weights, (their_baseline, baseline), initial)


def column(steps: list[dict[str, float]], name: str) -> np.ndarray:
    return np.array([step[name] for step in steps])


def test_baseline(trained):
    theirs, ours = trained.baselines
    assert ours.keys() == theirs.keys()
    np.testing.assert_allclose(list(ours.values()), list(theirs.values()), rtol=1e-10)


def test_learning_rates(trained):
    theirs, ours = (column(steps, "learning_rate") for steps in (trained.theirs, trained.ours))
    assert len(set(ours)) == (EPOCHS - CONSTANT_EPOCHS) * 4  # one for all steps before the decay
    np.testing.assert_allclose(ours, theirs, rtol=1e-6)  # optax computes them in single precision


def test_losses(trained):
    theirs, ours = (column(steps, "loss") for steps in (trained.theirs, trained.ours))
    deviation = np.abs(ours / theirs - 1)
    print("relative deviation of the loss:", " ".join(f"{value:.0e}" for value in deviation))
    assert deviation[0] < 1e-11
    assert deviation.max() < 1e-8  # 1e-10 found; updates make rounding grow
    assert ours[-4:].mean() < 0.5 * ours[:4].mean()


def test_final_weights(trained):
    theirs, ours = trained.weights
    assert theirs.keys() == ours.keys()
    for name, weight in ours.items():
        moved = (weight - trained.initial[name]).abs().max().item()
        deviation = (weight - theirs[name]).abs().max().item()
        print(f"{name}: moved {moved:.1e}, off by {deviation:.1e}")
        assert deviation < 1e-8


def test_initial_weights_are_drawn_alike(trained):
    """Mean and spread of each array, within five standard errors; zeros and ones exactly."""
    ours = initial_potential(MODEL, ELEMENT_ENERGIES, seed=3).model.state_dict()
    for name, theirs in trained.initial.items():
        drawn = ours[name].double().flatten(), theirs.double().flatten()
        if all(values.min() == values.max() for values in drawn):
            assert drawn[0][0] == drawn[1][0], name
            continue
        n = len(drawn[0])
        spread = max(values.square().mean().sqrt().item() for values in drawn)
        mean = abs(drawn[0].mean() - drawn[1].mean()).item()
        ratio = drawn[0].square().mean().sqrt().item() / drawn[1].square().mean().sqrt().item()
        print(f"{name}: ratio of spreads {ratio:.3f}, means apart {mean / spread:.3f}, {n} numbers")
        assert mean < 5 * spread * (2 / n) ** 0.5, name
        assert abs(np.log(ratio)) < 5 / n**0.5, name
