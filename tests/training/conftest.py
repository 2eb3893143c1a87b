"""A small data set made on the spot."""

from pathlib import Path

import pytest
from small_training import prepare_dimers


@pytest.fixture(scope="session")
def dimer_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepare_dimers(tmp_path_factory.mktemp("dimers"))
