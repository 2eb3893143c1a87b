"""Time steps and integrators: energy drift with light and heavy hydrogens, a custom integrator, multiple time steps.

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


def make_hydrogens_heavy(system, start, mass=3.0):
    """Moves mass from the nearest heavy atom to each hydrogen; the total mass stays."""
    numbers = np.array([atom.element.atomic_number for atom in start.topology.atoms()])
    heavy = np.flatnonzero(numbers > 1)
    for hydrogen in np.flatnonzero(numbers == 1).tolist():
        distances = np.linalg.norm(start.positions[heavy] - start.positions[hydrogen], axis=1)
        parent = int(heavy[distances.argmin()])
        gain = mass * unit.dalton - system.getParticleMass(hydrogen)
        system.setParticleMass(hydrogen, mass)
        system.setParticleMass(parent, system.getParticleMass(parent) - gain)


def velocity_verlet(step):
    """Returns a custom integrator: whatever OpenMM's language can express runs with LOREM."""
    integrator = openmm.CustomIntegrator(step)
    integrator.addUpdateContextState()
    integrator.addComputePerDof("v", "v + 0.5*dt*f/m")
    integrator.addComputePerDof("x", "x + dt*v")
    integrator.addComputePerDof("v", "v + 0.5*dt*f/m")
    return integrator


def relax(system, start):
    """Returns the positions of the nearest minimum."""
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatform("Reference"))
    context.setPositions(start.openmm_positions)
    openmm.LocalEnergyMinimizer.minimize(context, 1.0, 200)
    return context.getState(positions=True).getPositions()


def context_at_300_kelvin(system, integrator, positions):
    """Returns a context with velocities that only the masses decide."""
    context = openmm.Context(system, integrator, openmm.Platform.getPlatform("Reference"))
    context.setPositions(positions)
    context.setVelocitiesToTemperature(300 * unit.kelvin, 1)
    return context


def drift(context, steps):
    """Returns drift (kT/ns/dof), its error, and fluctuation (eV) of the total energy."""
    integrator, (every, energies, times) = context.getIntegrator(), (max(1, steps // 500), [], [])
    for _ in range(steps // every):
        integrator.step(every)
        state = context.getState(energy=True)
        total = state.getKineticEnergy() + state.getPotentialEnergy()
        energies.append(total.value_in_unit(unit.kilojoule_per_mole) / KJ_PER_MOL_PER_EV)
        times.append(state.getTime().value_in_unit(unit.picosecond))
    return nve_drift(np.array(energies), np.array(times), 300.0, 3 * context.getSystem().getNumParticles() - 3)


def main():
    """Runs the example."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--structure", default="dimer:ethanol,water,30", help="see lorem_openmm.read_structure")
    parser.add_argument("--model", help="model file; default: the one that is shipped")
    parser.add_argument("--steps", type=int, default=4000, help="of 0.5 fs; longer steps are fewer")
    options = parser.parse_args()
    start = lorem_openmm.read_structure(options.structure)
    print(start.describe())
    potential = MLPotential("lorem", modelPath=options.model)
    relaxed = relax(potential.createSystem(start.topology), start)

    print("hydrogens, integrator, step in fs      drift in kT/ns/dof   fluctuation in meV")
    verlet = openmm.VerletIntegrator
    for hydrogens, make, step in (
        ("light", verlet, 0.25),
        ("light", verlet, 0.5),
        ("light", velocity_verlet, 0.5),
        ("light", verlet, 1.0),
        ("heavy", verlet, 1.0),
    ):
        system = potential.createSystem(start.topology)
        if hydrogens == "heavy":
            make_hydrogens_heavy(system, start)
        context = context_at_300_kelvin(system, make(step * unit.femtosecond), relaxed)
        found = drift(context, round(options.steps * 0.5 / step))
        result = f"{found.drift:9.3f} +- {found.drift_error:.3f} {1000 * found.fluctuation:12.2f}"
        print(f"{hydrogens} {make.__name__:16s} {step:.2f}   {result}", flush=True)

    # The model is in group 0, once per step; a stiff spring between the first two atoms in group 1, four times.
    system = potential.createSystem(start.topology)
    spring = openmm.CustomBondForce("0.5*k*(r - r0)^2")
    spring.addGlobalParameter("k", 5e5)
    spring.addGlobalParameter("r0", float(np.linalg.norm(start.positions[1] - start.positions[0])) / 10)
    spring.addBond(0, 1)
    spring.setForceGroup(1)
    system.addForce(spring)
    integrator = openmm.MTSLangevinIntegrator(300, 1 / unit.picosecond, 0.5 * unit.femtosecond, [(0, 1), (1, 4)])
    context = context_at_300_kelvin(system, integrator, relaxed)
    integrator.step(options.steps)
    kinetic = context.getState(energy=True).getKineticEnergy() / (unit.MOLAR_GAS_CONSTANT_R * unit.kelvin)
    print(f"MTSLangevinIntegrator: {2 * kinetic / (3 * system.getNumParticles() - 3):.1f} K at the end")


if __name__ == "__main__":
    main()
