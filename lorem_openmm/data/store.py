"""One file per data set: flat arrays in a memory-mapped safetensors file with JSON metadata.

Structures lie one after the other; structure s has rows ``atom_offsets[s]:atom_offsets[s+1]`` of the atom arrays
and ``edge_offsets[s]:edge_offsets[s+1]`` of the edge arrays, which count atoms from 0 in each structure.

The arrays are those that ``lorem_openmm.data.fields`` lists, with their types and units, each of [n_structures, …],
[n_atoms, …] or [n_edges, …]; optional ones only if a frame states them. Besides these:

============  ==========================  ===================================================================
array         shape                       meaning
============  ==========================  ===================================================================
atom_offsets  [n_structures + 1] int64
edge_offsets  [n_structures + 1] int64
info.<key>    [n_structures]              float64 (NaN: none) or int32 into ``metadata["info_text"]``
============  ==========================  ===================================================================
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase.data import atomic_numbers as numbers_by_symbol
from ase.data import chemical_symbols

from lorem_openmm.data.baseline import MAX_ATOM_SPREAD, Baseline, count_elements, fit_baseline
from lorem_openmm.data.checks import MAX_ENERGY_PER_ATOM
from lorem_openmm.data.fields import fields, get
from lorem_openmm.data.flatfile import content_hash, map_arrays, write_arrays
from lorem_openmm.data.splits import SPLITS, TRAIN
from lorem_openmm.data.structures import Structure, structure_at
from lorem_openmm.errors import DataError, did_you_mean
from lorem_openmm.files import atomic_path

FORMAT = "lorem-openmm data set"
FORMAT_VERSION = 1


@dataclass(frozen=True, eq=False)
class Store:
    """A data set on disk; the arrays are views of the file and are read when they are used.

    Attributes:
        path: The file.
        arrays: The arrays by name (see the module's table).
        metadata: name, cutoff, units, sources, class names, splits, baseline, content hash.
    """

    path: Path
    arrays: dict[str, np.ndarray]
    metadata: dict[str, Any]

    def __len__(self) -> int:
        return len(self.arrays["energy"])

    def __getitem__(self, name: str) -> np.ndarray:
        return self.arrays[name]

    @property
    def cutoff(self) -> float:
        """Returns the cutoff of the neighbour lists in Å."""
        return float(self.metadata["cutoff"])

    @property
    def content_hash(self) -> str:
        """Returns the SHA-256 of the arrays."""
        return str(self.metadata["content_sha256"])

    @property
    def elements(self) -> list[int]:
        """Returns the atomic numbers that occur, ascending."""
        return [int(number) for number in np.unique(self.arrays["atomic_numbers"])]

    def indices(self, split: str) -> np.ndarray:
        """Returns the structures of a split, ascending.

        Args:
            split: train, validation or test.

        Raises:
            DataError: If there is no split of that name.
        """
        if split not in SPLITS:
            raise DataError(
                f"{self.path}: splits are {', '.join(SPLITS)}, received '{split}'.{did_you_mean(split, SPLITS)}"
            )
        return np.flatnonzero(self.arrays["split"] == SPLITS.index(split))

    def info(self, key: str) -> np.ndarray:
        """Returns an info entry of all structures: float64 (NaN: none), or text (empty: none).

        Args:
            key: Name in the comment lines of the source files.

        Raises:
            DataError: If no such entry was kept.
        """
        if f"info.{key}" not in self.arrays:
            known = [name.removeprefix("info.") for name in self.arrays if name.startswith("info.")]
            raise DataError(
                f"{self.path}: no info key '{key}' was kept.{did_you_mean(key, known)} Known: "
                f"{', '.join(known) or 'none'}."
            )
        values = self.arrays[f"info.{key}"]
        if key not in self.metadata["info_text"]:
            return values
        return np.array([*self.metadata["info_text"][key], ""], dtype=object)[values]

    def classes(self) -> np.ndarray:
        """Returns the class name of each structure, [n_structures] text, empty where there is none."""
        return np.array([*self.metadata["class_names"], ""], dtype=object)[self.arrays["class_index"]]

    def field(self, name: str) -> np.ndarray:
        """Returns a quantity of all structures or atoms; what no frame stated is the quantity's ``missing``.

        In a store that was made before the quantity was on the list, it is looked for among the info entries.
        """
        if name in self.arrays:
            return self.arrays[name]
        field = get(name)
        if field.per == "atom":
            return field.nothing(len(self.arrays["positions"]))
        values = np.full((len(self), *field.shape), np.nan)
        for alias in () if field.shape else reversed(field.aliases):  # the first one has the last word
            entries = self.arrays.get(f"info.{alias}")
            if entries is not None and alias not in self.metadata["info_text"]:
                values = np.where(np.isnan(entries), values, entries)
        return field.nothing(len(self)) if np.isnan(values).all() else field.stored(values)

    def check_total_charges(self) -> None:
        """Refuses a data set of which a structure states no total charge, for models that use it.

        Raises:
            DataError: naming the first frame.
        """
        missing = np.flatnonzero(~np.isfinite(self.field("total_charge")))
        if len(missing):
            source = self.metadata["sources"][int(self.arrays["source"][missing[0]])]["file"]
            raise DataError(
                f"{source}, frame {self.arrays['frame'][missing[0]]} (counted from 0): must state its total charge, "
                f"because the model uses it and does not guess; {len(missing)} of {len(self)} structures of "
                f"{self.path} state none. Write `charge=...` (in e) into their comment lines and prepare the data set "
                "again, or choose a `long_range` block that does not use it."
            )

    def structure(self, index: int) -> Structure:
        """Returns one structure with its labels."""
        arrays, source = self.arrays, self.metadata["sources"][int(self.arrays["source"][index])]
        atoms = slice(*arrays["atom_offsets"][index : index + 2])
        keys = [name.removeprefix("info.") for name in arrays if name.startswith("info.")]
        info = {key: self.info(key)[index] for key in keys}
        return structure_at(arrays, index, atoms, info, str(source["file"]), int(arrays["frame"][index]))


def write_store(path: str | Path, arrays: dict[str, np.ndarray], metadata: dict[str, Any]) -> Store:
    """Writes a data set, whole or not at all, and opens it.

    Args:
        path: The ``.safetensors`` file.
        arrays: The arrays of the module's table.
        metadata: Plain JSON data; format, units and content hash are added.

    Raises:
        DataError: If the file cannot be written.
    """
    full = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "units": {"length": "Å"} | {field.name: field.unit for field in fields() if field.unit},
        **metadata,
        "content_sha256": content_hash(arrays),
    }
    text = json.dumps(full, ensure_ascii=False, allow_nan=False)
    try:
        with atomic_path(path) as temporary:
            write_arrays(temporary, arrays, text)
    except OSError as error:
        raise not_writable(path, error) from None
    return read_store(path)


def read_store(path: str | Path, verify: bool = False) -> Store:
    """Opens a data set without reading its arrays.

    Args:
        path: The ``.safetensors`` file.
        verify: Also compute the hash of all arrays and compare it with the stored one.

    Raises:
        DataError: If the file is missing, truncated, altered, not a data set or of a newer format.
    """
    path = Path(path)
    arrays, metadata = map_arrays(path)
    if metadata.get("format") != FORMAT:
        raise DataError(f"{path}: must be a {FORMAT} file. Make it with `lorem-openmm prepare`.")
    if metadata["format_version"] > FORMAT_VERSION:
        raise DataError(
            f"{path}: the version of its format must be at most {FORMAT_VERSION}, received "
            f"{metadata['format_version']}. Install a newer lorem-openmm, or prepare the data set again."
        )
    if verify and content_hash(arrays) != metadata["content_sha256"]:
        raise DataError(f"{path}: the arrays do not match their hash: the file was altered. Prepare it again.")
    return Store(path, arrays, metadata)


def not_writable(path: str | Path, error: OSError) -> DataError:
    """Returns the error to raise where a data set cannot be written."""
    return DataError(
        f"{path}: the data set cannot be written ({error.strerror or error}). Make the folder writable, "
        "free space, or change `output` in the configuration."
    )


def joint_baseline(stores: list[Store]) -> Baseline:
    """Fits one per-element baseline to the training sets of several data sets (see ``fit_baseline``).

    Raises:
        DataError: If there is no training structure, or the data sets measure energies from different zeros.
    """
    numbers, sizes, energies = [], [], []
    for store in stores:
        is_training = store["split"] == TRAIN
        n_atoms = np.diff(store["atom_offsets"])
        numbers.append(store["atomic_numbers"][np.repeat(is_training, n_atoms)])
        sizes.append(n_atoms[is_training])
        energies.append(store["energy"][is_training])
    offsets = np.concatenate([[0], np.cumsum(np.concatenate(sizes))])
    if len(offsets) == 1:
        raise DataError(f"{', '.join(str(s.path) for s in stores)}: hold no training structure. Prepare them again.")
    elements, counts = count_elements(np.concatenate(numbers), offsets)
    baseline = fit_baseline(elements, counts, np.concatenate(energies), _joint_atoms(stores))
    sums = counts @ np.array([baseline.energies[int(number)] for number in elements])
    largest = float(np.max(np.abs(np.concatenate(energies) - sums) / np.diff(offsets)))
    if largest > MAX_ENERGY_PER_ATOM:
        raise DataError(
            f"{', '.join(str(s.path) for s in stores)}: data sets joined in one run must share one method "
            f"and one zero of energy, but a common per-element baseline leaves up to {largest:.4g} eV per "
            f"atom (allowed: {MAX_ENERGY_PER_ATOM:g}). Train on them in separate runs, or label them alike."
        )
    return baseline


def _joint_atoms(stores: list[Store]) -> dict[int, float]:
    """Returns the energies of the isolated atoms of all data sets, in eV by element."""
    found: dict[str, tuple[float, Path]] = {}
    for store in stores:
        for symbol, energy in store.metadata.get("atom_energies", {}).items():
            other, path = found.setdefault(symbol, (energy, store.path))
            if abs(energy - other) > MAX_ATOM_SPREAD:
                raise DataError(
                    f"{store.path}: data sets joined in one run must share one method, but the isolated atom of "
                    f"{symbol} has {energy:.6g} eV here and {other:.6g} eV in {path}. Train on them in separate "
                    "runs, or label them alike."
                )
    return {numbers_by_symbol[symbol]: energy for symbol, (energy, _) in found.items()}


def by_symbol(energies: dict[int, float]) -> dict[str, float]:
    """Returns the energies with element symbols as keys."""
    return {chemical_symbols[number]: energy for number, energy in sorted(energies.items())}
