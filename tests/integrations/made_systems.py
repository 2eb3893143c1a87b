"""OpenMM systems of small random models, and what they must give."""

import importlib.util

import numpy as np
import openmm
import openmm.app
import pytest
import torch
from ase import Atoms
from helpers import graph_of, topology_of
from openmmml import MLPotential

from lorem_openmm.export import load

KJ_PER_MOL_PER_EV = 96.48533212331
needs_openmmtorch = pytest.mark.skipif(
    importlib.util.find_spec("openmmtorch") is None, reason="openmmtorch is not installed"
)
BOTH = ["pythonforce", pytest.param("torchforce", marks=needs_openmmtorch)]
FOUND = [openmm.Platform.getPlatform(k).getName() for k in range(openmm.Platform.getNumPlatforms())]
needs_cuda = [
    pytest.mark.gpu,
    pytest.mark.skipif(
        "CUDA" not in FOUND or not torch.cuda.is_available(), reason="OpenMM or PyTorch has no CUDA device"
    ),
]
PLATFORMS = [
    "Reference",
    "CPU",
    pytest.param(
        "OpenCL", marks=pytest.mark.skipif("OpenCL" not in FOUND, reason="no OpenCL runtime (make test-opencl)")
    ),
    pytest.param("CUDA", marks=needs_cuda),
]
PRECISIONS = {"single": "float32", "double": "float64"}
TOLERANCES = {"single": 1e-5, "double": 1e-10}


def system_of(atoms: Atoms, model, **options) -> openmm.System:
    return MLPotential("lorem", modelPath=model).createSystem(topology_of(atoms), device="cpu", **options)


def context_of(system: openmm.System, atoms: Atoms, platform: str = "Reference", step: float = 0.0005):
    properties = {"Precision": "double"} if platform in ("OpenCL", "CUDA") else {}
    integrator = openmm.VerletIntegrator(step)
    context = openmm.Context(system, integrator, openmm.Platform.getPlatform(platform), properties)
    context.setPositions(atoms.positions / 10.0)
    return context


def results(context: openmm.Context, groups: int = -1) -> tuple[float, np.ndarray]:
    """Energy in kJ/mol and forces [n, 3] in kJ/mol/nm."""
    state = context.getState(energy=True, forces=True, groups=groups)
    return state.getPotentialEnergy()._value, state.getForces(asNumpy=True)._value


def expected(model, atoms: Atoms, precision: str = "double") -> tuple[float, np.ndarray]:
    """The same from the potential itself with a fresh list and positions in its own precision."""
    dtype = PRECISIONS[precision]
    prediction = load(model, dtype=dtype).evaluate(graph_of(atoms, dtype=getattr(torch, dtype)))
    forces = prediction.forces.double().numpy() * KJ_PER_MOL_PER_EV * 10.0
    return float(prediction.energy[0]) * KJ_PER_MOL_PER_EV, forces


def assert_close(found, wanted, tolerance: float) -> None:
    """Energies relative to themselves, forces relative to the largest component."""
    assert found[0] == pytest.approx(wanted[0], rel=tolerance, abs=0)
    assert np.abs(found[1] - wanted[1]).max() <= tolerance * np.abs(wanted[1]).max()
