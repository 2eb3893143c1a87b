"""Small dimers with energies and forces of a known potential, and trainings of them in processes that can be killed."""

import os
import signal
from pathlib import Path

import numpy as np
import torch
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

from lorem_openmm import config
from lorem_openmm.data.prepare import prepare_dataset

MOLECULES = {
    "O": (np.array([8, 1, 1]), np.array([[0, 0, 0], [0.95, 0, 0], [-0.3, 0.9, 0]]), np.array([-1.0, 0.3, 0.3])),
    "C": (np.array([6, 1]), np.array([[0, 0, 0], [0, 0.2, 1.1]]), np.array([0.1, 0.6])),
}
BASELINE = {1: -13.0, 6: -1000.0, 8: -2000.0}


def known_potential(positions: torch.Tensor, charges: np.ndarray, numbers: np.ndarray) -> torch.Tensor:
    """Σ_ij Morse + 2 q_i q_j / r_ij in eV, and energies per element."""
    i, j = np.triu_indices(len(numbers), 1)
    r = (positions[i] - positions[j]).norm(dim=1)
    morse = (1 - torch.exp(-1.5 * (r - 1.1))).square() - 1
    coulomb = 2.0 * torch.tensor(charges[i] * charges[j]) / r
    return (morse + coulomb).sum() + sum(BASELINE[number] for number in numbers)


def dimer(pair: str, dimer_id: int, growth: float) -> Atoms:
    """Two molecules, labelled, with the info that dimers carry; the same for the same arguments."""
    random = np.random.default_rng(dimer_id)
    parts = [MOLECULES[name] for name in pair]
    numbers = np.concatenate([part[0] for part in parts])
    charges = np.concatenate([part[2] for part in parts])
    shifts = [np.zeros(3), np.array([2.5 + growth, 0.4, 0.2])]
    positions = np.concatenate([part[1] + shift for part, shift in zip(parts, shifts, strict=True)])
    positions = torch.tensor(positions + random.normal(scale=0.05, size=positions.shape), requires_grad=True)
    energy = known_potential(positions, charges, numbers)
    energy.backward()
    atoms = Atoms(numbers, positions.detach().numpy())
    atoms.calc = SinglePointCalculator(atoms, energy=energy.item(), forces=-positions.grad.numpy())
    atoms.info |= {"label": pair, "dimer_id": dimer_id, "separation": 2.5 + growth, "separation_growth": growth}
    atoms.info["charge"] = 0
    return atoms


def prepare_dimers(folder: Path, n_dimers: int = 12) -> Path:
    """Writes a store of dimers, at 6 separations each; those that grew by more than 4 Å are the test set."""
    pairs = ("OO", "OC", "CC")
    frames = [dimer(pairs[n % 3], n, growth) for n in range(n_dimers) for growth in (0.0, 0.5, 1.0, 2.0, 4.0, 8.0)]
    write(folder / "dimers.xyz", frames, format="extxyz")
    dataset = config.Dataset(
        structures=str(folder / "dimers.xyz"),
        class_key="label",
        separation_key="separation",
        split=config.Split(test_above={"separation_growth": 4.5}, group_by="dimer_id"),
    )
    prepare_dataset(dataset, "dimers", None, 4.0, folder / "dimers.safetensors")
    return folder / "dimers.safetensors"


def settings(epochs: int = 6, long_range: bool = True, **training: object) -> config.Config:
    """A configuration with one small run, ``small``."""
    model = {
        "cutoff": 4.0,
        "max_degree": 1,
        "max_charge_degree": 1,
        "num_features": 8,
        "num_radial": 6,
        "num_species": 3,
        "num_spherical_features": 2,
        "long_range": long_range,
    }
    values = {"epochs": epochs, "batch_size": 8, "learning_rate": 5e-3, "constant_epochs": 2} | training
    return config.parse(
        config.Config,
        {
            "datasets": {"dimers": {"structures": "dimers.xyz"}},
            "models": {"tiny": model},
            "training": {"short": values},
            "runs": {"small": {"datasets": ["dimers"], "model": "tiny", "training": "short"}},
        },
        "test",
    )


def fine_tuning(initial: Path, epochs: int, keep_baseline: bool = False, **training: object) -> config.Config:
    """The configuration of ``settings`` whose run starts from a model."""
    chosen = settings(epochs, **training)
    run = {**chosen.runs["small"].model_dump(), "initial_model": str(initial), "keep_baseline": keep_baseline}
    return config.parse(config.Config, {**chosen.model_dump(), "runs": {"small": run}}, "test")


def train_small(
    store: Path,
    output: Path,
    epochs: int,
    die: str = "",
    after: int = 0,
    initial: Path | None = None,
    **training: object,
) -> None:
    """Trains in this process; ``die`` kills it in the ``after``-th checkpoint: ``write`` or ``rename``."""
    from lorem_openmm.integrations.initial_model import read_initial_model
    from lorem_openmm.training.train import train

    torch.set_num_threads(1)
    if die:
        _arm(die, after)
    chosen = settings(epochs, **training) if initial is None else fine_tuning(initial, epochs, **training)
    model = None if initial is None else read_initial_model(initial)
    train(chosen, "small", [store], output, device="cpu", progress=False, initial=model)


def _arm(die: str, after: int) -> None:
    """Makes the process kill itself while it writes a checkpoint, or between its two renames."""
    real_save, real_replace, count = torch.save, Path.replace, [0]

    def save(content: object, path: Path) -> None:
        real_save(content, path)
        count[0] += path.name.startswith(".last")
        if die == "write" and count[0] == after:
            with path.open("r+b") as stream:
                stream.truncate(path.stat().st_size // 2)
            os.kill(os.getpid(), signal.SIGKILL)

    def replace(self: Path, target: Path) -> Path:
        result = real_replace(self, target)
        if die == "rename" and count[0] == after and target.name == "previous.ckpt":
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    torch.save, Path.replace = save, replace
