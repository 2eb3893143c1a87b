"""Training batches: structures on a device, joined into graphs without a loop over them."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch

from lorem_openmm.data.baseline import composition_energies
from lorem_openmm.data.store import Store
from lorem_openmm.errors import DataError
from lorem_openmm.graph import AtomGraph


class WholeBatch(NamedTuple):
    """What a batch holds in all, where a process has a share of it.

    Attributes:
        n_structures: in the whole batch, as all that follows.
        n_atoms: of all structures.
        n_with_stress: structures with a stress label.
        n_processes: that share the batch.
        is_idle: whether nothing is left for this process; the structure it has then counts nothing.
    """

    n_structures: int
    n_atoms: int
    n_with_stress: int
    n_processes: int
    is_idle: bool


class Labels(NamedTuple):
    """Reference values of a batch.

    Attributes:
        energy: [n_systems] float64 eV, the per-element baseline subtracted.
        forces: [n_atoms, 3] eV/Å.
        stress: [n_systems, 3, 3] eV/Å³; zeros where there is none.
        has_stress: [n_systems] booleans.
        structures: [n_systems] place of each structure in the set.
        whole: the batch of which this is the share of one process; None: this is all of it.
    """

    energy: torch.Tensor
    forces: torch.Tensor
    stress: torch.Tensor
    has_stress: torch.Tensor
    structures: torch.Tensor
    whole: WholeBatch | None = None


class StructureSet:
    """One split of one or several stores, on a device, ready to be joined into batches.

    Edges of each structure are sorted by pair of species once; a batch then merges these runs, which needs no
    sort of its edges. The graph equals that of ``build_graph`` on the joined structures, edge by edge.

    Attributes:
        device: Where the batches are.
        dtype: Type of positions, cells, forces.
        store_index: [n_structures] which store each structure is from.
        structure_index: [n_structures] its place in that store.
    """

    def __init__(
        self,
        stores: Sequence[Store],
        split: str,
        cutoff: float,
        baseline: np.ndarray,
        device: str | torch.device = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        """Loads a split.

        Args:
            stores: The data sets, joined in this order.
            split: train, validation or test.
            cutoff: Å; longer neighbour lists are cut down to it.
            baseline: [119] eV, index = Z, subtracted from the energies.
            device: Where to keep the tensors.
            dtype: Type of the model.

        Raises:
            DataError: If a store's neighbour lists are shorter than the cutoff.
        """
        self.device, self.dtype = torch.device(device), dtype
        parts = [_select(store, store.indices(split), cutoff) for store in stores]
        joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        self.store_index = np.repeat(np.arange(len(parts)), [len(part["sizes"]) for part in parts])
        self.structure_index = joined["structures"]
        self.sizes = torch.from_numpy(joined["sizes"])
        self.periodic: list[bool] = joined["periodic"].tolist()
        self._atom_starts = _exclusive_sum(self.sizes)
        self._load_atoms(joined, baseline)
        self._load_edges(joined)

    def __len__(self) -> int:
        return len(self.periodic)

    @property
    def elements(self) -> list[int]:
        """Returns the atomic numbers that occur, ascending."""
        return [int(number) for number in torch.unique(self.atomic_numbers)]

    def batch(self, indices: Sequence[int] | np.ndarray | torch.Tensor) -> tuple[AtomGraph, Labels]:
        """Joins structures into one graph.

        Args:
            indices: [n_systems] places in the set.

        Returns:
            The graph and the labels, both on the set's device.
        """
        chosen = torch.as_tensor(indices, dtype=torch.long)
        sizes = self.sizes[chosen]
        starts = _exclusive_sum(sizes)
        atoms, system_index = _ranges(self._atom_starts[chosen], sizes, self.device)

        runs, run_system = _ranges(self._run_starts[chosen], self._run_numbers[chosen], torch.device("cpu"))
        codes, order = torch.sort(self._run_codes[runs], stable=True)
        runs, run_system = runs[order], run_system[order]
        run_lengths = self._run_lengths[runs]
        edges, run_of_edge = _ranges(self._run_edges[runs], run_lengths, self.device)
        shift = starts[run_system].to(self.device)[run_of_edge]
        centers = self._centers[edges] + shift
        types, which = torch.unique_consecutive(codes, return_inverse=True)
        counts = torch.zeros_like(types).index_add_(0, which, run_lengths)
        max_size = int(sizes.max()) if len(chosen) else 0
        num_slots = int(self._degrees[chosen].max()) if len(chosen) else 0

        on_device = chosen.to(self.device)
        graph = AtomGraph(
            positions=self.positions[atoms],
            atomic_numbers=self.atomic_numbers[atoms],
            system_index=system_index,
            system_sizes=sizes.tolist(),
            cell=self.cell[on_device],
            periodic=[self.periodic[index] for index in chosen.tolist()],
            centers=centers,
            neighbors=self._neighbors[edges] + shift,
            cell_shifts=self._cell_shifts[edges].to(self.dtype),
            pair_types=torch.stack([types // 256, types % 256], dim=1).to(self.device),
            pair_type_counts=counts.tolist(),
            edge_slots=centers * num_slots + self._ranks[edges],
            num_slots=num_slots,
            system_slots=system_index * max_size + atoms - self._atom_starts[chosen].to(self.device)[system_index],
            max_size=max_size,
        )
        labels = Labels(
            energy=self.energy[on_device],
            forces=self.forces[atoms],
            stress=self.stress[on_device],
            has_stress=self.has_stress[on_device],
            structures=on_device,
        )
        return graph, labels

    def _load_atoms(self, joined: dict[str, np.ndarray], baseline: np.ndarray) -> None:
        offsets = np.concatenate([[0], np.cumsum(joined["sizes"])])
        energy = joined["energy"] - composition_energies(baseline, joined["atomic_numbers"], offsets)
        self.energy = torch.from_numpy(energy).to(self.device)
        self.atomic_numbers = torch.from_numpy(joined["atomic_numbers"].astype(np.int64)).to(self.device)
        self.positions, self.forces, self.cell, self.stress = (
            torch.from_numpy(joined[name]).to(self.device, self.dtype)
            for name in ("positions", "forces", "cell", "stress")
        )
        self.has_stress = torch.from_numpy(joined["has_stress"]).to(self.device)

    def _load_edges(self, joined: dict[str, np.ndarray]) -> None:
        """Sorts the edges of each structure by pair of species and notes the runs of equal pairs."""
        sizes, n_edges = joined["sizes"], joined["n_edges"]
        structure = np.repeat(np.arange(len(sizes)), n_edges)
        first_atom = (np.cumsum(sizes) - sizes)[structure]
        numbers = joined["atomic_numbers"].astype(np.int64)
        codes = numbers[joined["centers"] + first_atom] * 256 + numbers[joined["neighbors"] + first_atom]
        key = structure * 65536 + codes
        order = np.argsort(key, kind="stable")
        key, centers = key[order], joined["centers"][order]
        ranks, degrees = _ranks(centers + first_atom, len(numbers))
        starts = np.flatnonzero(np.diff(key, prepend=-1))
        self._run_edges = torch.from_numpy(starts)
        self._run_lengths = torch.from_numpy(np.diff(starts, append=len(key)))
        self._run_codes = torch.from_numpy(key[starts] % 65536)
        self._run_numbers = torch.from_numpy(np.bincount(key[starts] // 65536, minlength=len(sizes)))
        self._run_starts = _exclusive_sum(self._run_numbers)
        largest = np.maximum.reduceat(degrees, np.cumsum(sizes) - sizes) if len(sizes) else np.zeros(0, np.int64)
        self._degrees = torch.from_numpy(largest)
        self._centers = torch.from_numpy(centers).to(self.device)
        self._neighbors = torch.from_numpy(joined["neighbors"][order]).to(self.device)
        self._cell_shifts = torch.from_numpy(joined["cell_shifts"][order]).to(self.device)
        self._ranks = torch.from_numpy(ranks.astype(np.int32)).to(self.device)


def epoch_batches(n_structures: int, batch_size: int, seed: int, epoch: int) -> list[np.ndarray]:
    """Returns the batches of one epoch: all structures once, in an order that depends on (seed, epoch) only.

    Training that continues at an epoch therefore needs no stored state of a random generator.

    Args:
        n_structures: Size of the training set.
        batch_size: Structures per batch; the last batch may be smaller.
        seed: Seed of the run.
        epoch: Number of the epoch.
    """
    order = np.random.default_rng([seed, epoch]).permutation(n_structures)
    return list(_chunks(order, batch_size))


def ordered_batches(n_structures: int, batch_size: int) -> list[np.ndarray]:
    """Returns all structures once, in their order: for validation and evaluation.

    Args:
        n_structures: Size of the set.
        batch_size: Structures per batch.
    """
    return list(_chunks(np.arange(n_structures), batch_size))


def _chunks(order: np.ndarray, size: int) -> Iterator[np.ndarray]:
    for start in range(0, len(order), size):
        yield order[start : start + size]


def _select(store: Store, chosen: np.ndarray, cutoff: float) -> dict[str, np.ndarray]:
    """Reads the chosen structures of a store, with edges within the cutoff."""
    if cutoff > store.cutoff + 1e-9:
        raise DataError(
            f"{store.path}: its neighbour lists reach {store.cutoff} Å, shorter than the model's cutoff of "
            f"{cutoff} Å. Prepare the data set again."
        )
    sizes, n_edges = np.diff(store["atom_offsets"]), np.diff(store["edge_offsets"])
    mask = np.zeros(len(store), dtype=bool)
    mask[chosen] = True
    atoms, edges = np.repeat(mask, sizes), np.repeat(mask, n_edges)
    part = {name: store[name][chosen] for name in ("energy", "cell", "periodic", "stress", "has_stress")}
    part |= {name: store[name][atoms] for name in ("positions", "forces", "atomic_numbers")}
    part |= {name: store[name][edges] for name in ("centers", "neighbors", "cell_shifts")}
    part |= {"sizes": sizes[chosen], "n_edges": n_edges[chosen], "structures": chosen}
    if cutoff < store.cutoff - 1e-9:
        _shorten(part, cutoff)
    for name in ("centers", "neighbors"):
        part[name] = part[name].astype(np.int32)
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


def _ranks(centers: np.ndarray, n_atoms: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the rank of each edge among those of its center, and the number of edges of each atom."""
    by_center = np.argsort(centers, kind="stable")
    degrees = np.bincount(centers, minlength=n_atoms)
    ranks = np.empty_like(by_center)
    ranks[by_center] = np.arange(len(centers)) - np.repeat(np.cumsum(degrees) - degrees, degrees)
    return ranks, degrees


def _exclusive_sum(values: torch.Tensor) -> torch.Tensor:
    return torch.cumsum(values, 0) - values


def _ranges(starts: torch.Tensor, lengths: torch.Tensor, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns the integers of all ranges one after the other, and the range each is from, on a device."""
    total = int(lengths.sum())
    begin = (starts - _exclusive_sum(lengths)).to(device)
    which = torch.repeat_interleave(torch.arange(len(starts), device=device), lengths.to(device), output_size=total)
    return begin[which] + torch.arange(total, device=device), which
