"""From a starting structure and a model file to an OpenMM simulation: forces, platform, minimisation."""

import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import openmm
import torch
from ase.geometry import find_mic
from openmm import app, unit
from openmmml import MLPotential

from lorem_openmm import config
from lorem_openmm.devices import find_device
from lorem_openmm.errors import ConfigError, InstallationError, SimulationError
from lorem_openmm.seeds import openmm_seed
from lorem_openmm.simulate.bias import SPRING, add_bias, find_bias, pull
from lorem_openmm.simulate.box_size import check_wall
from lorem_openmm.simulate.solvate import mixed_system
from lorem_openmm.simulate.start import Start
from lorem_openmm.units import ANGSTROM_PER_NANOMETER, KJ_PER_MOL_PER_EV

# Minimisation removes what is wrong with idealised geometries, no more: it stops at forces of 0.05 eV/Å.
MAX_ITERATIONS = 200
FORCE_TOLERANCE = 0.05 * KJ_PER_MOL_PER_EV * ANGSTROM_PER_NANOMETER
MAX_ITERATIONS_IN_WATER = 50  # the rest is done while water is brought to its temperature
THREADS = "OPENMM_CPU_THREADS"
HOLD = 10.0  # eV/Å², keeps the distance of two molecules while their geometry is minimised
# Steps between attempts of the barostat, each of which costs about as much as a step.
BAROSTAT_INTERVAL = 10


class Device(NamedTuple):
    """Where model and integrator run.

    Attributes:
        torch: The model's device.
        platform: OpenMM's platform.
        properties: Properties of the platform.
    """

    torch: str
    platform: openmm.Platform
    properties: dict[str, str]


def choose_platform(device: str, precision: str, solvent: bool = False) -> Device:
    """Chooses the platform that goes with a device.

    On the processor this is OpenMM's Reference platform: all the work is in the model, and Reference needs 30 µs per
    step for the rest where CPU needs 200 µs (6 atoms; still half as much for 5,000 atoms), in double precision. The
    pairs of a force field are another matter: with water around the molecules it is the CPU platform, which needs
    milliseconds per step where Reference needs a second, on one thread: with more, sums and random numbers depend on
    which thread is first, so that no run can be repeated. ``OPENMM_CPU_THREADS`` asks for more.

    Args:
        device: ``auto`` (CUDA where PyTorch and OpenMM both have it, else the processor), ``cpu``, ``cuda``,
            ``cuda:1``, ...
        precision: ``single`` (the integrator sums in double) or ``double``.
        solvent: Whether there is water of a force field.

    Raises:
        ConfigError: If there is no such device.
        InstallationError: If PyTorch or OpenMM has no CUDA.
    """
    platforms = [openmm.Platform.getPlatform(k).getName() for k in range(openmm.Platform.getNumPlatforms())]
    missing = [
        name for name, found in (("PyTorch", torch.cuda.is_available()), ("OpenMM", "CUDA" in platforms)) if not found
    ]
    if device == "auto":
        device = "cpu" if missing else "cuda"
    if missing and device.startswith("cuda"):
        raise InstallationError(
            f"device: '{device}' needs CUDA in both PyTorch and OpenMM; {' and '.join(missing)} cannot use it here. "
            "Install lorem-openmm[cuda12] on a machine with an NVIDIA GPU, or choose device cpu"
        )
    place = find_device(device)
    if device == "cpu" and solvent:
        properties = {"DeterministicForces": "true", "Threads": os.environ.get(THREADS, "1")}
        return Device("cpu", openmm.Platform.getPlatform("CPU"), properties)
    if device == "cpu":
        return Device("cpu", openmm.Platform.getPlatform("Reference"), {})
    if place.type != "cuda":
        raise ConfigError(f"device: must be auto, cpu, cuda or cuda:INDEX; received '{device}'")
    properties = {"Precision": "double" if precision == "double" else "mixed", "DeviceIndex": str(place.index or 0)}
    return Device(device, openmm.Platform.getPlatform("CUDA"), properties)


def create_system(start: Start, simulation: config.Simulation, model: Path, device: Device) -> openmm.System:
    """Returns the system with the model's force, and the wall, the bias and the barostat that are asked for.

    In water, the model's force acts in the molecules and the force field elsewhere.

    E_wall = ½·restraint·max(0, d − restraint_distance)², with d the distance of the two molecules' centres of mass;
    the bias: :func:`lorem_openmm.simulate.bias.add_bias`.

    Args:
        start: Topology and molecules.
        simulation: Settings.
        model: Model file.
        device: Where the model runs.

    Raises:
        ConfigError: If there is a wall but not exactly two molecules, the structure lacks the bias's coordinate, there
            is a pressure but no box, or the model uses the total charge and it is not known.
        ModelFileError: If the model file is missing or damaged.
        UnknownElementError: If the model does not know an element.
    """
    options = {
        "device": device.torch,
        "precision": simulation.precision,
        "implementation": simulation.implementation,
        "charge": start.total_charge,
    }
    if simulation.solvent is None:
        system = MLPotential("lorem", modelPath=str(model)).createSystem(start.topology, **options)
    else:
        check_wall(start, simulation.solvent, simulation.restraint, simulation.restraint_distance)
        system = mixed_system(start, simulation.solvent, model, **options)
    if simulation.restraint > 0:
        if len(start.solute) != 2:
            raise ConfigError(
                f"restraint: a wall holds exactly two molecules together, `{simulation.start}` has "
                f"{len(start.solute)}; set restraint to 0"
            )
        wall = "0.5 * stiffness * step(excess) * excess^2; excess = distance(g1, g2) - reach"
        system.addForce(_between_centers(start, wall, simulation.restraint * SPRING, simulation.restraint_distance))
    if simulation.bias is not None:
        add_bias(system, start, simulation.bias)
    if simulation.pressure_bar is not None:
        system.addForce(_barostat(start, simulation))
    return system


def _barostat(start: Start, simulation: config.Simulation) -> openmm.MonteCarloBarostat:
    """Returns an isotropic barostat: a random change of volume ΔV, accepted with probability min(1, exp(−ΔW/kT)).

    ΔW = ΔE + p·ΔV − N·kT·ln(1 + ΔV/V)

    N is the number of things whose centres are scaled. OpenMM takes them to be what bonds hold together, and a System
    of a model alone has no bonds: every atom is scaled by itself, the bonds inside the molecules with it. The ensemble
    is the same, because N and the moves belong together; but stretching all bonds costs energy, so only small changes
    are accepted (OpenMM adapts their size), and the volume wanders more slowly than with whole molecules.

    A checkpoint holds the box but neither the barostat's random numbers nor the size of its moves, so a run that was
    interrupted samples the same ensemble as one that was not, but another trajectory.

    References:
        Chow, Ferguson, Comput. Phys. Commun. 91, 283 (1995); Åqvist et al., Chem. Phys. Lett. 384, 288 (2004).
    """
    if start.topology.getPeriodicBoxVectors() is None:
        raise ConfigError(
            f"pressure_bar: a barostat changes the volume of a periodic box, and `{simulation.start}` has none; "
            "leave pressure_bar out, or start from a periodic structure such as `water:64`"
        )
    barostat = openmm.MonteCarloBarostat(
        simulation.pressure_bar * unit.bar, simulation.temperature * unit.kelvin, BAROSTAT_INTERVAL
    )
    barostat.setRandomNumberSeed(openmm_seed(simulation.seed))
    return barostat


def reseed_barostat(system: openmm.System, seed: int, step: int) -> None:
    """Gives the barostat, if there is one, other random numbers than those it has used up to a step.

    Args:
        system: Before a Context is made of it.
        seed: Seed of the simulation.
        step: At which the simulation goes on.
    """
    for force in system.getForces():
        if isinstance(force, openmm.MonteCarloBarostat):
            force.setRandomNumberSeed(int(np.random.default_rng([seed, step]).integers(1, 2**31)))


def _between_centers(start: Start, energy: str, stiffness: float, reach: float) -> openmm.CustomCentroidBondForce:
    force = openmm.CustomCentroidBondForce(2, energy)
    force.addPerBondParameter("stiffness")  # kJ/mol/nm²
    force.addPerBondParameter("reach")  # nm
    for members in start.solute:
        force.addGroup(members)  # weights: masses
    force.addBond([0, 1], [stiffness, reach / ANGSTROM_PER_NANOMETER])
    force.setUsesPeriodicBoundaryConditions(start.topology.getPeriodicBoxVectors() is not None)
    return force


def implementation_of(system: openmm.System) -> str:
    """Returns how OpenMM calls the model: ``torchforce`` or ``pythonforce``."""
    plain = any(isinstance(force, openmm.PythonForce) for force in system.getForces())
    return "pythonforce" if plain else "torchforce"


def degrees_of_freedom(system: openmm.System) -> int:
    """Returns 3 per particle with mass, less 1 per constraint, less 3 if the centre of mass is held."""
    massive = [system.getParticleMass(index)._value > 0 for index in range(system.getNumParticles())]
    constraints = [system.getConstraintParameters(index)[:2] for index in range(system.getNumConstraints())]
    removed = any(isinstance(force, openmm.CMMotionRemover) for force in system.getForces())
    return 3 * sum(massive) - sum(massive[a] or massive[b] for a, b in constraints) - 3 * removed


def minimize(system: openmm.System, start: Start, device: Device) -> np.ndarray:
    """Relaxes the geometry shortly; where there are two molecules, at their distance, or at the centre of the bias.

    Two molecules are held at the distance of their centres because it is what the starting structure was chosen for;
    with a bias in the system they are pulled to where it holds its coordinate.

    Args:
        system: System as it will be simulated.
        start: Positions and molecules.
        device: Where to run.

    Returns:
        [n_atoms, 3] positions in Å.

    Raises:
        ConfigError: If the centre of the bias cannot be reached.
        SimulationError: If positions are no longer finite.
    """
    bias = find_bias(system)
    held = len(start.solute) == 2 and bias is None
    if held:
        hold = "0.5 * stiffness * (distance(g1, g2) - reach)^2"
        index = system.addForce(_between_centers(start, hold, HOLD * SPRING, _center_distance(start)))
    context = openmm.Context(system, openmm.VerletIntegrator(1e-3), device.platform, device.properties)
    try:
        context.setPositions(start.positions / ANGSTROM_PER_NANOMETER)
        if bias is not None:
            pull(context, bias)
        iterations = MAX_ITERATIONS if start.num_solute is None else MAX_ITERATIONS_IN_WATER
        openmm.LocalEnergyMinimizer.minimize(context, FORCE_TOLERANCE, iterations)
        minimized = _positions(context)
    except openmm.OpenMMException:
        minimized = _positions(context)
        if np.isfinite(minimized).all():
            raise
    finally:
        del context
        if held:
            system.removeForce(index)
    if not np.isfinite(minimized).all():
        raise SimulationError(
            "start: its minimisation must end with finite positions, received NaN or infinity; the model was not "
            "trained on structures like this one"
        )
    return minimized


def _positions(context: openmm.Context) -> np.ndarray:
    return context.getState(positions=True).getPositions(asNumpy=True).value_in_unit(unit.angstrom)


def _center_distance(start: Start) -> float:
    masses = np.array([atom.element.mass.value_in_unit(unit.dalton) for atom in start.topology.atoms()])
    a, b = (np.average(start.positions[members], axis=0, weights=masses[members]) for members in start.solute)
    vectors = start.topology.getPeriodicBoxVectors()
    if vectors is None:
        return float(np.linalg.norm(b - a))
    return float(find_mic(b - a, np.array(vectors.value_in_unit(unit.angstrom)))[1])


def create_simulation(
    system: openmm.System, start: Start, simulation: config.Simulation, device: Device
) -> app.Simulation:
    """Returns the OpenMM simulation, without positions: Langevin-middle, or leapfrog Verlet without friction."""
    step = simulation.timestep_fs * unit.femtosecond
    integrator: Any
    if simulation.friction_per_ps > 0:
        integrator = openmm.LangevinMiddleIntegrator(
            simulation.temperature * unit.kelvin, simulation.friction_per_ps / unit.picosecond, step
        )
        integrator.setRandomNumberSeed(openmm_seed(simulation.seed))
    else:
        integrator = openmm.VerletIntegrator(step)
    return app.Simulation(start.topology, system, integrator, device.platform, device.properties)
