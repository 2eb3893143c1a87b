"""Figures of an evaluation: parity, errors along the separation, energy curves of dimers, reaction profiles."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from lorem_openmm.data.splits import SPLITS
from lorem_openmm.data.store import Store
from lorem_openmm.plotting import COLORS, GREY, INK, label_axes, new_figure, new_panels
from lorem_openmm.training.dimer_curves import MIN_CURVE, find_curves, reference_zero
from lorem_openmm.training.predictions import (
    Predictions,
    fragment_forces,
    fragment_owners,
    is_separated,
    predicted_zero,
)
from lorem_openmm.units import MEV_PER_EV

SPLIT_COLORS = dict(zip(SPLITS, (GREY, COLORS[0], COLORS[1]), strict=True))
MAX_POINTS = 20_000  # per split and panel; a figure with more is slow and not clearer


def all_figures(output: Path, store: Store, runs: Mapping[str, Predictions], fragments: np.ndarray) -> None:
    """Draws every figure for which the data set has the data.

    Args:
        output: Folder.
        store: The data set.
        runs: Predictions by name of the run.
        fragments: [n_atoms] groups of atoms within the cutoff.
    """
    name = store.metadata["name"]
    for run, predictions in runs.items():
        _parity(output / (f"parity_{name}" if len(runs) == 1 else f"parity_{name}_{run}"), store, predictions, run)
    if np.isfinite(store["separation"]).any():
        _errors_by_separation(output / f"separation_{name}", store, runs)
    if len(store.metadata["class_names"]) and is_separated(store, fragments).any():
        _interaction_forces(output / f"interaction_{name}", store, runs, fragments)
    if find_curves(store):
        _energy_curves(output / f"curves_{name}", store, runs)
    if find_profiles(store):
        _reaction_profiles(output / f"profile_{name}", store, runs)


def _parity(stem: Path, store: Store, predictions: Predictions, run: str) -> None:
    """Draws predicted against reference energies per atom (the baseline subtracted) and force components, by split."""
    n_atoms = np.diff(store["atom_offsets"])
    energies = [(values - predictions.baseline) / n_atoms for values in (store["energy"], predictions.energy)]
    forces = [store["forces"], predictions.forces]
    split_of_atom = np.repeat(store["split"], n_atoms)
    with new_figure(stem, columns=2, width=7.2, height=3.6) as (_, axes):
        energy_axes, force_axes = axes[0]
        for number, split in enumerate(SPLITS):
            structures, atoms = store["split"] == number, split_of_atom == number
            _scatter(energy_axes, energies[0][structures], energies[1][structures], split, "meV/atom")
            _scatter(force_axes, forces[0][atoms].ravel(), forces[1][atoms].ravel(), split, "meV/Å")
        label_axes(energy_axes, "reference energy (eV/atom)", "predicted energy (eV/atom)", run)
        label_axes(force_axes, "reference force (eV/Å)", "predicted force (eV/Å)", store.metadata["name"])
        for panel in (energy_axes, force_axes):
            low, high = panel.get_xlim()
            panel.plot([low, high], [low, high], color=INK, linewidth=0.7, zorder=0)
            panel.legend(title="RMSE", loc="upper left")


def _scatter(axes: Axes, reference: np.ndarray, predicted: np.ndarray, split: str, unit: str) -> None:
    if len(reference) == 0:
        return
    rmse = MEV_PER_EV * float(np.sqrt(np.mean((predicted - reference) ** 2)))
    chosen = np.arange(len(reference))
    if len(chosen) > MAX_POINTS:
        chosen = np.random.default_rng(0).choice(chosen, MAX_POINTS, replace=False)
    label, color = f"{split} {rmse:.3g} {unit}", SPLIT_COLORS[split]
    x, y = reference[chosen], predicted[chosen]
    axes.plot(x, y, "o", markersize=2.2, markeredgewidth=0, alpha=0.6, color=color, label=label, rasterized=True)


def _errors_by_separation(stem: Path, store: Store, runs: Mapping[str, Predictions]) -> None:
    """Draws the force RMSE along the separation, one panel per class.

    Lines join root mean squares over windows of equal numbers of structures; where the training set is, is shaded.
    """
    names = [*store.metadata["class_names"]] or [""]
    offsets, separation = store["atom_offsets"], store["separation"]
    n_atoms = np.diff(offsets)
    x, y = "separation (Å); shaded: trained on", "force RMSE (meV/Å)"
    with new_panels(stem, names, 2.5, 2.1, x, y, sharex=True, sharey=True) as panels:
        for index, panel in enumerate(panels[: len(names)]):
            member = np.isfinite(separation) & ((store["class_index"] == index) if names[0] else True)
            trained = member & (store["split"] == 0)
            if trained.any():
                panel.axvspan(separation[trained].min(), separation[trained].max(), color="#EEEEEE", zorder=0)
            for color, (run, predictions) in zip(COLORS, runs.items(), strict=False):
                squares = np.add.reduceat(((predictions.forces - store["forces"]) ** 2).sum(axis=1), offsets[:-1])
                rmse = MEV_PER_EV * np.sqrt(squares / (3 * n_atoms))
                panel.plot(*_running(separation[member], rmse[member]), color=color, label=run)
            panel.set_yscale("log")
        panels[0].legend()


def _running(x: np.ndarray, y: np.ndarray, n_windows: int = 15) -> tuple[np.ndarray, np.ndarray]:
    """Root mean square of y, and median of x, in windows of equal numbers of points along x."""
    if len(x) == 0:
        return np.zeros(0), np.zeros(0)
    order = np.argsort(x)
    parts = np.array_split(order, min(n_windows, len(x)))
    medians = np.array([np.median(x[part]) for part in parts])
    return medians, np.array([np.sqrt(np.mean(y[part] ** 2)) for part in parts])


def _interaction_forces(stem: Path, store: Store, runs: Mapping[str, Predictions], fragments: np.ndarray) -> None:
    """Draws the total force on a fragment beyond the cutoff of the others, and its errors, along the separation.

    Root mean squares over windows of equal numbers of structures, one panel per class. A short-range model has no such
    force, so that its error is the force itself.
    """
    separated = is_separated(store, fragments) & np.isfinite(store["separation"])
    owner = fragment_owners(store, fragments)
    reference = fragment_forces(store["forces"], fragments)
    values = {"reference": reference}
    values |= {f"error, {run}": fragment_forces(p.forces, fragments) - reference for run, p in runs.items()}
    present = np.unique(store["class_index"][separated])
    names = {int(index): store.metadata["class_names"][index] for index in present if index >= 0}
    x, y = "separation (Å)", "total force on a fragment, RMS (meV/Å)"
    with new_panels(stem, list(names.values()), 2.5, 2.1, x, y, sharex=True, sharey=True) as panels:
        for panel, index in zip(panels, names, strict=False):
            chosen = separated[owner] & (store["class_index"][owner] == index)
            for color, (label, force) in zip((INK, *COLORS), values.items(), strict=False):
                size = MEV_PER_EV * np.sqrt((force[chosen] ** 2).mean(axis=1))
                panel.plot(*_running(store["separation"][owner[chosen]], size), color=color, label=label)
            panel.set_yscale("log")
        panels[0].legend()


def _energy_curves(stem: Path, store: Store, runs: Mapping[str, Predictions]) -> None:
    """Draws the energies of dimers along their separation, one panel per class: reference points, predicted lines."""
    curves = find_curves(store)
    x_label = "separation (Å); right of the dotted line: not trained on"
    with new_panels(stem, list(curves), 2.6, 2.2, x_label, "interaction energy (eV)") as panels:
        for panel, chosen in zip(panels, curves.values(), strict=False):
            for number, curve in enumerate(chosen):
                x, zero = store["separation"][curve], reference_zero(store, curve)
                label = "reference" if number == 0 else None
                panel.plot(x, store["energy"][curve] - zero, "o", ms=3, color=INK, fillstyle="none", label=label)
                for color, (run, predictions) in zip(COLORS, runs.items(), strict=False):
                    zero = predicted_zero(predictions, store, curve)
                    panel.plot(x, predictions.energy[curve] - zero, color=color, label=run if number == 0 else None)
            trained = np.concatenate(chosen)
            trained = trained[store["split"][trained] != SPLITS.index("test")]
            if len(trained):
                panel.axvline(store["separation"][trained].max(), color=GREY, linestyle=":", linewidth=1)
        panels[0].legend()


def find_profiles(store: Store) -> dict[str, np.ndarray]:
    """Returns the structures of undisplaced reaction paths, in order, by reaction.

    Args:
        store: The data set; the info keys ``profile``, ``reaction`` and ``reaction_coordinate`` are used.
    """
    if any(f"info.{key}" not in store.arrays for key in ("profile", "reaction", "reaction_coordinate")):
        return {}
    flag, coordinate, reaction = (store.info(key) for key in ("profile", "reaction_coordinate", "reaction"))
    on_path = np.array([str(value) in ("True", "T", "1", "1.0") for value in flag]) & np.isfinite(coordinate)
    profiles = {}
    for name in sorted(set(reaction[on_path])):
        members = np.flatnonzero(on_path & (reaction == name))
        if len(members) >= MIN_CURVE:
            profiles[str(name)] = members[np.argsort(coordinate[members])]
    return profiles


def _reaction_profiles(stem: Path, store: Store, runs: Mapping[str, Predictions]) -> None:
    """Draws energies along reaction coordinates, one panel per reaction, and their errors below."""
    profiles = find_profiles(store)
    columns = len(profiles)
    options = {"sharex": "col", "height_ratios": [2, 1]}
    with new_figure(stem, 2, columns, width=2.8 * columns + 0.6, height=4.4, **options) as (figure, axes):
        for column, (name, path) in enumerate(profiles.items()):
            top, bottom = axes[:, column]
            x = store.info("reaction_coordinate")[path]
            zero = store["energy"][path[-1]]
            top.plot(x, store["energy"][path] - zero, "o", markersize=3, color=INK, fillstyle="none", label="reference")
            for color, (run, predictions) in zip(COLORS, runs.items(), strict=False):
                top.plot(x, predictions.energy[path] - zero, color=color, label=run)
                bottom.plot(x, MEV_PER_EV * (predictions.energy[path] - store["energy"][path]), color=color)
            bottom.axhline(0, color=INK, linewidth=0.7)
            label_axes(top, "", "energy (eV)" if column == 0 else "", name)
            label_axes(bottom, "", "error (meV)" if column == 0 else "")
        figure.supxlabel("reaction coordinate r(C-X) − r(C-Y) (Å)")
        axes[0, 0].legend()
