"""Writes the data and the settings of a comparison for both codes, from one description.

Example: python benchmarks/learning/prepare.py benchmarks/learning/gnl_cumulene.yaml --data DATA --output FOLDER
"""

import argparse
import os
import shutil
from pathlib import Path
from statistics import median
from typing import Any

import ase.io
import yaml
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from common import RESULTS, Description, Place, read_description, run_name

from lorem_openmm.errors import ConfigError
from lorem_openmm.files import atomic_path, write_text
from lorem_openmm.integrations.lorem_jax import HYPERPARAMETERS

# settings of ours that lorem-train has under another name; what neither dictionary names must be at its default
RENAMED = {
    "optimizer": "optimizer",
    "learning_rate": "start_learning_rate",
    "min_learning_rate": "min_learning_rate",
    "schedule": "decay_style",
    "constant_epochs": "start_decay_after",
    "epochs": "max_epochs",
    "validate_every": "valid_every_epoch",
}
TRANSLATED = ("batch_size", "energy_weight", "force_weight", "seed")


def main() -> None:
    """Writes everything."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("description", type=Path)
    parser.add_argument(
        "--data",
        type=Path,
        default=os.environ.get("LOREM_REFERENCE_DATA"),
        help="folder of the reference data; default: LOREM_REFERENCE_DATA",
    )
    parser.add_argument("--output", type=Path, help="default: benchmarks/results/learning/NAME")
    options = parser.parse_args()
    if options.data is None:
        parser.error("--data or LOREM_REFERENCE_DATA must say where the reference data are")
    description = read_description(options.description)
    place = Place(options.output or RESULTS / description.name)
    prepare(description, options.data / description.folder, place)
    shutil.copyfile(options.description, place.root / "description.yaml")
    print(place.root)


def prepare(description: Description, data: Path, place: Place) -> None:
    """Writes frames, this package's configuration and lorem-train's folders."""
    frames = split_frames(description, data)
    for split, structures in frames.items():
        if structures:
            place.frames(split).parent.mkdir(parents=True, exist_ok=True)
            with atomic_path(place.frames(split)) as temporary:
                ase.io.write(temporary, structures, format="extxyz")
    check_steps(description, len(frames["train"]), len(frames["validation"]))
    write_yaml(place.settings, our_settings(description, place, bool(frames["test"])))
    for seed in description.seeds:
        write_yaml(place.theirs(seed) / "settings.yaml", their_settings(description, seed))
        write_yaml(place.theirs(seed) / "model.yaml", {"model": {"lorem.Lorem": their_model(description)}})


def split_frames(description: Description, data: Path) -> dict[str, list[Atoms]]:
    """Training, validation and test structures: energies and forces, no cell."""

    def read(names: list[str]) -> list[tuple[int, Atoms]]:
        return [(index, isolated(atoms)) for name in names for index, atoms in enumerate(ase.io.read(data / name, ":"))]

    pool, chosen = read(description.train), description.validation_frames
    taken = [(index, atoms) for index, atoms in pool if index in chosen]
    parts = {
        "train": [(index, atoms) for index, atoms in pool if index not in chosen],
        "validation": taken + read(description.validation),
        "test": read(description.test),
    }
    return {split: [atoms for _, atoms in part] for split, part in parts.items()}


def isolated(atoms: Atoms) -> Atoms:
    """The same atoms in vacuum with nothing but energy and forces."""
    bare = Atoms(atoms.numbers, atoms.positions)
    energy, forces = atoms.get_potential_energy(), atoms.get_forces()
    bare.calc = SinglePointCalculator(bare, energy=energy, forces=forces)
    return bare


def check_steps(description: Description, n_train: int, n_validation: int) -> None:
    """Refuses sizes with which the two codes would take other steps.

    lorem-train joins batches across epochs, and estimates the number of steps per epoch, by which its learning rate
    decays, as n_train divided by the median size of the validation batches.
    """
    size = description.training.batch_size
    full, rest = divmod(n_validation, size)
    estimate = int(n_train / int(median([size] * full + [rest] * (rest > 0))))
    if n_train % size or estimate != n_train // size:
        raise ConfigError(
            f"{description.name}: batch_size must divide the {n_train} training structures and be the median size of "
            f"the batches of the {n_validation} validation structures, received {size}: lorem-train would let its "
            f"learning rate decay as if an epoch had {estimate} steps. Choose another batch_size or division."
        )


def our_settings(description: Description, place: Place, has_test: bool) -> dict[str, Any]:
    """This package's configuration: one run per seed."""
    name, training = description.name, description.training.model_dump(exclude_unset=True)
    files = {split: str(place.frames(split)) for split in ("train", "validation", "test")}
    if not has_test:
        del files["test"]
    return {
        "output": str(place.layout.root),
        "datasets": {name: files},
        "models": {"lorem": description.model.model_dump(exclude_unset=True)},
        "training": {run_name(seed): {**training, "seed": seed} for seed in description.seeds},
        "runs": {
            run_name(seed): {"datasets": [name], "model": "lorem", "training": run_name(seed)}
            for seed in description.seeds
        },
    }


def their_model(description: Description) -> dict[str, Any]:
    """lorem-jax's hyper-parameters, all of them."""
    ours = description.model
    untranslated = ours.model_fields_set - set(HYPERPARAMETERS.values())
    if untranslated:
        raise ConfigError(
            f"{description.name}: lorem-jax has no hyper-parameters {sorted(untranslated)}; leave them out."
        )
    return {theirs: getattr(ours, name) for theirs, name in HYPERPARAMETERS.items()}


def their_settings(description: Description, seed: int) -> dict[str, Any]:
    """lorem-train's settings of one seed."""
    ours = description.training
    untranslated = ours.model_fields_set - set(RENAMED) - set(TRANSLATED)
    if untranslated:
        raise ConfigError(f"{description.name}: settings {sorted(untranslated)} have no translation; leave them out.")
    return {
        "train": "train",
        "valid": "validation",
        # It yields batches of one structure less than it is told, and by default drops the last batch of the training.
        "batcher": {"batch_size": ours.batch_size + 1, "drop_remainder": False},
        "loss_weights": {"energy": ours.energy_weight, "forces": ours.force_weight},
        **{theirs: getattr(ours, name) for name, theirs in RENAMED.items()},
        "seed": seed,
        "checkpointers": "full",
        "compilation_cache": True,  # the later seeds need not compile
        "benchmark_pipeline": False,
        "use_wandb": False,
        "worker_count": 0,
    }


def write_yaml(path: Path, values: dict[str, Any]) -> None:
    """Writes settings, whole or not at all."""
    write_text(path, yaml.safe_dump(values, sort_keys=False))


if __name__ == "__main__":
    main()
