"""A molecule in vacuum, all of it LOREM: minimise, run at constant temperature, write a trajectory, read it back."""

import argparse
from pathlib import Path

import mdtraj
import openmm
from openmm import app, unit
from openmmml import MLPotential

import lorem_openmm


def main():
    """Runs the example."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--structure", default="dimer:methanol,water,0.5", help="file, `smiles:...`, `dimer:...`, `sn2:...`"
    )
    parser.add_argument("--model", help="model file; default: the one that is shipped")
    parser.add_argument("--steps", type=int, default=2000, help="of 0.5 fs")
    parser.add_argument("--temperature", type=float, default=300.0, help="in K")
    parser.add_argument("--output", type=Path, default=Path(), help="folder for the trajectory")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    interval = max(1, options.steps // 100)

    start = lorem_openmm.read_structure(options.structure)
    print(start.describe())

    system = MLPotential("lorem", modelPath=options.model).createSystem(start.topology)
    integrator = openmm.LangevinMiddleIntegrator(options.temperature, 1 / unit.picosecond, 0.5 * unit.femtosecond)
    simulation = app.Simulation(start.topology, system, integrator)
    simulation.context.setPositions(start.openmm_positions)
    print("platform:", simulation.context.getPlatform().getName())

    before = simulation.context.getState(energy=True).getPotentialEnergy()
    simulation.minimizeEnergy(maxIterations=200)
    after = simulation.context.getState(energy=True, positions=True)
    print(f"minimised by {(before - after.getPotentialEnergy()).value_in_unit(unit.kilojoule_per_mole):.2f} kJ/mol")

    topology, trajectory = str(options.output / "start.pdb"), str(options.output / "trajectory.dcd")
    with open(topology, "w") as stream:
        app.PDBFile.writeFile(start.topology, after.getPositions(), stream)
    # Without bonds every atom is a molecule of its own for OpenMM: in a box, wrapping would tear the real ones apart.
    simulation.reporters.append(app.DCDReporter(trajectory, interval, enforcePeriodicBox=False))
    simulation.reporters.append(
        app.StateDataReporter(
            str(options.output / "state.csv"), interval, step=True, potentialEnergy=True, temperature=True
        )
    )
    simulation.context.setVelocitiesToTemperature(options.temperature)
    simulation.step(options.steps)

    frames = mdtraj.load(trajectory, top=topology)
    oxygens = frames.topology.select("element O")
    distances = mdtraj.compute_distances(frames, [oxygens[:2]])[:, 0] if len(oxygens) > 1 else mdtraj.compute_rg(frames)
    what = "distance of the first two oxygens" if len(oxygens) > 1 else "radius of gyration"
    print(f"{len(frames)} frames; {what}: {distances.mean():.3f} +- {distances.std():.3f} nm")


if __name__ == "__main__":
    main()
