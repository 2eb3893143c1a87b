"""Sections of a training: hyper-parameters, optimiser, and the run that joins them with data."""

from pathlib import PurePath
from typing import Annotated, Literal

from pydantic import Field, model_validator

from lorem_openmm.config.long_range import EquivariantCharges, ExplicitCharges, LongRange, LongRangeChoice
from lorem_openmm.config.names import FilePath
from lorem_openmm.config.section import Count, Fraction, Index, NonNegative, Positive, Section


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
    long_range: LongRangeChoice = Field(
        True,
        description="what goes through an Ewald or direct sum: true, the published equivariant charges; false, "
        "nothing; or the keys of another block with its `kind`",
    )
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
    norm_smoothing: NonNegative = Field(
        0.0,
        description="width below which the norms of spherical features are rounded off; 0: the published model, whose "
        "forces jump where a degree-0 feature changes sign; 0.1 conserves energy in dynamics",
    )

    born_charges: bool = Field(
        False,
        description="predict Born effective charges from the spherical features, as lorem-jax's LoremBEC does; "
        "`max_degree` must be at least 1",
    )

    @property
    def smearing_in_force(self) -> float:
        """Width in Å of the Gaussians of the Ewald sum."""
        return self.smearing or self.cutoff / 4

    @property
    def wavelength_in_force(self) -> float:
        """Shortest wavelength in Å of the Ewald sum."""
        return self.wavelength or self.cutoff / 8

    @property
    def long_range_block(self) -> LongRange | None:
        """The section of the long-range block; None: a model of short range."""
        if isinstance(self.long_range, LongRange):
            return self.long_range
        return EquivariantCharges() if self.long_range else None

    @model_validator(mode="after")
    def _tensors_fit_features(self) -> "Model":
        if self.born_charges and self.max_degree < 1:
            raise ValueError("born_charges: tensors need directions, and max_degree is 0; set it to 1 or more")
        return self

    @model_validator(mode="after")
    def _charges_fit_features(self) -> "Model":
        if (
            isinstance(self.long_range_block, EquivariantCharges | ExplicitCharges)
            and self.max_charge_degree > self.max_degree
        ):
            raise ValueError(
                f"max_charge_degree must not exceed max_degree, received {self.max_charge_degree} > {self.max_degree}"
            )
        return self


class Training(Section):
    """Optimiser, schedule and losses; the defaults are the paper's."""

    epochs: Count = Field(2000, description="passes over the training set")
    batch_size: Count = Field(32, description="structures per step")
    optimizer: Literal["adam", "lamb", "muon"] = Field("adam", description="optimiser, with optax's numbers")
    learning_rate: Positive = Field(1e-3, description="initial learning rate")
    min_learning_rate: Positive = Field(1e-6, description="final learning rate")
    schedule: Literal["linear", "exponential", "warmup_cosine"] = Field(
        "linear", description="decay of the learning rate"
    )
    constant_epochs: Index = Field(10, description="epochs before the decay starts (linear, exponential)")
    warmup_epochs: Index = Field(0, description="epochs of linear warm-up (warmup_cosine)")
    energy_weight: NonNegative = Field(0.5, description="weight of the mean squared energy error per atom, (eV/atom)^2")
    force_weight: NonNegative = Field(0.5, description="weight of the mean squared force error, (eV/Å)^2")
    stress_weight: NonNegative = Field(0.0, description="weight of the mean squared stress error, (eV/Å^3)^2")
    dipole_weight: NonNegative = Field(
        0.0,
        description="weight of the mean squared error of the dipole of structures in vacuum, (e Å)^2, about the centre "
        "of mass; needs `long_range: {kind: coulomb_charges}` and `dipole` in the data",
    )
    born_charge_weight: NonNegative = Field(
        0.0,
        description="weight of the mean squared error of Born effective charges, e^2; needs `born_charges: true` and "
        "`born_effective_charges` (9 columns, rows: displacements) in the data",
    )
    net_charge_weight: NonNegative = Field(
        0.0,
        description="weight of a penalty on what reaches as far as 1/r: net latent charges (of all channels in neutral "
        "structures, of those with a direction in charged ones), and what neutral structures feel of a constant "
        "potential; needs `charge` in the data",
    )
    gradient_clip: NonNegative = Field(0.0, description="largest norm of the gradient; 0: no clipping")
    ema_decay: Fraction = Field(
        0.0,
        description="decay per step of the moving average of the weights that is validated, selected and exported; "
        "0: none, the weights themselves",
    )
    rotational_augmentation: bool = Field(
        False, description="rotate each structure at random in each epoch, half of them with inversion"
    )
    patience: Index = Field(
        0, description="end the training after so many epochs without a better validation score; 0: never"
    )
    bucket_by_size: bool = Field(
        False,
        description="put structures of similar size into a batch, for less padding where sizes differ; a batch is then "
        "no random sample of the training set any more, as it is in lorem-jax",
    )
    validate_every: Count = Field(1, description="epochs between validations and checkpoints")
    seed: int = Field(0, description="seed of the initial weights, of the order of the batches and of rotations")


class Run(Section):
    """One trained model: data, hyper-parameters, training."""

    datasets: Annotated[list[str], Field(min_length=1)] = Field(
        description="names of the data sets, joined for training"
    )
    model: str = Field(description="name of an entry of `models`")
    training: str = Field(description="name of an entry of `training`")
    description: str = Field("", description="what the model is for and what its limits are; kept in the model file")
    initial_model: FilePath | None = Field(
        None,
        description="fine-tuning: model file (.safetensors, .pt) or folder of a lorem-jax checkpoint whose weights the "
        "training starts from; its hyper-parameters must be those of `model`",
    )
    keep_baseline: bool = Field(
        False,
        description="keep the energies per element of `initial_model`, for data of its own method; otherwise they are "
        "fitted to the new data, whose method may have another zero of energy",
    )

    @model_validator(mode="after")
    def _baseline_of_a_model(self) -> "Run":
        if self.keep_baseline and self.initial_model is None:
            raise ValueError("keep_baseline needs `initial_model`, whose energies per element it keeps")
        return self

    @property
    def initial_files(self) -> list[str]:
        """Returns the files of the initial model, for the workflow."""
        if self.initial_model is None:
            return []
        path = PurePath(self.initial_model)
        if path.suffix in (".safetensors", ".pt"):
            return [self.initial_model]
        return [str(path / "model" / name) for name in ("model.yaml", "model.msgpack", "baseline.yaml")]
