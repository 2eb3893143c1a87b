"""Trains with this package from lorem-jax's initial weights on lorem-jax's batches, and prints both side by side.

Example: python benchmarks/learning/run_same_start.py FOLDER --seeds 2

FOLDER is what prepare.py made, and run_theirs.py must have run. Two codes that are the same to rounding start with the
same errors here; rounding in float32 then grows until they are like two seeds.
"""

import argparse
import csv
import os
import subprocess
from pathlib import Path

import numpy as np
import torch
from common import Place
from compare import CODES, QUANTITIES, their_history
from records import PYTHONS

from lorem_openmm.config import Training
from lorem_openmm.data.baseline import as_table
from lorem_openmm.data.batching import StructureSet
from lorem_openmm.data.store import joint_baseline, read_store
from lorem_openmm.files import atomic_path
from lorem_openmm.integrations.lorem_jax import import_checkpoint
from lorem_openmm.model import Lorem
from lorem_openmm.plotting import COLORS, label_axes, new_figure
from lorem_openmm.potential import Potential
from lorem_openmm.training.losses import residuals
from lorem_openmm.training.metrics import Metrics
from lorem_openmm.training.module import OrderedBatches, TrainingModule


def main() -> None:
    """Trains the seeds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", help="default: those of the description")
    parser.add_argument("--figures", type=Path, help="folder of learning-NAME-same-start.png; default: FOLDER")
    parser.add_argument("--epochs", type=int, help="how many of the epochs; default: all")
    options = parser.parse_args()
    place = Place(options.folder)
    for seed in options.seeds or place.description().seeds:
        if (place.root / "same_start" / f"seed-{seed}.csv").exists():
            print(f"seed {seed}: done before")
            continue
        rows = train(place, seed, options.epochs or place.description().training.epochs)
        with (
            atomic_path(place.root / "same_start" / f"seed-{seed}.csv") as temporary,
            temporary.open("w", encoding="utf-8", newline="") as stream,
        ):
            writer = csv.DictWriter(stream, fieldnames=list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    draw(place, options.figures or place.root)


def draw(place: Place, folder: Path) -> None:
    """Validation errors against epochs, each seed in its colour."""
    name = place.description().name
    files = sorted((place.root / "same_start").glob("seed-*.csv"))
    with new_figure(folder / f"learning-{name}-same-start", columns=2, width=6.4, height=2.8) as (_, [panels]):
        for axes, (quantity, text) in zip(panels, QUANTITIES.items(), strict=True):
            for file, color in zip(files, COLORS, strict=False):
                with file.open(encoding="utf-8") as stream:
                    rows = list(csv.DictReader(stream))
                epochs = [int(row["epoch"]) for row in rows]
                for code, line in (("theirs", "-"), ("ours", "--")):
                    values = [float(row[f"{code}_{quantity}"]) for row in rows]
                    axes.plot(epochs, values, line, color=color, label=f"{CODES[code]}, {file.stem.replace('-', ' ')}")
            axes.set_yscale("log")
            label_axes(axes, "epoch", text, f"{name}, same start")
        panels[1].legend()


def start(place: Place, seed: int, n_train: int, epochs: int) -> tuple[dict[str, torch.Tensor], np.ndarray]:
    """lorem-jax's initial weights, and the order of the structures, [epochs, n_train]."""
    folder = place.root / "start" / f"seed-{seed}"
    if not (folder / "order.txt").exists():
        script = Path(__file__).parent / "their_start.py"
        arguments = [place.theirs(seed), str(n_train), str(epochs), str(seed), folder]
        variables = {**os.environ, "DATASETS": str(place.marathon_data), "JAX_PLATFORMS": "cpu"}
        subprocess.run([PYTHONS["lorem_jax"], script, *arguments], check=True, env=variables)
    _, state, _ = import_checkpoint(folder / "initial" / "checkpoints" / "latest")
    return state, np.loadtxt(folder / "order.txt", dtype=int)


def train(place: Place, seed: int, epochs: int) -> list[dict[str, float]]:
    """Returns the validation errors of both codes at each validation."""
    description = place.description()
    training, store = description.training, read_store(place.layout.store(description.name))
    baseline = joint_baseline([store]).energies
    sets = [
        StructureSet([store], split, description.model.cutoff, as_table(baseline)) for split in ("train", "validation")
    ]
    state, order = start(place, seed, len(sets[0]), training.epochs)
    theirs = their_history(place.theirs(seed), len(sets[0]))
    model = Lorem(description.model)
    model.load_state_dict(state)
    steps = len(sets[0]) // training.batch_size
    module = TrainingModule(Potential(model, baseline).float(), training, steps)
    parts = module.configure_optimizers()
    rows = []
    for epoch in range(epochs):
        for batch in np.split(order[epoch], steps):
            parts["optimizer"].zero_grad()
            module.training_step(sets[0].batch(batch), 0).backward()
            parts["optimizer"].step()
            parts["lr_scheduler"]["scheduler"].step()
        if epoch + 1 in theirs["epochs"]:
            found = validate(module.potential, sets[1], training)
            at = theirs["epochs"].index(epoch + 1)
            row = {"epoch": epoch + 1} | {f"ours_{name}": found[name] for name in QUANTITIES}
            rows.append(row | {f"theirs_{name}": theirs["curves"][f"validation_{name}"][at] for name in QUANTITIES})
            print(seed, {name: round(value, 2) for name, value in rows[-1].items()}, flush=True)
    return rows


def validate(potential: Potential, structures: StructureSet, training: Training) -> dict[str, float]:
    """Errors on the validation set."""
    metrics = Metrics()
    for graph, labels in OrderedBatches(structures, training.batch_size):
        metrics.update(residuals(potential(graph), graph, labels))
    return metrics.summary()


if __name__ == "__main__":
    main()
