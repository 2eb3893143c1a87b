"""The total charge of a structure, as far as its source states it; it is never guessed."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from openmm import app
from openmm.app.internal.pdbx.reader.PdbxReader import PdbxReader

from lorem_openmm.charge import stated_charge, whole_charge
from lorem_openmm.errors import DataError

UNKNOWN = "not stated"
OTHERS_NEUTRAL = "the others taken as neutral"


class TotalCharge(NamedTuple):
    """A total charge and where it is from.

    Attributes:
        value: Value in e; None if the source states none.
        source: Source of the charge, in words.
    """

    value: int | None
    source: str


def charge_of_info(info: Mapping[str, Any], path: Path) -> TotalCharge:
    """Returns the charge that the comment line of an extended XYZ file states as ``charge``, ``total_charge``, ….

    Args:
        info: ASE's.
        path: Path, for messages.

    Raises:
        DataError: If it is not a whole number, or two are given that differ.
    """
    try:
        stated = stated_charge(info)
    except ValueError as error:
        raise DataError(f"{path}: {error}") from None
    if stated is None:
        return TotalCharge(None, UNKNOWN)
    name, value = stated
    if value is None:
        raise _not_whole(info[name], f"{path}: `{name}`")
    return TotalCharge(value, f"`{name}` of the comment line")


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
    return TotalCharge(sum(given), f"formal charges of {len(given)} of {len(atoms)} atoms, {OTHERS_NEUTRAL}")


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
    whole = whole_charge(value)
    if whole is None:
        raise _not_whole(value, place)
    return whole


def _not_whole(value: Any, place: str) -> DataError:
    return DataError(f"{place} must be a whole number of elementary charges; received {value!r}")
