"""The configuration: one class per section, every key described, unknown keys refused.

The same classes write ``config/schema.json`` (JSON Schema) and the ``--help`` texts, so that the documentation
of a key and its check cannot disagree.
"""

from collections.abc import Mapping
from pathlib import Path
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
from lorem_openmm.config.studies import (
    ChargeDegreeStudy,
    ClassesStudy,
    CurveStudy,
    DihedralStudy,
    DistanceStudy,
    ErrorsStudy,
    ReactionStudy,
    ReceptiveFieldStudy,
    Study,
    SymmetryStudy,
)
from lorem_openmm.config.yaml_file import read_yaml
from lorem_openmm.errors import did_you_mean

__all__ = [
    "Acceptance",
    "Bias",
    "ChargeDegreeStudy",
    "ClassesStudy",
    "Config",
    "Coordinate",
    "CumuleneLabel",
    "CurveStudy",
    "Dataset",
    "DihedralStudy",
    "DimersLabel",
    "DistanceStudy",
    "Dynamics",
    "Engine",
    "ErrorsStudy",
    "Model",
    "ReactionStudy",
    "ReceptiveFieldStudy",
    "Run",
    "Section",
    "Simulation",
    "Sn2Label",
    "Solvent",
    "Split",
    "Study",
    "SymmetryStudy",
    "Training",
    "Umbrella",
    "Units",
    "WaterLabel",
    "load",
    "parse",
    "read_yaml",
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
    studies: dict[Name, Study] = Field(default={}, description="tables and figures over runs, as in the paper, by name")

    @model_validator(mode="after")
    def _references_exist(self) -> "Config":
        for name, run in self.runs.items():
            for dataset in run.datasets:
                _require(dataset, self.datasets, f"runs.{name}.datasets")
            _require(run.model, self.models, f"runs.{name}.model")
            _require(run.training, self.training, f"runs.{name}.training")
        for section in ("simulations", "umbrellas"):
            for name, dynamics in getattr(self, section).items():
                _require(dynamics.run, self.runs, f"{section}.{name}.run")
        for name, study in self.studies.items():
            for run_name in study.runs:
                _require(run_name, self.runs, f"studies.{name}.runs")
            if not isinstance(study, ErrorsStudy):
                _require(study.dataset, self.datasets, f"studies.{name}.dataset")
        return self


def load(path: str | Path) -> Config:
    """Reads and checks a configuration file (YAML).

    Raises:
        ConfigError: If the file is missing, is not YAML, names a key twice, or breaks a rule.
    """
    return parse(Config, read_yaml(path), str(path))


def _require(name: str, known: Mapping[str, Any], where: str) -> None:
    if name not in known:
        raise ValueError(
            f"{where}: no entry named '{name}'.{did_you_mean(name, known)} Known: {', '.join(known) or 'none'}"
        )
