"""Whether openmmtorch's TorchForce works here: a tiny one is run, once per process."""

from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import openmm
import torch

from lorem_openmm.ambient import building, script
from lorem_openmm.errors import InstallationError


def load_torch_plugins() -> None:
    """Loads those of openmmtorch's plugins that OpenMM could not.

    OpenMM loads plugins when it is imported; openmmtorch's need PyTorch's libraries. Where OpenMM was imported first
    they failed, and every TorchForce would end with "does not support all required kernels".
    """
    failed = [line.split(":")[0].split()[-1] for line in openmm.Platform.getPluginLoadFailures()]
    for library in failed:
        if "OpenMMTorch" in Path(library).name:
            with suppress(openmm.OpenMMException):  # OpenCL or CUDA may really be absent
                openmm.Platform.loadPluginLibrary(library)


class Probe(torch.nn.Module):
    """E = Σ r², F = −2 r by autograd inside the module, as the real force does."""

    def forward(self, positions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns the energy and the forces of positions [n, 3]."""
        r = positions.detach().requires_grad_(True)
        energy = (r * r).sum()
        gradient = torch.autograd.grad([energy], [r])[0]
        assert gradient is not None  # for TorchScript  # noqa: S101
        return energy.detach(), -gradient


@cache
def check_torchforce() -> None:
    """Runs a tiny TorchForce, once per process.

    Raises:
        InstallationError: If openmmtorch is missing or was built for another PyTorch.
    """
    run_probe(Probe())


@building()
def run_probe(probe: torch.nn.Module) -> None:
    """Runs a module as a TorchForce on two particles and checks the energy, see :func:`check_torchforce`."""
    advice = (
        "Install matching versions with pip install 'lorem-openmm[torchforce]' (openmmtorch 1.5 with PyTorch 2.9; "
        "for CUDA 'lorem-openmm[cuda12]'), or use implementation='pythonforce', which works with any PyTorch"
    )
    found = f"PyTorch {torch.__version__}, OpenMM {openmm.__version__}, openmmtorch {_version('openmmtorch')}"
    try:
        import openmmtorch  # noqa: PLC0415 (optional)

        load_torch_plugins()
        force = openmmtorch.TorchForce(script(probe))
        force.setOutputsForces(True)
        system = openmm.System()
        for _ in range(2):
            system.addParticle(1.0)
        system.addForce(force)
        context = openmm.Context(system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference"))
        context.setPositions([[1.0, 0.0, 0.0], [0.0, 2.0, 0.0]])
        energy = context.getState(getEnergy=True, getForces=True).getPotentialEnergy()._value
    except Exception as error:
        raise InstallationError(
            f"openmmtorch: TorchForce must load and run, but failed ({error!s:.300}). Found {found}. {advice}."
        ) from error
    if abs(energy - 5.0) > 1e-6:
        raise InstallationError(
            f"openmmtorch: a TorchForce must give the energy of its module, expected 5, received {energy}. "
            f"Found {found}. {advice}."
        )


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
