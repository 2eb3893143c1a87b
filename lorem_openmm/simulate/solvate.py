"""Molecules in water: LOREM acts in the molecules, a force field between them and the water, and in the water.

The energy of a mixed system with mechanical embedding (openmm-ml) is

    E = E_LOREM(molecules, in vacuum) + E_MM(everything) − E_MM(pairs, bonds, angles, torsions within the molecules).

Charges of the force field also stand for what the molecules feel of their own images in the other boxes.
"""

import copy
import random
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import openmm
from openmm import app, unit
from openmmml import MLPotential

from lorem_openmm import config
from lorem_openmm.errors import ConfigError, SimulationError
from lorem_openmm.integrations.polar_hydrogens import EPSILON, SIGMA, bare_hydrogens
from lorem_openmm.progress import progress
from lorem_openmm.simulate.box_size import check_box
from lorem_openmm.simulate.force_fields import (
    check_known,
    check_order,
    force_field,
    force_field_system,
    total_charge,
    with_bonds,
)
from lorem_openmm.simulate.start import Start, molecules_of
from lorem_openmm.units import ANGSTROM_PER_NANOMETER, KJ_PER_MOL_PER_EV

NEUTRAL = 1e-3  # e, below which a charge is rounding
WATER = "HOH"
# Water alone: rigid molecules take long steps, and strong friction brings them to their temperature within 0.1 ps.
WATER_STEP = 0.002  # ps
WATER_FRICTION = 10.0  # 1/ps
RELAX_TOLERANCE, RELAX_ITERATIONS = 100.0, 50  # kJ/mol/nm: only what was put too close
BAROSTAT_INTERVAL = 10  # steps: a box that is 7 % too thin needs many small moves
CHUNK = 50  # steps between two marks of the progress bar


def solvate(start: Start, solvent: config.Solvent, seed: int = 0) -> Start:
    """Returns the molecules in the middle of a box of water.

    The molecules stay the first ones. Those without bonds get them by distance, because force fields recognise a
    molecule by its elements and bonds.

    Args:
        start: Molecules in vacuum.
        solvent: Box and force field.
        seed: Which waters become ions, if the box is to be neutral.

    Raises:
        ConfigError: If the molecules have a box already, a molecule or a file is unknown to the force field, or the box
            is too small.
    """
    if start.topology.getPeriodicBoxVectors() is not None:
        raise ConfigError(
            "solvent: water fills a box of its own, so `start` must be molecules in vacuum; received a periodic "
            "structure; remove its box, or leave out `solvent`"
        )
    check_order(start)
    field = force_field(solvent.force_field)
    topology = with_bonds(start)
    check_known(field, topology, start, solvent)
    check_box(start.positions, solvent)
    middle = (start.positions.max(axis=0) + start.positions.min(axis=0)) / 2
    positions = start.positions - middle + solvent.box_edge / 2
    modeller = app.Modeller(topology, positions / ANGSTROM_PER_NANOMETER * unit.nanometer)
    box = openmm.Vec3(1, 1, 1) * (solvent.box_edge / ANGSTROM_PER_NANOMETER)
    with _seeded(seed):
        modeller.addSolvent(field, model="tip3p", boxSize=box, neutralize=solvent.neutralize)
    filled = np.array(modeller.positions.value_in_unit(unit.angstrom))
    return start._replace(
        topology=modeller.topology,
        positions=filled,
        molecules=molecules_of(modeller.topology),
        num_solute=len(start.molecules),
    )


def mixed_system(start: Start, solvent: config.Solvent, model: Path, **options: Any) -> openmm.System:
    """Returns the system in which LOREM acts in the molecules and the force field everywhere else.

    Args:
        start: Result of :func:`solvate`.
        solvent: The same as there.
        model: Model file.
        **options: Options of ``MLPotential("lorem")``.

    Raises:
        ModelFileError: If the model file is missing or damaged.
        UnknownElementError: If the model does not know an element.
    """
    known = force_field_system(start, solvent)
    charge = total_charge(known)
    if abs(charge) > NEUTRAL:
        warnings.warn(
            f"solvent: the charges of the force field sum to {charge:+.3f} e. PME spreads the opposite charge evenly "
            "over the box, which shifts energies and weighs on forces in small boxes; `neutralize: true` adds ions.",
            stacklevel=3,
        )
    potential = MLPotential("lorem", modelPath=str(model), boundary="vacuum")
    wall = solvent.polar_hydrogen_repulsion
    return potential.createMixedSystem(start.topology, known, _atoms(start), polarHydrogenRepulsion=wall, **options)


def equilibrate(
    start: Start,
    solvent: config.Solvent,
    positions: np.ndarray,
    temperature: float,
    pressure_bar: float,
    seed: int,
    *platform: Any,
) -> Start:
    """Lets the water move around the fixed molecules, by the force field alone, which costs little.

    Dynamics that starts from a minimum would be too cold by half of its kinetic energy, for many picoseconds, and a box
    just filled is too thin by about 7 %: here it shrinks to the density at the pressure.

    Args:
        start: Result of :func:`solvate`.
        solvent: The same as there.
        positions: [n_atoms, 3] Å, minimised.
        temperature: K.
        pressure_bar: bar.
        seed: Seed of velocities, thermostat and barostat, from 1.
        *platform: OpenMM's platform and its properties.

    Returns:
        The same molecules with their new positions and box.

    Raises:
        SimulationError: If the water becomes unstable.
    """
    steps = round(solvent.equilibration_ps / WATER_STEP)
    if steps == 0:
        return start._replace(positions=positions)
    system = _fixed_molecules(start, solvent)
    # One molecule for the barostat: else it would change their distance.
    system.addForce(_as_one_molecule(_atoms(start)))
    barostat = openmm.MonteCarloBarostat(pressure_bar, temperature, BAROSTAT_INTERVAL)
    barostat.setRandomNumberSeed(seed)
    system.addForce(barostat)
    integrator = openmm.LangevinMiddleIntegrator(temperature, WATER_FRICTION, WATER_STEP)
    integrator.setRandomNumberSeed(seed)
    context = openmm.Context(system, integrator, *platform)
    context.setPositions(positions / ANGSTROM_PER_NANOMETER)
    context.setVelocitiesToTemperature(temperature, seed)
    chunks = [CHUNK] * (steps // CHUNK) + [steps % CHUNK] * (steps % CHUNK > 0)
    for chunk in progress(chunks, len(chunks), "equilibrate water"):
        try:
            integrator.step(chunk)
        except openmm.OpenMMException as error:
            raise SimulationError(
                f"solvent: the water became unstable before the first step ({error!s:.120}); start from molecules that "
                "are farther apart, or at a lower temperature"
            ) from error
    state = context.getState(positions=True)
    topology = copy.deepcopy(start.topology)
    topology.setPeriodicBoxVectors(state.getPeriodicBoxVectors())
    moved = state.getPositions(asNumpy=True).value_in_unit(unit.angstrom)
    return start._replace(topology=topology, positions=moved)


def relax_water(start: Start, solvent: config.Solvent, *platform: Any) -> Start:
    """Moves the water off the fixed molecules, by the force field alone.

    Where water was put too close, the first steps of a minimisation would throw the model's atoms far apart.

    Args:
        start: Result of :func:`solvate`.
        solvent: The same as there.
        *platform: OpenMM's platform and its properties.
    """
    context = openmm.Context(_fixed_molecules(start, solvent), openmm.VerletIntegrator(WATER_STEP), *platform)
    context.setPositions(start.positions / ANGSTROM_PER_NANOMETER)
    openmm.LocalEnergyMinimizer.minimize(context, RELAX_TOLERANCE, RELAX_ITERATIONS)
    moved = context.getState(positions=True).getPositions(asNumpy=True).value_in_unit(unit.angstrom)
    return start._replace(positions=moved)


def _fixed_molecules(start: Start, solvent: config.Solvent) -> openmm.System:
    system = force_field_system(start, solvent)
    for index in _atoms(start):
        system.setParticleMass(index, 0.0)
    return system


def describe(start: Start, solvent: config.Solvent) -> dict[str, Any]:
    """Returns what a summary says about the solvent.

    Args:
        start: Result of :func:`solvate`.
        solvent: The same as there.
    """
    names = [residue.name for residue in start.topology.residues()][start.num_solute :]
    system = force_field_system(start, solvent)
    return {
        "n_waters": names.count(WATER),
        "ions": sorted(name for name in names if name != WATER),
        "total_charge": round(total_charge(system), 6) + 0.0,  # not −0
        "n_solute_molecules": start.num_solute,
        "n_solute_atoms": len(_atoms(start)),
        "polar_hydrogen_repulsion": _describe_repulsion(start, solvent, system),
    }


def _describe_repulsion(start: Start, solvent: config.Solvent, system: openmm.System) -> dict[str, Any] | None:
    """Returns the hydrogens that get a Lennard-Jones term towards the water, and the term; None: there are none."""
    hydrogens = bare_hydrogens(start.topology, system, _atoms(start)) if solvent.polar_hydrogen_repulsion else []
    if not hydrogens:
        return None
    names = [f"{atom.name} of {atom.residue.name}" for atom in start.topology.atoms()]
    return {
        "atoms": hydrogens,
        "names": [names[index] for index in hydrogens],
        "sigma_angstrom": SIGMA * ANGSTROM_PER_NANOMETER,
        "epsilon_ev": EPSILON / KJ_PER_MOL_PER_EV,
    }


def _atoms(start: Start) -> list[int]:
    return [index for members in start.solute for index in members]


def _as_one_molecule(atoms: Sequence[int]) -> openmm.HarmonicBondForce:
    """Tells OpenMM that atoms belong together, without any force between them."""
    force = openmm.HarmonicBondForce()
    for other in atoms[1:]:
        force.addBond(atoms[0], other, 0.0, 0.0)
    return force


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Seeds Python's generator, with which OpenMM chooses the waters that become ions, and puts it back."""
    before = random.getstate()
    random.seed(seed)
    try:
        yield
    finally:
        random.setstate(before)
