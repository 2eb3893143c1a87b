"""Random structures of one S_N2 reaction: halogens off the axis, thermal displacements."""

from typing import NamedTuple

import numpy as np
from ase import Atoms
from scipy.spatial.transform import Rotation

from lorem_openmm.label.acceptance import Frame
from lorem_openmm.label.surfaces import surface_gap
from lorem_openmm.sampling.displacements import thermal_displacements
from lorem_openmm.sampling.sn2_path import BONDS, C, X, Y, barrier_distance, coordinate_at, sn2_path_point

CHARGE = -1
# Exponent of the separations' distribution: half of them lie within 18 % of the way out from the barrier.
SEPARATION_POWER = 2.5
# Standard deviation of the angle by which the free halogen is turned off the axis: at the barrier, its growth with
# the distance from carbon, and its limit (where any direction occurs), in degrees and degrees per Å.
BARRIER_ANGLE, ANGLE_GROWTH, LARGEST_ANGLE = 8.0, 18.0, 75.0
BARRIER = 2.2  # Å
# A halogen turned off the axis may overlap with the other atoms' van der Waals spheres by this much, Å.
SMALLEST_GAP = -0.6
MAX_TURNS = 8


class Reaction(NamedTuple):
    """A reaction and how far it can be followed.

    Attributes:
        x: Symbol of the halogen X of X⁻ + CH₃Y.
        y: Symbol of the halogen Y.
        reach: Largest C–X and largest C–Y distance in Å; 0 for a side that cannot be labelled.
    """

    x: str
    y: str
    reach: tuple[float, float]

    def frame(self, atoms: Atoms, source: str) -> Frame:
        """Describes a structure (order X, C, Y, H, H, H): the halogen farther out carries the charge."""
        atoms = Atoms(numbers=atoms.numbers, positions=atoms.positions)
        to_x, to_y = atoms.get_distance(X, C), atoms.get_distance(Y, C)
        atoms.info = {
            "reaction": f"{self.x}-{self.y}",
            "source": source,
            "profile": source == "profile",
            "reaction_coordinate": round(to_x - to_y, 6),
            "separation": round(max(to_x, to_y), 6),
        }
        ion = np.array([X if to_x - to_y > self.barrier_coordinate else Y])
        rest = np.setdiff1d(np.arange(len(atoms)), ion)
        return Frame(atoms, CHARGE, ((ion, CHARGE), (rest, 0)))

    @property
    def barrier_coordinate(self) -> float:
        """Reaction coordinate in Å at which both bonds are stretched equally."""
        return BONDS[self.x] - BONDS[self.y]

    def within_reach(self, frame: Frame) -> bool:
        """Returns whether a frame lies where the undisplaced path could be labelled."""
        return bool(frame.atoms.info["separation"] <= self.reach[0 if x_is_ion(frame) else 1])

    def place(self, share: float, rng: np.random.Generator) -> Atoms:
        """Returns the undisplaced complex with the free halogen turned off the axis.

        Args:
            share: Where on the way from the products (0) over the barrier to the reactants (1).
            rng: Source of random numbers.
        """
        forward_reach, backward_reach = self.reach
        if not forward_reach or not backward_reach:  # only one side
            share = 0.5 * (1 + share) if forward_reach else 0.5 * (1 - share)
        forward = share > 0.5
        nearest = barrier_distance(self.x, self.y, forward)
        farthest = forward_reach if forward else backward_reach
        separation = nearest + (farthest - nearest) * abs(2 * share - 1) ** SEPARATION_POWER
        if forward:
            return _scattered(sn2_path_point(self.x, self.y, coordinate_at(self.x, self.y, separation)), X, rng)
        return _scattered(sn2_path_point(self.x, self.y, -coordinate_at(self.y, self.x, separation)), Y, rng)

    def displaced(self, place: Atoms, temperature: float, rng: np.random.Generator, source: str) -> Frame:
        """Returns a frame with thermal displacements from ``place``."""
        atoms = Atoms(numbers=place.numbers, positions=place.positions)
        atoms.positions += thermal_displacements(atoms.numbers, atoms.positions, temperature, rng)
        return self.frame(atoms, source)


def x_is_ion(frame: Frame) -> bool:
    """Returns whether X is the free halogen (the reactants' side)."""
    return bool(frame.groups[0][0][0] == X)


def _scattered(atoms: Atoms, halogen: int, rng: np.random.Generator) -> Atoms:
    """Turns a halogen about the carbon, more the farther out it is, without running into the other atoms."""
    others = np.setdiff1d(np.arange(len(atoms)), [halogen])

    def gap(place: np.ndarray) -> float:
        return surface_gap(atoms.numbers[[halogen]], place[None, :], atoms.numbers[others], atoms.positions[others])

    on_axis = atoms.positions[halogen].copy()
    distance = float(np.linalg.norm(on_axis))
    width = min(BARRIER_ANGLE + ANGLE_GROWTH * max(0.0, distance - BARRIER), LARGEST_ANGLE)
    smallest = min(gap(on_axis), SMALLEST_GAP)
    for _ in range(MAX_TURNS):
        azimuth = 2 * np.pi * rng.random()
        angle = np.radians(width * rng.standard_normal())
        turn = Rotation.from_rotvec(angle * np.array([np.cos(azimuth), np.sin(azimuth), 0.0]))
        place = turn.apply(on_axis)
        if gap(place) >= smallest:
            atoms.positions[halogen] = place
            break
    return atoms
