"""The work of labelling a data set, cut into units that can be done in any order and resumed.

What structures there are, a plan says (``sampling``); what is done with it is the same for all of them.
"""

import zlib
from abc import ABC, abstractmethod
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
from ase import Atoms

from lorem_openmm.config.data import Labelling
from lorem_openmm.label.acceptance import Labeller

SectionT = TypeVar("SectionT", bound=Labelling)


class Unit(NamedTuple):
    """A piece of work, done by one process and stored as one part.

    Attributes:
        key: Its name, unique in the data set.
        arguments: What it needs, as plain JSON values.
    """

    key: str
    arguments: dict[str, Any]

    def rng(self, seed: int) -> np.random.Generator:
        """Returns this unit's own random numbers: the same whichever process does it, and when."""
        return np.random.default_rng([seed, zlib.crc32(self.key.encode())])


class Part(NamedTuple):
    """What a unit made.

    Attributes:
        frames: Labelled structures.
        notes: Plain JSON values for the summary and for later stages.
    """

    frames: list[Atoms]
    notes: dict[str, Any]


class Plan(ABC, Generic[SectionT]):
    """How one kind of data set is made, in two stages; the second may depend on what the first found.

    Plans are sent to other processes, so they can be pickled.

    Attributes:
        section: The section of the configuration that the plan was made from.
    """

    def __init__(self, section: SectionT) -> None:
        self.section = section

    @property
    @abstractmethod
    def n_requested(self) -> int:
        """Returns the number of frames asked for."""

    @abstractmethod
    def first_stage(self) -> list[Unit]:
        """Returns the units that come first."""

    def second_stage(self, notes: dict[str, dict[str, Any]]) -> list[Unit]:
        """Returns the units that depend on the first, given their notes by key."""
        return []

    @abstractmethod
    def make(self, unit: Unit, labeller: Labeller, rng: np.random.Generator) -> Part:
        """Does one unit."""
