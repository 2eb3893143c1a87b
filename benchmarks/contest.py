"""Contestants in processes and environments of their own, who take turns on the same motion of the same structure."""

import json
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
PYTHONS = {
    "lorem_jax": Path(os.environ.get("LOREM_JAX_PYTHON", ROOT / ".venv-parity/bin/python")),
    "mace_torch": Path(os.environ.get("MACE_PYTHON", ROOT / ".venv-mace/bin/python")),
    "ours": Path(sys.executable),
}


class Contestant(NamedTuple):
    """A script of the folder ``contestants`` and its options."""

    name: str
    script: str
    options: tuple[str, ...] = ()


CONTESTANTS = {
    c.name: c
    for c in [
        Contestant("lorem-jax, ASE", "lorem_jax"),
        Contestant("model call", "ours", ("--through", "model")),
        Contestant("ASE", "ours", ("--through", "ase")),
        Contestant("OpenMM PythonForce", "ours", ("--through", "openmm", "--implementation", "pythonforce")),
        Contestant("OpenMM TorchForce", "ours", ("--through", "openmm", "--implementation", "torchforce")),
        Contestant("MACE, ASE", "mace_torch"),
    ]
}


class Process:
    """A contestant at work.

    Args:
        contestant: who.
        structure: name of the structure.
        threads: of its linear algebra.
    """

    def __init__(self, contestant: Contestant, structure: str, threads: int):
        self.name = contestant.name
        command = [str(PYTHONS[contestant.script]), str(HERE / "contestants" / f"{contestant.script}.py"), structure]
        command += ["--threads", str(threads), *contestant.options]
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "JAX_PLATFORMS": "cpu", "OMP_NUM_THREADS": str(threads)},
        )
        self.base_mb = self._answer()["base_mb"]

    def burst(self, first: int, count: int) -> dict[str, Any]:
        """Returns the seconds of consecutive steps and the peak memory."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{first} {count}\n")
        self.process.stdin.flush()
        return self._answer()

    def stop(self) -> None:
        """Ends the process."""
        self.process.communicate()

    def _answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            _, errors = self.process.communicate()
            raise RuntimeError(f"{self.name} stopped:\n{errors[-2000:]}")
        return json.loads(line)


def available(contestant: Contestant) -> bool:
    """Returns whether the environment of a contestant exists."""
    return PYTHONS[contestant.script].exists()


def compete(
    contestants: Iterable[Contestant], structure: str, threads: int, bursts: int, length: int
) -> dict[str, Any]:
    """Times contestants in turn, in bursts of consecutive steps as dynamics makes them.

    The first burst warms up and is not counted, nor are the first steps of each: caches are still the previous
    contestant's, threads asleep.

    Returns:
        By name: medians of the bursts in seconds, memory before the model was made and at the peak, in MB.
    """
    processes = [Process(contestant, structure, threads) for contestant in contestants]
    results: dict[str, Any] = {p.name: {"seconds": [], "base_mb": p.base_mb, "peak_mb": 0.0} for p in processes}
    skipped = min(5, length - 1)
    for burst in range(bursts + 1):
        for process in processes:
            answer = process.burst(burst * length, length)
            if burst > 0:
                results[process.name]["seconds"].append(median(answer["seconds"][skipped:]))
            results[process.name]["peak_mb"] = answer["peak_mb"]
    for process in processes:
        process.stop()
    return results


def machine(threads: int) -> dict[str, Any]:
    """Returns what the numbers depend on."""
    model = next(
        (line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line),
        "unknown",
    )
    versions = {
        name: _version(script, module)
        for name, script, module in [
            ("torch", "ours", "torch"),
            ("openmm", "ours", "openmm"),
            ("lorem-jax", "lorem_jax", "lorem-jax"),
            ("jax", "lorem_jax", "jax"),
            ("mace-torch", "mace_torch", "mace-torch"),
        ]
    }
    return {"cpu": model, "cores": os.cpu_count(), "threads": threads, "versions": versions}


def _version(script: str, package: str) -> str:
    if not PYTHONS[script].exists():
        return "not installed"
    code = f"from importlib.metadata import version; print(version('{package}'))"
    found = subprocess.run([PYTHONS[script], "-c", code], capture_output=True, text=True, check=False)
    return found.stdout.strip() or "not installed"
