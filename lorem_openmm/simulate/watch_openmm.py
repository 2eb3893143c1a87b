"""What a watch sees of an OpenMM simulation, and errors judged by the state they leave behind."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import openmm
from openmm import app, unit

from lorem_openmm import config
from lorem_openmm.simulate.engine import degrees_of_freedom
from lorem_openmm.simulate.start import Start
from lorem_openmm.simulate.watch import Frame, Watch
from lorem_openmm.simulate.watch_energy import Energies, Ensemble
from lorem_openmm.simulate.watch_structure import Subject
from lorem_openmm.units import KJ_PER_MOL_PER_EV

SPAN = "span less than half"  # in what the force says of molecules that are too far apart in their box
ADVICE = (
    "Use a shorter time step or a lower temperature; if that does not help, the model was not trained on structures "
    "like these. Reactions that are wanted are declared by `reactive`"
)


def watch_start(start: Start, system: openmm.System, dynamics: config.Dynamics) -> Watch:
    """Returns the watch of a prepared simulation, which compares with the structure as it was given.

    Args:
        start: Before it is minimised.
        system: System of the same atoms.
        dynamics: Settings.

    Raises:
        ConfigError: If ``reactive`` names an atom that is not there.
    """
    atoms = None if start.num_solute is None else [atom for members in start.solute for atom in members]
    subject = subject_of(start.topology, start.positions, start.molecules, atoms)
    ensemble = Ensemble(dynamics.temperature, degrees_of_freedom(system), dynamics.friction_per_ps > 0)
    return Watch(subject, dynamics.reactive, ensemble)


def frame_of(dynamics: app.Simulation, state: openmm.State, with_energies: bool = True) -> Frame:
    """Returns what the watch looks at.

    Args:
        dynamics: Where the state is from, at the same step.
        state: State with positions.
        with_energies: Whether the state has energies.
    """
    periodic = dynamics.system.usesPeriodicBoundaryConditions()
    box = state.getPeriodicBoxVectors(asNumpy=True).value_in_unit(unit.angstrom) if periodic else None
    positions = state.getPositions(asNumpy=True).value_in_unit(unit.angstrom)
    frame = Frame(dynamics.currentStep, state.getTime().value_in_unit(unit.picosecond), positions, box)
    if not with_energies:
        return frame
    both = (state.getPotentialEnergy(), state.getKineticEnergy())
    in_ev = (energy.value_in_unit(unit.kilojoule_per_mole) / KJ_PER_MOL_PER_EV for energy in both)
    return frame._replace(energies=Energies(*in_ev))


def subject_of(
    topology: app.Topology,
    positions: np.ndarray,
    molecules: Sequence[Sequence[int]],
    atoms: Sequence[int] | None,
    box: np.ndarray | None = None,
) -> Subject:
    """Returns what is watched of a topology.

    Args:
        topology: Topology with the bonds it declares.
        positions: [n_atoms, 3] Å at the start.
        molecules: Indices of the atoms of each molecule.
        atoms: Those whose bonds are watched; None: all.
        box: [3, 3] Å; None: that of the topology.
    """
    vectors = topology.getPeriodicBoxVectors()
    if box is None and vectors is not None:
        box = np.array(vectors.value_in_unit(unit.angstrom))
    symbols = ["" if atom.element is None else atom.element.symbol for atom in topology.atoms()]
    bonds = [(first.index, second.index) for first, second in topology.bonds()]
    return Subject(symbols, positions, box, molecules, bonds, atoms)


@contextmanager
def judged(dynamics: app.Simulation, watch: Watch) -> Iterator[None]:
    """Where an error is raised, calls the run unstable if its positions say so; else the error goes on.

    What the error is called does not matter: it may be of the model's force, of OpenMM, or of a reporter.

    Args:
        dynamics: Dynamics in which it is raised.
        watch: Watch of the run.
    """
    begun = dynamics.currentStep
    try:
        yield
    except Exception as error:
        if not watch.verdict.stable:  # found by a reporter
            return
        frame = frame_of(dynamics, dynamics.context.getState(positions=True), with_energies=False)
        if SPAN in str(error):
            watch.condemn(
                f"between step {begun} and {frame.step} the molecules came to span half of the box, beyond which "
                "nearest images are ambiguous; hold them together with `restraint` and `restraint_distance`, or take a "
                "larger `solvent.box_edge`",
                frame.step,
                frame.time_ps,
            )
        elif watch.check(frame):
            raise
