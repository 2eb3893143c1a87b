"""Boxes of liquid water at a given density, from a short simulation of a classical model."""

from collections.abc import Iterator

import numpy as np
import openmm
from ase import Atoms
from ase.build import molecule
from openmm import app, unit
from scipy.spatial.transform import Rotation

from lorem_openmm.seeds import openmm_seed
from lorem_openmm.units import ANGSTROM_PER_NANOMETER, DALTON_PER_CUBIC_ANGSTROM

WATER_MASS = 18.015  # dalton
FORCE_FIELD = "amber14/tip3p.xml"
TIMESTEP_FS = 0.5
FRICTION_PER_PS = 5.0
EQUILIBRATION_STEPS = 4000  # the lattice is gone after 2 ps at friction 5/ps
STRIDE = 1000
MAX_ITERATIONS = 200


def box_edge(num_waters: int, density: float) -> float:
    """Returns the edge in Å of the cubic box.  L = (N·m / ρ)^(1/3).

    Args:
        num_waters: N.
        density: ρ in g/cm³.
    """
    return float((num_waters * WATER_MASS / (density * DALTON_PER_CUBIC_ANGSTROM)) ** (1 / 3))


def water_boxes(num_waters: int, density: float, temperature: float, seed: int) -> Iterator[Atoms]:
    """Simulates flexible TIP3P water in a periodic cubic box, without end.

    Molecules start on a lattice with random orientations, and are minimised and simulated for 2 ps. Box and cutoff
    are those of the small boxes that quantum chemistry can label (interactions are cut at half the edge), so this is
    a source of plausible structures and no more.

    Args:
        num_waters: Number of molecules.
        density: Density in g/cm³.
        temperature: Temperature in K.
        seed: Seed of the lattice's orientations, the velocities and the thermostat.

    Yields:
        Frames half a picosecond apart: atoms O, H, H of each molecule in turn, molecules whole.
    """
    edge = box_edge(num_waters, density)
    topology = _topology(num_waters, edge)
    system = app.ForceField(FORCE_FIELD).createSystem(
        topology,
        nonbondedMethod=app.CutoffPeriodic,
        nonbondedCutoff=min(0.9, 0.499 * edge / ANGSTROM_PER_NANOMETER) * unit.nanometer,
        rigidWater=False,
    )
    integrator = openmm.LangevinMiddleIntegrator(
        temperature * unit.kelvin, FRICTION_PER_PS / unit.picosecond, TIMESTEP_FS * unit.femtosecond
    )
    integrator.setRandomNumberSeed(openmm_seed(seed))
    # Reference: the same numbers on every machine, and fast enough for some hundred atoms.
    context = openmm.Context(system, integrator, openmm.Platform.getPlatform("Reference"))
    context.setPositions(_lattice(num_waters, edge, np.random.default_rng(seed)) / ANGSTROM_PER_NANOMETER)
    openmm.LocalEnergyMinimizer.minimize(context, maxIterations=MAX_ITERATIONS)
    context.setVelocitiesToTemperature(temperature * unit.kelvin, openmm_seed(seed))
    integrator.step(EQUILIBRATION_STEPS)
    while True:
        positions = context.getState(positions=True).getPositions(asNumpy=True).value_in_unit(unit.angstrom)
        yield Atoms(["O", "H", "H"] * num_waters, positions=np.array(positions), cell=[edge] * 3, pbc=True)
        integrator.step(STRIDE)


def _topology(num_waters: int, edge: float) -> app.Topology:
    topology = app.Topology()
    chain = topology.addChain()
    for _ in range(num_waters):
        residue = topology.addResidue("HOH", chain)
        oxygen = topology.addAtom("O", app.element.oxygen, residue)
        for name in ("H1", "H2"):
            topology.addBond(oxygen, topology.addAtom(name, app.element.hydrogen, residue))
    topology.setUnitCellDimensions(np.full(3, edge / ANGSTROM_PER_NANOMETER) * unit.nanometer)
    return topology


def _lattice(num_waters: int, edge: float, rng: np.random.Generator) -> np.ndarray:
    per_edge = int(np.ceil(num_waters ** (1 / 3)))
    sites = np.stack(np.meshgrid(*[np.arange(per_edge)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    # Where the lattice has more sites than molecules, which stay empty is drawn.
    chosen = rng.permutation(len(sites))[:num_waters]
    water = molecule("H2O").positions
    turned = [Rotation.random(rng=rng).apply(water - water[0]) for _ in range(num_waters)]
    return np.concatenate([site * edge / per_edge + atoms for site, atoms in zip(sites[chosen], turned, strict=True)])
