"""The force field of the water around molecules, and what it must know of the molecules."""

import copy
from collections.abc import Sequence
from importlib.resources import files

import openmm
from ase import Atoms
from openmm import app, unit

from lorem_openmm import config
from lorem_openmm.errors import ConfigError
from lorem_openmm.simulate.molecules import bonds
from lorem_openmm.simulate.start import Start
from lorem_openmm.units import ANGSTROM_PER_NANOMETER

SHIPPED = {"fragments": "fragments.xml"}
SWITCH = 1.0  # Å before the cutoff from which Lennard-Jones falls to zero, so that no force jumps


def force_field(names: Sequence[str]) -> app.ForceField:
    """Returns the force field of files, which may be OpenMM's, the shipped ``fragments``, or the user's own.

    Raises:
        ConfigError: If a file is missing, or is not a force field that goes with the others.
    """
    paths = [str(files("lorem_openmm.simulate").joinpath(SHIPPED[name])) if name in SHIPPED else name for name in names]
    try:
        return app.ForceField(*paths)
    except Exception as error:  # of parsers as well
        raise ConfigError(
            f"solvent.force_field: {', '.join(names)} must be OpenMM force-field files that go together "
            f"({error!s:.200}); give their paths, names of OpenMM's own such as amber14/tip3p.xml, or `fragments`"
        ) from None


def force_field_system(start: Start, solvent: config.Solvent) -> openmm.System:
    """Returns the system of the force field alone: PME, rigid water, no other constraints.

    Args:
        start: Result of :func:`solvate`.
        solvent: The same as there.
    """
    cutoff = solvent.cutoff / ANGSTROM_PER_NANOMETER
    return force_field(solvent.force_field).createSystem(
        start.topology,
        nonbondedMethod=app.PME,
        nonbondedCutoff=cutoff,
        switchDistance=cutoff - SWITCH / ANGSTROM_PER_NANOMETER,
        rigidWater=True,
    )


def total_charge(system: openmm.System) -> float:
    """Returns the sum in e of the charges of a force field's system."""
    force = next(force for force in system.getForces() if isinstance(force, openmm.NonbondedForce))
    charges = [force.getParticleParameters(k)[0] for k in range(force.getNumParticles())]
    return float(sum(charge.value_in_unit(unit.elementary_charge) for charge in charges))


def check_order(start: Start) -> None:
    """Checks that the atoms of each molecule follow one another.

    Args:
        start: Molecules in vacuum.

    Raises:
        ConfigError: If they do not.
    """
    for number, members in enumerate(start.molecules, 1):
        if members[-1] - members[0] + 1 != len(members):
            shown = ", ".join(map(str, members[:4])) + (", ..." if len(members) > 4 else "")
            raise ConfigError(
                "solvent: the atoms of a molecule must follow one another, because force fields know whole residues; "
                f"received a structure whose molecule {number} has atoms {shown} (from 0); sort its lines"
            )


def with_bonds(start: Start) -> app.Topology:
    """Returns the topology with bonds by distance in residues that have none, by which force fields know them."""
    topology = copy.deepcopy(start.topology)
    bonded = {atom.residue for bond in topology.bonds() for atom in bond}
    for residue in topology.residues():
        if residue in bonded:
            continue
        members = list(residue.atoms())
        structure = Atoms([atom.element.atomic_number for atom in members], start.positions[[a.index for a in members]])
        for first, second in bonds(structure):
            topology.addBond(members[first], members[second])
    return topology


def check_known(field: app.ForceField, topology: app.Topology, start: Start, solvent: config.Solvent) -> None:
    """Checks that the force field knows every molecule.

    Args:
        field: Force field.
        topology: Topology with bonds.
        start: Molecules of the topology.
        solvent: Names of the files.

    Raises:
        ConfigError: If there is one that it does not know; its elements are named.
    """
    for residue in field.getUnmatchedResidues(topology):
        atoms = list(residue.atoms())
        number = next(k for k, members in enumerate(start.molecules, 1) if atoms[0].index in members)
        formula = Atoms([atom.element.atomic_number for atom in atoms]).get_chemical_formula()
        raise ConfigError(
            f"solvent.force_field: must have charges and Lennard-Jones parameters for every molecule; "
            f"{', '.join(solvent.force_field)} know none with the elements and bonds of {formula} (residue "
            f"{residue.name}, molecule {number}). Add an OpenMM force-field file with a residue of these atoms and "
            "bonds to solvent.force_field; it needs no bonded terms, LOREM replaces them"
        )
