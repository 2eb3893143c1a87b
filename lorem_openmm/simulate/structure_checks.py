"""What a structure must be before it can be simulated; faults are named by file and atom."""

import warnings
from collections.abc import Sequence

import numpy as np
from ase import Atoms
from ase.neighborlist import neighbor_list

from lorem_openmm.data.checks import MIN_DISTANCE
from lorem_openmm.errors import DataError

DENSEST = 1.0  # Å³ per atom; diamond has 5.7
FARTHEST = 1e5  # Å, where single precision still tells 0.01 Å apart
NUM_SHOWN = 3
WHOLE = 0.999  # of an atom: less is disorder


def check_structure(atoms: Atoms, name: str, dummy_box: bool) -> None:
    """Checks elements, positions and box, and takes away a box that stands for none.

    Args:
        atoms: Atoms as read.
        name: Name of the file.
        dummy_box: Whether a box of 1 x 1 x 1 Å stands for none in such files.

    Raises:
        DataError: If an atom has no element, no place, a place that another one has, or is there in part only; if the
            structure is periodic in some directions only, or its box is too small for its atoms.
    """
    if len(atoms) == 0:
        raise DataError(f"{name}: must hold at least one atom, received none")
    unknown = np.flatnonzero(atoms.numbers == 0)
    if len(unknown):
        raise DataError(
            f"{name}: must hold at least one atom, and only chemical elements; received {atoms.symbols}, in which "
            f"{_listed(unknown)} of element X; write the element, or remove dummy atoms"
        )
    if not np.isfinite(atoms.cell[:]).all():
        raise DataError(f"{name}: the box must be of finite numbers; received {atoms.cell[:].tolist()}")
    nowhere = np.flatnonzero(~(np.abs(atoms.positions) <= FARTHEST).all(axis=1))
    if len(nowhere):
        first = int(nowhere[0])
        raise DataError(
            f"{name}: positions must be finite numbers, of at most {FARTHEST:g} Å; received "
            f"{atoms.positions[first].tolist()} for atom {first} ({atoms.symbols[first]}, counted from 0), one of "
            f"{len(nowhere)} such; write the structure again"
        )
    _check_occupancies(atoms, name)
    _check_box(atoms, name, dummy_box)
    _check_places(atoms, name)


def _check_occupancies(atoms: Atoms, name: str) -> None:
    """Checks that a crystal is ordered: ASE keeps the largest part of each site, silently."""
    for site, parts in atoms.info.get("occupancy", {}).items():
        if len(parts) > 1 or min(parts.values()) < WHOLE:
            shares = ", ".join(f"{share:g} {symbol}" for symbol, share in parts.items())
            raise DataError(
                f"{name}: every site must hold one whole atom; site {site} of the CIF holds {shares}. Choose one "
                "of the arrangements that the average stands for, and write it as a structure of its own"
            )


def _check_box(atoms: Atoms, name: str, dummy_box: bool) -> None:
    if atoms.pbc.any() and not atoms.pbc.all():
        raise DataError(
            f"{name}: must be periodic in all three directions or in none; received pbc = {atoms.pbc.tolist()}"
        )
    if not atoms.pbc.all():
        atoms.set_cell(None)
        return
    if dummy_box and np.allclose(atoms.cell.lengths(), 1.0, atol=1e-3):
        warnings.warn(
            f"{name}: its box of 1 x 1 x 1 Å stands for no box (structures that are not crystals), so this is run in "
            "vacuum. If it is to be periodic, write the box into the file",
            stacklevel=3,
        )
        atoms.set_cell(None)
        atoms.pbc = False
    elif abs(atoms.cell.volume) < DENSEST * len(atoms):
        raise DataError(
            f"{name}: a periodic cell must have at least {DENSEST:g} Å^3 per atom; received {len(atoms)} atoms in "
            f"{abs(atoms.cell.volume):.3g} Å^3 (no volume, or lengths in nm?)"
        )


def _check_places(atoms: Atoms, name: str) -> None:
    first, second, distances = neighbor_list("ijd", atoms, MIN_DISTANCE)
    pairs = [(i, j, d) for i, j, d in zip(first.tolist(), second.tolist(), distances.tolist(), strict=True) if i < j]
    if not pairs:
        return
    shown = ", ".join(f"{atoms.symbols[i]}{i} and {atoms.symbols[j]}{j} ({d:.3f} Å)" for i, j, d in pairs[:NUM_SHOWN])
    more = f" and {len(pairs) - NUM_SHOWN} more pairs" if len(pairs) > NUM_SHOWN else ""
    raise DataError(
        f"{name}: atoms must be at least {MIN_DISTANCE:g} Å apart; received {shown}{more}, counted from 0. Remove the "
        "second of each pair (a copy, or an alternate place), or write positions in Å"
    )


def _listed(indices: Sequence[int] | np.ndarray) -> str:
    shown = ", ".join(str(index) for index in indices[:NUM_SHOWN])
    return f"{'atoms' if len(indices) > 1 else 'atom'} {shown}{', ...' if len(indices) > NUM_SHOWN else ''} (from 0)"
