"""From extended XYZ files to one store: read, check, divide, baseline, neighbour lists, write, report."""

import importlib.metadata
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lorem_openmm import config
from lorem_openmm.data import checks
from lorem_openmm.data.baseline import as_table, composition_energies, count_elements, fit_baseline, outside_span
from lorem_openmm.data.info import info_columns
from lorem_openmm.data.layout import check_layout
from lorem_openmm.data.neighbors import Edges, neighbor_list
from lorem_openmm.data.report import report
from lorem_openmm.data.splits import TEST, TRAIN, VALIDATION, divide
from lorem_openmm.data.store import by_symbol, not_writable, write_store
from lorem_openmm.data.structures import Structure, read_structures
from lorem_openmm.errors import ConfigError, DataError
from lorem_openmm.files import sha256_of_file, write_json
from lorem_openmm.progress import progress


@dataclass
class _Source:
    """A file and the split its structures belong to; ``None``: to be divided."""

    path: Path
    split: int | None
    sha256: str = ""
    n_frames: int = 0


def prepare_dataset(
    dataset: config.Dataset,
    name: str,
    labelled: Path | None,
    cutoff: float,
    output: Path,
) -> dict[str, Any]:
    """Makes the store of a data set and its report.

    Args:
        dataset: What to read and how to divide it.
        name: Name of the data set.
        labelled: The labelled structures, where ``dataset.label`` makes them.
        cutoff: Å; the largest cutoff of the models that use the data set (:func:`largest_cutoff`).
        output: The store, ``.safetensors``; the report goes beside it, ``.json``.

    Returns:
        The report: counts per split and class, elements, energy and force statistics, baseline, atoms and
        neighbours, hashes, warnings.

    Raises:
        ConfigError: If ``labelled`` and ``dataset.label`` do not match.
        DataError: If a file, a structure or a label breaks a rule; nothing is written.
    """
    _check_writable(output)
    sources = _sources(dataset, name, labelled)
    structures, source_index = _read(dataset, sources)
    splits, warnings = _divide(dataset, sources, structures, source_index)
    arrays = _atom_arrays(structures)
    arrays |= _structure_arrays(structures, splits, source_index)
    elements, counts = count_elements(arrays["atomic_numbers"], arrays["atom_offsets"])
    is_training = splits == TRAIN
    baseline = fit_baseline(elements, counts[is_training], arrays["energy"][is_training])
    residuals = arrays["energy"] - composition_energies(
        as_table(baseline.energies), arrays["atomic_numbers"], arrays["atom_offsets"]
    )
    warnings += _check_energies(structures, residuals, outside_span(counts[is_training], counts))
    edge_arrays, edge_warnings = _edge_arrays(structures, cutoff, name)
    info_arrays, metadata = info_columns(dataset, structures)
    metadata |= {
        "name": name,
        "cutoff": cutoff,
        "sources": [{"file": str(s.path), "sha256": s.sha256, "n_structures": s.n_frames} for s in sources],
        "split": dataset.split.model_dump(),
        "baseline": by_symbol(baseline.energies),
        "versions": {"lorem-openmm": importlib.metadata.version("lorem-openmm")},
    }
    store = write_store(output, arrays | edge_arrays | info_arrays, metadata)
    summary = report(store, baseline, residuals, warnings + edge_warnings)
    write_json(output.with_suffix(".json"), summary)
    return summary


def largest_cutoff(settings: config.Config, dataset: str) -> float:
    """Returns the largest cutoff in Å of the runs and studies that use a data set; of all models if none does.

    A store made with it serves every run: shorter lists are cut from longer ones when they are loaded.

    Args:
        settings: The whole configuration.
        dataset: Name of the data set.
    """
    runs = {name for name, run in settings.runs.items() if dataset in run.datasets}
    for study in settings.studies.values():
        if getattr(study, "dataset", None) == dataset:
            runs |= set(study.runs)
    models = {settings.runs[name].model for name in runs} or set(settings.models)
    return max(settings.models[model].cutoff for model in models)


def _check_writable(output: Path) -> None:
    """Fails before the work rather than after it."""
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=output.parent):
            pass
    except OSError as error:
        raise not_writable(output, error) from None


def _sources(dataset: config.Dataset, name: str, labelled: Path | None) -> list[_Source]:
    if (dataset.label is None) != (labelled is None):
        raise ConfigError(
            f"datasets.{name}: `label` and a file of labelled structures go together, received "
            f"{'no file' if labelled is None else f'the file {labelled} without `label`'}. Run "
            "`lorem-openmm label` first."
        )
    pool = labelled or dataset.structures or dataset.train
    sources = [_Source(path, None) for path in _paths(pool)]
    sources += [_Source(path, VALIDATION) for path in _paths(dataset.validation)]
    sources += [_Source(path, TEST) for path in _paths(dataset.test)]
    return sources


def _paths(value: str | Path | Sequence[str] | None) -> list[Path]:
    if value is None:
        return []
    return [Path(value)] if isinstance(value, str | Path) else [Path(item) for item in value]


def _read(dataset: config.Dataset, sources: list[_Source]) -> tuple[list[Structure], np.ndarray]:
    structures: list[Structure] = []
    faults = checks.Faults()
    for source in sources:
        source.n_frames = check_layout(source.path)
        source.sha256 = sha256_of_file(source.path)
        frames = read_structures(source.path, dataset.energy_key, dataset.forces_key, dataset.stress_key)
        for structure in progress(frames, source.n_frames, f"read {source.path.name}"):
            faults.add(checks.structure_faults(structure))
            structures.append(structure)
    faults.raise_if_any()
    if dataset.stress_key and all(structure.stress is None for structure in structures):
        raise DataError(
            f"{sources[0].path}: no frame has a stress under the name '{dataset.stress_key}'. Correct "
            "`stress_key` of the data set or leave it out."
        )
    return structures, np.repeat(np.arange(len(sources)), [source.n_frames for source in sources])


def _divide(
    dataset: config.Dataset, sources: list[_Source], structures: list[Structure], source_index: np.ndarray
) -> tuple[np.ndarray, list[str]]:
    fixed = np.array([-1 if source.split is None else source.split for source in sources])[source_index]
    hashes = [checks.frame_hash(structure) for structure in structures]
    pool = np.flatnonzero(fixed < 0)
    splits = fixed.astype(np.int64)
    splits[pool] = divide(
        [structures[index] for index in pool],
        dataset.split,
        keep_together=[hashes[index] for index in pool],
        class_key=dataset.class_key,
        take_validation=dataset.validation is None,
        # Files named `train` are training data: a test set is taken from them only where a threshold asks.
        take_test=dataset.test is None and (dataset.train is None or dataset.split.test_above is not None),
    )
    faults = checks.Faults()
    faults.add(checks.duplicate_faults(structures, hashes, splits))
    faults.add(checks.unseen_element_faults(structures, splits == TRAIN))
    faults.raise_if_any()
    n_repeated = len(hashes) - len(set(hashes))
    warnings = [f"{n_repeated} structures occur more than once, within one split"] if n_repeated else []
    return splits.astype(np.uint8), warnings


def _atom_arrays(structures: list[Structure]) -> dict[str, np.ndarray]:
    sizes = [len(structure.atomic_numbers) for structure in structures]
    return {
        "atom_offsets": np.concatenate([[0], np.cumsum(sizes)]),
        "atomic_numbers": np.concatenate([s.atomic_numbers for s in structures]).astype(np.uint8),
        "positions": np.concatenate([s.positions for s in structures]),
        "forces": np.concatenate([s.forces for s in structures]),
    }


def _structure_arrays(
    structures: list[Structure], splits: np.ndarray, source_index: np.ndarray
) -> dict[str, np.ndarray]:
    empty = np.zeros((3, 3))
    return {
        "cell": np.stack([s.cell for s in structures]),
        "periodic": np.array([s.periodic for s in structures]),
        "energy": np.array([s.energy for s in structures]),
        "stress": np.stack([empty if s.stress is None else s.stress for s in structures]),
        "has_stress": np.array([s.stress is not None for s in structures]),
        "split": splits,
        "source": source_index.astype(np.int32),
        "frame": np.array([s.frame for s in structures], dtype=np.int64),
    }


def _check_energies(structures: list[Structure], residuals: np.ndarray, is_outside: np.ndarray) -> list[str]:
    inside = np.flatnonzero(~is_outside)
    messages, warnings = checks.energy_faults([structures[index] for index in inside], residuals[inside])
    faults = checks.Faults()
    faults.add(messages)
    faults.raise_if_any()
    if is_outside.any():
        warnings.append(
            f"{structures[int(np.argmax(is_outside))].place}, and {is_outside.sum() - 1} others: the energy "
            "cannot be predicted, because the training set holds no combination of formulas that fixes the "
            "energy of this one; forces can. Train on more formulas, or divide the data by another key."
        )
    return warnings


def _edge_arrays(structures: list[Structure], cutoff: float, name: str) -> tuple[dict[str, np.ndarray], list[str]]:
    lists: list[Edges] = []
    faults = checks.Faults()
    bond_ratios = np.empty(len(structures))
    for index, structure in enumerate(progress(structures, len(structures), f"neighbours {name}")):
        edges = neighbor_list(structure.positions, structure.cell, structure.periodic, cutoff)
        faults.add(checks.distance_faults(structure, edges.centers, edges.neighbors, edges.distances))
        bond_ratios[index] = checks.bond_ratio(
            structure.atomic_numbers, edges.centers, edges.neighbors, edges.distances
        )
        lists.append(edges)
    faults.raise_if_any()
    arrays = {
        "edge_offsets": np.concatenate([[0], np.cumsum([len(edges.centers) for edges in lists])]),
        "centers": _smallest(np.concatenate([edges.centers for edges in lists])),
        "neighbors": _smallest(np.concatenate([edges.neighbors for edges in lists])),
        "cell_shifts": _smallest(np.concatenate([edges.cell_shifts for edges in lists])),
    }
    return arrays, checks.position_warnings(bond_ratios)


def _smallest(values: np.ndarray) -> np.ndarray:
    """Returns integers in the narrowest signed type that holds them: edges are most of a store."""
    largest = int(np.abs(values).max(initial=0))
    for dtype in (np.int8, np.int16, np.int32):
        if largest <= np.iinfo(dtype).max:
            return values.astype(dtype)
    return values.astype(np.int64)
