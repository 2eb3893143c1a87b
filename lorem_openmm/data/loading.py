"""One split of some stores as flat arrays whose edges are sorted for batches."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from lorem_openmm.data.fields import fields
from lorem_openmm.data.store import Store
from lorem_openmm.errors import DataError

_EDGES_AT_ONCE = 2**19
_STRUCTURES_AT_ONCE = 2**14  # 14 bits, with 16 of the pair's code and 32 of the edge's place: a 62-bit number


class Loaded(NamedTuple):
    """Structures one after the other; the edges of each are sorted by pair of species, as runs of equal pairs.

    Attributes:
        arrays: the fields of graphs and labels, [n_structures, …], [n_atoms, …] or [n_edges, …]; centers, neighbors,
            ranks [n_edges] and cell_shifts [n_edges, 3] in narrow integers (cell_shifts [0, 3] where all are zero),
            atoms counted from 0 in each structure; sizes [n_structures]; degree [n_structures], the largest number of
            edges of one atom; n_runs [n_structures], run_codes [n_runs] (256·Z_i + Z_j) and run_lengths [n_runs].
        store_index: [n_structures] which store each structure is from.
        structure_index: [n_structures] its place in that store.
    """

    arrays: dict[str, np.ndarray]
    store_index: np.ndarray
    structure_index: np.ndarray


def load(stores: Sequence[Store], split: str, cutoff: float) -> Loaded:
    """Reads a split, some structures at a time, so that temporary arrays stay small.

    Args:
        stores: The data sets, joined in this order.
        split: train, validation or test.
        cutoff: Å; longer neighbour lists are cut down to it.

    Raises:
        DataError: If a store's neighbour lists are shorter than the cutoff.
    """
    parts: dict[str, list[np.ndarray]] = {}
    chosen_of = [store.indices(split) for store in stores]
    for store, chosen in zip(stores, chosen_of, strict=True):
        _check_cutoff(store, cutoff)
        for portion in _portions(store, chosen):
            for name, values in _sorted(_select(store, portion, cutoff)).items():
                parts.setdefault(name, []).append(values)
    arrays = {name: _join(parts, name) for name in list(parts)}
    store_index = np.repeat(np.arange(len(stores)), [len(chosen) for chosen in chosen_of])
    return Loaded(arrays, store_index, np.concatenate(chosen_of))


def _check_cutoff(store: Store, cutoff: float) -> None:
    if cutoff > store.cutoff + 1e-9:
        raise DataError(
            f"{store.path}: its neighbour lists reach {store.cutoff} Å, shorter than the model's cutoff of "
            f"{cutoff} Å. Prepare the data set again."
        )


def _portions(store: Store, chosen: np.ndarray) -> Iterator[np.ndarray]:
    """Cuts structures into portions of bounded size; at least one portion, empty where there is no structure."""
    edges = np.cumsum(np.diff(store["edge_offsets"])[chosen])
    cuts = np.flatnonzero(np.diff(edges // _EDGES_AT_ONCE)) + 1
    cuts = np.union1d(cuts, np.arange(_STRUCTURES_AT_ONCE, len(chosen), _STRUCTURES_AT_ONCE)).astype(np.int64)
    yield from np.split(chosen, cuts)


def _select(store: Store, chosen: np.ndarray, cutoff: float) -> dict[str, np.ndarray]:
    """Reads the chosen structures of a store, with edges within the cutoff."""
    atom_offsets, edge_offsets = store["atom_offsets"], store["edge_offsets"]
    sizes, n_edges = (offsets[chosen + 1] - offsets[chosen] for offsets in (atom_offsets, edge_offsets))
    atoms, edges = ranges(atom_offsets[chosen], sizes), ranges(edge_offsets[chosen], n_edges)
    rows = {"structure": chosen, "atom": atoms, "edge": edges}
    part = {field.name: store.field(field.name)[rows[field.per]] for field in fields("graph", "label")}
    part |= {"sizes": sizes, "n_edges": n_edges}
    if cutoff < store.cutoff - 1e-9:
        _shorten(part, cutoff)
    return part


def _shorten(part: dict[str, np.ndarray], cutoff: float) -> None:
    structure = np.repeat(np.arange(len(part["sizes"])), part["n_edges"])
    first_atom = (np.cumsum(part["sizes"]) - part["sizes"])[structure]
    positions, shifts = part["positions"], part["cell_shifts"].astype(np.float64)
    vectors = positions[part["neighbors"] + first_atom] - positions[part["centers"] + first_atom]
    if part["periodic"].any():
        vectors += np.einsum("ea,eab->eb", shifts, part["cell"][structure])
    within = np.einsum("ea,ea->e", vectors, vectors) < cutoff**2
    for name in ("centers", "neighbors", "cell_shifts"):
        part[name] = part[name][within]
    part["n_edges"] = np.bincount(structure[within], minlength=len(part["sizes"]))


def _sorted(part: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Sorts the edges of each structure by pair of species and notes the runs of equal pairs.

    Numbers that hold key and place are sorted by value: several times faster than a stable ``argsort``.
    """
    sizes, n_edges = part["sizes"], part.pop("n_edges")
    structure = np.repeat(np.arange(len(sizes)), n_edges)
    first_atom = (np.cumsum(sizes) - sizes)[structure]
    numbers = part["atomic_numbers"].astype(np.int64)
    place = np.arange(len(structure))
    codes = numbers[part["centers"] + first_atom] * 256 + numbers[part["neighbors"] + first_atom]
    keys = np.sort((structure << 48) | (codes << 32) | place)
    order = keys & 0xFFFFFFFF
    keys >>= 32
    atoms = part["centers"][order] + first_atom  # first_atom is the same before and after: structures stay in place
    degrees = np.bincount(atoms, minlength=len(numbers))
    ranks = np.empty(len(order), dtype=np.int32)
    by_center = np.sort((atoms << 32) | place) & 0xFFFFFFFF
    ranks[by_center] = place - np.repeat(np.cumsum(degrees) - degrees, degrees)
    starts = np.flatnonzero(np.diff(keys, prepend=-1))
    shifts = part["cell_shifts"]
    return part | {
        "centers": part["centers"][order],
        "neighbors": part["neighbors"][order],
        "cell_shifts": shifts[order] if shifts.any() else shifts[:0],
        "n_shifts": np.array([len(shifts)]),
        "ranks": ranks.astype(np.min_scalar_type(-1 - int(degrees.max(initial=0)))),
        "degree": np.maximum.reduceat(degrees, np.cumsum(sizes) - sizes) if len(sizes) else np.zeros(0, np.int64),
        "n_runs": np.bincount(keys[starts] >> 16, minlength=len(sizes)),
        "run_codes": (keys[starts] & 0xFFFF).astype(np.uint16),
        "run_lengths": np.diff(starts, append=len(keys)).astype(np.int32),
    }


def _join(parts: dict[str, list[np.ndarray]], name: str) -> np.ndarray:
    """Concatenates the portions of an array and forgets them; zero shifts are only filled in beside others."""
    portions = parts[name]
    if name == "cell_shifts" and any(len(portion) for portion in portions):
        lengths = [int(length[0]) for length in parts["n_shifts"]]
        portions = [
            portion if len(portion) else np.zeros((length, 3), portion.dtype)
            for portion, length in zip(portions, lengths, strict=True)
        ]
    if name != "n_shifts":
        parts[name] = []
    return np.concatenate(portions)


def ranges(starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Returns the integers of all ranges one after the other.

    Args:
        starts: [n_ranges] first integer of each.
        lengths: [n_ranges].
    """
    ends = lengths.cumsum()
    places = (starts - ends + lengths).repeat(lengths)
    places += np.arange(len(places))
    return places
