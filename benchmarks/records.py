"""Where contestants live, and what the numbers of a run depend on."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent


def _python(variable: str, environment: str) -> Path:
    return Path(os.environ.get(variable) or ROOT / environment / "bin" / "python")


# Script of the folder ``contestants`` → the Python that runs it. Environments do not mix: mace-torch pins an e3nn that
# the tests cannot use, and JAX and PyTorch need not agree on anything.
PYTHONS = {
    "ours": Path(sys.executable),
    "lorem_jax": _python("LOREM_JAX_PYTHON", ".venv-parity"),
    "mace_torch": _python("MACE_PYTHON", ".venv-mace"),
    "train_ours": Path(sys.executable),
    "train_lorem_jax": _python("LOREM_JAX_PYTHON", ".venv-parity"),
}
INSTALL = {
    "lorem_jax": "make parity-env",
    "train_lorem_jax": "make parity-env",
    "mace_torch": "make mace-env",
    "ours": "make setup",
    "train_ours": "make setup",
}

PACKAGES = [
    ("ours", "torch"),
    ("ours", "openmm"),
    ("ours", "openmmtorch"),
    ("lorem_jax", "lorem-jax"),
    ("lorem_jax", "jax"),
    ("mace_torch", "mace-torch"),
    ("mace_torch", "torch"),
]


def machine(threads: int) -> dict[str, Any]:
    """Returns processor, cores, threads, load at the start and versions, for the record of a run."""
    versions: dict[str, dict[str, str]] = {}
    for script, package in PACKAGES:
        versions.setdefault(script, {})[package] = _version(PYTHONS[script], package)
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "threads": threads,
        "load_before": os.getloadavg()[0],
        "versions": versions,
    }


def resident_mb() -> float:
    """Returns the resident memory of this process in MB; 0 where the system does not tell."""
    statm = Path("/proc/self/statm")
    return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20 if statm.exists() else 0.0


def _cpu_model() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "unknown")


def _version(python: Path, package: str) -> str:
    if not python.exists():
        return "not installed"
    code = f"from importlib.metadata import version; print(version('{package}'))"
    found = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False)
    return found.stdout.strip() or "not installed"
