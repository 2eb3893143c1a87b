"""Many structures as flat arrays: what is read is checked, listed and stored in this form."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, Protocol, overload, runtime_checkable

import numpy as np

from lorem_openmm.data.fields import optional_fields, values_of_infos
from lorem_openmm.data.structures import Structure, structure_at


class LazyStructures(Sequence[Structure]):
    """Structures that are made on demand, from arrays that hold all of them."""

    @abstractmethod
    def structure(self, index: int) -> Structure:
        """Makes the structure at a place from 0 to the number of all."""

    @overload
    def __getitem__(self, index: int) -> Structure: ...
    @overload
    def __getitem__(self, index: slice) -> list[Structure]: ...
    def __getitem__(self, index: int | slice) -> Structure | list[Structure]:
        places = range(len(self))[index]
        return self.structure(places) if isinstance(places, int) else [self.structure(place) for place in places]


@dataclass(eq=False)
class Frames(LazyStructures):
    """Consecutive frames of one file.

    Attributes:
        arrays: sizes, energy, periodic, has_stress [n_structures], cell, stress [n_structures, 3, 3],
            atomic_numbers [n_atoms], positions, forces [n_atoms, 3]; names and units as in a store. Optional quantities
            that are not among them are added: those by structure from ``info``, those by atom as not stated (NaN).
        info: the other entries of each comment line.
        file: where they were read from.
        first: number of the first one in that file.
    """

    arrays: dict[str, np.ndarray]
    info: list[dict[str, Any]]
    file: str
    first: int

    def __post_init__(self) -> None:
        for field in optional_fields():
            if field.name in self.arrays:
                continue
            if field.per == "structure":
                self.arrays[field.name] = values_of_infos(field, self.info)
            else:
                self.arrays[field.name] = np.full((len(self.arrays["atomic_numbers"]), *field.shape), np.nan)

    def __len__(self) -> int:
        return len(self.info)

    def structure(self, index: int) -> Structure:
        """Makes one structure."""
        atoms = slice(*self.offsets[index : index + 2])
        return structure_at(self.arrays, index, atoms, self.info[index], self.file, self.first + index)

    @cached_property
    def offsets(self) -> np.ndarray:
        """Returns [n_structures + 1], the first atom of each structure and the end."""
        return np.concatenate([[0], np.cumsum(self.arrays["sizes"])])

    @staticmethod
    def concatenate(parts: Sequence["Frames"]) -> "Frames":
        """Joins frames that follow one another in a file.

        Args:
            parts: At least one.
        """
        arrays = {name: np.concatenate([part.arrays[name] for part in parts]) for name in parts[0].arrays}
        return Frames(arrays, [info for part in parts for info in part.info], parts[0].file, parts[0].first)


class Composition(NamedTuple):
    """Elements and energies of many structures.

    Attributes:
        atomic_numbers: [n_atoms] of all structures, one after the other.
        offsets: [n_structures + 1] first atom of each structure, and the end.
        energy: [n_structures] eV.
    """

    atomic_numbers: np.ndarray
    offsets: np.ndarray
    energy: np.ndarray


@runtime_checkable
class KnowsComposition(Protocol):
    """Structures that are kept in arrays, so that nobody needs to go through them one by one."""

    def composition(self) -> Composition:
        """Returns elements and energies."""


def composition(structures: Sequence[Structure]) -> Composition:
    """Returns elements and energies as arrays.

    Args:
        structures: The structures; those in arrays are not gone through.
    """
    if isinstance(structures, KnowsComposition):
        return structures.composition()
    sizes = [len(s.atomic_numbers) for s in structures]
    numbers = np.concatenate([np.zeros(0, np.int64), *(s.atomic_numbers for s in structures)])
    return Composition(numbers, np.concatenate([[0], np.cumsum(sizes)]), np.array([s.energy for s in structures]))


def join_frames(structures: Sequence[Structure]) -> Frames:
    """Lays out structures as flat arrays.

    Args:
        structures: At least one, consecutive frames of one file.
    """
    empty = np.zeros((3, 3))
    arrays = {
        "sizes": np.array([len(s.atomic_numbers) for s in structures]),
        "atomic_numbers": np.concatenate([s.atomic_numbers for s in structures]),
        "positions": np.concatenate([s.positions for s in structures]),
        "forces": np.concatenate([s.forces for s in structures]),
        "energy": np.array([s.energy for s in structures]),
        "periodic": np.array([s.periodic for s in structures]),
        "cell": np.stack([s.cell for s in structures]),
        "stress": np.stack([empty if s.stress is None else s.stress for s in structures]),
        "has_stress": np.array([s.stress is not None for s in structures]),
    }
    for field in optional_fields("atom"):
        unknown = [np.full((len(s.atomic_numbers), *field.shape), np.nan) for s in structures]
        parts = [s.fields.get(field.name, nothing) for s, nothing in zip(structures, unknown, strict=True)]
        arrays[field.name] = np.concatenate(parts)
    return Frames(arrays, [s.info for s in structures], structures[0].file, structures[0].frame)
