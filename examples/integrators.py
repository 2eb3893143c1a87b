"""Time steps and integrators for LOREM: energy drift with and without heavy hydrogens, a custom one, a multiple-step one.

No constraints: the model's bonds vibrate, and 0.5 fs is the longest safe step. Hydrogens of 3 Da, with the mass taken
from the atom they are bonded to, allow 1 fs; averages over positions stay the same, rates of motion do not.
"""

import argparse

import numpy as np
import openmm
from openmm import unit
from openmmml import MLPotential

import lorem_openmm
from lorem_openmm.simulate.energy import nve_drift
from lorem_openmm.units import KJ_PER_MOL_PER_EV


def make_hydrogens_heavy(system, positions, numbers, mass=3.0):
    """Moves mass from the nearest heavy atom to each hydrogen; the total mass stays."""
    heavy = np.flatnonzero(numbers > 1)
    for hydrogen in np.flatnonzero(numbers == 1):
        parent = heavy[np.argmin(np.linalg.norm(positions[heavy] - positions[hydrogen], axis=1))]
        gain = mass * unit.dalton - system.getParticleMass(int(hydrogen))
        system.setParticleMass(int(hydrogen), mass)
        system.setParticleMass(int(parent), system.getParticleMass(int(parent)) - gain)


def velocity_verlet(step):
    """Returns a custom integrator: any integrator that OpenMM's language can express runs with LOREM."""
    integrator = openmm.CustomIntegrator(step)
    integrator.addUpdateContextState()
    integrator.addComputePerDof("v", "v + 0.5*dt*f/m")
    integrator.addComputePerDof("x", "x + dt*v")
    integrator.addComputePerDof("v", "v + 0.5*dt*f/m")
    return integrator


def context_at_300_kelvin(system, integrator, positions):
    """Returns a context with equal velocities for every integrator."""
    context = openmm.Context(system, integrator)
    context.setPositions(positions)
    openmm.LocalEnergyMinimizer.minimize(context, 1.0, 200)
    context.setVelocitiesToTemperature(300 * unit.kelvin, 1)
    return context


def drift(system, integrator, positions, steps, femtoseconds):
    """Returns drift in kT/ns/dof and fluctuation in meV of the total energy."""
    context = context_at_300_kelvin(system, integrator, positions)
    every, energies = max(1, steps // 500), []
    for _ in range(steps // every):
        integrator.step(every)
        state = context.getState(energy=True)
        total = state.getKineticEnergy() + state.getPotentialEnergy()
        energies.append(total.value_in_unit(unit.kilojoule_per_mole) / KJ_PER_MOL_PER_EV)
    times = np.arange(1, len(energies) + 1) * every * femtoseconds * 1e-3
    result = nve_drift(np.array(energies), times, 300.0, 3 * system.getNumParticles() - 3)
    return f"{result.drift:9.4f} +- {result.drift_error:.4f}   {1000 * result.fluctuation:.3f}"


def main():
    """Runs the example."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--structure", default="dimer:ethanol,water,30", help="see lorem_openmm.read_structure")
    parser.add_argument("--model", help="model file; default: the one that is shipped")
    parser.add_argument("--steps", type=int, default=8000, help="of 0.5 fs; longer steps are fewer")
    options = parser.parse_args()

    start = lorem_openmm.read_structure(options.structure)
    print(start.describe())
    numbers = np.array([atom.element.atomic_number for atom in start.topology.atoms()])
    potential = MLPotential("lorem", modelPath=options.model)

    print("integrator, step in fs, hydrogens   drift in kT/ns/dof   fluctuation in meV")
    for name, step, heavy in (
        ("verlet", 0.25, False), ("verlet", 0.5, False), ("verlet", 1.0, False), ("verlet", 1.0, True),
        ("custom", 0.5, False),
    ):  # fmt: skip
        system = potential.createSystem(start.topology, removeCMMotion=True)
        if heavy:
            make_hydrogens_heavy(system, start.positions, numbers)
        make = openmm.VerletIntegrator if name == "verlet" else velocity_verlet
        found = drift(system, make(step * unit.femtosecond), start.openmm_positions, round(options.steps * 0.5 / step), step)
        print(f"{name} {step:.2f} {'heavy' if heavy else 'light'}   {found}")

    # The model in group 0, once per step; a stiff harmonic wall in group 1, four times.
    system = potential.createSystem(start.topology)
    stiff = openmm.CustomBondForce("0.5*k*(r-r0)^2")
    stiff.addGlobalParameter("k", 5e5)
    stiff.addGlobalParameter("r0", float(np.linalg.norm(start.positions[1] - start.positions[0])) / 10)
    stiff.addBond(0, 1)
    stiff.setForceGroup(1)
    system.addForce(stiff)
    integrator = openmm.MTSLangevinIntegrator(300, 1 / unit.picosecond, 0.5 * unit.femtosecond, [(0, 1), (1, 4)])
    context = context_at_300_kelvin(system, integrator, start.openmm_positions)
    integrator.step(options.steps)
    kinetic = context.getState(energy=True).getKineticEnergy()
    kelvin = 2 * kinetic / (unit.MOLAR_GAS_CONSTANT_R * (3 * len(numbers) - 3))
    print("MTSLangevinIntegrator: temperature at the end", kelvin.in_units_of(unit.kelvin))


if __name__ == "__main__":
    main()
