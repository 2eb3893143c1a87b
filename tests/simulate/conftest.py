"""A model file with random weights for the elements of S_N2 complexes and dimers."""

import pytest
import torch
from helpers import small_model

from lorem_openmm.export import save
from lorem_openmm.model import Lorem
from lorem_openmm.potential import Potential


@pytest.fixture(scope="session")
def model_file(tmp_path_factory):
    torch.manual_seed(0)
    baseline = {1: -13.6, 6: -1030.5, 7: -1480.0, 8: -2041.8, 17: -12518.0, 35: -70000.0}
    path = tmp_path_factory.mktemp("model") / "random.safetensors"
    save(Potential(Lorem(small_model()), baseline), path)
    return path
