"""The configuration: one class per section, every key described, unknown keys refused.

The same classes write ``config/schema.json`` (JSON Schema) and the ``--help`` texts, so that the documentation
of a key and its check cannot disagree.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import Field, model_validator

from lorem_openmm.config.data import (
    Acceptance,
    CumuleneLabel,
    Dataset,
    DimersLabel,
    Engine,
    Sn2Label,
    Split,
    Units,
    WaterLabel,
)
from lorem_openmm.config.learning import Model, Run, Training
from lorem_openmm.config.names import FilePath, Name
from lorem_openmm.config.section import Section, parse
from lorem_openmm.config.simulations import Bias, Coordinate, Dynamics, Simulation, Solvent, Umbrella
from lorem_openmm.config.yaml_file import read_yaml
from lorem_openmm.errors import did_you_mean

__all__ = [
    "Acceptance",
    "Bias",
    "Config",
    "Coordinate",
    "CumuleneLabel",
    "Dataset",
    "DimersLabel",
    "Dynamics",
    "Engine",
    "Model",
    "Run",
    "Section",
    "Simulation",
    "Sn2Label",
    "Solvent",
    "Split",
    "Training",
    "Umbrella",
    "Units",
    "WaterLabel",
    "parse",
    "read_yaml",
    "require",
]


class Config(Section):
    """The whole configuration file."""

    output: FilePath = Field(
        "results",
        description="folder of everything that is made; here and elsewhere, relative paths start at the folder in "
        "which the command is given, and `~` is the home folder",
    )
    downloads: FilePath = Field(
        "downloads", description="folder of published data sets (`registry`), shared by all configurations"
    )
    seed: int = Field(1, description="seed of the structures that are made and labelled")
    datasets: dict[Name, Dataset] = Field(description="data sets by name")
    models: dict[Name, Model] = Field(description="hyper-parameter sets by name")
    training: dict[Name, Training] = Field(description="training settings by name")
    runs: dict[Name, Run] = Field(description="trained models by name")
    simulations: dict[Name, Simulation] = Field(default={}, description="molecular-dynamics runs by name")
    umbrellas: dict[Name, Umbrella] = Field(default={}, description="free-energy profiles by name")

    @model_validator(mode="after")
    def _references_exist(self) -> "Config":
        for name, run in self.runs.items():
            for dataset in run.datasets:
                require(dataset, self.datasets, f"runs.{name}.datasets")
            require(run.model, self.models, f"runs.{name}.model")
            require(run.training, self.training, f"runs.{name}.training")
        for section in ("simulations", "umbrellas"):
            for name, dynamics in getattr(self, section).items():
                require(dynamics.run, self.runs, f"{section}.{name}.run")
        return self

    def runs_with(self, dataset: str) -> set[str]:
        """Returns the runs whose models see a data set."""
        return {name for name, run in self.runs.items() if dataset in run.datasets}

    def given_models(self) -> Iterator[tuple[str, str]]:
        """Yields the model files that the configuration names, after the key that names each."""
        for name, run in self.runs.items():
            yield from ((f"runs.{name}.initial_model", path) for path in run.initial_files)


def require(name: str, known: Mapping[str, Any], where: str) -> None:
    """Refuses the name of an entry that is not there.

    Args:
        name: The name.
        known: The entries by name.
        where: Key that gives the name.

    Raises:
        ValueError: Naming the key, the nearest name and all known ones.
    """
    if name not in known:
        raise ValueError(
            f"{where}: no entry named '{name}'.{did_you_mean(name, known)} Known: {', '.join(known) or 'none'}"
        )
