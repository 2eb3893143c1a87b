"""Whether a box of water is large enough, before and during a simulation of molecules in it."""

import warnings

import numpy as np

from lorem_openmm import config
from lorem_openmm.errors import ConfigError
from lorem_openmm.simulate.systems import Start

SHRINKS = 1.05  # a filled box has gaps at its faces and around the molecules, which pressure closes
SOFTNESS = 1.0  # Å by which molecules may press into their wall or grow


def check_box(positions: np.ndarray, solvent: config.Solvent) -> None:
    """Checks that a box of water is large enough for the molecules and the cutoff.

    Args:
        positions: [n_atoms, 3] Å, of the molecules.
        solvent: Box and cutoff.

    Raises:
        ConfigError: If it is too small.
    """
    extent = float(np.ptp(positions, axis=0).max())
    needed = SHRINKS * max(2 * solvent.cutoff, extent + solvent.cutoff, 2 * extent)
    if solvent.box_edge < needed:
        raise ConfigError(
            f"solvent.box_edge: must be at least {needed:.1f} Å: twice the cutoff ({solvent.cutoff:g} Å), the "
            f"molecules' extent ({extent:.1f} Å) plus the cutoff, and twice the extent, with {SHRINKS - 1:.0%} for the "
            f"box to shrink; received {solvent.box_edge:g} Å; take a larger box, or molecules that are closer together"
        )


def check_wall(start: Start, solvent: config.Solvent, restraint: float, reach: float) -> None:
    """Checks that a wall keeps two molecules within half of the box, beyond which nearest images are ambiguous.

    Args:
        start: Result of :func:`solvate`.
        solvent: The same as there.
        restraint: Stiffness of the wall; 0: none.
        reach: Å, distance of the centres at which the wall starts.

    Raises:
        ConfigError: If the molecules can be farther apart.
    """
    if len(start.solute) < 2:
        return
    if restraint == 0:
        warnings.warn(
            "restraint: is 0, so nothing holds the molecules together; the run will stop with an error if they span "
            "half of the box. Set `restraint` and `restraint_distance`, or take a large box.",
            stacklevel=3,
        )
        return
    sizes = []
    for members in start.solute:
        steps = start.positions[members] - start.positions[members].mean(axis=0)
        sizes.append(float(np.linalg.norm(steps, axis=1).max()))
    longest = solvent.box_edge / SHRINKS / 2 - sum(sizes) - SOFTNESS
    if reach > longest:
        raise ConfigError(
            f"restraint_distance: must keep the molecules within half of the box, so be at most {longest:.1f} Å where "
            f"solvent.box_edge is {solvent.box_edge:g} Å; received {reach:g} Å; take a nearer wall, or a box of at "
            f"least {solvent.box_edge + 2 * SHRINKS * (reach - longest):.1f} Å"
        )
