"""A harmonic bias on a coordinate: the force, the way to its centre, and the energy along the coordinate.

The coordinate is an OpenMM force of its own, so that it also serves metadynamics or a user's own bias.
"""

from collections import Counter

import numpy as np
import openmm
from openmm import unit

from lorem_openmm import config
from lorem_openmm.errors import ConfigError
from lorem_openmm.simulate.molecules import find_sn2
from lorem_openmm.simulate.start import Start
from lorem_openmm.units import ANGSTROM_PER_NANOMETER, KJ_PER_MOL_PER_EV

SPRING = KJ_PER_MOL_PER_EV * ANGSTROM_PER_NANOMETER**2  # kJ/mol/nm² in 1 eV/Å²
NAME, CENTER, STIFFNESS = "bias", "bias_center", "bias_stiffness"  # of the force and its global parameters
PULL_STIFFNESS = 50.0  # eV/Å², while a structure is pulled to the centre
PULL_STEP = 0.1  # Å
PULL_ITERATIONS = 20
PULL_TOLERANCE = 0.05 * KJ_PER_MOL_PER_EV * ANGSTROM_PER_NANOMETER  # 0.05 eV/Å
REACHED = 0.5  # Å from the centre, above which it was not reached
RELAX_ITERATIONS = 500  # of a structure of the static profile
RELAX_TOLERANCE = PULL_TOLERANCE / 25  # weak enough for the torques between distant molecules


def coordinate_force(start: Start, coordinate: config.Coordinate) -> openmm.Force:
    """Returns a force whose energy in kJ/mol is the coordinate in nm, for CustomCVForce or BiasVariable.

    ``bond_difference``: ξ = |r_X − r_C| − |r_C − r_Y| of X⁻ + CH₃Y;
    ``center_distance``: ξ = |R_B − R_A| between the centres of mass of the first two molecules.

    Args:
        start: Topology and molecules.
        coordinate: Name of the coordinate.

    Raises:
        ConfigError: If the structure does not have it.
    """
    symbols = [atom.element.symbol for atom in start.topology.atoms()]
    force: openmm.Force
    if coordinate == "bond_difference":
        atoms = find_sn2(symbols, start.molecules)
        if atoms is None:
            counts = ", ".join(f"{number} {symbol}" for symbol, number in Counter(symbols).items())
            raise ConfigError(
                "coordinate: bond_difference needs X- + CH3Y (two halogens, one carbon, hydrogens); the start has "
                f"{counts}. Choose another start, or center_distance"
            )
        force = openmm.CustomCompoundBondForce(3, "distance(p1, p2) - distance(p2, p3)")
        force.addBond([*atoms], [])
    else:
        if len(start.molecules) < 2:
            raise ConfigError(
                f"coordinate: center_distance needs at least two molecules, the start has {len(start.molecules)}"
            )
        force = openmm.CustomCentroidBondForce(2, "distance(g1, g2)")
        for members in start.molecules[:2]:
            force.addGroup(members)  # weights: masses
        force.addBond([0, 1], [])
    force.setUsesPeriodicBoundaryConditions(start.topology.getPeriodicBoxVectors() is not None)
    return force


def add_bias(system: openmm.System, start: Start, bias: config.Bias) -> openmm.CustomCVForce:
    """Adds U = ½ · stiffness · (ξ − center)² to a system.

    Centre and stiffness are the global parameters ``bias_center`` (nm) and ``bias_stiffness`` (kJ/mol/nm²), so that a
    Context can change them.

    Args:
        system: Gets the force.
        start: Topology and molecules.
        bias: Coordinate, centre and stiffness.

    Raises:
        ConfigError: If the structure does not have the coordinate.
    """
    force = openmm.CustomCVForce(f"0.5 * {STIFFNESS} * (coordinate - {CENTER})^2")
    force.setName(NAME)
    force.addGlobalParameter(CENTER, bias.center / ANGSTROM_PER_NANOMETER)
    force.addGlobalParameter(STIFFNESS, bias.stiffness * SPRING)
    force.addCollectiveVariable("coordinate", coordinate_force(start, bias.coordinate))
    system.addForce(force)
    return force


def find_bias(system: openmm.System) -> openmm.CustomCVForce | None:
    """Returns the bias of a system, if it has one."""
    return next((force for force in system.getForces() if force.getName() == NAME), None)


def measure(context: openmm.Context, force: openmm.CustomCVForce) -> float:
    """Returns the coordinate in Å at the positions of a Context."""
    return ANGSTROM_PER_NANOMETER * force.getCollectiveVariableValues(context)[0]


def pull(context: openmm.Context, force: openmm.CustomCVForce) -> None:
    """Moves the coordinate to the centre of the bias, in steps of at most 0.1 Å that relax everything else.

    Args:
        context: Context with positions; gets new ones.
        force: The bias.

    Raises:
        ConfigError: If the coordinate stays more than 0.5 Å away.
    """
    own, center = context.getParameter(STIFFNESS), context.getParameter(CENTER) * ANGSTROM_PER_NANOMETER
    begun = measure(context, force)
    context.setParameter(STIFFNESS, max(own, PULL_STIFFNESS * SPRING))
    count = max(1, int(np.ceil(abs(center - begun) / PULL_STEP)))
    for value in np.linspace(begun, center, count + 1)[1:]:
        context.setParameter(CENTER, value / ANGSTROM_PER_NANOMETER)
        openmm.LocalEnergyMinimizer.minimize(context, PULL_TOLERANCE, PULL_ITERATIONS)
    reached = measure(context, force)
    context.setParameter(STIFFNESS, own)
    if not abs(reached - center) < REACHED:  # also if it is not a number
        raise ConfigError(
            f"bias.center: the structure must be able to reach it; pulled from {begun:.2f} Å towards {center:.2f} Å, "
            f"it stays at {reached:.2f} Å. Choose a centre that atoms do not block"
        )


def relax_at(
    context: openmm.Context, force: openmm.CustomCVForce, center: float, stiffness: float
) -> tuple[float, float]:
    """Minimises with the bias at a centre and returns coordinate in Å and energy in eV, the bias's left out.

    The minimum of E + ½·stiffness·(ξ − center)² is also that of E at its own ξ, whatever the stiffness: so energy and
    coordinate are a point of the static profile.

    Args:
        context: Context with positions; gets new ones.
        force: The bias.
        center: Å.
        stiffness: eV/Å².
    """
    context.setParameter(CENTER, center / ANGSTROM_PER_NANOMETER)
    context.setParameter(STIFFNESS, stiffness * SPRING)
    openmm.LocalEnergyMinimizer.minimize(context, RELAX_TOLERANCE, RELAX_ITERATIONS)
    context.setParameter(STIFFNESS, 0.0)
    energy = context.getState(energy=True).getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole)
    return measure(context, force), energy / KJ_PER_MOL_PER_EV
