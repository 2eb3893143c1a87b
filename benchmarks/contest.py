"""Contestants in processes and environments of their own, who take turns on the same motion of the same structure."""

import json
import os
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from statistics import fmean, median
from typing import Any, NamedTuple

from records import HERE, INSTALL, PYTHONS


class Contestant(NamedTuple):
    """A script of the folder ``contestants`` and its options."""

    name: str
    script: str
    options: tuple[str, ...] = ()
    largest: int = 10**9  # atoms
    beyond: str = ""  # why larger structures are not run


OURS = "ours"
NOT_COMPILED = "not run: molecules of up to 32 atoms are compiled"
LOREM_JAX = "lorem-jax, ASE"
MODEL_CALL = "model call"
CONTESTANTS = {
    c.name: c
    for c in [
        Contestant(LOREM_JAX, "lorem_jax", (), 500, "not run: it asks for 25 GB at 1,536 atoms"),
        Contestant(MODEL_CALL, OURS, ("--through", "model")),
        Contestant("ASE", OURS, ("--through", "ase")),
        Contestant("OpenMM PythonForce", OURS, ("--through", "openmm", "--implementation", "pythonforce")),
        Contestant("ASE, compiled", OURS, ("--through", "ase", "--compile", "1"), 32, NOT_COMPILED),
        Contestant("OpenMM PythonForce, compiled", OURS, ("--through", "openmm", "--compile", "1"), 32, NOT_COMPILED),
        Contestant("OpenMM TorchForce", OURS, ("--through", "openmm", "--implementation", "torchforce")),
        Contestant("MACE, ASE", "mace_torch", (), 2000, "not run: minutes per structure"),
    ]
}


class ContestantError(RuntimeError):
    """A contestant could not start, or stopped."""


class Process:
    """A contestant at work; a context manager that ends it.

    Args:
        contestant: who.
        structure: name of the structure.
        threads: PyTorch's threads, and the number of cores the process may use: JAX takes every core it is allowed.
    """

    def __init__(self, contestant: Contestant, structure: str, threads: int):
        self.name = contestant.name
        command = [str(PYTHONS[contestant.script]), str(HERE / "contestants" / f"{contestant.script}.py"), structure]
        command += ["--threads", str(threads), *contestant.options]
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 (a pipe nobody reads would fill up)
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env={**os.environ, "JAX_PLATFORMS": "cpu", "OMP_NUM_THREADS": str(threads)},
        )
        if hasattr(os, "sched_setaffinity"):  # Linux; threads made later inherit it
            with suppress(ProcessLookupError):
                os.sched_setaffinity(self.process.pid, sorted(os.sched_getaffinity(0))[:threads])

    def __enter__(self) -> "Process":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()
        self._errors.close()

    def burst(self, first: int, count: int) -> dict[str, Any]:
        """Returns the seconds of consecutive steps and the peak memory in MB.

        Raises:
            ContestantError: If the contestant has stopped.
        """
        assert self.process.stdin is not None
        self.process.send_signal(signal.SIGCONT)
        with suppress(BrokenPipeError):  # the reason follows from the missing answer
            self.process.stdin.write(f"{first} {count}\n")
            self.process.stdin.flush()
        return self.answer()

    def answer(self) -> dict[str, Any]:
        """Returns the next answer; the first one says that the contestant is ready.

        Raises:
            ContestantError: If the contestant has stopped.
        """
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        while line and not line.startswith("{"):  # what a library prints when imported
            line = self.process.stdout.readline()
        if not line:
            self.process.wait()
            self._errors.seek(0)
            raise ContestantError(self._errors.read()[-2000:].strip() or f"exit status {self.process.returncode}")
        # Paused until its next turn: idle threads of some libraries keep the cores busy for a while.
        self.process.send_signal(signal.SIGSTOP)
        return json.loads(line)


def why_absent(contestant: Contestant, n_atoms: int) -> str:
    """Returns why a contestant does not take part; empty if it does."""
    if not PYTHONS[contestant.script].exists():
        return f"not installed: {INSTALL[contestant.script]}"
    return contestant.beyond if n_atoms > contestant.largest else ""


def compete(
    contestants: Sequence[Contestant], structure: str, threads: int, bursts: int, length: int
) -> dict[str, dict[str, Any]]:
    """Times contestants in turn, in bursts of consecutive steps as dynamics makes them.

    The first burst warms up and is not counted, nor are the first steps of each: caches are still the previous
    contestant's, threads asleep. Every other round goes backwards, so that nobody always follows the same one.

    Returns:
        By name: medians and means of the bursts in seconds, memory before the model was made and at the peak in MB;
        for a contestant that stopped, ``absent`` with its last words.
    """
    results: dict[str, dict[str, Any]] = {}
    skipped = min(5, max(1, length // 4))
    with ExitStack() as stack:
        processes = [stack.enter_context(Process(contestant, structure, threads)) for contestant in contestants]
        for burst in range(-1, bursts + 1):
            for process in processes[:: -1 if burst % 2 else 1]:
                found = results.setdefault(process.name, {"seconds": [], "mean_seconds": []})
                if "absent" in found:
                    continue
                try:
                    answer = process.answer() if burst < 0 else process.burst(burst * length, length)
                except ContestantError as error:
                    results[process.name] = {"absent": f"stopped: {str(error).splitlines()[-1]}", "error": str(error)}
                    continue
                if burst > 0:
                    found["seconds"].append(median(answer["seconds"][skipped:]))
                    found["mean_seconds"].append(fmean(answer["seconds"][skipped:]))
                found |= {key: answer[key] for key in ("base_mb", "peak_mb") if key in answer}
    return {c.name: results[c.name] for c in contestants}
