"""S_N2 frames at charge −1: the undisplaced profile, displaced frames around it, trajectories, fragments."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
from ase import Atoms

from lorem_openmm.config import Sn2Label
from lorem_openmm.label.acceptance import Frame, Labelled, Labeller
from lorem_openmm.label.engines import Label
from lorem_openmm.label.plan import Part, Plan, Unit
from lorem_openmm.sampling.displacements import random_rotation, thermal_displacements
from lorem_openmm.sampling.sn2_path import barrier_distance, methyl_halide, profile_coordinates, sn2_path_point
from lorem_openmm.sampling.sn2_sampling import CHARGE, Reaction, x_is_ion
from lorem_openmm.sampling.trajectories import sample_trajectory

FRAGMENT_SHARE = 0.08
FRAMES_PER_UNIT = 20
STRIDE = 10  # steps of 1 fs between frames of a trajectory
START_SHARE = 0.25  # trajectories start at most this far along the way from the barrier
MAX_DRAWS = 8
# |E − sum of the free fragments| may be at most this far from zero at a separation r: a constant in eV and the
# energy of a charge in the field of a dipole and of what it induces, eV Å^2.
ANCHOR_CONSTANT, ANCHOR_DIPOLE = 0.1, 15.0
ANCHOR_FROM = 5.0  # Å
# A side that cannot be followed at least this far beyond the barrier is left out, Å.
SMALLEST_REACH = 0.3


class Sn2Plan(Plan[Sn2Label]):
    """Makes the frames of the reactions in ``section``."""

    @property
    def n_requested(self) -> int:
        """Returns the number of frames asked for."""
        return self.section.num_frames + self.section.num_profile_frames * len(self.section.reactions)

    def first_stage(self) -> list[Unit]:
        """One profile per reaction: it also finds how far the engine can follow the reaction."""
        return [
            Unit(f"profile-{index}-{x}-{y}", {"kind": "profile", "x": x, "y": y, "path_id": index})
            for index, (x, y) in enumerate(self.section.reactions)
        ]

    def second_stage(self, notes: dict[str, dict[str, Any]]) -> list[Unit]:
        """Fragments, displaced paths and trajectories, with sizes that add up to ``num_frames``."""
        total = self.section.num_frames
        halogens = sorted({symbol for reaction in self.section.reactions for symbol in reaction})
        n_fragments = round(FRAGMENT_SHARE * total)
        n_trajectories = round(self.section.trajectory_fraction * total)
        counts = {"trajectory": n_trajectories, "path": max(0, total - n_fragments - n_trajectories)}
        work = [
            (f"fragment-{symbol}", {"kind": "fragment", "x": symbol, "size": size})
            for symbol, size in zip(halogens, _shares(n_fragments, len(halogens)), strict=True)
        ]
        reactions = [
            {"x": unit.arguments["x"], "y": unit.arguments["y"], "reach": notes[unit.key]["reach"]}
            for unit in self.first_stage()
            if any(notes[unit.key]["reach"])
        ]
        for kind, count in counts.items():
            sizes = _shares(count, -(-count // FRAMES_PER_UNIT)) if reactions else []
            for index, size in enumerate(sizes):
                work.append((f"{kind}-{index}", {"kind": kind, "size": size, **reactions[index % len(reactions)]}))
        first = len(self.section.reactions)
        return [Unit(key, {**arguments, "path_id": first + i}) for i, (key, arguments) in enumerate(work)]

    def make(self, unit: Unit, labeller: Labeller, rng: np.random.Generator) -> Part:
        """Does one unit."""
        arguments = unit.arguments
        provenance = {"kind": "sn2", "path_id": arguments["path_id"]}
        if arguments["kind"] == "fragment":
            kept = self._fragments(labeller, rng, arguments["x"], arguments["size"])
            return Part(labeller.finish(kept, provenance), {})
        reaction = Reaction(arguments["x"], arguments["y"], tuple(arguments.get("reach", (0.0, 0.0))))
        if arguments["kind"] == "profile":
            kept = self._profile(labeller, reaction)
            return Part(labeller.finish(kept, provenance), {"reach": _reach(reaction, kept)})
        make = self._path if arguments["kind"] == "path" else self._trajectory
        return Part(labeller.finish(make(labeller, rng, reaction, arguments["size"]), provenance), {})

    def _profile(self, labeller: Labeller, reaction: Reaction) -> list[Labelled]:
        x, y, _ = reaction
        free = _free_energies(labeller, x, y)
        coordinates = profile_coordinates(x, y, self.section.max_separation, self.section.num_profile_frames)
        middle = int(np.abs(coordinates - reaction.barrier_coordinate).argmin())
        sides = coordinates[middle:], coordinates[:middle][::-1]  # each from the barrier outwards
        outward = [list(_walk(labeller, reaction, side, free)) for side in sides]
        # The frame farthest out is compared with the free fragments; from there the whole path must be continuous.
        path = outward[0][::-1] + outward[1]
        if not path:
            return []
        return [path[0], *labeller.follow(path[0], [(item.frame, item) for item in path[1:]])]

    def _fragments(self, labeller: Labeller, rng: np.random.Generator, x: str, size: int) -> list[Labelled]:
        """The halide ion once, the methyl halide in thermally displaced and turned copies."""
        info = {"source": "fragment", "profile": False, "reaction": "fragment"}
        kept = [labeller.label(Frame(Atoms(x, info={**info, "fragment": f"{x}-"}), CHARGE))]
        for _ in range(size - 1):
            atoms = methyl_halide(x)
            atoms.positions += thermal_displacements(atoms.numbers, atoms.positions, self.section.temperature, rng)
            atoms.positions = atoms.positions @ random_rotation(rng).T
            atoms.info.update(info, fragment=f"CH3{x}")
            kept.append(labeller.label(Frame(atoms, 0)))
        return [item for item in kept if item is not None]

    def _path(self, labeller: Labeller, rng: np.random.Generator, reaction: Reaction, size: int) -> list[Labelled]:
        """Pairs of frames with the same place on the path and different displacements, which check one another."""
        temperature = self.section.temperature
        kept: list[Labelled] = []
        n_pairs = -(-size // 2)
        for index in range(n_pairs):
            for _ in range(MAX_DRAWS):
                place = reaction.place((index + rng.random()) / n_pairs, rng)
                place.positions = place.positions @ random_rotation(rng).T
                pair = [reaction.displaced(place, temperature, rng, "path") for _ in range(2)]
                first, second = (labeller.label(frame) for frame in pair)
                if first is None or second is None:
                    continue
                if labeller.discontinuous(first, second.frame, second.label):
                    labeller.reject("discontinuous", 2)
                    continue
                kept += [first, second]
                break
        return kept[:size]

    def _trajectory(
        self, labeller: Labeller, rng: np.random.Generator, reaction: Reaction, size: int
    ) -> list[Labelled]:
        """Frames of trajectories that start near the barrier or in the wells beside it."""

        def describe(atoms: Atoms) -> Frame | None:
            frame = reaction.frame(atoms, "trajectory")
            return frame if reaction.within_reach(frame) else None

        temperature = self.section.temperature
        kept: list[Labelled] = []
        for _ in range(MAX_DRAWS):
            if len(kept) == size:
                break
            place = reaction.place(0.5 + START_SHARE * (2 * rng.random() - 1), rng)
            place.positions = place.positions @ random_rotation(rng).T
            start = reaction.displaced(place, temperature, rng, "trajectory")
            kept += sample_trajectory(labeller, start, temperature, rng, size - len(kept), STRIDE, describe)
        return kept


def _walk(
    labeller: Labeller, reaction: Reaction, coordinates: np.ndarray, free: dict[str, float]
) -> Iterator[Labelled]:
    for index, coordinate in enumerate(coordinates):
        frame = reaction.frame(sn2_path_point(reaction.x, reaction.y, coordinate), "profile")
        labelled = labeller.label(frame, also=partial(_off_anchor, free, frame))
        if labelled is None:  # once the charge leaks it leaks at all larger separations
            labeller.reject("beyond_reach", len(coordinates) - index - 1)
            return
        yield labelled


def _reach(reaction: Reaction, kept: list[Labelled]) -> tuple[float, float]:
    reach = []
    for forward in (True, False):
        far = [item.frame.atoms.info["separation"] for item in kept if x_is_ion(item.frame) == forward]
        nearest = barrier_distance(reaction.x, reaction.y, forward)
        reach.append(max(far) if far and max(far) > nearest + SMALLEST_REACH else 0.0)
    return reach[0], reach[1]


def _free_energies(labeller: Labeller, x: str, y: str) -> dict[str, float]:
    """Energies in eV of the separated fragments, by the ion's symbol; without those the engine fails on."""
    energies = {}
    for ion, bound in ((x, y), (y, x)):
        pieces = [labeller.label(Frame(Atoms(ion), CHARGE)), labeller.label(Frame(methyl_halide(bound), 0))]
        if all(piece is not None for piece in pieces):
            energies[ion] = sum(piece.label.energy for piece in pieces if piece is not None)
    return energies


def _off_anchor(free: dict[str, float], frame: Frame, label: Label) -> str | None:
    separation = frame.atoms.info["separation"]
    ion = frame.atoms.get_chemical_symbols()[frame.groups[0][0][0]]
    if separation < ANCHOR_FROM or ion not in free:
        return None
    limit = ANCHOR_CONSTANT + ANCHOR_DIPOLE / separation**2
    return "wrong_state" if abs(label.energy - free[ion]) > limit else None


def _shares(total: int, count: int) -> list[int]:
    return [total // count + (index < total % count) for index in range(count)]
