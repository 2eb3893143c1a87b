"""What is done to the frames of one chunk, in whichever process: read, check, hash, list neighbours."""

from typing import NamedTuple

import numpy as np

from lorem_openmm.data import checks
from lorem_openmm.data.chunks import Chunk, read_chunk
from lorem_openmm.data.conversion import Conversion
from lorem_openmm.data.fields import Field, field_faults, register
from lorem_openmm.data.frames import Frames
from lorem_openmm.data.info import Part, encode
from lorem_openmm.data.neighbors import neighbor_lists
from lorem_openmm.data.structures import Keys
from lorem_openmm.errors import DataError, InstallationError


class ReadingSettings(NamedTuple):
    """How each chunk is read and examined.

    Attributes:
        keys: names of the labels.
        cutoff: Å, of the neighbour lists.
        kept_info: info keys whose values are needed whatever they are.
        conversion: what the numbers mean.
        fields: optional quantities to look for, those that the caller's process registered among them.
    """

    keys: Keys
    cutoff: float
    kept_info: frozenset[str]
    conversion: Conversion = Conversion()
    fields: tuple[Field, ...] = ()


class ExaminedChunk(NamedTuple):
    """What was found in a chunk.

    Attributes:
        n_frames: number of frames.
        arrays: parts of the store's arrays, ``sizes``, ``n_edges`` and ``bond_ratio`` [n_structures], ``hash``
            [n_structures, 4] (see ``checks.frame_hashes``).
        info: the info entries.
        faults: Faults of the structures; where there are any, neighbours were not listed.
        edge_faults: Faults of the distances.
        error: why the chunk could not be read.
    """

    n_frames: int
    arrays: dict[str, np.ndarray]
    info: dict[str, Part]
    faults: list[str]
    edge_faults: list[str]
    error: str | None = None


def examine(chunk: Chunk, reading: ReadingSettings) -> ExaminedChunk:
    """Reads and examines a chunk; the same for the same chunk, wherever it is done."""
    register(*reading.fields)
    try:
        frames = read_chunk(chunk, reading.keys, reading.conversion)
    except (DataError, InstallationError, OSError) as error:
        return ExaminedChunk(chunk.n_frames, {}, {}, [], [], str(error))
    arrays = frames.arrays | {"hash": checks.frame_hashes(frames)}
    arrays["atomic_numbers"] = arrays["atomic_numbers"].astype(np.uint8)
    info = encode(frames.info, reading.kept_info)
    faults = _structure_faults(frames)
    faults += [f"{frames[index].place}: {text}" for index, text in field_faults(frames.arrays)]
    if faults:
        return ExaminedChunk(len(frames), arrays, info, faults, [])
    edge_arrays, edge_faults = _edges(frames, reading.cutoff)
    return ExaminedChunk(len(frames), arrays | edge_arrays, info, [], edge_faults)


def _structure_faults(frames: Frames) -> list[str]:
    """Applies ``checks.structure_faults`` to the structures that might have any."""
    arrays, first = frames.arrays, frames.offsets[:-1]
    forces = np.linalg.norm(arrays["forces"], axis=1)
    stress = np.abs(arrays["stress"])
    asymmetry = np.abs(arrays["stress"] - arrays["stress"].transpose(0, 2, 1))
    with np.errstate(invalid="ignore"):
        sums = np.add.reduceat(arrays["positions"].sum(axis=1), first)
        sums = sums + arrays["cell"].sum(axis=(1, 2)) + arrays["energy"] + stress.sum(axis=(1, 2))
        fine = np.isfinite(sums) & (np.maximum.reduceat(forces, first) < 0.999 * checks.MAX_FORCE)
        fine &= (stress.max(axis=(1, 2)) < 0.999 * checks.MAX_STRESS) & (asymmetry.max(axis=(1, 2)) < 1e-9)
    with np.errstate(all="ignore"):
        volumes = np.abs(np.linalg.det(arrays["cell"]))
        fine &= stress.max(axis=(1, 2)) * volumes < 0.999 * checks.MAX_VIRIAL_PER_ATOM * arrays["sizes"]
    fine &= (arrays["sizes"] > 1) | (np.maximum.reduceat(forces, first) <= checks.MAX_LONELY_FORCE)
    numbers = arrays["atomic_numbers"]
    fine &= (np.minimum.reduceat(numbers, first) >= 1) & (np.maximum.reduceat(numbers, first) <= 118)
    return [fault for index in np.flatnonzero(~fine).tolist() for fault in checks.structure_faults(frames[index])]


def _edges(frames: Frames, cutoff: float) -> tuple[dict[str, np.ndarray], list[str]]:
    arrays, first = frames.arrays, frames.offsets[:-1]
    edges, n_edges = neighbor_lists(arrays["positions"], frames.offsets, arrays["cell"], arrays["periodic"], cutoff)
    structure = np.repeat(np.arange(len(frames)), n_edges)
    atoms = first[structure]
    bond_ratio = checks.bond_ratio(
        arrays["atomic_numbers"], edges.centers + atoms, edges.neighbors + atoms, edges.distances, n_edges
    )
    faults = []
    for index in np.unique(structure[edges.distances < checks.MIN_DISTANCE]).tolist():
        own = structure == index
        faults += checks.distance_faults(frames[index], edges.centers[own], edges.neighbors[own], edges.distances[own])
    whole = {"centers": edges.centers, "neighbors": edges.neighbors, "cell_shifts": edges.cell_shifts}
    found = {name: values.astype(_smallest_type(values)) for name, values in whole.items()}
    return found | {"n_edges": n_edges, "bond_ratio": bond_ratio}, faults


def _smallest_type(values: np.ndarray) -> np.dtype:
    """Returns the narrowest signed integer type that holds the values."""
    largest = int(np.abs(values).max(initial=0))
    return np.dtype(next(kind for kind in (np.int8, np.int16, np.int32, np.int64) if largest <= np.iinfo(kind).max))
