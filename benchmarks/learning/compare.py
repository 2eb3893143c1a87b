"""Sets the trainings of both codes side by side: errors of the selected weights, learning curves, speed.

Example: python benchmarks/learning/compare.py FOLDER --figures docs/figures

FOLDER is where prepare.py, run_theirs.py and run_ours.py wrote. The weights that each training selected are evaluated
by this package, lorem-jax's after conversion, so that one piece of code makes all errors of the table; lorem-jax's own
validation errors are compared with it. FOLDER/comparison.json and comparison.md hold what is found.
"""

import argparse
import csv
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean, median, stdev
from typing import Any

import numpy as np
import torch
import yaml
from common import Place, run_name

from lorem_openmm.data.store import Store, joint_baseline, read_store
from lorem_openmm.files import read_json, write_json, write_text
from lorem_openmm.integrations.lorem_jax import import_checkpoint
from lorem_openmm.model import Lorem
from lorem_openmm.plotting import COLORS, label_axes, new_figure
from lorem_openmm.potential import Potential
from lorem_openmm.training.checkpoints import load_best
from lorem_openmm.training.error_tables import BEYOND, error_rows
from lorem_openmm.training.predictions import find_fragments, predict

SELECTED = "R2_E+F"  # lorem-train's checkpoint of the largest R²(energy) + R²(forces), by which we select too
CODES = {"theirs": "lorem-jax", "ours": "this package"}
QUANTITIES = {"energy_rmse": "energy RMSE (meV/atom)", "forces_rmse": "force RMSE (meV/Å)"}
FRAGMENT_FORCE = "fragment_force_rmse"


def main() -> None:
    """Compares."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--figures", type=Path, help="folder of learning-NAME.png; default: FOLDER")
    parser.add_argument("--seeds", type=int, nargs="+", help="default: those of the description")
    options = parser.parse_args()
    place = Place(options.folder)
    name, seeds = place.description().name, options.seeds or place.description().seeds
    result = compare(place, seeds)
    write_json(place.root / "comparison.json", result)
    write_text(place.root / "comparison.md", table(result))
    draw(result, (options.figures or place.root) / f"learning-{name}", name)
    print(table(result))


def compare(place: Place, seeds: Sequence[int]) -> dict[str, Any]:
    """Returns errors, curves and times of each seed that was trained, by code."""
    description = place.description()
    store = read_store(place.layout.store(description.name))
    n_train = len(store.indices("train"))
    result: dict[str, Any] = {"name": description.name, "n_train": n_train, "theirs": [], "ours": []}
    for seed in seeds:
        if (place.layout.run(run_name(seed)) / "record.json").exists():
            result["ours"].append(our_run(place, seed, store))
        if (place.theirs(seed) / "record.json").exists():
            result["theirs"].append(their_run(place, seed, store))
    for code in CODES:
        for found in result[code]:
            found["structures_per_second"] = n_train / found["seconds_per_epoch"]
    return result


def our_run(place: Place, seed: int, store: Store) -> dict[str, Any]:
    """What one training of this package led to."""
    output = place.layout.run(run_name(seed))
    potential, about = load_best(output)
    history = our_history(output, place.description().training.validate_every)
    return {"seed": seed, "epoch": about["epoch"], "errors": errors(potential, store)} | history


def their_run(place: Place, seed: int, store: Store) -> dict[str, Any]:
    """What one training of lorem-jax led to."""
    checkpoint = place.theirs(seed) / "run" / "checkpoints" / SELECTED
    model, state, their_baseline = import_checkpoint(checkpoint)
    network = Lorem(model)
    network.load_state_dict(state)
    baseline = joint_baseline([store]).energies
    found = {
        "seed": seed,
        "errors": errors(Potential(network, their_baseline).float(), store),
        "reported": reported(checkpoint),
        "baseline_off": max(abs(their_baseline[number] - baseline[number]) for number in baseline),
    }
    return found | their_history(place.theirs(seed), len(store.indices("train")))


def errors(potential: Potential, store: Store) -> dict[str, dict[str, float]]:
    """RMSE by split; for structures with parts beyond the cutoff, that of the total force on each part."""
    fragments = find_fragments(store, potential.cutoff)
    found: dict[str, dict[str, float]] = {}
    for row in error_rows(store, predict(potential, store, torch.device("cpu")), fragments):
        values = found.setdefault(row["split"], {})
        if row["group"] == "all":
            values |= {name: row[name] for name in QUANTITIES}
        elif row["group"] == BEYOND:
            values[FRAGMENT_FORCE] = row[FRAGMENT_FORCE]
    return found


def reported(checkpoint: Path) -> dict[str, float]:
    """lorem-train's own validation errors of a checkpoint."""
    metrics = yaml.safe_load((checkpoint / "metrics.yaml").read_text(encoding="utf-8"))["valid"]
    return {
        "energy_rmse": 1e3 * float(metrics["energy"]["rmse"]),
        "forces_rmse": 1e3 * float(metrics["forces"]["rmse"]),
    }


def our_history(output: Path, every: int) -> dict[str, Any]:
    """Curves of a training of this package, and seconds per epoch, validation included.

    The training errors are means over the epochs since the last validation, as lorem-train's are.
    """
    with (output / "metrics.csv").open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    seconds = np.array([float(row["seconds"]) for row in rows])
    groups = [rows[first : first + every] for first in range(0, len(rows), every)]
    validated = [group[-1] for group in groups]
    curves = {}
    for name in QUANTITIES:
        squares = [[float(row[f"train_{name}"]) ** 2 for row in group] for group in groups]
        curves[f"train_{name}"] = [fmean(values) ** 0.5 for values in squares]
        curves[f"validation_{name}"] = [float(row[f"validation_{name}"]) for row in validated]
    return {
        "epochs": [int(row["epoch"]) for row in validated],
        "curves": curves,
        "seconds": float(seconds.sum()),
        "cpu_per_epoch": read_json(output / "record.json").get("cpu_seconds", 0.0) / len(rows),
        "seconds_per_epoch": median(float(seconds[n : n + every].mean()) for n in range(0, len(seconds), every)),
    }


def their_history(folder: Path, n_train: int) -> dict[str, Any]:
    """The same of a training of lorem-jax."""
    curves, epochs = {}, []
    for split, file in (("train", "train.txt"), ("validation", "valid.txt")):
        _, names, *lines = (folder / "run" / "logs" / file).read_text(encoding="utf-8").splitlines()
        columns = [name.strip() for name in names.split("|")]
        rows = [dict(zip(columns, (cell.strip() for cell in line.split("|")), strict=True)) for line in lines]
        epochs = [int(row["Step"]) // n_train for row in rows]
        curves[f"{split}_energy_rmse"] = [float(row["E RMSE"]) for row in rows]
        curves[f"{split}_forces_rmse"] = [float(row["F RMSE"]) for row in rows]
    record = read_json(folder / "record.json")
    intervals = np.diff(record["validations"]) / np.diff(epochs)
    return {
        "epoch": selected_epoch(folder, n_train),
        "epochs": epochs,
        "curves": curves,
        "seconds": record["seconds"],
        "cpu_per_epoch": median((np.diff(record["cpu"]) / np.diff(epochs)).tolist()) if "cpu" in record else 0.0,
        "seconds_per_epoch": median(intervals.tolist()),
    }


def selected_epoch(folder: Path, n_train: int) -> int:
    """The epoch whose weights lorem-train selected."""
    text = (folder / "run" / "checkpoints" / SELECTED / "info.txt").read_text(encoding="utf-8")
    return int(text.split("step=")[1].split(":")[0]) // n_train


def noise(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """Difference of the means in standard errors of that difference; negative: ours is lower."""
    error = (stdev(ours) ** 2 / len(ours) + stdev(theirs) ** 2 / len(theirs)) ** 0.5
    return (fmean(ours) - fmean(theirs)) / error if error else 0.0


def table(result: dict[str, Any]) -> str:
    """Means and standard deviations over the seeds, as Markdown."""

    def of(code: str, pick: Any) -> list[float]:
        return [pick(found) for found in result[code]]

    rows = []
    splits = [split for split in ("train", "validation", "test") if split in result["ours"][0]["errors"]]
    for split in splits:
        for name, text in {**QUANTITIES, FRAGMENT_FORCE: "force on each molecule beyond the cutoff (meV/Å)"}.items():
            if name in result["ours"][0]["errors"][split]:
                rows.append((f"{split}, {text}", lambda f, split=split, name=name: f["errors"][split][name]))
    rows.append(("selected epoch", lambda found: found["epoch"]))
    rows.append(("seconds per epoch", lambda found: found["seconds_per_epoch"]))
    if all(found["cpu_per_epoch"] for code in CODES for found in result[code]):
        rows.append(("processor seconds per epoch", lambda found: found["cpu_per_epoch"]))
    rows.append(("structures per second", lambda found: found["structures_per_second"]))
    heads = [f"{text}, seeds {', '.join(str(f['seed']) for f in result[code])}" for code, text in CODES.items()]
    lines = ["| " + " | ".join(["", *heads, "difference in standard errors"]) + " |", "|---|---|---|---|"]
    for text, pick in rows:
        values = {code: of(code, pick) for code in CODES}
        cells = [f"{fmean(v):.4g} ± {stdev(v) if len(v) > 1 else 0.0:.2g}" for v in values.values()]
        compared = "RMSE" in text or "force" in text
        several = compared and min(map(len, values.values())) > 1
        cells.append(f"{noise(values['ours'], values['theirs']):+.1f}" if several else "")
        lines.append("| " + " | ".join([text, *cells]) + " |")
    off = max(
        abs(found["errors"]["validation"][name] / found["reported"][name] - 1)
        for found in result["theirs"]
        for name in QUANTITIES
    )
    baseline = max(found["baseline_off"] for found in result["theirs"])
    lines.append(
        f"\nlorem-train's own validation errors of the converted weights differ from the above by at most {off:.1e} of "
        f"their value; its energies per element from ours by {baseline:.1e} eV."
    )
    return "\n".join(lines) + "\n"


def draw(result: dict[str, Any], stem: Path, name: str) -> None:
    """Errors against epochs: the mean over the seeds as a line, their range as a band."""
    colors = dict(zip(CODES, (COLORS[1], COLORS[0]), strict=True))
    with new_figure(stem, rows=2, columns=2, width=6.4, height=4.4, sharex=True) as (_, panels):
        for row, (quantity, text) in zip(panels, QUANTITIES.items(), strict=True):
            for axes, split in zip(row, ("train", "validation"), strict=True):
                for code, label in CODES.items():
                    values = np.array([found["curves"][f"{split}_{quantity}"] for found in result[code]])
                    epochs = result[code][0]["epochs"]
                    axes.plot(epochs, values.mean(axis=0), color=colors[code], label=label)
                    axes.fill_between(
                        epochs, values.min(axis=0), values.max(axis=0), color=colors[code], alpha=0.2, linewidth=0
                    )
                axes.set_yscale("log")
                label_axes(axes, "epoch", text, f"{name}, {'training' if split == 'train' else split}")
        panels[0][0].legend()


if __name__ == "__main__":
    main()
