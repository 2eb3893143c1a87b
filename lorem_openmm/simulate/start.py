"""Where a simulation begins: topology, positions, molecules, and the charge as far as it is known."""

from typing import NamedTuple

import ase.cell
import numpy as np
from openmm import app, unit

from lorem_openmm.errors import ConfigError
from lorem_openmm.simulate.charges import OTHERS_NEUTRAL, UNKNOWN
from lorem_openmm.simulate.molecules import join_residues
from lorem_openmm.units import ANGSTROM_PER_NANOMETER


class Start(NamedTuple):
    """Where a simulation begins.

    Attributes:
        topology: OpenMM topology, with box vectors if periodic.
        positions: [n_atoms, 3] Å.
        molecules: indices of the atoms of each molecule.
        total_charge: Total charge in e of the molecules that LOREM acts in, as far as the source states it, which
            models that use it are given; None: not stated.
        charge_source: where the charge is from, in words.
        num_solute: number of molecules, the first ones, that LOREM acts in; None: all, there is no solvent.
    """

    topology: app.Topology
    positions: np.ndarray
    molecules: list[list[int]]
    total_charge: int | None = None
    charge_source: str = UNKNOWN
    num_solute: int | None = None

    @property
    def solute(self) -> list[list[int]]:
        """Indices of the atoms of each molecule that LOREM acts in."""
        return self.molecules[: self.num_solute]

    @property
    def openmm_positions(self) -> unit.Quantity:
        """The positions as OpenMM's quantity in nm, for ``setPositions`` and ``PDBFile.writeFile``."""
        return unit.Quantity(self.positions / ANGSTROM_PER_NANOMETER, unit.nanometer)

    @property
    def box(self) -> np.ndarray | None:
        """The box vectors [3, 3] in Å, one per row; None in vacuum."""
        vectors = self.topology.getPeriodicBoxVectors()
        return None if vectors is None else np.array(vectors.value_in_unit(unit.angstrom))

    def describe(self) -> str:
        """Returns atoms, molecules, box and charge in one line."""
        box = "no box (vacuum)"
        if self.box is not None:
            lengths, angles = np.split(ase.cell.Cell(self.box).cellpar(), 2)
            box = f"box {' x '.join(f'{x:.3f}' for x in lengths)} Å"
            if not np.allclose(angles, 90.0):
                box += f", angles {', '.join(f'{x:.2f}' for x in angles)} degrees"
        charge = "unknown" if self.total_charge is None else f"{self.total_charge:+d}" if self.total_charge else "0"
        counts = f"{len(self.positions)} atoms, molecules: {len(self.molecules)}"
        return f"{counts}; {box}; total charge {charge} ({self.charge_source})"


def molecules_of(topology: app.Topology) -> list[list[int]]:
    """Returns the atoms of each molecule of a topology: residues, joined where a bond connects them."""
    residues = [atom.residue.index for atom in topology.atoms()]
    bonds = [(bond[0].residue.index, bond[1].residue.index) for bond in topology.bonds()]
    return [members.tolist() for members in join_residues(residues, bonds)]


def with_charge(start: Start, charge: int | None) -> Start:
    """Returns the start with the total charge that the configuration gives.

    It may complete what a file of formal charges states, which is often about some atoms only.

    Args:
        start: Where the simulation begins.
        charge: In e; None: as the structure states it.

    Raises:
        ConfigError: If the structure states another one.
    """
    if charge is None:
        return start
    if start.total_charge not in (None, charge) and not start.charge_source.endswith(OTHERS_NEUTRAL):
        raise ConfigError(
            f"charge: must be the total charge of the starting structure, {start.total_charge:+d} "
            f"({start.charge_source}); received {charge:+d}. Leave the key out, or start from another structure."
        )
    return start._replace(total_charge=charge, charge_source="`charge` of the configuration")
