"""Dimers of side-chain analogues: from contact to far apart in one orientation, and trajectories near contact."""

from functools import partial
from typing import Any

import numpy as np
from ase import Atoms

from lorem_openmm.config import DimersLabel
from lorem_openmm.label.acceptance import Frame, Labelled, Labeller
from lorem_openmm.label.engines import Label
from lorem_openmm.label.plan import Part, Plan, Unit
from lorem_openmm.label.surfaces import contact_shift
from lorem_openmm.sampling.displacements import random_rotation, thermal_displacements
from lorem_openmm.sampling.encounters import downhill, draw_encounter, shares_hydrogen
from lorem_openmm.sampling.fragments import Fragment, fragment, pair_class
from lorem_openmm.sampling.trajectories import sample_trajectory
from lorem_openmm.units import COULOMB_EV_ANGSTROM

MAX_DRAWS = 4
MIN_FRAMES = 4  # a curve with fewer labelled frames is drawn again
# Where a trajectory may start and where it ends, Å beyond contact.
TRAJECTORY_START, TRAJECTORY_REACH = 1.0, 4.0
ENCOUNTER_STEPS = 4  # frames of an encounter: the first, and steps downhill from it
# |E − E_A − E_B − k q_A q_B / r| may be at most this far from zero at a distance r of the centres: a constant in eV
# and the energies of charges and dipoles of about 1 e·Å, eV Å^2.
ANCHOR_CONSTANT, ANCHOR_DIPOLE = 0.1, 40.0
ANCHOR_FROM = 8.0  # Å
# What is wrong here stays wrong farther out; at contact the atoms may simply be too close.
LASTING = ("not_converged", "wrong_state")


class DimersPlan(Plan[DimersLabel]):
    """Makes the dimers of ``section``: every class equally often, every pair of a class in turn."""

    def __init__(self, section: DimersLabel) -> None:
        super().__init__(section)
        self.pairs = _pairs_by_class([fragment(name) for name in section.fragments])

    @property
    def n_requested(self) -> int:
        """Returns the number of frames asked for."""
        section = self.section
        return section.num_dimers * (section.num_separations + section.encounter_frames + section.trajectory_frames)

    def first_stage(self) -> list[Unit]:
        """One unit per dimer."""
        classes = list(self.pairs)
        units = []
        for index in range(self.section.num_dimers):
            label = classes[index % len(classes)]
            pairs = self.pairs[label]
            first, second = pairs[(index // len(classes)) % len(pairs)]
            arguments = {"dimer_id": index, "label": label, "a": first.name, "b": second.name}
            units.append(Unit(f"dimer-{index}", arguments))
        return units

    def make(self, unit: Unit, labeller: Labeller, rng: np.random.Generator) -> Part:
        """Does one dimer; if charge leaks or the field does not converge, the next draw takes another pair."""
        label, dimer_id = unit.arguments["label"], unit.arguments["dimer_id"]
        first, second = fragment(unit.arguments["a"]), fragment(unit.arguments["b"])
        for draw in range(MAX_DRAWS):
            if draw > 0:
                pairs = self.pairs[label]
                first, second = pairs[int(rng.integers(len(pairs)))]
            dimer = Dimer(first, second, self.section, rng)
            curve = dimer.curve(labeller)
            if len(curve) >= min(MIN_FRAMES, self.section.num_separations):
                kept = curve + dimer.encounters(labeller, rng) + dimer.trajectory(labeller, rng)
                break
            labeller.reject("curve_too_short", len(curve))
        else:
            return Part([], {"given_up": f"{first.name} + {second.name}"})
        provenance = {"kind": "dimer", "label": label, "dimer_id": dimer_id, **dimer.info()}
        return Part(labeller.finish(kept, provenance), {})


class Dimer:
    """Two fragments, each thermally displaced once, in one relative orientation.

    Attributes:
        fragments: The two fragments, A and B.
        positions: Their positions in Å, centres of mass at the origin.
        direction: [3] unit vector along which B is moved away from A.
        contact: Distance in Å of the centres of mass at contact.
        energies: Energies in eV of A and B alone, in these conformations; set by `curve`.
    """

    def __init__(self, first: Fragment, second: Fragment, section: DimersLabel, rng: np.random.Generator) -> None:
        self.section = section
        self.fragments = (first, second)
        self.positions = [_conformation(item, section.temperature, rng) for item in self.fragments]
        direction = rng.standard_normal(3)
        self.direction = direction / np.linalg.norm(direction)
        self.contact = contact_shift(
            first.numbers, self.positions[0], second.numbers, self.positions[1], self.direction, section.contact_factor
        )
        self.energies: list[float] = []
        self.numbers = np.concatenate([first.numbers, second.numbers])
        self.charge = first.charge + second.charge

    def frame(self, growth: float) -> Frame:
        """Returns the dimer with its centres ``growth`` Å farther apart than at contact."""
        shift = (self.contact + growth) * self.direction
        return self._pair(np.vstack([self.positions[0], self.positions[1] + shift]), "scan")

    def curve(self, labeller: Labeller) -> list[Labelled]:
        """Labels the frames along the separation, from contact outwards until the charge leaks."""
        self.energies = []
        for item, positions in zip(self.fragments, self.positions, strict=True):
            alone = labeller.label(Frame(Atoms(numbers=item.numbers, positions=positions), item.charge))
            if alone is None:
                return []
            self.energies.append(alone.label.energy)
        frames = [self.frame(growth) for growth in growths(self.section)]
        labelled: list[Labelled] = []
        for index, frame in enumerate(frames):
            result = labeller.attempt(frame, also=partial(self._off_anchor, frame))
            if isinstance(result, Labelled):
                labelled.append(result)
                continue
            labeller.reject(result)
            if result == "charge_leak" or (index > 0 and result in LASTING):
                labeller.reject("beyond_reach", len(frames) - index - 1)
                break
        if not labelled:
            return []
        inward = [(item.frame, item) for item in labelled[-2::-1]]
        return [*labeller.follow(labelled[-1], inward)[::-1], labelled[-1]]

    def encounters(self, labeller: Labeller, rng: np.random.Generator) -> list[Labelled]:
        """Labels frames at close quarters: each encounter, and where steps downhill from it lead."""
        kept: list[Labelled] = []
        last: Labelled | None = None
        for index in range(self.section.encounter_frames):
            if last is None or index % ENCOUNTER_STEPS == 0:
                frame = self.encounter(rng)
            else:
                place, forces = last.frame.atoms.positions, last.label.forces
                frame = self._pair(downhill(*self.fragments, place, forces, self.section.temperature, rng), "downhill")
            last = labeller.label(frame)
            if last is not None:
                kept.append(last)
        return kept

    def encounter(self, rng: np.random.Generator) -> Frame:
        """Returns the two fragments at close quarters."""
        found = draw_encounter(*self.fragments, self.section.temperature, rng)
        return self._pair(np.vstack([found.first, found.second]), found.kind)

    def _pair(self, positions: np.ndarray, source: str) -> Frame:
        return self._describe(Atoms(numbers=self.numbers, positions=positions), source)

    def trajectory(self, labeller: Labeller, rng: np.random.Generator) -> list[Labelled]:
        """Labels frames of a trajectory that starts near contact."""
        if self.section.trajectory_frames == 0:
            return []

        def describe(atoms: Atoms) -> Frame | None:
            frame = self._describe(atoms, "trajectory")
            return frame if frame.atoms.info["separation_growth"] <= TRAJECTORY_REACH else None

        section = self.section
        start = self.encounter(rng) if section.encounter_frames else self.frame(TRAJECTORY_START * rng.random())
        return sample_trajectory(
            labeller, start, section.temperature, rng, section.trajectory_frames, section.trajectory_interval, describe
        )

    def info(self) -> dict[str, Any]:
        """Returns what all frames of the dimer share, for `atoms.info`."""
        return {
            "fragment_a": self.fragments[0].name,
            "fragment_b": self.fragments[1].name,
            "charge_a": self.fragments[0].charge,
            "charge_b": self.fragments[1].charge,
            "energy_a": self.energies[0],
            "energy_b": self.energies[1],
            "contact_separation": round(self.contact, 6),
        }

    def _describe(self, atoms: Atoms, source: str) -> Frame:
        atoms = Atoms(numbers=atoms.numbers, positions=atoms.positions)
        n_first = len(self.fragments[0].numbers)
        indices = np.arange(n_first), np.arange(n_first, len(atoms))
        centres = [atoms[list(index)].get_center_of_mass() for index in indices]
        separation = float(np.linalg.norm(centres[1] - centres[0]))
        atoms.info = {
            "source": source,
            "separation": round(separation, 6),
            "separation_growth": round(separation - self.contact, 6) + 0.0,  # not −0
        }
        charges = [item.charge for item in self.fragments]
        if source != "scan" and shares_hydrogen(atoms.numbers, atoms.positions, n_first):
            return Frame(atoms, self.charge)  # which molecule's charge is whose cannot be said
        return Frame(atoms, self.charge, tuple(zip(indices, charges, strict=True)))

    def _off_anchor(self, frame: Frame, label: Label) -> str | None:
        separation = frame.atoms.info["separation"]
        if separation < ANCHOR_FROM:
            return None
        coulomb = COULOMB_EV_ANGSTROM * self.fragments[0].charge * self.fragments[1].charge / separation
        limit = ANCHOR_CONSTANT + ANCHOR_DIPOLE / separation**2
        return "wrong_state" if abs(label.energy - sum(self.energies) - coulomb) > limit else None


def dimer_complex(first: str, second: str, separation_growth: float, seed: int = 0) -> Atoms:
    """Returns two relaxed fragments in a random relative orientation.

    Args:
        first: Name of fragment A.
        second: Name of fragment B.
        separation_growth: Distance in Å of the centres of mass beyond contact.
        seed: Seed of the orientation.

    Returns:
        Atoms of A, then of B.

    Raises:
        ConfigError: If a name is unknown.
    """
    section = DimersLabel(kind="dimers", temperature=1e-9)
    dimer = Dimer(fragment(first), fragment(second), section, np.random.default_rng(seed))
    return dimer.frame(separation_growth).atoms


def growths(section: DimersLabel) -> np.ndarray:
    """Returns the growths [num_separations] in Å beyond contact, as squares: densest near contact."""
    return section.max_separation * np.linspace(0, 1, section.num_separations) ** 2


def _conformation(item: Fragment, temperature: float, rng: np.random.Generator) -> np.ndarray:
    atoms = item.atoms()
    atoms.positions += thermal_displacements(item.numbers, item.positions, temperature, rng)
    atoms.positions -= atoms.get_center_of_mass()
    return atoms.positions @ random_rotation(rng).T


def _pairs_by_class(fragments: list[Fragment]) -> dict[str, list[tuple[Fragment, Fragment]]]:
    pairs: dict[str, list[tuple[Fragment, Fragment]]] = {}
    for index, first in enumerate(fragments):
        for second in fragments[index:]:
            a, b = sorted((first, second), key=lambda item: "CPA".index(item.family))
            pairs.setdefault(pair_class(a, b), []).append((a, b))
    return dict(sorted(pairs.items()))
