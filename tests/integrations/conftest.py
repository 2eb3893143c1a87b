"""A model file with random weights for H, C, O, Cl."""

from collections.abc import Iterator

import pytest
import torch
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


@pytest.fixture(autouse=True)
def quick_torchforce() -> Iterator[list[tuple[str, int]]]:
    """Spares the seconds in which PyTorch fuses operations for the shapes that a TorchForce has seen."""
    usual = torch.jit.set_fusion_strategy([])
    yield usual
    torch.jit.set_fusion_strategy(usual)


@pytest.fixture
def fused_torchforce(quick_torchforce: list[tuple[str, int]]) -> None:
    """What users run, in the tests that say so."""
    torch.jit.set_fusion_strategy(quick_torchforce)
