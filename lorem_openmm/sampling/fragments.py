"""Amino-acid side-chain analogues: geometry, charge, family and multipoles of each.

The geometries in ``fragments.xyz`` are GFN2-xTB minima in vacuum (largest force 2e-4 eV/Å), rounded to 1e-4 Å; dipoles
and quadrupoles are GFN2-xTB's of these geometries, about their centres of mass.
"""

from functools import cache
from importlib.resources import files
from io import StringIO
from typing import NamedTuple

import ase.io
import numpy as np
from ase import Atoms

from lorem_openmm.errors import ConfigError, did_you_mean

FAMILIES = ("C", "P", "A")


class Fragment(NamedTuple):
    """A small molecule that stands for a side chain.

    Attributes:
        name: Its name in the configuration.
        charge: Total charge in e.
        family: C charged, P polar, A apolar.
        numbers: [n_atoms] atomic numbers.
        positions: [n_atoms, 3] positions in Å of the relaxed molecule, centre of mass at the origin.
        dipole: [3] e·Å, about the centre of mass.
        quadrupole: [3, 3] e·Å², ½ Σ q (3 r⊗r − r²) about the centre of mass.
    """

    name: str
    charge: int
    family: str
    numbers: np.ndarray
    positions: np.ndarray
    dipole: np.ndarray
    quadrupole: np.ndarray

    def atoms(self) -> Atoms:
        """Returns the relaxed molecule as ASE atoms, with its ``charge`` in their info."""
        return Atoms(numbers=self.numbers, positions=self.positions, info={"charge": self.charge})


@cache
def all_fragments() -> dict[str, Fragment]:
    """Returns every fragment by name, in the order of the file."""
    text = files("lorem_openmm.sampling").joinpath("fragments.xyz").read_text(encoding="utf-8")
    frames = ase.io.read(StringIO(text), index=":", format="extxyz")
    fragments = {}
    for atoms in frames:
        positions = atoms.positions - atoms.get_center_of_mass()
        info = atoms.info
        moments = np.asarray(info["dipole_moment"]), np.asarray(info["quadrupole_moment"]).reshape(3, 3)
        name, charge, family = str(info["name"]), int(info["charge"]), str(info["family"])
        fragments[name] = Fragment(name, charge, family, atoms.numbers, positions, *moments)
    return fragments


def fragment(name: str) -> Fragment:
    """Returns the fragment of that name.

    Raises:
        ConfigError: If there is none; the message lists the known ones.
    """
    known = all_fragments()
    if name not in known:
        raise ConfigError(
            f"fragments: no fragment named '{name}'.{did_you_mean(name, known)} Known: {', '.join(known)}"
        )
    return known[name]


def pair_class(first: Fragment, second: Fragment) -> str:
    """Returns the class of a dimer: AA, CA, CC, CP, PA or PP."""
    order = "CPA"
    return "".join(sorted((first.family, second.family), key=order.index))
