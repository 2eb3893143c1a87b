"""A model file with random weights for H, C, O, Cl."""

import pytest
from helpers import small_potential

from lorem_openmm.export import save


@pytest.fixture(scope="session")
def model_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "small.safetensors"
    save(small_potential(), path)
    return path


@pytest.fixture(autouse=True)
def _no_torchforce_on_opencl(request):
    name = request.node.name
    if "OpenCL" in name and "torchforce" in name:
        pytest.skip("openmmtorch 1.5 ends the process with OpenMM's OpenCL platform on a processor")
