"""The configuration: one class per section, every key described, unknown keys refused.

The same classes write ``config/schema.json`` (JSON Schema) and the ``--help`` texts, so that the documentation
of a key and its check cannot disagree.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from lorem_openmm.errors import ConfigError, did_you_mean

Positive = Annotated[float, Field(gt=0)]
Fraction = Annotated[float, Field(ge=0, lt=1)]
Count = Annotated[int, Field(ge=1)]
Index = Annotated[int, Field(ge=0)]
Halogen = Literal["F", "Cl", "Br", "I"]


class Section(BaseModel):
    """A section of the configuration: immutable, unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


class Engine(Section):
    """A quantum-chemistry engine and its method."""

    name: Literal["tblite", "pyscf"] = Field(
        "tblite", description="tblite: xTB, milliseconds per frame; pyscf: DFT, seconds per frame"
    )
    method: str = Field(
        "GFN2-xTB",
        description="tblite: GFN1-xTB, GFN2-xTB, IPEA1-xTB; pyscf: HF or a functional, for example PBE0",
    )
    basis: str = Field("def2-SVPD", description="basis set (pyscf only)")


class Acceptance(Section):
    """What a label has to satisfy to be kept; a frame that does not is tried again more safely, else rejected."""

    charge_tolerance: Positive = Field(
        0.01, description="largest charge in e that may leak between fragments that do not touch"
    )
    energy_tolerance: Positive = Field(
        0.05,
        description="largest mismatch in eV of the energy between neighbouring frames and the work of their forces",
    )
    max_force: Positive = Field(25.0, description="largest force in eV/Å on an atom")


class Sn2Label(Section):
    """Frames of X⁻ + CH₃Y at charge −1: approach, barrier, separated products, fragments."""

    kind: Literal["sn2"]
    engine: Engine = Field(default_factory=Engine, description="labelling engine")
    acceptance: Acceptance = Field(default_factory=Acceptance, description="checks of the labels")
    reactions: Annotated[list[tuple[Halogen, Halogen]], Field(min_length=1)] = Field(
        default=[("Cl", "Cl"), ("Cl", "Br"), ("Br", "Br")],
        description="pairs (X, Y) of halogens for X- + CH3Y; both directions are sampled",
    )
    num_frames: Count = Field(
        2000, description="number of displaced frames over all reactions, fragments and trajectories included"
    )
    trajectory_fraction: Fraction = Field(
        0.25, description="share of num_frames taken from short Langevin trajectories with the engine"
    )
    num_profile_frames: Annotated[int, Field(ge=21)] = Field(
        61,
        description="frames of the undisplaced collinear path of each reaction, flagged `profile`; neighbours check "
        "one another, so with few frames a steep surface may pass for a broken one",
    )
    max_separation: Positive = Field(
        15.0,
        description="largest distance in Å between carbon and the halogen that is not bound; less where charge leaks",
    )
    temperature: Positive = Field(
        500.0, description="temperature in K of displacements and trajectories, above that of a simulation"
    )


class DimersLabel(Section):
    """Dimers of amino-acid side-chain analogues in vacuum, random orientations, contact to far apart."""

    kind: Literal["dimers"]
    engine: Engine = Field(default_factory=Engine, description="labelling engine")
    acceptance: Acceptance = Field(default_factory=Acceptance, description="checks of the labels")
    fragments: Annotated[list[str], Field(min_length=1)] = Field(
        default=[
            "acetate",
            "methylsulfonate",
            "methylammonium",
            "tetramethylammonium",
            "methylguanidinium",
            "imidazole",
            "methanol",
            "acetamide",
            "methanethiol",
            "propane",
            "toluene",
        ],
        description="fragments to pair; see lorem_openmm.data.label.fragments",
    )
    num_dimers: Count = Field(
        200, description="number of random dimers (a pair of fragments in one relative orientation)"
    )
    num_separations: Annotated[int, Field(ge=2)] = Field(12, description="frames along the separation of each dimer")
    max_separation: Positive = Field(15.0, description="largest growth in Å of the fragments' distance beyond contact")
    contact_factor: Positive = Field(
        0.8, description="distance of the nearest atoms at contact, relative to their van der Waals sum"
    )
    trajectory_frames: Index = Field(
        4, description="frames of each dimer from a short Langevin trajectory with the engine, near contact"
    )
    temperature: Positive = Field(
        500.0, description="temperature in K of displacements and trajectories, above that of a simulation"
    )


LabelSection = Annotated[Sn2Label | DimersLabel, Field(discriminator="kind")]


class Split(Section):
    """How the structures of a data set are divided into train, validation and test."""

    validation_fraction: Fraction = Field(
        0.1, description="share of the structures that are not test structures, for validation"
    )
    test_fraction: Fraction = Field(
        0.1, description="share of the structures for the test set (when test_above is not given)"
    )
    group_by: str | None = Field(
        None, description="info key whose equal values stay in one split, for example dimer_id"
    )
    test_above: dict[str, float] | None = Field(
        None,
        description="info key and threshold: structures above it are the test set (extrapolation), "
        "for example {separation_growth: 4.0}",
    )
    seed: int = Field(0, description="seed of the random division")


class Dataset(Section):
    """Structures with energies and forces: labelled here, or read from extended XYZ files."""

    label: LabelSection | None = Field(
        None, description="make the structures and label them with a quantum-chemistry engine"
    )
    structures: str | list[str] | None = Field(None, description="extended XYZ file(s), divided by `split`")
    train: str | list[str] | None = Field(None, description="extended XYZ file(s) of the training set")
    validation: str | list[str] | None = Field(
        None,
        description="extended XYZ file(s) of the validation set; without it, `split` divides the training set",
    )
    test: str | list[str] | None = Field(None, description="extended XYZ file(s) of the test set")
    energy_key: str = Field("energy", description="info key of the total energy in eV")
    forces_key: str = Field("forces", description="array key of the forces in eV/Å")
    stress_key: str | None = Field(None, description="info key of the stress in eV/Å^3, if it is to be read")
    class_key: str | None = Field(None, description="info key by which errors are reported, for example label")
    separation_key: str | None = Field(None, description="info key of a distance along which errors are reported")
    split: Split = Field(default_factory=Split, description="division into train, validation, test")

    @model_validator(mode="after")
    def _one_source(self) -> "Dataset":
        sources = [name for name in ("label", "structures", "train") if getattr(self, name) is not None]
        if len(sources) != 1:
            raise ValueError(f"give exactly one of `label`, `structures`, `train`; received {sources or 'none'}")
        return self


class Model(Section):
    """Hyper-parameters of LOREM; the defaults are the paper's."""

    cutoff: Positive = Field(5.0, description="short-range cutoff in Å")
    max_degree: Annotated[int, Field(ge=0, le=8)] = Field(6, description="maximum degree of the spherical features")
    max_charge_degree: Annotated[int, Field(ge=0, le=8)] = Field(
        2, description="maximum degree of the equivariant charges (l_lr)"
    )
    num_features: Count = Field(128, description="scalar features per atom")
    num_radial: Count = Field(32, description="radial basis functions")
    num_species: Count = Field(8, description="width of the species embedding")
    num_spherical_features: Count = Field(8, description="channels of the spherical features")
    cutoff_function: Literal["cosine_cutoff", "smooth_cutoff"] = Field(
        "cosine_cutoff", description="cutoff function, e3x's name"
    )
    radial_basis: Literal["basic_bernstein", "basic_gaussian", "basic_fourier", "basic_chebyshev"] = Field(
        "basic_bernstein", description="radial basis, e3x's name"
    )
    long_range: bool = Field(True, description="send equivariant charges through an Ewald or direct sum")
    num_message_passing: Index = Field(0, description="rounds of short-range message passing")
    equivariant_message_passing: bool = Field(True, description="update the spherical features in each round")
    initialize_node_features: bool = Field(
        True, description="start the scalar features from the species embedding rather than zero"
    )
    smearing: Positive | None = Field(
        None, description="width in Å of the Gaussians of the Ewald sum; default cutoff / 4"
    )
    wavelength: Positive | None = Field(
        None, description="shortest wavelength in Å of the Ewald sum; default cutoff / 8"
    )
    norm_smoothing: Annotated[float, Field(ge=0)] = Field(
        0.0,
        description="width below which the norms of spherical features are rounded off; 0: the published model, whose "
        "forces jump where a degree-0 feature changes sign; 0.1 conserves energy in dynamics",
    )

    @model_validator(mode="after")
    def _charges_fit_features(self) -> "Model":
        if self.long_range and self.max_charge_degree > self.max_degree:
            raise ValueError(
                f"max_charge_degree must not exceed max_degree, received {self.max_charge_degree} > {self.max_degree}"
            )
        return self


class Training(Section):
    """Optimiser, schedule and losses; the defaults are the paper's."""

    epochs: Count = Field(2000, description="passes over the training set")
    batch_size: Count = Field(32, description="structures per step")
    optimizer: Literal["adam"] = Field("adam", description="optimiser")
    learning_rate: Positive = Field(1e-3, description="initial learning rate")
    min_learning_rate: Positive = Field(1e-6, description="final learning rate")
    schedule: Literal["linear", "exponential", "warmup_cosine"] = Field(
        "linear", description="decay of the learning rate"
    )
    constant_epochs: Index = Field(10, description="epochs before the decay starts (linear, exponential)")
    warmup_epochs: Index = Field(0, description="epochs of linear warm-up (warmup_cosine)")
    energy_weight: Annotated[float, Field(ge=0)] = Field(
        0.5, description="weight of the mean squared energy error per atom, (eV/atom)^2"
    )
    force_weight: Annotated[float, Field(ge=0)] = Field(
        0.5, description="weight of the mean squared force error, (eV/Å)^2"
    )
    stress_weight: Annotated[float, Field(ge=0)] = Field(
        0.0, description="weight of the mean squared stress error, (eV/Å^3)^2"
    )
    gradient_clip: Annotated[float, Field(ge=0)] = Field(
        0.0, description="largest norm of the gradient; 0: no clipping"
    )
    validate_every: Count = Field(1, description="epochs between validations and checkpoints")
    seed: int = Field(0, description="seed of the initial weights and of the order of the batches")


class Run(Section):
    """One trained model: data, hyper-parameters, training."""

    datasets: Annotated[list[str], Field(min_length=1)] = Field(
        description="names of the data sets, joined for training"
    )
    model: str = Field(description="name of an entry of `models`")
    training: str = Field(description="name of an entry of `training`")
    description: str = Field("", description="what the model is for and what its limits are; kept in the model file")


class Simulation(Section):
    """One molecular-dynamics run in OpenMM."""

    run: str = Field(description="name of the run whose model drives the dynamics")
    start: str = Field(
        description="starting structure: `sn2:Cl,Br,3.2` (X- + CH3Y at a C-X distance in Å), "
        "`dimer:acetate,methylammonium,4.0` (two fragments and the distance in Å of their centres beyond contact), "
        "or a file (extended XYZ, PDB)"
    )
    steps: Count = Field(2000, description="number of steps")
    timestep_fs: Positive = Field(0.5, description="time step in fs")
    temperature: Positive = Field(300.0, description="temperature in K")
    friction_per_ps: Annotated[float, Field(ge=0)] = Field(
        1.0, description="friction in 1/ps of Langevin dynamics; 0: constant energy (NVE)"
    )
    report_interval: Count = Field(10, description="steps between frames and lines of state data")
    restraint: Annotated[float, Field(ge=0)] = Field(
        0.0,
        description="stiffness in eV/Å^2 of a wall that starts at `restraint_distance` between the two molecules' "
        "centres; 0: none",
    )
    restraint_distance: Positive = Field(10.0, description="distance in Å at which the wall starts")
    implementation: Literal["auto", "torchforce", "pythonforce"] = Field(
        "auto", description="how OpenMM calls the model"
    )
    precision: Literal["single", "double"] = Field("single", description="floating-point precision of the model")
    seed: int = Field(0, description="seed of the velocities and of the thermostat")


class Config(Section):
    """The whole configuration file."""

    output: str = Field("results", description="folder of everything that is made")
    seed: int = Field(1, description="seed of the structures that are made and labelled")
    datasets: dict[str, Dataset] = Field(description="data sets by name")
    models: dict[str, Model] = Field(description="hyper-parameter sets by name")
    training: dict[str, Training] = Field(description="training settings by name")
    runs: dict[str, Run] = Field(description="trained models by name")
    simulations: dict[str, Simulation] = Field(default={}, description="molecular-dynamics runs by name")

    @model_validator(mode="after")
    def _references_exist(self) -> "Config":
        for name, run in self.runs.items():
            for dataset in run.datasets:
                _require(dataset, self.datasets, f"runs.{name}.datasets")
            _require(run.model, self.models, f"runs.{name}.model")
            _require(run.training, self.training, f"runs.{name}.training")
        for name, simulation in self.simulations.items():
            _require(simulation.run, self.runs, f"simulations.{name}.run")
        return self


SectionT = TypeVar("SectionT", bound=Section)


def parse(section: type[SectionT], values: Mapping[str, Any], source: str) -> SectionT:
    """Checks ``values`` against a section.

    Args:
        section: The class to build.
        values: Plain data as read from YAML or JSON.
        source: Name used in the error, usually the file.

    Raises:
        ConfigError: If a key is unknown or missing or a value breaks its rule; all faults are listed.
    """
    try:
        return section.model_validate(dict(values))
    except ValidationError as error:
        lines = [_describe(section, fault) for fault in error.errors()]
        raise ConfigError(f"{source}: {len(lines)} fault(s)\n" + "\n".join(f"  {line}" for line in lines)) from None


def load(path: str | Path) -> Config:
    """Reads and checks a configuration file (YAML).

    Raises:
        ConfigError: If the file is missing, is not YAML, or breaks a rule.
    """
    try:
        values = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not valid YAML: {error}") from None
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: must be a mapping of sections, received {type(values).__name__}")
    return parse(Config, values, str(path))


def _require(name: str, known: Mapping[str, Any], where: str) -> None:
    if name not in known:
        raise ValueError(
            f"{where}: no entry named '{name}'.{did_you_mean(name, known)} Known: {', '.join(known) or 'none'}"
        )


def _describe(section: type[Section], fault: Any) -> str:
    location = [str(part) for part in fault["loc"]]
    where = ".".join(location) or "file"
    if fault["type"] == "extra_forbidden":
        return f"{where}: unknown key.{did_you_mean(location[-1], _all_keys(section))}"
    if fault["type"] == "missing":
        return f"{where}: required key is missing"
    received = "" if isinstance(fault["input"], dict) else f" (received {fault['input']!r:.80})"
    return f"{where}: {fault['msg'].removeprefix('Value error, ')}{received}"


def _all_keys(section: type[Section]) -> set[str]:
    keys: set[str] = set()

    def collect(schema: Any) -> None:
        if isinstance(schema, dict):
            keys.update(schema.get("properties", {}))
            for value in schema.values():
                collect(value)
        elif isinstance(schema, list):
            for value in schema:
                collect(value)

    collect(section.model_json_schema())
    return keys
