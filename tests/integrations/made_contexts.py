"""OpenMM's platforms as parameters, and Contexts compared with fresh ones."""

import numpy as np
import openmm
import pytest
from ase import Atoms
from made_systems import PLATFORMS, expected, needs_cuda, needs_openmmtorch, topology_of
from openmmml import MLPotential

# What platforms do differently does not depend on the implementation: not every pair of them.
PLATFORMS_AND_BOTH = [
    pytest.param("Reference", "pythonforce"),
    pytest.param("CPU", "torchforce", marks=needs_openmmtorch),
    *(pytest.param(*entry.values, "pythonforce", marks=entry.marks) for entry in PLATFORMS[2:]),
    pytest.param("CUDA", "torchforce", marks=[*needs_cuda, needs_openmmtorch]),
]
LOREM_GROUP, OTHER_GROUP = 0, 1


def device_on(platform: str) -> str:
    """Where the model runs."""
    return "cuda" if platform == "CUDA" else "cpu"


def make_system(
    atoms: Atoms,
    model,
    implementation: str = "pythonforce",
    platform: str = "Reference",
    precision: str = "double",
    charge: int | None = None,
) -> openmm.System:
    """A System of the model in its group, on the device that goes with the platform."""
    potential = MLPotential("lorem", modelPath=model)
    return potential.createSystem(
        topology_of(atoms),
        device=device_on(platform),
        precision=precision,
        implementation=implementation,
        charge=charge,
    )


def make_context(
    system: openmm.System, atoms: Atoms, platform: str = "Reference", integrator: openmm.Integrator | None = None
) -> openmm.Context:
    """A Context at the positions of the atoms, in double precision where there is a choice."""
    properties = {"Precision": "double"} if platform in ("OpenCL", "CUDA") else {}
    integrator = integrator or openmm.VerletIntegrator(0.0005)
    context = openmm.Context(system, integrator, openmm.Platform.getPlatform(platform), properties)
    context.setPositions(atoms.positions / 10.0)
    return context


def lorem_results(context: openmm.Context) -> tuple[float, np.ndarray]:
    """The model's energy in kJ/mol and forces [n, 3] in kJ/mol/nm."""
    state = context.getState(energy=True, forces=True, groups=1 << LOREM_GROUP)
    return state.getPotentialEnergy()._value, state.getForces(asNumpy=True)._value


def present(context: openmm.Context, atoms: Atoms) -> Atoms:
    """The atoms where a Context has them now, in its present box."""
    state = context.getState(positions=True)
    now = Atoms(atoms.numbers, state.getPositions(asNumpy=True)._value * 10.0)
    if atoms.pbc.all():
        now.set_cell(state.getPeriodicBoxVectors(asNumpy=True)._value * 10.0)
        now.pbc = True
    return now


def assert_as_potential(context: openmm.Context, atoms: Atoms, model) -> None:
    """The model gives what its potential gives with a fresh list and mesh: to 1e-6 kJ/mol, 1e-6 of the forces."""
    _assert_equal(lorem_results(context), expected(model, present(context, atoms)))


def assert_as_fresh(context: openmm.Context, atoms: Atoms, model, **options) -> None:
    """The same for a new System and Context."""
    now, platform = present(context, atoms), context.getPlatform().getName()
    fresh = make_context(make_system(now, model, platform=platform, **options), now, platform)
    _assert_equal(lorem_results(context), lorem_results(fresh))


def _assert_equal(found: tuple[float, np.ndarray], wanted: tuple[float, np.ndarray]) -> None:
    assert found[0] == pytest.approx(wanted[0], rel=0, abs=1e-6)
    assert np.abs(found[1] - wanted[1]).max() <= 1e-6 * np.abs(wanted[1]).max()


def add_tether(system: openmm.System, atoms: Atoms, stiffness: float = 2e4) -> None:
    """Holds atoms near their places, which random weights do not; kJ/mol/nm². Not a bond: barostats move atoms."""
    force = openmm.CustomExternalForce(f"{stiffness / 2}*periodicdistance(x, y, z, x0, y0, z0)^2")
    for name in ("x0", "y0", "z0"):
        force.addPerParticleParameter(name)
    for i, position in enumerate(atoms.positions / 10.0):
        force.addParticle(i, position.tolist())
    force.setForceGroup(OTHER_GROUP)
    system.addForce(force)
