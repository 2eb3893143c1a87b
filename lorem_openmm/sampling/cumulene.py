"""Cumulenes H₂C(=C)ₙ₋₂=CH₂: rattled chains with end groups turned by any dihedral, and undisplaced dihedral scans.

The energy depends on how the end groups are turned against each other although they are far apart, because the
orientation of one sets that of the π orbitals all along the chain: a test of whether a model can carry an orientation
from one end to the other. xTB here is closed-shell with fractional occupation, so the planar chain of an odd number of
carbons, a diradical, is a maximum of the energy with a rounded tip.

References:
    O. T. Unke, S. Chmiela, M. Gastegger, K. T. Schütt, H. E. Sauceda, K.-R. Müller, Nat. Commun. 12, 7273 (2021).
"""

import numpy as np
from ase import Atoms

from lorem_openmm.config import CumuleneLabel
from lorem_openmm.label.acceptance import Frame, Labelled, Labeller
from lorem_openmm.label.plan import Part, Plan, Unit
from lorem_openmm.sampling.displacements import random_rotation, thermal_displacements

CARBON_BOND, HYDROGEN_BOND = 1.28, 1.09  # Å
BOND_ANGLE = 121.0  # H-C-C, degrees
FRAMES_PER_UNIT = 20
PROFILE_RANGE = 180.0  # degrees; the energy repeats from there


class CumulenePlan(Plan[CumuleneLabel]):
    """Makes the chains of ``section``."""

    @property
    def n_requested(self) -> int:
        """Returns the number of frames asked for."""
        return self.section.num_frames + self.section.num_profile_frames * len(self.section.carbons)

    def first_stage(self) -> list[Unit]:
        """One dihedral scan per chain length, and the rattled frames in portions, the lengths in turn."""
        carbons = self.section.carbons
        units = []
        if self.section.num_profile_frames:
            units += [Unit(f"profile-{n}", {"kind": "profile", "carbons": n}) for n in carbons]
        for first in range(0, self.section.num_frames, FRAMES_PER_UNIT):
            last = min(first + FRAMES_PER_UNIT, self.section.num_frames)
            lengths = [carbons[index % len(carbons)] for index in range(first, last)]
            units.append(Unit(f"rattled-{first}", {"kind": "rattled", "carbons": lengths}))
        return units

    def make(self, unit: Unit, labeller: Labeller, rng: np.random.Generator) -> Part:
        """Does one scan or one portion."""
        if unit.arguments["kind"] == "profile":
            kept = self._profile(labeller, unit.arguments["carbons"])
        else:
            frames = (self._rattled(n_carbons, rng) for n_carbons in unit.arguments["carbons"])
            kept = [item for item in map(labeller.label, frames) if item is not None]
        return Part(labeller.finish(kept, {"kind": "cumulene"}), {})

    def _profile(self, labeller: Labeller, n_carbons: int) -> list[Labelled]:
        """The scan, whose energies and forces must belong to one surface from frame to frame."""
        dihedrals = np.linspace(0.0, PROFILE_RANGE, self.section.num_profile_frames)
        frames = [_frame(cumulene(n_carbons, dihedral), dihedral, n_carbons, True) for dihedral in dihedrals]
        first = labeller.label(frames[0])
        if first is None:
            return []
        return [first, *labeller.follow(first, [(frame, labeller.attempt(frame)) for frame in frames[1:]])]

    def _rattled(self, n_carbons: int, rng: np.random.Generator) -> Frame:
        dihedral = 360.0 * rng.random()
        atoms = cumulene(n_carbons, dihedral)
        atoms.positions += thermal_displacements(atoms.numbers, atoms.positions, self.section.temperature, rng)
        atoms.positions = atoms.positions @ random_rotation(rng).T
        return _frame(atoms, dihedral, n_carbons, False)


def cumulene(n_carbons: int, dihedral: float) -> Atoms:
    """Returns a straight chain of equal bonds along z, centre at the origin.

    Args:
        n_carbons: Number of carbon atoms.
        dihedral: Degrees by which the second end group is turned against the first; 0: planar.

    Returns:
        The carbons in order, then the two hydrogens of the first and the two of the last carbon.
    """
    z = CARBON_BOND * (np.arange(n_carbons) - (n_carbons - 1) / 2)
    angle = np.deg2rad(BOND_ANGLE)
    out, aside = -HYDROGEN_BOND * np.cos(angle), HYDROGEN_BOND * np.sin(angle)
    positions = [[0.0, 0.0, height] for height in z]
    for height, turn in ((z[0] - out, 0.0), (z[-1] + out, np.deg2rad(dihedral))):
        direction = np.array([np.cos(turn), np.sin(turn), 0.0])
        positions += [side * aside * direction + [0, 0, height] for side in (1, -1)]
    return Atoms(numbers=[6] * n_carbons + [1] * 4, positions=positions)


def _frame(atoms: Atoms, dihedral: float, n_carbons: int, profile: bool) -> Frame:
    atoms.info = {
        "source": "profile" if profile else "rattled",
        "label": f"C{n_carbons}H4",
        "carbons": n_carbons,
        "dihedral": round(float(dihedral), 6),
        "profile": profile,
    }
    return Frame(atoms, 0)
