"""All structures of a data set, read in several processes and kept on disk while they are put together."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from functools import cached_property
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import Any, overload

import numpy as np

from lorem_openmm.data.checks import Faults
from lorem_openmm.data.chunks import Chunk, explain, split_file
from lorem_openmm.data.examine import ExaminedChunk, ReadingSettings, examine
from lorem_openmm.data.fields import fields
from lorem_openmm.data.formats import unpack
from lorem_openmm.data.frames import Composition
from lorem_openmm.data.info import InfoTable
from lorem_openmm.data.spool import Spool
from lorem_openmm.data.structures import Structure, structure_at
from lorem_openmm.data.workers import end_with_parent
from lorem_openmm.errors import DataError
from lorem_openmm.files import sha256_of_file
from lorem_openmm.progress import progress

_CHUNKS_WORTH_A_PROCESS = 2
_WAITING_PER_PROCESS = 3


class FileStructures(Sequence[Structure]):
    """The structures of some files, one after the other; each item is made on demand.

    Attributes:
        arrays: the store's arrays that come from the files, ``sizes``, ``n_edges``, ``bond_ratio`` [n_structures] and
            ``hash`` [n_structures, 4]; those by atom and by edge are views of files.
        source: [n_structures] which file.
        frame: [n_structures] number in that file.
        info: the info entries.
        edge_faults: faults of the distances.
    """

    def __init__(self, files: list[str], counts: list[int], arrays: dict[str, np.ndarray], info: InfoTable) -> None:
        """Notes what was read.

        Args:
            files: Names of the files.
            counts: Frames of each.
            arrays: See above.
            info: The info entries.
        """
        self.files, self.arrays, self.info = files, arrays, info
        self.source = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
        self.frame = np.concatenate([np.arange(count) for count in counts])
        self.offsets = np.concatenate([[0], np.cumsum(arrays["sizes"])])
        self.edge_faults: list[str] = []

    @cached_property
    def edge_offsets(self) -> np.ndarray:
        """Returns [n_structures + 1], the first edge of each structure and the end."""
        return np.concatenate([[0], np.cumsum(self.arrays["n_edges"])])

    def __len__(self) -> int:
        return len(self.frame)

    @overload
    def __getitem__(self, index: int) -> Structure: ...
    @overload
    def __getitem__(self, index: slice) -> "Selection": ...
    def __getitem__(self, index: int | slice) -> "Structure | Selection":
        if isinstance(index, slice):
            return Selection(self, np.arange(len(self))[index])
        file, atoms = self.files[self.source[index]], slice(*self.offsets[index : index + 2])
        return structure_at(self.arrays, index, atoms, self.info[index], file, int(self.frame[index]))

    def composition(self) -> Composition:
        """Returns elements and energies."""
        return Composition(self.arrays["atomic_numbers"], self.offsets, self.arrays["energy"])

    def first_alike(self) -> np.ndarray:
        """Returns [n_structures], the first structure with the same elements, positions and cell as each."""
        hashes = self.arrays["hash"]
        order = np.lexsort(hashes.T)
        ordered = hashes[order]
        starts = np.concatenate([[True], np.any(ordered[1:] != ordered[:-1], axis=1)])
        first = np.empty(len(self), dtype=np.int64)
        first[order] = order[starts][np.cumsum(starts) - 1]
        return first


class Selection(Sequence[Structure]):
    """Some of the collected structures."""

    def __init__(self, collected: FileStructures, indices: np.ndarray) -> None:
        """Keeps which structures they are.

        Args:
            collected: All.
            indices: Their places.
        """
        self.collected, self.indices = collected, indices

    def __len__(self) -> int:
        return len(self.indices)

    @overload
    def __getitem__(self, index: int) -> Structure: ...
    @overload
    def __getitem__(self, index: slice) -> "Selection": ...
    def __getitem__(self, index: int | slice) -> "Structure | Selection":
        if isinstance(index, slice):
            return Selection(self.collected, self.indices[index])
        return self.collected[int(self.indices[index])]

    def info_values(self, key: str) -> Iterator[Any]:
        """Yields an info entry of each structure; None: none."""
        column = self.collected.info.column(key)
        return (column[index] for index in self.indices.tolist())

    def composition(self) -> Composition:
        """Returns elements and energies."""
        whole = self.collected.composition()
        if len(self) == len(self.collected):
            return whole
        chosen = np.zeros(len(self.collected), dtype=bool)
        chosen[self.indices] = True
        sizes = self.collected.arrays["sizes"]
        offsets = np.concatenate([[0], np.cumsum(sizes[self.indices])])
        return Composition(whole.atomic_numbers[np.repeat(chosen, sizes)], offsets, whole.energy[self.indices])


def collect(
    paths: Sequence[Path], reading: ReadingSettings, folder: Path, processes: int = 1
) -> tuple[FileStructures, list[str]]:
    """Reads and examines files in several processes; the result does not depend on their number.

    Memory holds a few chunks and about a hundred bytes per structure; everything else is in ``folder``.

    Args:
        paths: Extended XYZ files.
        reading: How each chunk is read.
        folder: Where to keep arrays until they are stored; the caller removes it.
        processes: Number of processes.

    Returns:
        The structures, and the SHA-256 of each file.

    Raises:
        DataError: If a file cannot be read, or a structure breaks a rule.
    """
    spool, info, faults, edge_faults = Spool(folder), InfoTable(), Faults(), []
    on_disk = {field.name for field in fields() if field.is_large}
    in_memory: dict[str, list[np.ndarray]] = {}
    counts, sums = [], []
    with ExitStack() as stack:
        stack.callback(spool.close)
        workers = _Workers(stack, processes)
        for path in paths:
            content = unpack(path, folder)
            chunks, sha256 = split_file(content, name=str(path))
            counts.append(sum(chunk.n_frames for chunk in chunks))
            sums.append(sha256 if content == path else sha256_of_file(path))
            for found in _with_progress(workers.run(chunks, reading), counts[-1], f"read {path.name}"):
                if found.error is not None:
                    explain(chunks[0])
                    raise DataError(found.error)
                faults.add(found.faults)
                edge_faults += found.edge_faults
                info.append(found.info, found.n_frames)
                for name, values in found.arrays.items():
                    if name in on_disk:
                        spool.append(name, values)
                    else:
                        in_memory.setdefault(name, []).append(values)
        faults.raise_if_any()
        arrays = {name: np.concatenate(parts) for name, parts in in_memory.items()} | spool.arrays()
    collected = FileStructures([str(path) for path in paths], counts, arrays, info)
    collected.edge_faults = edge_faults
    return collected, sums


class _Workers:
    """Processes that are started when there is enough for them to do."""

    def __init__(self, stack: ExitStack, processes: int) -> None:
        self.stack, self.processes = stack, processes
        self.pool: ProcessPoolExecutor | None = None

    def run(self, chunks: Sequence[Chunk], reading: ReadingSettings) -> Iterator[ExaminedChunk]:
        """Yields what is found in each chunk, in their order; only a few wait to be taken."""
        if self.processes == 1 or len(chunks) < _CHUNKS_WORTH_A_PROCESS * self.processes:
            yield from (examine(chunk, reading) for chunk in chunks)
            return
        if self.pool is None:
            context = get_context("forkserver")  # threads of libraries do not survive a fork
            context.set_forkserver_preload(["lorem_openmm.data.examine"])
            self.pool = ProcessPoolExecutor(self.processes, mp_context=context, initializer=end_with_parent)
            self.stack.callback(self.pool.shutdown, cancel_futures=True)
        rest = iter(chunks)
        waiting = deque(
            self.pool.submit(examine, chunk, reading) for chunk in islice(rest, _WAITING_PER_PROCESS * self.processes)
        )
        try:
            while waiting:
                yield waiting.popleft().result()
                waiting.extend(self.pool.submit(examine, chunk, reading) for chunk in islice(rest, 1))
        except BrokenProcessPool:
            raise DataError(
                f"{chunks[0].name}: a process that read it was ended from outside, perhaps for want of memory. "
                "Run the same command with fewer processes."
            ) from None


def _with_progress(examined: Iterable[ExaminedChunk], n_frames: int, description: str) -> Iterator[ExaminedChunk]:
    """Yields what was found in each chunk, and reports frames."""
    frames = (found if last else None for found in examined for last in _last(found.n_frames))
    yield from (found for found in progress(frames, n_frames, description) if found is not None)


def _last(n: int) -> Iterator[bool]:
    return (index == n - 1 for index in range(n))
