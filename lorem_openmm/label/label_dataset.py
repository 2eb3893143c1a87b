"""Labels a data set: in parallel, resumable, and the same bytes for a seed whatever the number of processes."""

import hashlib
import json
import os
import shutil
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from importlib.metadata import version
from io import StringIO
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import ase.io

from lorem_openmm.config.data import Labelling
from lorem_openmm.data.workers import available_cores, end_with_parent
from lorem_openmm.errors import DataError
from lorem_openmm.files import read_json, write_json, write_text
from lorem_openmm.label.acceptance import Labeller
from lorem_openmm.label.engines import create_engine
from lorem_openmm.label.plan import Plan, Unit
from lorem_openmm.progress import progress

FORMAT = 2  # raise it when the same section and seed would give other frames, so that old parts are not reused
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def label_dataset(plan: Plan[Any], output: Path, seed: int, processes: int | None = None) -> dict[str, Any]:
    """Makes the structures of a plan, labels them and writes them as extended XYZ.

    Every unit of work has its own random numbers and is stored under ``{output}.parts`` as soon as it is done; an
    interrupted run, called again with the same arguments, does only what is missing. At the end the parts are
    joined in a fixed order, ``{output}`` and its summary (``.json`` beside it) are written, and the parts removed.

    Args:
        plan: What to make, for example from :func:`lorem_openmm.sampling.plans.create_plan`.
        output: Extended XYZ file to write; energies in eV, forces in eV/Å.
        seed: Seed of all random numbers.
        processes: Number of processes, one thread each; default: as many as this process may use cores.

    Returns:
        The summary: counts of frames kept, rejected by reason, and retried by settings; versions; seconds.

    Raises:
        ConfigError: If the engine does not know the method.
        InstallationError: If the engine's package is missing.
        DataError: If no frame could be labelled, the output cannot be written, or a process was ended from outside.
    """
    output = Path(output)
    start = time.monotonic()
    section = plan.section
    engine = create_engine(section.engine)
    parts = _Parts(output.with_name(output.name + ".parts"), _identity(section, seed, engine.version))
    description = f"label {output.stem}"
    with _pool(plan, seed, processes or available_cores()) as pool:
        first = plan.first_stage()
        done = _finish(first, parts, pool, description)
        second = plan.second_stage({key: part["notes"] for key, part in done.items()})
        done |= _finish(second, parts, pool, description)
    summary = _summary(plan, seed, engine.version, done)
    if summary["kept"] == 0:
        raise DataError(
            f"{output}: no frame could be labelled with {engine.name} {engine.method}; every frame was rejected "
            f"({summary['rejected']}). Choose another method in `engine`."
        )
    summary["seconds"] = round(time.monotonic() - start, 1)
    write_text(output, "".join(part["text"] for part in done.values()))
    write_json(output.with_suffix(".json"), summary)
    parts.remove()
    return summary


class _Parts:
    """The finished units on disk, each whole or absent."""

    def __init__(self, folder: Path, identity: str) -> None:
        self.folder = folder
        marker = folder / "identity.json"
        if folder.exists() and not (marker.exists() and read_json(marker) == identity):
            shutil.rmtree(folder)  # parts of other settings
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if not marker.exists():
                write_json(marker, identity)
        except OSError as error:
            raise DataError(
                f"{folder}: the folder of the output must be writable, but: {error.strerror}. Choose another `output`."
            ) from None

    def path(self, unit: Unit) -> Path:
        return self.folder / f"{unit.key}.json"

    def remove(self) -> None:
        shutil.rmtree(self.folder)


def _finish(units: list[Unit], parts: _Parts, pool: ProcessPoolExecutor, description: str) -> dict[str, dict[str, Any]]:
    """Does the units that have no part yet; returns all parts by key."""
    missing = [unit for unit in units if not parts.path(unit).exists()]
    for _ in progress(_submit(missing, parts, pool), len(missing), description):
        pass
    return {unit.key: read_json(parts.path(unit)) for unit in units}


def _submit(units: list[Unit], parts: _Parts, pool: ProcessPoolExecutor) -> Iterator[None]:
    pending = {pool.submit(_work, unit, parts.path(unit)) for unit in units}
    try:
        while pending:
            finished, pending = wait(pending, return_when=FIRST_COMPLETED)
            for future in finished:
                future.result()
                yield None
    except BrokenProcessPool:
        raise DataError(
            f"{parts.folder}: a labelling process was ended from outside, perhaps for want of memory; "
            "what is done is kept: run the same command again, with fewer processes if it recurs"
        ) from None
    finally:
        for future in pending:
            future.cancel()


class _Worker:
    """What a worker process keeps between units."""

    plan: Plan[Any]
    seed: int


def _start_worker(plan: Plan[Any], seed: int) -> None:
    _Worker.plan, _Worker.seed = plan, seed
    end_with_parent()


def _work(unit: Unit, path: Path) -> None:
    plan, seed = _Worker.plan, _Worker.seed
    engine = create_engine(plan.section.engine)
    labeller = Labeller(engine, plan.section.acceptance)
    part = plan.make(unit, labeller, unit.rng(seed))
    for atoms in part.frames:
        atoms.info.update(engine=engine.name, method=engine.method, engine_version=engine.version, seed=seed)
    stream = StringIO()
    if part.frames:
        ase.io.write(stream, part.frames, format="extxyz")
    write_json(
        path,
        {
            "text": stream.getvalue(),
            "kept": dict(Counter(_category(atoms.info) for atoms in part.frames)),
            "rejected": dict(labeller.rejected),
            "retried": dict(labeller.retried),
            "notes": part.notes,
        },
    )


def _category(info: Mapping[str, Any]) -> str:
    words = [str(info[key]) for key in ("label", "reaction", "fragment", "source") if key in info]
    return " ".join(dict.fromkeys(words))


def _summary(plan: Plan[Any], seed: int, engine_version: str, parts: dict[str, Any]) -> dict[str, Any]:
    section = plan.section
    totals: dict[str, Counter[str]] = {name: Counter() for name in ("kept", "rejected", "retried")}
    for part in parts.values():
        for name, counts in totals.items():
            counts.update(part[name])
    return {
        "requested": plan.n_requested,
        "kept": sum(totals["kept"].values()),
        "kept_by_category": dict(sorted(totals["kept"].items())),
        "rejected": dict(sorted(totals["rejected"].items())),
        "retried": dict(sorted(totals["retried"].items())),
        "notes": {key: part["notes"] for key, part in parts.items() if part["notes"]},
        "engine": section.engine.name,
        "method": section.engine.method,
        "versions": {section.engine.name: engine_version, "lorem-openmm": version("lorem-openmm")},
        "seed": seed,
        "section": section.model_dump(mode="json"),
    }


@contextmanager
def _pool(plan: Plan[Any], seed: int, processes: int) -> Iterator[ProcessPoolExecutor]:
    """Worker processes with one thread each; spawned, because threaded libraries do not survive a fork."""
    before = {name: os.environ.get(name) for name in THREAD_VARIABLES}
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, "1"))
    pool = ProcessPoolExecutor(
        max_workers=processes, mp_context=get_context("spawn"), initializer=_start_worker, initargs=(plan, seed)
    )
    try:
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _identity(section: Labelling, seed: int, engine_version: str) -> str:
    content = [FORMAT, section.model_dump(mode="json"), seed, engine_version]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
