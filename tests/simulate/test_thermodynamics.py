"""Dynamics sample the ensemble they are asked for, and the checks would see if they did not.

By physical_validation: distances from the exact distribution in standard errors.
"""

import numpy as np
import openmm
import pytest
from ase import Atoms
from helpers import rattled_box, small_potential
from made_ensembles import ensemble_deviation, gas_at, kinetic_deviations, langevin, sample, system_of

from lorem_openmm.export import PRETRAINED
from lorem_openmm.simulate.nve import nve_test
from lorem_openmm.simulate.systems import read_structure

pytestmark = pytest.mark.slow
RIGHT, WRONG = 3.0, 3.0  # standard errors: below the first, above the second


def complex_in_vacuum() -> Atoms:
    """Cl- + CH3Br, which the shipped model knows."""
    start = read_structure("sn2:Cl,Br,3.2")
    return Atoms([atom.element.symbol for atom in start.topology.atoms()], start.positions)


def box_context(temperature: float, remove_motion: bool) -> tuple[openmm.Context, Atoms]:
    """Random weights, atoms held near their places."""
    atoms = rattled_box()
    system = system_of(atoms, small_potential(smearing=1.0, wavelength=1.0), removeCMMotion=remove_motion)
    tether = openmm.CustomExternalForce("1e4*periodicdistance(x, y, z, x0, y0, z0)^2")
    for name in ("x0", "y0", "z0"):
        tether.addPerParticleParameter(name)
    for i, position in enumerate(atoms.positions / 10.0):
        tether.addParticle(i, position.tolist())
    system.addForce(tether)
    return langevin(system, atoms, temperature, 50.0, 0.0005), atoms


def complex_context(temperature: float) -> tuple[openmm.Context, Atoms]:
    atoms = complex_in_vacuum()
    return langevin(system_of(atoms, PRETRAINED), atoms, temperature, 50.0, 0.0005), atoms


def test_kinetic_energies_in_vacuum():
    """OpenMM removes the motion of the centre of mass: 15 degrees of freedom, not 18."""
    context, atoms = complex_context(300.0)
    context.getIntegrator().step(400)
    samples = sample(context, 400, 10)
    assert np.abs(kinetic_deviations(samples, 300.0, len(atoms), removed=3)).max() < RIGHT
    assert np.abs(kinetic_deviations(samples, 375.0, len(atoms), removed=3)).max() > WRONG
    assert np.abs(kinetic_deviations(samples, 300.0, len(atoms), removed=0)).max() > WRONG


def test_kinetic_energies_in_a_box():
    context, atoms = box_context(300.0, remove_motion=False)
    context.getIntegrator().step(200)
    samples = sample(context, 250, 10)
    assert np.abs(kinetic_deviations(samples, 300.0, len(atoms), removed=0)).max() < RIGHT
    assert np.abs(kinetic_deviations(samples, 400.0, len(atoms), removed=0)).max() > WRONG


PRESSURES, TEMPERATURE = (1500.0, 1800.0), 1000.0  # bar, K


def test_volumes_at_two_pressures():
    """And the check sees a barostat that believes in another temperature."""
    first, second, mistaken = (
        sample(gas_at(pressure, TEMPERATURE, believed), 500, 1, energies=False)
        for pressure, believed in [(PRESSURES[0], 1000.0), (PRESSURES[1], 1000.0), (PRESSURES[1], 1500.0)]
    )
    temperatures = (TEMPERATURE, TEMPERATURE)
    assert ensemble_deviation(first, second, temperatures, PRESSURES) < RIGHT
    assert ensemble_deviation(first, mistaken, temperatures, PRESSURES) > WRONG


def test_kinetic_energies_and_two_temperatures_for_longer():
    temperatures, runs = (275.0, 325.0), []
    for temperature in temperatures:
        context, atoms = complex_context(temperature)
        context.getIntegrator().step(2000)
        runs.append(sample(context, 1500, 10))
        found = kinetic_deviations(runs[-1], temperature, len(atoms), removed=3)
        print(f"{temperature} K: mean and width off by {found[0]:.2f} and {found[1]:.2f} standard errors")
        assert np.abs(found).max() < RIGHT
        assert np.abs(kinetic_deviations(runs[-1], 1.1 * temperature, len(atoms), removed=3)).max() > WRONG
    deviation = ensemble_deviation(*runs, temperatures)
    print(f"potential energies at two temperatures: {deviation:.2f} standard errors")
    assert deviation < RIGHT


def test_the_shipped_model_conserves_energy():
    """Fluctuations fall as the squared step, and no drift shows in double nor in single precision."""
    found = {
        (precision, step): nve_test(
            PRETRAINED, "sn2:Cl,Br,3.2", step, round(250 / step), precision, equilibration_ps=0.1
        )
        for precision, step in [("double", 0.5), ("double", 0.25), ("single", 0.5)]
    }
    ratio = found["double", 0.5].fluctuation / found["double", 0.25].fluctuation
    assert ratio == pytest.approx(4.0, rel=0.2)
    for result in found.values():
        assert result.fluctuation < 2e-3  # eV
        assert abs(result.drift) < 5.0 * result.drift_error + 0.05  # kT/ns/dof
