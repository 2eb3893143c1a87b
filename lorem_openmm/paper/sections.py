"""Sections of the studies: the tables and figures of the paper, on any data set of the right kind."""

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, model_validator

from lorem_openmm.config import Config, require
from lorem_openmm.config.names import FilePath, Name
from lorem_openmm.config.section import Count, Index, Positive, Section

SHIPPED_MODEL = "pretrained"
Names = Annotated[list[str], Field(min_length=1)]
SplitName = Literal["train", "validation", "test"]


class StudySection(Section):
    """What all studies share."""

    @property
    def model_files(self) -> list[str]:
        """Returns the model files that the study is given."""
        return []


class ErrorsStudy(StudySection):
    """Energy and force RMSE of runs, the paper's beside them where the data set is one of the paper's (Table 1)."""

    kind: Literal["errors"]
    runs: Names = Field(description="runs, one line of the table each and per data set")
    split: SplitName = Field("test", description="structures to take; validation where a data set has no such ones")


class ClassesStudy(StudySection):
    """Force MAE of runs by class of structure, as for the biodimers."""

    kind: Literal["classes"]
    runs: Names = Field(description="runs, one colour of the figure each")
    dataset: str = Field(description="data set with a `class_key`")
    split: SplitName = Field("test", description="structures to take")


class CurveStudy(StudySection):
    """What studies of energies along a coordinate share."""

    runs: Names = Field(description="runs, one line of the figure each")
    dataset: str = Field(
        description="data set with the structures of the curve; it need not be one that the runs were trained on"
    )
    coordinate: str = Field(description="info key of the coordinate")
    curve_by: str | None = Field(None, description="info key whose values tell curves apart; none: one curve")
    only: dict[str, str | float | bool] = Field(
        default={},
        description="info keys and the values that structures of the curve have, for example {profile: true}",
    )
    max_curves: Count = Field(6, description="curves to take, those with most structures first")
    unit: str = Field("Å", description="unit of the coordinate, for the figure")


class DihedralStudy(CurveStudy):
    """Energy of a molecule whose end groups are turned, and whether models resolve it (Fig. 3)."""

    kind: Literal["dihedral"]
    coordinate: str = Field("dihedral", description="info key of the dihedral in degrees")
    unit: str = Field("degrees", description="unit of the coordinate, for the figure")
    resolved_below: Positive = Field(
        0.5,
        description="a profile is called resolved if the RMS error of its shape is at most this times the RMS of the "
        "reference's (means subtracted from both); 1 is what a model without any dependence has",
    )


class ReceptiveFieldStudy(DihedralStudy):
    """Which cutoffs and numbers of short-range layers resolve a dihedral, with and without long range (Table 2)."""

    kind: Literal["receptive_field"]  # type: ignore[assignment]
    ends: tuple[list[Index], list[Index]] | None = Field(
        None,
        description="atoms of the two end groups, counted from 0; gives the number of layers after which some atom has "
        "heard of both. None: not shown",
    )


class ChargeDegreeStudy(DihedralStudy):
    """Errors and dihedral profile without long range and with charges of degree 0, 1, 2, … (l_lr ablation)."""

    kind: Literal["charge_degree"]  # type: ignore[assignment]


class DistanceStudy(CurveStudy):
    """Energy along a distance, with the minima of the curves: an atom or a dimer that is moved away."""

    kind: Literal["distance"]
    coordinate: str = Field("separation", description="info key of the distance in Å")
    zero: Literal["minimum", "farthest"] = Field("minimum", description="structure whose energy is subtracted")


class ReactionStudy(CurveStudy):
    """Energy along a reaction coordinate, with barriers."""

    kind: Literal["reaction"]
    coordinate: str = Field("reaction_coordinate", description="info key of the coordinate in Å")
    curve_by: str | None = Field("reaction", description="info key whose values tell reactions apart")
    reactants: Literal["highest", "lowest"] = Field(
        "highest", description="end of the coordinate where the reactants are; energies are measured from there"
    )
    only: dict[str, str | float | bool] = Field(default={"profile": True}, description="as in other curves")


class SymmetryStudy(StudySection):
    """Change of the energy when structures are rotated and inverted, over a Lebedev grid of rotations."""

    kind: Literal["symmetry"]
    runs: list[str] = Field(default=[], description="runs whose models are rotated")
    models: list[FilePath] = Field(default=[], description="model files to add; `pretrained`: the shipped model")
    dataset: str = Field(description="data set whose structures are rotated")
    split: SplitName = Field(
        "validation", description="structures to take; the training set where there are no such ones"
    )
    num_structures: Count = Field(5, description="number of structures, the first of the split")
    degree: Annotated[int, Field(ge=3, le=131)] = Field(3, description="degree of the Lebedev grid")

    @model_validator(mode="after")
    def _has_models(self) -> "SymmetryStudy":
        if not self.runs and not self.models:
            raise ValueError("name at least one of `runs` or `models`; received neither")
        return self

    @property
    def model_files(self) -> list[str]:
        """Returns the model files that are not the shipped one."""
        return [model for model in self.models if model != SHIPPED_MODEL]


Study = Annotated[
    ErrorsStudy
    | ClassesStudy
    | DihedralStudy
    | ReceptiveFieldStudy
    | ChargeDegreeStudy
    | DistanceStudy
    | ReactionStudy
    | SymmetryStudy,
    Field(discriminator="kind"),
]


class ConfigWithStudies(Config):
    """The whole configuration file."""

    model_config = ConfigDict(title="Config")

    studies: dict[Name, Study] = Field(default={}, description="tables and figures over runs, as in the paper, by name")

    @model_validator(mode="after")
    def _studies_have_what_they_need(self) -> "ConfigWithStudies":
        for name, study in self.studies.items():
            for run in study.runs:
                require(run, self.runs, f"studies.{name}.runs")
            if not isinstance(study, ErrorsStudy):
                require(study.dataset, self.datasets, f"studies.{name}.dataset")
        return self

    def runs_with(self, dataset: str) -> set[str]:
        """Returns the runs whose models see a data set, in training or in a study.

        Args:
            dataset: Name of the data set.
        """
        studies = (study for study in self.studies.values() if not isinstance(study, ErrorsStudy))
        return super().runs_with(dataset).union(*(study.runs for study in studies if study.dataset == dataset))

    def given_models(self) -> Iterator[tuple[str, str]]:
        """Yields the model files that runs and studies name, after the key that names each."""
        yield from super().given_models()
        for name, study in self.studies.items():
            yield from ((f"studies.{name}.models", path) for path in study.model_files)
