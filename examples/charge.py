"""A molecule and its ions: the same atoms, another total charge, in ASE and in OpenMM.

The model is made here and not trained: its energies mean nothing, but its charges add up to what is asked for.
"""

import argparse

import openmm
import torch
from ase.build import molecule
from openmmml import MLPotential

import lorem_openmm
from lorem_openmm.config import Model
from lorem_openmm.errors import DataError
from lorem_openmm.export import save
from lorem_openmm.model import Lorem
from lorem_openmm.potential import Potential


def make_model(path):
    """Writes an untrained model with charges at equilibrium, for H, C and O."""
    torch.manual_seed(0)
    settings = Model(num_features=16, max_degree=2, num_radial=8, long_range={"kind": "equilibrated_charges"})
    save(Potential(Lorem(settings), {1: 0.0, 6: 0.0, 8: 0.0}), path)


def energy_in_openmm(path, start, charge):
    """Returns the energy in eV of a System for a total charge in e."""
    potential = MLPotential("lorem", modelPath=path)
    system = potential.createSystem(start.topology, charge=charge, precision="double", device="cpu")
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatform("Reference"))
    context.setPositions(start.openmm_positions)
    state = context.getState(energy=True, positions=True)
    charges = lorem_openmm.decompose(system, state).charges[:, 0]
    return state.getPotentialEnergy()._value / 96.48533, charges.sum()


def main():
    """Runs the example."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", help="model file that uses the total charge; default: an untrained one")
    parser.add_argument("--charges", type=int, nargs="+", default=[-1, 0, 1], help="total charges in e")
    options = parser.parse_args()

    path = options.model or "charged.safetensors"
    if options.model is None:
        make_model(path)
    atoms = molecule("CH3CHO")
    atoms.calc = lorem_openmm.LoremCalculator(path, dtype="float64")
    try:
        atoms.get_potential_energy()
    except DataError as error:
        print(f"without a charge: {error}")

    atoms.write("acetaldehyde.xyz")
    start = lorem_openmm.read_structure("acetaldehyde.xyz")
    print("charge in e   energy in eV: ASE, OpenMM   sum of the atoms' charges in e")
    for charge in options.charges:
        atoms.info["charge"] = charge
        in_openmm, total = energy_in_openmm(path, start, charge)
        print(f"{charge:11d}   {atoms.get_potential_energy():18.5f}  {in_openmm:10.5f}   {round(total, 5) + 0.0:10.5f}")


if __name__ == "__main__":
    main()
