"""From extended XYZ files to one store: read, check, divide, baseline, neighbour lists, write, report."""

import importlib.metadata
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from lorem_openmm import config
from lorem_openmm.data import checks, plausibility, special
from lorem_openmm.data.baseline import as_table, composition_energies, count_elements, fit_baseline, outside_span
from lorem_openmm.data.collect import FileStructures, Selection, collect
from lorem_openmm.data.conversion import Conversion
from lorem_openmm.data.energy_checks import energy_faults
from lorem_openmm.data.examine import ReadingSettings
from lorem_openmm.data.fields import fields, optional_fields
from lorem_openmm.data.info import info_columns
from lorem_openmm.data.report import report
from lorem_openmm.data.splits import TEST, TRAIN, UNUSED, VALIDATION, divide
from lorem_openmm.data.store import by_symbol, not_writable, write_store
from lorem_openmm.data.structures import Keys
from lorem_openmm.errors import ConfigError, DataError
from lorem_openmm.files import write_json

_Source = tuple[Path, int | None]  # a file and the split its structures belong to; None: to be divided


def prepare_dataset(
    dataset: config.Dataset, name: str, labelled: Path | None, cutoff: float, output: Path, processes: int = 1
) -> dict[str, Any]:
    """Makes the store of a data set and its report.

    Args:
        dataset: What to read and how to divide it.
        name: Name of the data set.
        labelled: The structures, where ``dataset.label`` or ``dataset.registry`` makes them.
        cutoff: Å; the largest cutoff of the models that use the data set (:func:`largest_cutoff`).
        output: The store, ``.safetensors``; the report goes beside it, ``.json``.
        processes: Number of processes that read; the result does not depend on it. More than one need the caller's
            script to be importable (``if __name__ == "__main__"``).

    Returns:
        The report: counts per split and class, elements, energy and force statistics, baseline, atoms and
        neighbours, hashes, warnings.

    Raises:
        ConfigError: If ``labelled`` and ``dataset.label`` do not match.
        DataError: If a file, a structure or a label breaks a rule; nothing is written.
    """
    sources = _sources(dataset, name, labelled)
    try:
        with _scratch(output) as scratch:
            structures = _read(dataset, sources, cutoff, scratch, processes)
            summary = _store(dataset, name, sources, structures, cutoff, output)
    except OSError as error:
        raise not_writable(output, error) from None
    write_json(output.with_suffix(".json"), summary)
    return summary


@contextmanager
def _scratch(output: Path) -> Iterator[Path]:
    """Yields an empty folder beside the output and removes it; also what a killed run left there.

    Made first, it shows before the work rather than after it whether the output can be written.
    """
    folder = output.with_name(f".{output.name}.parts")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def _store(
    dataset: config.Dataset, name: str, sources: list[_Source], structures: FileStructures, cutoff: float, output: Path
) -> dict[str, Any]:
    """Divides and checks what was read, writes the store and returns the report."""
    is_isolated = special.isolated_atoms(structures)
    suspicions = _suspicions(dataset, structures)
    splits, warnings = _divide(dataset, sources, structures, is_isolated)
    warnings += suspicions
    left_out = splits == UNUSED
    if left_out.any():
        warnings.append(f"{left_out.sum()} structures are left out, as the counts of `split` ask")
    arrays = structures.arrays
    elements, counts = count_elements(arrays["atomic_numbers"], structures.offsets)
    is_training = splits == TRAIN
    atoms = special.atom_energies(structures, is_isolated & is_training)
    baseline = fit_baseline(elements, counts[is_training], arrays["energy"][is_training], atoms)
    residuals = arrays["energy"] - composition_energies(
        as_table(baseline.energies), arrays["atomic_numbers"], structures.offsets
    )
    warnings += _check_energies(structures, residuals, outside_span(counts[is_training], counts), atoms)
    checks.raise_faults(structures.edge_faults)
    if not set(elements.tolist()) <= checks.NOBLE:
        warnings += checks.position_warnings(arrays["bond_ratio"])
    warnings += special.charge_warnings(structures, counts)
    warnings += special.stress_warnings(structures, (dataset.stress_key, dataset.virial_key))
    info_arrays, metadata = info_columns(dataset, structures.info, structures[0].place)
    metadata |= {
        "name": name,
        "cutoff": cutoff,
        "sources": structures.sources,
        "split": dataset.split.model_dump(),
        "baseline": by_symbol(baseline.energies),
        "atom_energies": by_symbol(atoms),
        "versions": {"lorem-openmm": importlib.metadata.version("lorem-openmm")},
    }
    stored = _arrays(structures, splits) | info_arrays
    store = write_store(output, _without(stored, left_out) if left_out.any() else stored, metadata)
    return report(store, baseline, residuals[~left_out], warnings)


def largest_cutoff(settings: config.Config, dataset: str) -> float:
    """Returns the largest cutoff in Å of the runs that see a data set; of all models if none does.

    A store made with it serves every run: shorter lists are cut from longer ones when they are loaded.
    """
    models = {settings.runs[name].model for name in settings.runs_with(dataset)} or set(settings.models)
    return max(settings.models[model].cutoff for model in models)


def _sources(dataset: config.Dataset, name: str, labelled: Path | None) -> list[_Source]:
    if (dataset.label is None and dataset.registry is None) != (labelled is None):
        raise ConfigError(
            f"datasets.{name}: `label` or `registry` and a file of their structures go together, received "
            f"{'no file' if labelled is None else f'the file {labelled} without `label` or `registry`'}. Run "
            "`lorem-openmm label` or `lorem-openmm fetch` first."
        )
    pool = labelled or dataset.structures or dataset.train
    given = ((pool, None), (dataset.validation, VALIDATION), (dataset.test, TEST))
    return [(path, split) for value, split in given for path in _paths(value)]


def _paths(value: str | Path | Sequence[str] | None) -> list[Path]:
    if value is None:
        return []
    return [Path(value)] if isinstance(value, str | Path) else [Path(item) for item in value]


def _read(
    dataset: config.Dataset, sources: list[_Source], cutoff: float, scratch: Path, processes: int
) -> FileStructures:
    split = dataset.split
    kept = {dataset.class_key, dataset.separation_key, split.group_by, *(split.test_above or {})} - {None}
    stress_key = dataset.stress_key or dataset.virial_key
    keys = Keys(dataset.energy_key, dataset.forces_key, stress_key)
    is_gradient = "grad" in dataset.forces_key.lower()
    conversion = Conversion(dataset.units, is_gradient, dataset.virial_key is not None)
    reading = ReadingSettings(keys, cutoff, frozenset(str(key) for key in kept), conversion, tuple(optional_fields()))
    structures = collect([path for path, _ in sources], reading, scratch, processes)
    if stress_key and not structures.arrays["has_stress"].any():
        what = "stress" if dataset.stress_key else "virial"
        raise DataError(
            f"{sources[0][0]}: no periodic frame has a {what} under the name '{stress_key}'. Correct "
            f"`{what}_key` of the data set or leave it out."
        )
    return structures


def _suspicions(dataset: config.Dataset, structures: FileStructures) -> list[str]:
    """Returns what is implausible about units and signs, where the data set wants it reported only."""
    faults, warnings = plausibility.implausible(structures, dataset)
    if faults and dataset.on_implausible == "error":
        hint = "If the data are right nevertheless, set `on_implausible: report` of the data set."
        raise DataError("\n".join([*faults, hint]))
    return faults + warnings + plausibility.large_stress_warnings(structures)


def _divide(
    dataset: config.Dataset, sources: list[_Source], structures: FileStructures, is_isolated: np.ndarray
) -> tuple[np.ndarray, list[str]]:
    """Divides the structures; isolated atoms are training data always, which other splits may repeat."""
    fixed = np.array([-1 if split is None else split for _, split in sources])[structures.source]
    first = structures.first_alike()
    pool = np.flatnonzero((fixed < 0) & ~is_isolated)
    splits = np.where((fixed < 0) & is_isolated, TRAIN, fixed).astype(np.int64)
    splits[pool] = divide(
        Selection(structures, pool),
        dataset.split,
        keep_together=first[pool].tolist(),
        class_key=dataset.class_key,
        take_validation=dataset.validation is None,
        # Files named `train` are training data: a test set is taken from them only where a threshold asks.
        take_test=dataset.test is None and (dataset.train is None or dataset.split.test_above is not None),
    )
    ordinary = np.flatnonzero(~is_isolated)
    faults = checks.duplicate_faults(Selection(structures, ordinary), first[ordinary].tolist(), splits[ordinary])
    checks.raise_faults(faults + checks.unseen_element_faults(structures, splits == TRAIN))
    n_repeated = int(np.sum((first != np.arange(len(first))) & ~is_isolated))
    warnings = [f"{n_repeated} structures occur more than once, within one split"] if n_repeated else []
    return splits.astype(np.uint8), warnings


def _arrays(structures: FileStructures, splits: np.ndarray) -> dict[str, np.ndarray]:
    """Returns what is stored; of optional quantities, those that some frame states."""
    read = ((field, structures.arrays[field.name]) for field in fields() if field.name in structures.arrays)
    stated = {f.name: f.stored(array) for f, array in read if not (f.is_optional and np.isnan(array).all())}
    return stated | {
        "atom_offsets": structures.offsets,
        "edge_offsets": structures.edge_offsets,
        "split": splits,
        "source": structures.source,
        "frame": structures.frame,
    }


def _without(arrays: dict[str, np.ndarray], left_out: np.ndarray) -> dict[str, np.ndarray]:
    """Returns the arrays of a store without some of its structures."""
    sizes, n_edges = np.diff(arrays["atom_offsets"]), np.diff(arrays["edge_offsets"])
    chosen = {"atom": np.repeat(~left_out, sizes), "edge": np.repeat(~left_out, n_edges)}
    rows = {field.name: chosen[field.per] for field in fields() if field.per in chosen}
    offsets = {"atom_offsets": sizes, "edge_offsets": n_edges}
    result = {name: array[rows.get(name, ~left_out)] for name, array in arrays.items() if name not in offsets}
    return result | {name: np.concatenate([[0], np.cumsum(lengths[~left_out])]) for name, lengths in offsets.items()}


def _check_energies(
    structures: FileStructures, residuals: np.ndarray, is_outside: np.ndarray, atoms: dict[int, float]
) -> list[str]:
    inside = np.flatnonzero(~is_outside)
    faults, warnings = energy_faults(Selection(structures, inside), residuals[inside])
    if faults and atoms:
        known = ", ".join(f"{symbol} {energy:.6g} eV" for symbol, energy in by_symbol(atoms).items())
        faults[0] += f" The isolated atoms fix the baseline ({known}): they must be of the same method and unit."
    checks.raise_faults(faults)
    if is_outside.any():
        warnings.append(
            f"{structures[int(np.argmax(is_outside))].place}, and {is_outside.sum() - 1} others: the energy "
            "cannot be predicted, because the training set holds no combination of formulas that fixes the "
            "energy of this one; forces can. Train on more formulas, or divide the data by another key."
        )
    return warnings
