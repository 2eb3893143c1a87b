"""Where lorem-jax is."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def lorem_jax_python() -> Path:
    """The interpreter of the lorem-jax environment; tests are skipped where there is none."""
    chosen = os.environ.get("LOREM_JAX_PYTHON")
    python = Path(chosen) if chosen else Path(__file__).parents[2] / ".venv-parity" / "bin" / "python"
    if not python.exists():
        reason = f"no lorem-jax environment at {python}: `make parity-env` makes it, or set LOREM_JAX_PYTHON"
        if chosen:
            pytest.fail(reason)
        pytest.skip(reason)
    return python
