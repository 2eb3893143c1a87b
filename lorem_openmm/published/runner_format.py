"""RuNNer ``input.data`` files (bohr, hartree) to extended XYZ (Å, eV).

References:
    RuNNer, https://theochemgoettingen.gitlab.io/RuNNer; n2p2, documentation of ``input.data``.
"""

from pathlib import Path

import numpy as np
from ase.data import atomic_numbers as numbers_by_symbol

from lorem_openmm.errors import DataError
from lorem_openmm.published.frame_writer import FrameWriter
from lorem_openmm.units import ANGSTROM_PER_BOHR, EV_PER_ANGSTROM_PER_HARTREE_PER_BOHR, EV_PER_HARTREE

_ATOM_FIELDS = 10  # keyword, x, y, z, element, charge, energy of the atom (unused), fx, fy, fz


def convert_runner(source: Path, writer: FrameWriter) -> None:
    """Writes every structure of an ``input.data`` file, one by one.

    Raises:
        DataError: If the file is cut off or a line breaks a rule; file and line are named.
    """
    open_frame: _OpenFrame | None = None
    with source.open(encoding="utf-8") as stream:
        for number, line in enumerate(stream, start=1):
            words = line.split()
            place = f"{source}, line {number}"
            if not words:
                continue
            if open_frame is None:
                if words != ["begin"]:  # RuNNer 2 may name columns after it; the published files do not
                    raise DataError(
                        f"{place}: a structure must start with a line 'begin', received '{line.strip()[:60]}'."
                    )
                open_frame = _OpenFrame(place)
            elif words[0] == "end":
                open_frame.write(writer)
                open_frame = None
            else:
                open_frame.add(words, place)
    if open_frame is not None:
        raise DataError(
            f"{open_frame.place}: this structure has no 'end': the file was cut off. Remove it and fetch it again."
        )


class _OpenFrame:
    """A structure whose lines, between ``begin`` and ``end``, are being read."""

    def __init__(self, place: str) -> None:
        self.place = place
        self.symbols: list[str] = []
        self.rows: list[list[str]] = []
        self.lattice: list[list[str]] = []
        self.single: dict[str, str] = {}

    def add(self, words: list[str], place: str) -> None:
        keyword = words[0]
        if keyword == "atom" and len(words) == _ATOM_FIELDS:
            self.symbols.append(words[4])
            self.rows.append(words[1:4] + words[7:10])
        elif keyword == "lattice" and len(words) == 4:
            self.lattice.append(words[1:])
        elif keyword in ("energy", "charge") and len(words) == 2 and keyword not in self.single:
            self.single[keyword] = words[1]
        elif keyword != "comment":
            raise DataError(
                f"{place}: must be `atom x y z element charge energy fx fy fz`, `lattice x y z`, `energy E`, "
                f"`charge Q` (once each) or a comment, received '{' '.join(words)[:80]}'."
            )

    def write(self, writer: FrameWriter) -> None:
        if not self.rows or "energy" not in self.single or len(self.lattice) not in (0, 3):
            raise DataError(
                f"{self.place}: a structure needs atoms, an energy, and three lattice vectors or none; received "
                f"{len(self.rows)} atoms, {'an' if 'energy' in self.single else 'no'} energy, {len(self.lattice)} "
                "lattice vectors."
            )
        unknown = sorted(set(self.symbols) - numbers_by_symbol.keys())
        if unknown:
            raise DataError(f"{self.place}: elements must be chemical symbols, received {', '.join(unknown)[:60]}.")
        try:
            values = np.array(self.rows, dtype=np.float64)
            cell = np.array(self.lattice, dtype=np.float64) * ANGSTROM_PER_BOHR if self.lattice else None
            single = {key: float(value) for key, value in self.single.items()}
        except ValueError as error:
            raise DataError(f"{self.place}: not a number in this structure ({error}).") from None
        writer.write(
            atomic_numbers=np.array([numbers_by_symbol[symbol] for symbol in self.symbols]),
            positions=values[:, :3] * ANGSTROM_PER_BOHR,
            forces=values[:, 3:] * EV_PER_ANGSTROM_PER_HARTREE_PER_BOHR,
            energy=single["energy"] * EV_PER_HARTREE,
            cell=cell,
            info=[("charge", single["charge"])] if "charge" in single else [],
        )
