"""Training batches: structures on a device, joined into graphs without a loop over them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
import torch

from lorem_openmm.data.baseline import composition_energies
from lorem_openmm.data.fields import fields
from lorem_openmm.data.loading import load, ranges
from lorem_openmm.data.store import Store
from lorem_openmm.graph import AtomGraph, map_tensors

WINDOW = 32  # batches that are sorted together: enough for alike sizes, too few for always the same company


class WholeBatch(NamedTuple):
    """What a batch holds in all, where a process has a share of it.

    Attributes:
        n_structures: Number of structures in the whole batch; all that follows is of the whole batch, too.
        n_atoms: Number of atoms of all structures.
        n_with_stress: structures with a stress label.
        n_processes: that share the batch.
        is_idle: whether nothing is left for this process; the structure it has then counts nothing.
    """

    n_structures: int
    n_atoms: int
    n_with_stress: int
    n_processes: int
    is_idle: bool


@dataclass(frozen=True, slots=True, eq=False)
class Labels:
    """Reference values of a batch: ``labels["spin_multiplicity"]``.

    Attributes:
        values: [n_systems, …] or [n_atoms, …] of every field whose role is label (``lorem_openmm.data.fields``).
        structures: [n_systems] place of each structure in the set.
        whole: the batch of which this is the share of one process; None: this is all of it.
    """

    values: Mapping[str, torch.Tensor]
    structures: torch.Tensor
    whole: WholeBatch | None = None

    def __getitem__(self, name: str) -> torch.Tensor:
        return self.values[name]

    @property
    def energy(self) -> torch.Tensor:
        """Returns [n_systems] float64 eV, the per-element baseline subtracted."""
        return self.values["energy"]

    @property
    def forces(self) -> torch.Tensor:
        """Returns [n_atoms, 3] eV/Å."""
        return self.values["forces"]

    @property
    def stress(self) -> torch.Tensor:
        """Returns [n_systems, 3, 3] eV/Å³; zeros where there is none."""
        return self.values["stress"]

    @property
    def has_stress(self) -> torch.Tensor:
        """Returns [n_systems] booleans."""
        return self.values["has_stress"]


class BatchSource(Protocol):
    """A set of structures that gives batches: all of each, or the share of one process."""

    @property
    def device(self) -> torch.device:
        """Returns where the batches are."""

    @property
    def dtype(self) -> torch.dtype:
        """Returns the type of positions, cells and forces."""

    @property
    def costs(self) -> np.ndarray:
        """Returns [n_structures] numbers that order the structures by atoms, then by edges."""

    def __len__(self) -> int: ...

    def batch(self, indices: Sequence[int] | np.ndarray | torch.Tensor) -> tuple[AtomGraph, Labels]:
        """Joins structures into one graph.

        Args:
            indices: [n_systems] places in the set.
        """


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
        periodic: [n_structures] booleans, whether it is periodic or in vacuum.
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
        atoms = np.append(self._atom_starts, len(arrays["atomic_numbers"]))
        arrays["energy"] = arrays["energy"] - composition_energies(baseline, arrays["atomic_numbers"], atoms)
        self.elements = [int(number) for number in np.unique(arrays["atomic_numbers"])]
        self._shared: dict[str, torch.Tensor] = {}
        self._shared_size = -1
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
        sizes = self._sizes[chosen]
        starts, max_size = _exclusive_sum(sizes), int(sizes.max(initial=0))
        system_index = np.arange(len(chosen)).repeat(sizes)
        ranks = np.arange(len(system_index)) - starts[system_index]

        runs, order, types, counts = self._merged_runs(chosen)
        lengths = self._run_lengths[runs]
        index, system, slots, atoms, edges, shift, pair_types = self._to_place(
            chosen,
            system_index,
            system_index * max_size + ranks,
            self._atom_starts[chosen][system_index] + ranks,
            ranges(self._run_edges[runs], lengths),
            starts.repeat(self._n_runs[chosen])[order].repeat(lengths),
            types.astype(">u2").view(np.uint8).astype(np.int64),  # 256·Z_i + Z_j: Z_i is the first byte
        )
        rows, own = self._rows, {"structure": index, "atom": atoms}
        centers = rows["centers"].index_select(0, edges) + shift
        num_slots = int(self._degrees[chosen].max(initial=0))
        graph = AtomGraph(
            positions=rows["positions"].index_select(0, atoms),
            atomic_numbers=rows["atomic_numbers"].index_select(0, atoms).long(),
            system_index=system,
            system_sizes=sizes.tolist(),
            cell=rows["cell"].index_select(0, index),
            periodic=self.periodic[chosen].tolist(),
            centers=centers,
            neighbors=rows["neighbors"].index_select(0, edges) + shift,
            cell_shifts=self._cell_shifts(edges),
            pair_types=pair_types.view(-1, 2),
            pair_type_counts=counts,
            edge_slots=torch.add(rows["ranks"].index_select(0, edges), centers, alpha=num_slots),
            num_slots=num_slots,
            system_slots=slots,
            max_size=max_size,
            total_charge=rows["total_charge"].index_select(0, index),
        )
        values = {name: rows[name].index_select(0, own[per]) for name, per in self._labels}
        if self.place != self.device:
            values = {name: self._to_device(value) for name, value in values.items()}
            graph, index = map_tensors(graph, self._to_device), self._to_device(index)
        return graph, Labels(values | self._same_in_all(len(chosen)), index)

    def _same_in_all(self, n_structures: int) -> dict[str, torch.Tensor]:
        """Returns labels that are the same for all structures, such as what nobody states; batches share them."""
        if self._shared_size != n_structures:
            firsts = {name: self._rows[name][:1].to(self.device) for name in self._same}
            self._shared = {name: row.expand(n_structures, *row.shape[1:]) for name, row in firsts.items()}
            self._shared_size = n_structures
        return self._shared

    def _merged_runs(self, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[int]]:
        """Sorts the runs of some structures by pair of species.

        Returns:
            The runs; where each was among those of the structures in turn; the pairs that occur, as codes, and
            the number of edges of each.
        """
        runs = ranges(self._run_starts[chosen], self._n_runs[chosen])
        codes = self._run_codes[runs]
        order = codes.argsort(kind="stable")
        codes, runs = codes[order], runs[order]
        is_first = np.ones(len(codes), dtype=bool)
        np.not_equal(codes[1:], codes[:-1], out=is_first[1:])
        first = is_first.nonzero()[0]
        counts = np.add.reduceat(self._run_lengths[runs], first).tolist() if len(first) else []
        return runs, order, codes[first], counts

    @property
    def costs(self) -> np.ndarray:
        """Returns [n_structures] numbers that order the structures by atoms, then by edges."""
        n_edges = _sums(self._run_lengths, self._n_runs)
        return self._sizes * (int(n_edges.max(initial=0)) + 1) + n_edges

    def __getitem__(self, name: str) -> torch.Tensor:
        """Returns a field of all structures or atoms, as the batches have it (energies without the baseline)."""
        return self._rows[name]

    def _place_rows(self, arrays: dict[str, np.ndarray], budget: int | None) -> None:
        """Puts what batches are made of on the device, if it fits."""
        known = list(fields("graph", "label"))
        rows = {name: torch.from_numpy(arrays[name]) for name in ("ranks", *(field.name for field in known))}
        rows |= {f.name: rows[f.name].to(self.dtype) for f in known if f.is_real and not f.is_exact}
        n_bytes = sum(row.numel() * row.element_size() for row in rows.values())
        if budget is None and self.device.type == "cuda":
            budget = torch.cuda.mem_get_info(self.device)[0] // 2  # the rest is for the training step
        fits = budget is None or n_bytes <= budget
        self.place = self.device if fits else torch.device("cpu")
        self._rows = {name: row.to(self.place) for name, row in rows.items()}
        self._same = [field.name for field in fields("label", per="structure") if _is_constant(arrays[field.name])]
        self._labels = [(field.name, field.per) for field in fields("label") if field.name not in self._same]

    def _to_place(self, *arrays: np.ndarray) -> tuple[torch.Tensor, ...]:
        """Moves index arrays to where the rows are, all in one piece."""
        if self.place.type == "cpu":
            return tuple(map(torch.from_numpy, arrays))
        return torch.from_numpy(np.concatenate(arrays)).to(self.place).split([len(array) for array in arrays])

    def _to_device(self, values: torch.Tensor) -> torch.Tensor:
        return values.pin_memory().to(self.device, non_blocking=True)

    def _cell_shifts(self, edges: torch.Tensor) -> torch.Tensor:
        shifts = self._rows["cell_shifts"]
        if len(shifts) == 0:  # nothing is periodic
            return torch.zeros((len(edges), 3), dtype=self.dtype, device=self.place)
        return shifts.index_select(0, edges).to(self.dtype)


def epoch_batches(
    n_structures: int, batch_size: int, seed: int, epoch: int, costs: np.ndarray | None = None
) -> list[np.ndarray]:
    """Returns the batches of one epoch: all structures once, in an order that depends on (seed, epoch) only.

    Training that continues at an epoch therefore needs no stored state of a random generator.

    With ``costs``, structures that cost alike share a batch: the shuffled structures are taken in windows of
    ``WINDOW`` batches, each window is sorted by cost and cut into batches, and the batches are shuffled. A window
    is a random sample, so every batch still changes from epoch to epoch; sorting the whole set would make batches
    of always the same structures. The last batch, where it is smaller, is a random sample of all. Trainings do not
    group unless they are asked to (``bucket_by_size``): the gradient of a batch of alike structures is noisier than
    that of a random sample, lorem-jax shuffles plainly, and a CPU gains nothing from less padding.

    Args:
        n_structures: Size of the training set.
        batch_size: Structures per batch; the last batch may be smaller.
        seed: Seed of the run.
        epoch: Number of the epoch.
        costs: [n_structures] what to group by (:attr:`StructureSet.costs`); None: a plain shuffle.
    """
    random = np.random.default_rng([seed, epoch])
    order = random.permutation(n_structures)
    if costs is None:
        return list(_chunks(order, batch_size))
    n_whole = n_structures // batch_size * batch_size
    windows = [window[costs[window].argsort(kind="stable")] for window in _chunks(order[:n_whole], batch_size * WINDOW)]
    batches = [batch for window in windows for batch in _chunks(window, batch_size)]
    return [batches[place] for place in random.permutation(len(batches))] + list(_chunks(order[n_whole:], batch_size))


def ordered_batches(n_structures: int, batch_size: int) -> list[np.ndarray]:
    """Returns all structures once, in their order: for validation and evaluation."""
    return list(_chunks(np.arange(n_structures), batch_size))


def _chunks(order: np.ndarray, size: int) -> Iterator[np.ndarray]:
    for start in range(0, len(order), size):
        yield order[start : start + size]


def _is_constant(values: np.ndarray) -> bool:
    return len(values) > 0 and np.array_equal(values, np.broadcast_to(values[:1], values.shape), equal_nan=True)


def _exclusive_sum(values: np.ndarray) -> np.ndarray:
    return values.cumsum() - values


def _sums(values: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Returns the sums over consecutive stretches, which may be empty."""
    ends = np.append(0, values.cumsum(dtype=np.int64))
    return np.diff(ends[np.append(0, lengths.cumsum())])
