"""Training batches: structures on a device, joined into graphs without a loop over them."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch

from lorem_openmm.data.baseline import composition_energies
from lorem_openmm.data.loading import load, ranges
from lorem_openmm.data.store import Store
from lorem_openmm.graph import AtomGraph

_REALS = ("positions", "forces", "cell", "stress")
_INTEGERS = ("atomic_numbers", "has_stress", "centers", "neighbors", "cell_shifts", "ranks")
Record = TypeVar("Record", bound=Any)


class Labels(NamedTuple):
    """Reference values of a batch.

    Attributes:
        energy: [n_systems] float64 eV, the per-element baseline subtracted.
        forces: [n_atoms, 3] eV/Å.
        stress: [n_systems, 3, 3] eV/Å³; zeros where there is none.
        has_stress: [n_systems] booleans.
        structures: [n_systems] place of each structure in the set.
    """

    energy: torch.Tensor
    forces: torch.Tensor
    stress: torch.Tensor
    has_stress: torch.Tensor
    structures: torch.Tensor


class StructureSet:
    """One split of one or several stores, ready to be joined into batches.

    Edges of each structure are sorted by pair of species once; a batch then merges these runs, which needs no
    sort of its edges. The graph equals that of ``build_graph`` on the joined structures, edge by edge.

    Which rows go into a batch is worked out on the host, where small arrays cost least; the rows themselves are
    taken where the arrays are: on the device if they fit there, so that a batch moves a few indices only.

    Attributes:
        device: Where the batches are.
        place: Where the arrays are: the device, or the host's memory.
        dtype: Type of positions, cells, forces.
        sizes: [n_structures] number of atoms.
        n_edges: [n_structures] number of edges.
        periodic: for each structure, whether it is periodic or in vacuum.
        energy: [n_structures] float64 eV, the per-element baseline subtracted.
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
        budget: int | None = None,
    ) -> None:
        """Loads a split.

        Args:
            stores: The data sets, joined in this order.
            split: train, validation or test.
            cutoff: Å; longer neighbour lists are cut down to it.
            baseline: [119] eV, index = Z, subtracted from the energies.
            device: Where the batches are needed.
            dtype: Type of the model.
            budget: Bytes on the device that the arrays may take, else they stay on the host; default: half of
                what is free there.

        Raises:
            DataError: If a store's neighbour lists are shorter than the cutoff.
        """
        self.device, self.dtype = torch.device(device), dtype
        arrays, self.store_index, self.structure_index = load(stores, split, cutoff)
        self._sizes, self.periodic = arrays["sizes"], arrays["periodic"]
        self._atom_starts = _exclusive_sum(self._sizes)
        self._degrees, self._n_runs, self._run_codes = arrays["degree"], arrays["n_runs"], arrays["run_codes"]
        self._run_starts, self._run_lengths = _exclusive_sum(self._n_runs), arrays["run_lengths"]
        self._run_edges = _exclusive_sum(self._run_lengths)
        self.sizes = torch.from_numpy(self._sizes)
        self.n_edges = torch.from_numpy(_sums(self._run_lengths, self._n_runs))
        atoms = np.append(self._atom_starts, len(arrays["atomic_numbers"]))
        arrays["energy"] = arrays["energy"] - composition_energies(baseline, arrays["atomic_numbers"], atoms)
        self.elements = [int(number) for number in np.unique(arrays["atomic_numbers"])]
        self._place_rows(arrays, budget)

    def __len__(self) -> int:
        return len(self.periodic)

    def batch(self, indices: Sequence[int] | np.ndarray | torch.Tensor) -> tuple[AtomGraph, Labels]:
        """Joins structures into one graph.

        Args:
            indices: [n_systems] places in the set.

        Returns:
            The graph and the labels, both on the set's device.
        """
        chosen = np.asarray(indices, dtype=np.int64)
        sizes, n_runs = self._sizes[chosen], self._n_runs[chosen]
        starts = _exclusive_sum(sizes)
        system_index = np.arange(len(chosen)).repeat(sizes)
        rank_in_system = np.arange(len(system_index)) - starts[system_index]

        runs = ranges(self._run_starts[chosen], n_runs)
        codes = self._run_codes[runs]
        order = codes.argsort(kind="stable")
        codes, runs = codes[order], runs[order]
        lengths = self._run_lengths[runs]
        first = np.flatnonzero(np.diff(codes, prepend=~codes[:1]))
        counts = np.add.reduceat(lengths, first).tolist() if len(first) else []

        index, system, rank, atoms, edges, shift, types = self._to_place(
            chosen,
            system_index,
            rank_in_system,
            self._atom_starts[chosen][system_index] + rank_in_system,
            ranges(self._run_edges[runs], lengths),
            starts.repeat(n_runs)[order].repeat(lengths),
            codes[first].astype(np.int64),
        )
        rows, max_size = self._rows, int(sizes.max(initial=0))
        num_slots = int(self._degrees[chosen].max(initial=0))
        centers = rows["centers"][edges] + shift
        graph = AtomGraph(
            positions=rows["positions"][atoms],
            atomic_numbers=rows["atomic_numbers"][atoms].long(),
            system_index=system,
            system_sizes=sizes.tolist(),
            cell=rows["cell"][index],
            periodic=self.periodic[chosen].tolist(),
            centers=centers,
            neighbors=rows["neighbors"][edges] + shift,
            cell_shifts=self._cell_shifts(edges),
            pair_types=torch.stack([types // 256, types % 256], dim=1),
            pair_type_counts=counts,
            edge_slots=centers * num_slots + rows["ranks"][edges],
            num_slots=num_slots,
            system_slots=system * max_size + rank,
            max_size=max_size,
        )
        labels = Labels(
            energy=rows["energy"][index],
            forces=rows["forces"][atoms],
            stress=rows["stress"][index],
            has_stress=rows["has_stress"][index],
            structures=index,
        )
        return self._to_device(graph), self._to_device(labels)

    @property
    def energy(self) -> torch.Tensor:
        """Returns [n_structures] float64 eV, the per-element baseline subtracted."""
        return self._rows["energy"]

    def _place_rows(self, arrays: dict[str, np.ndarray], budget: int | None) -> None:
        """Puts what batches are made of on the device, if it fits."""
        rows = {name: torch.from_numpy(arrays[name]) for name in _INTEGERS}
        rows |= {name: torch.from_numpy(arrays[name]).to(self.dtype) for name in _REALS}
        rows["energy"] = torch.from_numpy(arrays["energy"])
        n_bytes = sum(row.numel() * row.element_size() for row in rows.values())
        if budget is None and self.device.type == "cuda":
            budget = torch.cuda.mem_get_info(self.device)[0] // 2  # the rest is for the training step
        fits = budget is None or n_bytes <= budget
        self.place = self.device if fits else torch.device("cpu")
        self._rows = {name: row.to(self.place) for name, row in rows.items()}

    def _to_place(self, *arrays: np.ndarray) -> tuple[torch.Tensor, ...]:
        """Moves index arrays to where the rows are, all in one piece."""
        if self.place.type == "cpu":
            return tuple(map(torch.from_numpy, arrays))
        return torch.from_numpy(np.concatenate(arrays)).to(self.place).split([len(array) for array in arrays])

    def _to_device(self, record: Record) -> Record:
        if self.place == self.device:
            return record
        moved = {
            name: value.pin_memory().to(self.device, non_blocking=True)
            for name, value in record._asdict().items()
            if isinstance(value, torch.Tensor)
        }
        return record._replace(**moved)

    def _cell_shifts(self, edges: torch.Tensor) -> torch.Tensor:
        shifts = self._rows["cell_shifts"]
        if len(shifts) == 0:  # nothing is periodic
            return torch.zeros((len(edges), 3), dtype=self.dtype, device=self.place)
        return shifts[edges].to(self.dtype)


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


def _exclusive_sum(values: np.ndarray) -> np.ndarray:
    return values.cumsum() - values


def _sums(values: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Returns the sums over consecutive stretches, which may be empty."""
    ends = np.append(0, values.cumsum(dtype=np.int64))
    return np.diff(ends[np.append(0, lengths.cumsum())])
