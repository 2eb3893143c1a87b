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
from typing import Any

import numpy as np

from lorem_openmm.data.checks import raise_faults
from lorem_openmm.data.chunks import Chunk, explain, split_file
from lorem_openmm.data.examine import ExaminedChunk, ReadingSettings, examine
from lorem_openmm.data.fields import fields
from lorem_openmm.data.formats import unpack
from lorem_openmm.data.frames import Composition, LazyStructures
from lorem_openmm.data.info import InfoTable
from lorem_openmm.data.spool import Spool
from lorem_openmm.data.structures import Structure, structure_at
from lorem_openmm.data.workers import end_with_parent
from lorem_openmm.errors import DataError
from lorem_openmm.files import sha256_of_file
from lorem_openmm.progress import progress

_CHUNKS_WORTH_A_PROCESS = 2
_WAITING_PER_PROCESS = 3


class FileStructures(LazyStructures):
    """The structures of some files, one after the other.

    Attributes:
        sources: name (``file``), ``sha256`` and ``n_structures`` of each file.
        arrays: the store's arrays that come from the files, ``sizes``, ``n_edges``, ``bond_ratio`` [n_structures] and
            ``hash`` [n_structures, 4]; those by atom and by edge are views of files.
        source: [n_structures] which file.
        frame: [n_structures] number in that file.
        info: the info entries.
        edge_faults: faults of the distances.
    """

    def __init__(
        self, sources: list[dict[str, Any]], arrays: dict[str, np.ndarray], info: InfoTable, edge_faults: list[str]
    ) -> None:
        self.sources, self.arrays, self.info, self.edge_faults = sources, arrays, info, edge_faults
        counts = [source["n_structures"] for source in sources]
        self.source = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
        self.frame = np.concatenate([np.arange(count) for count in counts])
        self.offsets = np.concatenate([[0], np.cumsum(arrays["sizes"])])

    @cached_property
    def edge_offsets(self) -> np.ndarray:
        """Returns [n_structures + 1], the first edge of each structure and the end."""
        return np.concatenate([[0], np.cumsum(self.arrays["n_edges"])])

    def __len__(self) -> int:
        return len(self.frame)

    def structure(self, index: int) -> Structure:
        """Makes one structure."""
        file = self.sources[self.source[index]]["file"]
        return structure_at(self.arrays, index, self.atoms(index), self.info[index], file, int(self.frame[index]))

    def atoms(self, index: int) -> slice:
        """Returns the rows of a structure in the arrays by atom."""
        return slice(*self.offsets[index : index + 2].tolist())

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


class Selection(LazyStructures):
    """Some of the collected structures, by their places among all."""

    def __init__(self, collected: FileStructures, indices: np.ndarray) -> None:
        self.collected, self.indices = collected, indices

    def __len__(self) -> int:
        return len(self.indices)

    def structure(self, index: int) -> Structure:
        """Makes one structure."""
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


def collect(paths: Sequence[Path], reading: ReadingSettings, folder: Path, processes: int = 1) -> FileStructures:
    """Reads and examines files in several processes; the result does not depend on their number.

    Memory holds a few chunks and about a hundred bytes per structure; everything else is in ``folder``.

    Args:
        paths: Extended XYZ files.
        reading: How each chunk is read.
        folder: Where to keep arrays until they are stored; the caller removes it.
        processes: Number of processes.

    Raises:
        DataError: If a file cannot be read, or a structure breaks a rule.
    """
    spool, info = Spool(folder), InfoTable()
    faults: list[str] = []
    edge_faults: list[str] = []
    on_disk = {field.name for field in fields() if field.is_large}
    in_memory: dict[str, list[np.ndarray]] = {}
    sources: list[dict[str, Any]] = []
    with ExitStack() as stack:
        stack.callback(spool.close)
        workers = _Workers(stack, processes)
        for path in paths:
            content = unpack(path, folder)
            chunks, sha256 = split_file(content, name=str(path))
            sha256 = sha256 if content == path else sha256_of_file(path)
            n_frames = sum(chunk.n_frames for chunk in chunks)
            sources.append({"file": str(path), "sha256": sha256, "n_structures": n_frames})
            for found in _with_progress(workers.run(chunks, reading), n_frames, f"read {path.name}"):
                if found.error is not None:
                    explain(chunks[0])
                    raise DataError(found.error)
                faults += found.faults
                edge_faults += found.edge_faults
                info.append(found.info, found.n_frames)
                for name, values in found.arrays.items():
                    if name in on_disk:
                        spool.append(name, values)
                    else:
                        in_memory.setdefault(name, []).append(values)
        raise_faults(faults)
        arrays = {name: np.concatenate(parts) for name, parts in in_memory.items()} | spool.arrays()
    return FileStructures(sources, arrays, info, edge_faults)


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
    frames = (item for found in examined for item in [*[None] * (found.n_frames - 1), found])
    yield from (found for found in progress(frames, n_frames, description) if found is not None)
