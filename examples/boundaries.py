"""The same molecules in vacuum and in boxes: how far their energies and forces are apart, and why."""

import argparse
import warnings

import numpy as np
import openmm
from openmm import unit
from openmmml import MLPotential

import lorem_openmm


def evaluate(potential, start, edge):
    """Returns energy in eV, forces in eV/Å and their decomposition, in a cubic box (edge in nm) or in vacuum (None)."""
    start.topology.setUnitCellDimensions(None if edge is None else openmm.Vec3(edge, edge, edge) * unit.nanometer)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns, as it should, where the model was not trained
        system = potential.createSystem(start.topology, precision="double", device="cpu")
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatform("Reference"))
    context.setPositions(start.openmm_positions)
    state = context.getState(energy=True, forces=True, positions=True)
    energy = state.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole) / 96.48533
    forces = state.getForces(asNumpy=True).value_in_unit(unit.kilojoule_per_mole / unit.angstrom) / 96.48533
    return energy, forces, lorem_openmm.decompose(system, state)


def main():
    """Runs the example."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--structure", default="dimer:methanol,water,1.0", help="see lorem_openmm.read_structure")
    parser.add_argument("--model", help="model file; default: the one that is shipped, trained in vacuum")
    parser.add_argument("--edges", type=float, nargs="+", default=[2.0, 4.0, 6.0], help="of the boxes in nm")
    options = parser.parse_args()

    start = lorem_openmm.read_structure(options.structure)
    print(start.describe())
    potential = MLPotential("lorem", modelPath=options.model)
    vacuum, vacuum_forces, parts = evaluate(potential, start, None)
    print(
        f"sum of the scalar latent charges: {parts.charges[:, 0].sum():.3f} e (not neutral, and not the total charge)"
    )
    print("edge in nm   energy less vacuum's in eV   largest difference of a force in eV/Å")
    for edge in options.edges:
        energy, forces, _ = evaluate(potential, start, edge)
        print(f"{edge:10.1f}   {energy - vacuum:26.4f}   {np.abs(forces - vacuum_forces).max():37.5f}")


if __name__ == "__main__":
    main()
