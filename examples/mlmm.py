"""A molecule of LOREM in the water of a force field: createMixedSystem, its energies along lambda, and dynamics."""

import argparse
from pathlib import Path

import openmm
from openmm import app, unit
from openmmml import MLPotential

import lorem_openmm

MOLECULE = Path(__file__).with_name("n_methylacetamide.pdb")


def main():
    """Runs the example."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--molecule", default=str(MOLECULE), help="PDB of a molecule that amber14 knows")
    parser.add_argument("--model", help="model file; default: the one that is shipped, which was trained in vacuum")
    parser.add_argument(
        "--boundary", choices=["vacuum", "box"], default="vacuum", help="of the model, as it was trained"
    )
    parser.add_argument("--edge", type=float, default=2.4, help="of the cubic box in nm")
    parser.add_argument("--steps", type=int, default=2000, help="of 0.5 fs")
    options = parser.parse_args()

    start = lorem_openmm.read_structure(options.molecule)
    field = app.ForceField("amber14-all.xml", "amber14/tip3p.xml")
    modeller = app.Modeller(start.topology, start.openmm_positions)
    modeller.addSolvent(field, boxSize=openmm.Vec3(*[options.edge] * 3) * unit.nanometer)
    print(
        f"{len(start.positions)} atoms of LOREM in {modeller.topology.getNumResidues()} residues of {modeller.topology}"
    )

    # Water stays rigid; bonds inside the region of the model get their freedom back (removeConstraints).
    mm_system = field.createSystem(
        modeller.topology, nonbondedMethod=app.PME, nonbondedCutoff=0.9 * unit.nanometer, constraints=app.HBonds
    )
    relaxed = app.Simulation(modeller.topology, mm_system, openmm.VerletIntegrator(0.001))
    relaxed.context.setPositions(modeller.positions)
    relaxed.minimizeEnergy(maxIterations=200)  # the force field alone is quick

    region = list(range(len(start.positions)))
    potential = MLPotential("lorem", modelPath=options.model, boundary=options.boundary)
    system = potential.createMixedSystem(modeller.topology, mm_system, region, interpolate=True)
    print("constraints:", mm_system.getNumConstraints(), "->", system.getNumConstraints())
    integrator = openmm.LangevinMiddleIntegrator(300, 1 / unit.picosecond, 0.5 * unit.femtosecond)
    simulation = app.Simulation(modeller.topology, system, integrator)
    simulation.context.setPositions(relaxed.context.getState(positions=True).getPositions())

    print("lambda, energy in kJ/mol less that of the force field (the zeros of the two differ):")
    energies = {}
    for value in (0.0, 0.5, 1.0):
        simulation.context.setParameter("lambda_interpolate", value)
        energy = simulation.context.getState(energy=True).getPotentialEnergy()
        energies[value] = energy.value_in_unit(unit.kilojoule_per_mole)
        print(f"  {value:.1f}  {energies[value] - energies[0.0]:.3f}")
    print(f"middle less mean of the ends: {energies[0.5] - 0.5 * (energies[0.0] + energies[1.0]):.5f} kJ/mol")

    simulation.minimizeEnergy(maxIterations=30)  # lambda is 1 now
    simulation.context.setVelocitiesToTemperature(300)
    simulation.reporters.append(app.DCDReporter("mlmm.dcd", max(1, options.steps // 50)))
    simulation.reporters.append(
        app.StateDataReporter(
            "mlmm.csv", max(1, options.steps // 50), step=True, potentialEnergy=True, temperature=True, speed=True
        )
    )
    simulation.step(options.steps)
    state = simulation.context.getState(positions=True)
    with open("mlmm.pdb", "w") as stream:
        app.PDBFile.writeFile(modeller.topology, state.getPositions(), stream)
    parts = lorem_openmm.decompose(system, state)
    print(f"LOREM at the end: short range {parts.short_range_energy}, long range {parts.long_range_energy}")


if __name__ == "__main__":
    main()
