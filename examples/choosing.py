"""Times steps of every implementation and precision that this machine has, and compares their energies."""

import argparse
import time

import openmm
import torch
from openmm import unit
from openmmml import MLPotential

import lorem_openmm
from lorem_openmm.errors import LoremError


def measure(potential, start, steps, **choices):
    """Returns the energy in kJ/mol at the start, ms per step and seconds for the first step."""
    system = potential.createSystem(start.topology, **choices)
    integrator = openmm.LangevinMiddleIntegrator(300, 1 / unit.picosecond, 0.5 * unit.femtosecond)
    platform = "CUDA" if choices["device"].startswith("cuda") else "Reference"
    context = openmm.Context(system, integrator, openmm.Platform.getPlatform(platform))
    context.setPositions(start.openmm_positions)
    begun = time.monotonic()
    energy = context.getState(energy=True).getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole)
    integrator.step(20)  # compiles and warms up
    first = time.monotonic() - begun
    begun = time.monotonic()
    integrator.step(steps)
    context.getState(energy=True)
    return energy, 1000 * (time.monotonic() - begun) / steps, first


def main():
    """Runs the example."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--structure", default="dimer:acetate,methylammonium,2.0", help="see lorem_openmm.read_structure"
    )
    parser.add_argument("--model", help="model file; default: the one that is shipped")
    parser.add_argument("--steps", type=int, default=500, help="timed, of 0.5 fs")
    parser.add_argument("--compile", action="store_true", help="also compiled (molecules of up to 32 atoms; needs g++)")
    options = parser.parse_args()

    start = lorem_openmm.read_structure(options.structure)
    print(start.describe())
    print("PyTorch threads:", torch.get_num_threads())
    potential = MLPotential("lorem", modelPath=options.model)
    devices = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]
    choices = [
        {"device": device, "implementation": implementation, "precision": precision}
        for device in devices
        for implementation in ("pythonforce", "torchforce")
        for precision in ("single", "double")
    ]
    if options.compile:
        choices.append({"device": "cpu", "implementation": "pythonforce", "precision": "single", "compile": True})
    print("device implementation precision      energy in kJ/mol   ms per step   first 20 steps in s")
    for choice in choices:
        name = " ".join(str(value) for value in choice.values()).replace("True", "compiled")
        try:
            energy, milliseconds, first = measure(potential, start, options.steps, **choice)
        except (LoremError, openmm.OpenMMException) as error:
            print(f"{name:34s} not here: {error!s:.100}")
            continue
        print(f"{name:34s} {energy:18.4f} {milliseconds:13.2f} {first:15.1f}")


if __name__ == "__main__":
    main()
