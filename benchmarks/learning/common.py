"""What the scripts of this folder share: the description of a comparison and where its files are."""

import sys
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field

from lorem_openmm import config
from lorem_openmm.config import Section
from lorem_openmm.layout import Layout

HERE = Path(__file__).resolve().parent
sys.path.append(str(HERE.parent))  # records.py, with the other benchmarks

RESULTS = HERE.parent / "results" / "learning"


class Description(Section):
    """Data, hyper-parameters, settings and seeds of a comparison; files are relative to its folder of the data."""

    name: str
    folder: str
    train: list[str]
    validation: list[str] = Field(default_factory=list)
    validation_frames: list[int] = Field(default_factory=list)
    test: list[str] = Field(default_factory=list)
    model: config.Model
    training: config.Training
    seeds: list[int]


class Place:
    """The files of a comparison, all below one folder.

    Attributes:
        root: The folder.
        layout: Of this package's files.
    """

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        self.layout = Layout(self.root / "ours")

    @property
    def settings(self) -> Path:
        """This package's configuration."""
        return self.root / "ours.yaml"

    def frames(self, split: str) -> Path:
        """Labelled structures of a split, read by both codes."""
        return self.root / "frames" / f"{split}.xyz"

    @property
    def marathon_data(self) -> Path:
        """Folder of the data sets in lorem-jax's format, the value of its DATASETS."""
        return self.root / "theirs" / "data"

    def theirs(self, seed: int) -> Path:
        """Folder that lorem-train runs in."""
        return self.root / "theirs" / f"seed-{seed}"

    def description(self) -> Description:
        """The description the folder was prepared from."""
        return read_description(self.root / "description.yaml")


def read_description(path: Path) -> Description:
    """Reads and checks a description."""
    return config.parse(Description, yaml.safe_load(path.read_text(encoding="utf-8")), str(path))


def run_name(seed: int) -> str:
    """The run of a seed in this package's configuration."""
    return f"seed_{seed}"


def settings_of(place: Place, seed: int) -> dict[str, Any]:
    """lorem-train's settings of a seed, as prepared."""
    return yaml.safe_load((place.theirs(seed) / "settings.yaml").read_text(encoding="utf-8"))
