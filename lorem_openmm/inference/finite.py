"""Positions, boxes and results that are not finite are errors, at every call and on every path.

Scriptable: one sum per call, which is finite if, and only if, all its terms are.
"""

import math
from typing import Tuple

import torch


def check_geometry(positions: torch.Tensor, cell: torch.Tensor, periodic: bool) -> None:
    """Refuses positions and, where it counts, a cell that are not finite.

    Args:
        positions: [n_atoms, 3], in the order of the caller.
        cell: [3, 3].
        periodic: whether the cell counts.

    Raises:
        RuntimeError: naming the first atom, or the cell.
    """
    if not math.isfinite(float(positions.sum())):
        first, count = _not_finite(positions)
        raise RuntimeError(
            f"positions: must be finite, received NaN or infinity for atom {first} (counted from 0 among those the "
            f"model sees), {count} of {positions.shape[0]}. In a simulation this means that it has become "
            "unstable: use a shorter time step, or minimise the energy of the starting structure."
        )
    if periodic and not math.isfinite(float(cell.sum())):
        raise RuntimeError(
            "cell: the box must be finite, received NaN or infinity. Set the cell of the structure, or the periodic "
            "box vectors of the topology or context."
        )


def check_volume(cell: torch.Tensor) -> None:
    """Refuses a cell [3, 3] without volume.

    Raises:
        RuntimeError: saying so.
    """
    if not bool(torch.abs(torch.linalg.det(cell)) > 1e-6):
        raise RuntimeError(
            "cell: the box must have a volume, received vectors that are zero or lie in a plane. Set the cell of the "
            "structure, or the periodic box vectors of the topology or context; without a box, pbc must be False."
        )


def soundness(energy: torch.Tensor, forces: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
    """Returns a number [1] in float64 that is finite if, and only if, all these are.

    Args:
        energy: [1] in float64.
        forces: [n_atoms, 3].
        positions: [n_atoms, 3] as the model got them, in its precision; in any order.
    """
    return energy + (forces + positions).sum()


def refuse_results(forces: torch.Tensor) -> None:
    """Raises the error of results that are not finite though positions and cell are.

    Raises:
        RuntimeError: always.
    """
    first, count = _not_finite(forces)
    raise RuntimeError(
        f"energy and forces: must be finite, received NaN or infinity, at atom {first} first (counted from 0 among "
        f"those the model sees), {count} of {forces.shape[0]}. Atoms lie on top of each other or far beyond "
        "any molecule, or the model's weights are damaged: look at the structure, and evaluate the model on its data."
    )


def _not_finite(rows: torch.Tensor) -> Tuple[int, int]:
    """Returns the first of the rows [n, 3] that are not finite, and their number."""
    wrong = torch.logical_not(torch.isfinite(rows).all(dim=1))
    return int(torch.argmax(wrong.to(torch.int8))), int(wrong.sum())
