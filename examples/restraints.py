"""Restraints and metadynamics with OpenMM's own forces: an S_N2 complex along r(C-X) - r(C-Y)."""

import argparse

import numpy as np
import openmm
from openmm import app, unit
from openmmml import MLPotential

import lorem_openmm

X, CARBON, Y = 0, 1, 2  # order of the atoms of `sn2:X,Y,distance`; three hydrogens follow
RANGE = 0.25  # nm, of the coordinate; the walls must keep it within


def add_walls(system, reach):
    """Keeps both halogens near: half-harmonic from `reach` nm on, for each bond and for the two fragments' centres."""
    bonds = openmm.CustomBondForce("0.5*stiffness*max(0, r - reach)^2")
    bonds.addGlobalParameter("stiffness", 2e4)  # kJ/mol/nm^2
    bonds.addGlobalParameter("reach", reach)
    bonds.addBond(CARBON, X)
    bonds.addBond(CARBON, Y)
    system.addForce(bonds)
    centers = openmm.CustomCentroidBondForce(2, "0.5*stiffness*max(0, distance(g1, g2) - reach)^2")
    centers.addGlobalParameter("stiffness", 2e4)
    centers.addGlobalParameter("reach", reach)
    centers.addGroup([X])
    centers.addGroup([CARBON, Y, 3, 4, 5])  # weighted by mass
    centers.addBond([0, 1])
    system.addForce(centers)


def reaction_coordinate():
    """Returns r(C-X) - r(C-Y) in nm as a force, to be used as collective variable."""
    force = openmm.CustomCompoundBondForce(3, "distance(p2, p1) - distance(p2, p3)")
    force.addBond([X, CARBON, Y])
    return force


def main():
    """Runs the example."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--structure", default="sn2:Cl,Br,2.8", help="X, Y and the C-X distance in Å")
    parser.add_argument("--model", help="model file; default: the one that is shipped")
    parser.add_argument("--steps", type=int, default=20000, help="of 0.5 fs")
    parser.add_argument("--reach", type=float, default=0.3, help="in nm, where the walls start")
    options = parser.parse_args()

    start = lorem_openmm.read_structure(options.structure)
    print(start.describe())
    system = MLPotential("lorem", modelPath=options.model).createSystem(start.topology)
    add_walls(system, options.reach)
    variable = app.BiasVariable(reaction_coordinate(), -RANGE, RANGE, 0.01)
    metadynamics = app.Metadynamics(system, [variable], 300, biasFactor=15, height=3, frequency=50)
    integrator = openmm.LangevinMiddleIntegrator(300, 5 / unit.picosecond, 0.5 * unit.femtosecond)
    simulation = app.Simulation(start.topology, system, integrator)
    simulation.context.setPositions(start.openmm_positions)
    simulation.minimizeEnergy(maxIterations=50)
    simulation.context.setVelocitiesToTemperature(300)

    values = []
    for _ in range(max(1, options.steps // 50)):
        metadynamics.step(simulation, 50)
        values.append(metadynamics.getCollectiveVariables(simulation)[0])
    crossings = np.count_nonzero(np.diff(np.sign(values)))
    print(f"coordinate visited: {10 * min(values):.2f} to {10 * max(values):.2f} Å; crossings of 0: {crossings}")

    free_energy = metadynamics.getFreeEnergy().value_in_unit(unit.kilojoule_per_mole)
    free_energy -= free_energy.min()
    table = np.stack([10 * np.linspace(-RANGE, RANGE, len(free_energy)), free_energy], axis=1)
    header = "coordinate_A,free_energy_kJ_per_mol"
    np.savetxt("free_energy.csv", table, "%.4f", ",", header=header, comments="")
    print(f"free energy so far: up to {free_energy.max():.1f} kJ/mol; trust free_energy.csv after many crossings only")


if __name__ == "__main__":
    main()
