"""Model files: random weights for the elements of S_N2 complexes and dimers, and the shipped model."""

import pytest
import torch
from helpers import small_model

from lorem_openmm.export import save
from lorem_openmm.integrations.model_source import PRETRAINED
from lorem_openmm.model import Lorem
from lorem_openmm.potential import Potential

BASELINE = {1: -13.6, 6: -1030.5, 7: -1480.0, 8: -2041.8, 17: -12518.0, 35: -70000.0}


@pytest.fixture(scope="session")
def model_file(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("model") / "random.safetensors"
    save(Potential(Lorem(small_model()), BASELINE), path)
    return path


@pytest.fixture(scope="session")
def sound_model():
    """The shipped model: molecules of a random one fall apart within femtoseconds."""
    return PRETRAINED


@pytest.fixture(scope="session")
def still_model(tmp_path_factory):
    """A model without forces: what is cold stays whole for some hundred steps."""
    model = Lorem(small_model())
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    path = tmp_path_factory.mktemp("model") / "still.safetensors"
    save(Potential(model, BASELINE), path)
    return path
