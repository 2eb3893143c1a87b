"""The total charge of a structure, as far as its source states it; it is never guessed."""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from openmm import app
from openmm.app.internal.pdbx.reader.PdbxReader import PdbxReader

from lorem_openmm.errors import DataError

INFO_KEYS = ("total_charge", "charge")  # in the comment line of an extended XYZ file
UNKNOWN = "not stated"


class TotalCharge(NamedTuple):
    """A total charge and where it is from.

    Attributes:
        value: Value in e; None if the source states none.
        source: Source of the charge, in words.
    """

    value: int | None
    source: str


def charge_of_info(info: Mapping[str, Any], path: Path) -> TotalCharge:
    """Returns the charge that the comment line of an extended XYZ file states as ``total_charge`` or ``charge``.

    Args:
        info: ASE's.
        path: Path, for messages.

    Raises:
        DataError: If it is not a whole number, or both are given and differ.
    """
    found = {key: _whole(info[key], f"{path}: `{key}`") for key in INFO_KEYS if key in info}
    if len(set(found.values())) > 1:
        raise DataError(f"{path}: `total_charge` and `charge` must be the same; received {found}")
    for key, value in found.items():
        return TotalCharge(value, f"`{key}` of the comment line")
    return TotalCharge(None, UNKNOWN)


def charge_of_atoms(topology: app.Topology, path: Path, name: str, is_pdb: bool) -> TotalCharge:
    """Returns the sum of the formal charges in a PDB file (columns 79-80) or PDBx file (``pdbx_formal_charge``).

    Atoms without an entry count as neutral if others have one, because many programs leave zeros out; the words of the
    source say how many do.

    Args:
        topology: Topology as OpenMM read it from the file.
        path: The file.
        name: Its name in errors.
        is_pdb: Whether it is a PDB file, and not a PDBx one.
    """
    atoms = list(topology.atoms())
    values = [atom.formalCharge for atom in atoms]
    if not is_pdb:  # OpenMM's reader leaves them out
        stated = _pdbx_charges(path, name)
        values = [stated.get(atom.id) for atom in atoms]
    given = [value for value in values if value is not None]
    if not given:
        return TotalCharge(None, UNKNOWN)
    return TotalCharge(sum(given), f"formal charges of {len(given)} of {len(atoms)} atoms, the others taken as neutral")


def _pdbx_charges(path: Path, name: str) -> dict[str, int]:
    """Returns the formal charge by the number of the atom, for those that have one."""
    blocks: list[Any] = []
    with path.open() as stream:
        PdbxReader(stream).read(blocks)
    table = blocks[0].getObj("atom_site")
    number, column = table.getAttributeIndex("id"), table.getAttributeIndex("pdbx_formal_charge")
    if column < 0:
        return {}
    charges = {}
    for row in table.getRowList():
        if row[column] not in ("?", "."):
            charges[row[number]] = _whole(row[column], f"{name}: `pdbx_formal_charge` of atom {row[number]}")
    return charges


def _whole(value: Any, place: str) -> int:
    with suppress(TypeError, ValueError):
        number = float(value)
        if np.isfinite(number) and abs(number - round(number)) <= 1e-6:
            return round(number)
    raise DataError(f"{place} must be a whole number of elementary charges; received {value!r}")
