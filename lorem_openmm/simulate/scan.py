"""The static profile: the energy along a coordinate with everything else relaxed."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import openmm
from openmm import unit

from lorem_openmm import config
from lorem_openmm.errors import ConfigError
from lorem_openmm.progress import progress
from lorem_openmm.simulate import engine
from lorem_openmm.simulate.bias import CENTER, find_bias, pull, relax_at
from lorem_openmm.simulate.systems import read_structure
from lorem_openmm.units import ANGSTROM_PER_NANOMETER

STIFFNESS = 200.0  # eV/Å²


class StaticProfile(NamedTuple):
    """Relaxed structures along a coordinate.

    Attributes:
        coordinate: [n] Å.
        energy: [n] eV, of the model.
        positions: [n, n_atoms, 3] Å.
    """

    coordinate: np.ndarray
    energy: np.ndarray
    positions: np.ndarray


def static_profile(
    simulation: config.Simulation,
    model: str | Path,
    coordinates: Sequence[float],
    starts: Sequence[np.ndarray],
    device: str = "auto",
) -> StaticProfile:
    """E(ξ) = min E over all structures with this ξ that relaxation finds.

    The first of ``starts`` is followed from the first coordinate to the last, the second from the last to the first,
    and so on; of each coordinate the lowest energy is kept. Paths in opposite directions differ where a structure
    stays in a minimum that is no longer the lowest.

    Args:
        simulation: Simulation with a bias, whose coordinate is the abscissa.
        model: Model file.
        coordinates: [n] Å, in order.
        starts: Positions [n_atoms, 3] in Å.
        device: Device, as in :func:`lorem_openmm.simulate.simulation.simulate`.

    Raises:
        ConfigError: If the structure lacks the coordinate, or cannot reach a value of it.
        ModelFileError: If the model file is missing or damaged.
    """
    chosen = engine.choose_platform(device, simulation.precision)
    start = read_structure(simulation.start, simulation.seed)
    system = engine.create_system(start, simulation, Path(model), chosen)
    context = openmm.Context(system, openmm.VerletIntegrator(1e-3), chosen.platform, chosen.properties)
    bias = find_bias(system)
    if bias is None:
        raise ConfigError("bias: a static profile needs a simulation with a bias, received none; add one")
    paths = []
    for k, positions in enumerate(starts):
        order = slice(None, None, 1 if k % 2 == 0 else -1)
        context.setPositions(positions / ANGSTROM_PER_NANOMETER)
        path = _follow(context, bias, list(coordinates)[order], f"static profile {k + 1}/{len(starts)}")
        paths.append(StaticProfile(*(values[order] for values in path)))
    lowest = np.argmin([path.energy for path in paths], axis=0)
    return StaticProfile(*(np.stack(values)[lowest, np.arange(len(lowest))] for values in zip(*paths, strict=True)))


def _follow(
    context: openmm.Context, bias: openmm.CustomCVForce, coordinates: Sequence[float], description: str
) -> StaticProfile:
    context.setParameter(CENTER, coordinates[0] / ANGSTROM_PER_NANOMETER)
    pull(context, bias)
    points, positions = [], []
    for value in progress(coordinates, len(coordinates), description):
        points.append(relax_at(context, bias, value, STIFFNESS))
        positions.append(context.getState(positions=True).getPositions(asNumpy=True).value_in_unit(unit.angstrom))
    coordinate, energy = np.array(points).T
    return StaticProfile(coordinate, energy, np.array(positions))
