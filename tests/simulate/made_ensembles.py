"""Samples of ensembles, and how far physical_validation finds them from what they should be."""

from typing import NamedTuple

import numpy as np
import openmm
import openmm.app
import physical_validation
from ase import Atoms
from helpers import small_potential, topology_of
from openmmml import MLPotential

GROMACS = physical_validation.data.UnitData.units("GROMACS")  # kJ/mol, nm³, bar, ps
BAR = (openmm.unit.bar * openmm.unit.AVOGADRO_CONSTANT_NA).value_in_unit(
    openmm.unit.kilojoule_per_mole / openmm.unit.nanometer**3
)


class Samples(NamedTuple):
    """Along one run.

    Attributes:
        potential: [n] kJ/mol; empty where not asked for.
        kinetic: [n] kJ/mol; likewise.
        volumes: [n] nm³.
    """

    potential: np.ndarray
    kinetic: np.ndarray
    volumes: np.ndarray


def system_of(atoms: Atoms, model, **options) -> openmm.System:
    """A System of the model alone."""
    return MLPotential("lorem", modelPath=model).createSystem(topology_of(atoms), device="cpu", **options)


def langevin(system: openmm.System, atoms: Atoms, temperature: float, friction: float, step: float) -> openmm.Context:
    """A minimised Context with velocities; the friction in 1/ps and the step in ps."""
    integrator = openmm.LangevinMiddleIntegrator(temperature, friction, step)
    integrator.setRandomNumberSeed(1)
    context = openmm.Context(system, integrator, openmm.Platform.getPlatform("Reference"))
    if atoms.pbc.all():
        context.setPeriodicBoxVectors(*atoms.cell[:] / 10.0)
    context.setPositions(atoms.positions / 10.0)
    openmm.LocalEnergyMinimizer.minimize(context, maxIterations=50)
    context.setVelocitiesToTemperature(temperature, 1)
    return context


def sample(context: openmm.Context, n_samples: int, interval: int, energies: bool = True) -> Samples:
    """Every so many steps."""
    found = []
    for _ in range(n_samples):
        context.getIntegrator().step(interval)
        state = context.getState(energy=energies)
        both = (state.getPotentialEnergy()._value, state.getKineticEnergy()._value) if energies else (0.0, 0.0)
        found.append((*both, state.getPeriodicBoxVolume()._value))
    return Samples(*np.array(found).T)


def kinetic_deviations(samples: Samples, temperature: float, n_atoms: int, removed: int) -> tuple[float, float]:
    """Mean and width of the kinetic energy from a gamma distribution's, in standard errors."""
    data = physical_validation.data.SimulationData(
        units=GROMACS,
        ensemble=physical_validation.data.EnsembleData("NVT", natoms=n_atoms, volume=1.0, temperature=temperature),
        system=physical_validation.data.SystemData(
            natoms=n_atoms, nconstraints=0, ndof_reduction_tra=removed, ndof_reduction_rot=0
        ),
        observables=physical_validation.data.ObservableData(kinetic_energy=samples.kinetic),
    )
    return physical_validation.kinetic_energy.distribution(data, verbosity=0, bootstrap_seed=1)


def ensemble_deviation(
    first: Samples, second: Samples, temperatures: tuple[float, float], pressures: tuple[float, float] | None = None
) -> float:
    """How far ln p₂/p₁ is from its straight line, in standard errors.

    p of the potential energy at two temperatures and one volume, or of the volume at two pressures in bar. What
    physical_validation.ensemble.check does, but for its fixed 40 bins: they would need thousands of samples.
    """
    by_volume = pressures is not None
    (deviation,) = physical_validation.util.ensemble.check_1d(
        first.volumes if by_volume else first.potential,
        second.volumes if by_volume else second.potential,
        *(pressures if by_volume else temperatures),
        kb=GROMACS.kb,
        quantity="V" if by_volume else "U",
        dtemp=not by_volume,
        dpress=by_volume,
        dmu=False,
        temp=temperatures[0] if by_volume else None,
        pvconvert=BAR if by_volume else None,
        nbins=10,
        cutoff=0.001,
        bootstrap_seed=1,
        bootstrap_error=False,
        bootstrap_repetitions=200,
        verbosity=0,
        screen=False,
        filename=None,
        xlabel="",
        xunit=None,
        data_is_uncorrelated=False,
    )
    return deviation


def gas_at(pressure: float, temperature: float, barostat_temperature: float) -> openmm.Context:
    """27 atoms with random weights in a changing box, and a repulsion that keeps them apart; they are no molecules.

    Random weights attract more than they repel: larger ones let the gas condense, whose volume changes slowly.
    """
    places = np.stack(np.meshgrid(*[[1.0, 5.3, 9.6]] * 3), axis=-1).reshape(-1, 3)
    atoms = Atoms("C9O9Cl9", places, cell=[13.0] * 3, pbc=True)
    potential = small_potential(cutoff=3.0, smearing=0.75, wavelength=0.75)
    last = potential.model.long_range.readout.layers[-1].weight
    last.data *= 3.0
    system = system_of(atoms, potential, removeCMMotion=False)
    repulsion = openmm.CustomNonbondedForce("400*(0.12/r)^12")
    repulsion.setNonbondedMethod(openmm.CustomNonbondedForce.CutoffPeriodic)
    repulsion.setCutoffDistance(0.2)
    for _ in atoms:
        repulsion.addParticle([])
    repulsion.setForceGroup(1)
    system.addForce(repulsion)
    barostat = openmm.MonteCarloBarostat(pressure, barostat_temperature, 1)
    barostat.setRandomNumberSeed(1)
    system.addForce(barostat)
    # A barostat begins with moves of 1 % of the default volume: from a large one it need not learn the size of moves.
    system.setDefaultPeriodicBoxVectors(*np.eye(3) * 4.2)
    context = langevin(system, atoms, temperature, 20.0, 0.004)
    context.getIntegrator().step(100)
    return context
