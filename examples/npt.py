"""A periodic box at constant pressure, all of it LOREM, and what the barostat moves.

In a pure-ML System no force names bonds, so that every atom is a molecule for the barostat: it stretches bonds with the
box. With `--molecules`, bonds of zero stiffness tell OpenMM which atoms belong together; they add no energy.
"""

import argparse

import numpy as np
import openmm
from ase import Atoms
from ase.build import molecule
from openmm import app, unit
from openmmml import MLPotential

import lorem_openmm


def water_box(count, spacing):
    """Writes count^3 waters on a grid, in random orientations, and returns the name of the file."""
    rng = np.random.default_rng(0)
    atoms = Atoms()
    for cell in np.ndindex(count, count, count):
        water = molecule("H2O")
        water.euler_rotate(*rng.uniform(0, 360, 3), center="COM")
        water.positions += np.array(cell) * spacing
        atoms += water
    atoms.set_cell(np.eye(3) * count * spacing)
    atoms.pbc = True
    atoms.write("waters.xyz")
    return "waters.xyz"


def add_bonds_of_zero_stiffness(system, molecules):
    """Tells OpenMM which atoms form a molecule."""
    force = openmm.HarmonicBondForce()
    for members in molecules:
        for other in members[1:]:
            force.addBond(members[0], other, 0.1, 0.0)
    system.addForce(force)


def main():
    """Runs the example."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--structure", help="periodic structure; default: a box of water made here")
    parser.add_argument(
        "--model", help="model file trained on periodic structures; default: the shipped one, which was not"
    )
    parser.add_argument("--count", type=int, default=3, help="waters along each edge of the box made here")
    parser.add_argument("--molecules", action="store_true", help="scale molecules instead of atoms")
    parser.add_argument("--pressure", type=float, default=1.0, help="in bar")
    parser.add_argument("--steps", type=int, default=2000, help="of 0.5 fs")
    options = parser.parse_args()

    start = lorem_openmm.read_structure(options.structure or water_box(options.count, 3.2))
    print(start.describe())
    system = MLPotential("lorem", modelPath=options.model).createSystem(start.topology)
    if options.molecules:
        add_bonds_of_zero_stiffness(system, start.molecules)
    every = 10
    system.addForce(openmm.MonteCarloBarostat(options.pressure, 300, every))
    integrator = openmm.LangevinMiddleIntegrator(300, 1 / unit.picosecond, 0.5 * unit.femtosecond)
    simulation = app.Simulation(start.topology, system, integrator)
    simulation.context.setPositions(start.openmm_positions)
    simulation.minimizeEnergy(maxIterations=100)
    simulation.context.setVelocitiesToTemperature(300)
    print("molecules as OpenMM sees them:", len(simulation.context.getMolecules()))

    mass = sum(system.getParticleMass(k).value_in_unit(unit.dalton) for k in range(system.getNumParticles()))
    volumes = []
    for _ in range(max(1, options.steps // every)):
        simulation.step(every)
        volumes.append(simulation.context.getState().getPeriodicBoxVolume().value_in_unit(unit.angstrom**3))
    moves = np.abs(np.diff(volumes))
    accepted = moves[moves > 0]
    density = mass / np.mean(volumes[len(volumes) // 2 :]) * 1.66054
    print(f"volume {volumes[0]:.1f} -> {volumes[-1]:.1f} Å^3; density of the second half {density:.3f} g/cm^3")
    size = accepted.sum() / max(1, len(accepted))
    print(f"volume moves accepted: {len(accepted)} of {len(moves)}, mean size {size:.2f} Å^3")
    np.savetxt("volume.csv", volumes, header="volume_A3", comments="")


if __name__ == "__main__":
    main()
