"""Short Langevin trajectories with the engine's own forces: the structures that a simulation visits."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import ase.units
import numpy as np
from ase import Atoms

from lorem_openmm.label.acceptance import Frame, Labelled, Labeller
from lorem_openmm.label.engines import Engine, EngineFailure, Label

TIMESTEP_FS = 1.0
FRICTION_PER_PS = 5.0


class Step(NamedTuple):
    """One step of a trajectory: the structure and its label."""

    atoms: Atoms
    label: Label


def langevin(engine: Engine, atoms: Atoms, charge: int, temperature: float, rng: np.random.Generator) -> Iterator[Step]:
    """Runs Langevin dynamics with the engine's forces (BAOAB splitting), without end.

    Args:
        engine: Gives the forces, with its default settings.
        atoms: Starting structure.
        charge: Total charge in e.
        temperature: Temperature in K, of the starting velocities too.
        rng: Source of random numbers.

    Yields:
        The starting structure and each step after it, with labels.

    Raises:
        EngineFailure: If the engine fails on a step.

    References:
        Leimkuhler, Matthews, Appl. Math. Res. Express 2013, 34 (2013).
    """
    timestep = TIMESTEP_FS * ase.units.fs
    masses = atoms.get_masses()[:, None]
    width = np.sqrt(ase.units.kB * temperature / masses)
    memory = np.exp(-FRICTION_PER_PS * 1e-3 * TIMESTEP_FS)
    velocities = width * rng.standard_normal((len(atoms), 3))
    current = Atoms(numbers=atoms.numbers, positions=atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
    label = engine.calculate(current, charge, engine.attempts[0])
    while True:
        yield Step(current.copy(), label)
        velocities += 0.5 * timestep * label.forces / masses
        current.positions += 0.5 * timestep * velocities
        noise = width * rng.standard_normal((len(atoms), 3))
        velocities = memory * velocities + np.sqrt(1 - memory**2) * noise
        current.positions += 0.5 * timestep * velocities
        label = engine.calculate(current, charge, engine.attempts[0])
        velocities += 0.5 * timestep * label.forces / masses


def sample_trajectory(
    labeller: Labeller,
    start: Frame,
    temperature: float,
    rng: np.random.Generator,
    n_frames: int,
    stride: int,
    describe: Callable[[Atoms], Frame | None],
) -> list[Labelled]:
    """Takes frames from a trajectory; a step that leaves the energy surface ends it and is counted.

    Args:
        labeller: Checks and counts.
        start: Starting structure.
        temperature: Temperature in K.
        rng: Source of random numbers.
        n_frames: Number of frames wanted.
        stride: Steps between frames.
        describe: Makes a frame of a structure, or nothing where the trajectory should end.

    Returns:
        The accepted frames, at most ``n_frames``.
    """
    kept: list[Labelled] = []
    last: Labelled | None = None
    try:
        steps = langevin(labeller.engine, start.atoms, start.charge, temperature, rng)
        for index, step in zip(range(n_frames * stride + 1), steps, strict=False):
            current = Labelled(Frame(step.atoms, start.charge), step.label, 0)
            if last is not None and labeller.discontinuous(last, current.frame, step.label):
                labeller.reject("discontinuous")
                break
            last = current
            if index == 0 or index % stride:
                continue
            frame = describe(step.atoms)
            if frame is None:
                break
            if (labelled := labeller.label(frame)) is None:
                break
            kept.append(labelled)
    except EngineFailure as failure:
        labeller.reject(failure.reason)
    return kept
