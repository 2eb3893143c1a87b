"""Liquid water in periodic boxes: classical structures at several densities, and trajectories of the engine."""

from itertools import islice

import numpy as np
from ase import Atoms
from scipy.spatial.transform import Rotation

from lorem_openmm.config import WaterLabel
from lorem_openmm.errors import ConfigError
from lorem_openmm.label.acceptance import Frame, Labelled, Labeller
from lorem_openmm.label.plan import Part, Plan, Unit
from lorem_openmm.sampling.trajectories import sample_trajectory
from lorem_openmm.sampling.water_box import water_boxes

STRIDE = 6  # steps of 1 fs between frames of a trajectory
LONGEST_BOND = 1.4  # Å, beyond which a molecule has fallen apart
# Standard deviations of the shift in Å and the turn in rad of each molecule, and of the shift in Å of each atom, in
# displaced frames: molecules pushed into each other, which no simulation visits but a badly trained model.
MOLECULE_SHIFT, MOLECULE_TURN, ATOM_SHIFT = 0.25, 0.3, 0.03


class WaterPlan(Plan[WaterLabel]):
    """Makes the boxes of ``section``: the densities in turn, each box from its own random numbers.

    Raises:
        ConfigError: If the engine cannot do periodic cells.
    """

    def __init__(self, section: WaterLabel) -> None:
        if section.engine.name != "tblite":
            raise ConfigError(
                f"engine.name: boxes of water are periodic, which only tblite can label here; received "
                f"'{section.engine.name}'"
            )
        super().__init__(section)

    @property
    def n_requested(self) -> int:
        """Returns the number of frames asked for."""
        section = self.section
        return section.num_boxes * (section.classical_frames + section.displaced_frames + section.trajectory_frames)

    def first_stage(self) -> list[Unit]:
        """One unit per box."""
        densities = self.section.densities
        return [
            Unit(f"box-{index}", {"box_id": index, "density": densities[index % len(densities)]})
            for index in range(self.section.num_boxes)
        ]

    def make(self, unit: Unit, labeller: Labeller, rng: np.random.Generator) -> Part:
        """Does one box: classical frames, the same displaced, and a trajectory of the engine from where they end."""
        section, density = self.section, unit.arguments["density"]
        boxes = water_boxes(section.num_waters, density, section.temperature, int(rng.integers(2**31)))
        *classical, start = islice(boxes, section.classical_frames + 1)
        kept = [labeller.label(_describe(atoms, "classical")) for atoms in classical]
        for index in range(section.displaced_frames):
            atoms = _displaced([*classical, start][index % (len(classical) + 1)], rng)
            kept.append(labeller.label(_describe(atoms, "displaced")))
        kept += self._trajectory(labeller, rng, start)
        provenance = {"kind": "water", "box_id": unit.arguments["box_id"], "density": density}
        return Part(labeller.finish((item for item in kept if item is not None), provenance), {})

    def _trajectory(self, labeller: Labeller, rng: np.random.Generator, start: Atoms) -> list[Labelled]:
        """Takes frames on the way from the classical structure to the engine's own."""

        def describe(atoms: Atoms) -> Frame | None:
            return _describe(atoms, "trajectory") if _molecules_are_whole(atoms) else None

        count = self.section.trajectory_frames
        if count == 0:
            return []
        frame = _describe(start, "trajectory")
        return sample_trajectory(labeller, frame, self.section.temperature, rng, count, STRIDE, describe)


def _describe(atoms: Atoms, source: str) -> Frame:
    described = Atoms(numbers=atoms.numbers, positions=atoms.positions, cell=atoms.cell, pbc=True)
    described.info = {"source": source}
    return Frame(described, 0)


def _displaced(atoms: Atoms, rng: np.random.Generator) -> Atoms:
    """Shifts and turns every molecule by itself, and shifts its atoms a little."""
    molecules = atoms.positions.reshape(-1, 3, 3)  # O, H, H
    turns = Rotation.from_rotvec(MOLECULE_TURN * rng.standard_normal((len(molecules), 3)))
    centers = molecules[:, :1]
    moved = centers + np.einsum("mij,maj->mai", turns.as_matrix(), molecules - centers)
    moved += MOLECULE_SHIFT * rng.standard_normal((len(molecules), 1, 3))
    moved += ATOM_SHIFT * rng.standard_normal(moved.shape)
    displaced = atoms.copy()
    displaced.positions = moved.reshape(-1, 3)
    return displaced


def _molecules_are_whole(atoms: Atoms) -> bool:
    molecules = atoms.positions.reshape(-1, 3, 3)  # O, H, H
    bonds = np.linalg.norm(molecules[:, 1:] - molecules[:, :1], axis=-1)
    return bool(bonds.max() < LONGEST_BOND)
