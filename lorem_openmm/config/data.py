"""Sections of the data: structures, their labels, and their division."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from lorem_openmm.config.names import FilePaths
from lorem_openmm.config.section import Count, Fraction, Index, Positive, Section, one_of
from lorem_openmm.units import (
    ENERGY_IN_EV,
    FORCE_IN_EV_PER_ANGSTROM,
    LENGTH_IN_ANGSTROM,
    STRESS_IN_EV_PER_CUBIC_ANGSTROM,
)

FEWEST_SCAN_FRAMES = 25  # with steps beyond 7.5 degrees a smooth scan cannot be told from a broken one
Halogen = Literal["F", "Cl", "Br", "I"]
RegistryName = Literal["mgo_surface", "nacl_cluster", "cumulene", "biodimers", "sn2_reactions"]


class Engine(Section):
    """A quantum-chemistry engine and its method."""

    name: Literal["tblite", "pyscf"] = Field(
        "tblite", description="tblite: xTB, milliseconds per frame; pyscf: DFT, seconds per frame"
    )
    method: str = Field(
        "GFN2-xTB", description="tblite: GFN1-xTB, GFN2-xTB, IPEA1-xTB; pyscf: HF or a functional, for example PBE0"
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


class Labelling(Section):
    """What every kind of labelled data set has."""

    kind: str
    engine: Engine = Field(default_factory=Engine, description="labelling engine")
    acceptance: Acceptance = Field(default_factory=Acceptance, description="checks of the labels")


class Sn2Label(Labelling):
    """Frames of X⁻ + CH₃Y at charge −1: approach, barrier, separated products, fragments."""

    kind: Literal["sn2"]
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


class DimersLabel(Labelling):
    """Dimers of amino-acid side-chain analogues in vacuum, random orientations, contact to far apart."""

    kind: Literal["dimers"]
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
        description="fragments to pair; see lorem_openmm.sampling.fragments",
    )
    num_dimers: Count = Field(
        200, description="number of random dimers (a pair of fragments in one relative orientation)"
    )
    num_separations: Annotated[int, Field(ge=2)] = Field(12, description="frames along the separation of each dimer")
    max_separation: Positive = Field(15.0, description="largest growth in Å of the fragments' distance beyond contact")
    contact_factor: Positive = Field(
        0.8, description="distance of the nearest atoms at contact, relative to their van der Waals sum"
    )
    encounter_frames: Index = Field(
        0,
        description="frames of each dimer at close quarters, each in conformations of its own: close approaches, "
        "hydrogen bonds, stretched bonds of hydrogen, hydrogens on their way to the other molecule, and three steps "
        "downhill from each of these; models that have not seen them fall apart in dynamics",
    )
    trajectory_frames: Index = Field(
        4, description="frames of each dimer from a Langevin trajectory with the engine that starts near contact"
    )
    trajectory_interval: Count = Field(
        10,
        description="fs between these frames; molecules take some hundred fs to find each other's hydrogen bonds, and "
        "models that have not seen them are far off there",
    )
    temperature: Positive = Field(
        500.0, description="temperature in K of displacements and trajectories, above that of a simulation"
    )


class WaterLabel(Labelling):
    """Periodic boxes of water at several densities: classical liquids, and short trajectories that start from them."""

    kind: Literal["water"]
    engine: Engine = Field(
        default_factory=lambda: Engine(method="GFN1-xTB"), description="labelling engine; tblite only (periodic cells)"
    )
    num_waters: Annotated[int, Field(ge=8)] = Field(16, description="water molecules per box")
    densities: Annotated[list[Positive], Field(min_length=1)] = Field(
        default=[0.8, 0.9, 1.0, 1.1, 1.2, 1.3], description="densities in g/cm^3, each in turn"
    )
    num_boxes: Count = Field(24, description="number of boxes, each a liquid of its own")
    classical_frames: Index = Field(
        3, description="frames of each box from a classical simulation (flexible TIP3P), half a picosecond apart"
    )
    displaced_frames: Index = Field(
        3,
        description="frames of each box in which the classical molecules are shifted and turned at random: they keep "
        "a model that is trained on few structures from inventing bonds at short distances",
    )
    trajectory_frames: Index = Field(
        4, description="frames of each box from a short Langevin trajectory with the engine, after the classical one"
    )
    temperature: Positive = Field(350.0, description="temperature in K of both, above that of a simulation")


class CumuleneLabel(Labelling):
    """Cumulenes CnH4: rattled chains with end groups turned by any dihedral, and undisplaced dihedral scans."""

    kind: Literal["cumulene"]
    carbons: Annotated[list[Annotated[int, Field(ge=3)]], Field(min_length=1)] = Field(
        default=[9], description="numbers of carbon atoms of the chains, each in turn"
    )
    num_frames: Index = Field(500, description="rattled frames over all chains")
    num_profile_frames: Index = Field(
        37,
        description="frames of the scan of each chain's dihedral from 0 to 180 degrees, flagged `profile`: none or at "
        "least 25, because neighbours check one another; in a data set of their own (`num_frames: 0`) they stay out of "
        "the training",
    )
    temperature: Positive = Field(300.0, description="temperature in K of the displacements")

    @model_validator(mode="after")
    def _makes_frames(self) -> "CumuleneLabel":
        if self.num_frames == 0 and self.num_profile_frames == 0:
            raise ValueError("num_frames and num_profile_frames must not both be 0; raise one of them")
        if 0 < self.num_profile_frames < FEWEST_SCAN_FRAMES:
            raise ValueError(
                f"num_profile_frames must be 0 or at least {FEWEST_SCAN_FRAMES}; received {self.num_profile_frames}"
            )
        return self


LabelSection = Annotated[Sn2Label | DimersLabel | WaterLabel | CumuleneLabel, Field(discriminator="kind")]


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
    train_count: Count | None = Field(
        None,
        description="structures of the training set, as an absolute number; what remains is the test set, or is left "
        "out where test_count or test_above says what the test set is",
    )
    validation_count: Index | None = Field(
        None,
        description="structures of the validation set, as an absolute number; validation_fraction is then not used",
    )
    test_count: Index | None = Field(
        None, description="structures of the test set, as an absolute number; test_fraction is then not used"
    )
    seed: int = Field(0, description="seed of the random division")

    @model_validator(mode="after")
    def _one_test_set(self) -> "Split":
        if self.test_count is not None and self.test_above is not None:
            raise ValueError("give `test_count` or `test_above`, not both")
        return self


class Units(Section):
    """Units of the numbers in the files of a data set, where they are not eV, Å, eV/Å and eV/Å^3."""

    energy: Annotated[str, one_of(ENERGY_IN_EV)] = Field("eV", description=f"one of {', '.join(ENERGY_IN_EV)}")
    length: Annotated[str, one_of(LENGTH_IN_ANGSTROM)] = Field(
        "angstrom", description=f"of positions and cells: one of {', '.join(LENGTH_IN_ANGSTROM)}"
    )
    forces: Annotated[str, one_of(FORCE_IN_EV_PER_ANGSTROM)] | None = Field(
        None, description="an energy and a length, for example hartree/bohr; by default those above"
    )
    stress: Annotated[str, one_of(STRESS_IN_EV_PER_CUBIC_ANGSTROM)] = Field(
        "eV/angstrom^3", description=f"one of {', '.join(STRESS_IN_EV_PER_CUBIC_ANGSTROM)}; ASE's sign, against VASP's"
    )


class Dataset(Section):
    """Structures with energies and forces: labelled here, fetched, or read from files."""

    label: LabelSection | None = Field(
        None, description="make the structures and label them with a quantum-chemistry engine"
    )
    registry: RegistryName | None = Field(
        None, description="a published data set, fetched and divided by `split`; `lorem-openmm fetch` lists them"
    )
    structures: FilePaths | None = Field(
        None,
        description="file(s), divided by `split`: extended XYZ, ASE's .traj or .db, vasprun.xml, OUTCAR, .npz or HDF5, "
        "compressed or not (docs/data.md)",
    )
    train: FilePaths | None = Field(None, description="file(s) of the training set")
    validation: FilePaths | None = Field(
        None, description="file(s) of the validation set; without it, `split` divides the training set"
    )
    test: FilePaths | None = Field(None, description="file(s) of the test set")
    energy_key: str = Field("energy", description="info key of the total energy in eV")
    forces_key: str = Field(
        "forces",
        description="array key of the forces in eV/Å; a name with `grad` in it means gradients, minus the forces",
    )
    stress_key: str | None = Field(
        None,
        description="info key of the stress in eV/Å^3, if it is to be read: (1/V) dE/dstrain, positive under tension, "
        "as in ASE",
    )
    virial_key: str | None = Field(
        None,
        description="info key of the virial in eV, in place of the stress: -dE/dstrain, positive under compression as "
        "in MACE, GAP and DeePMD; the stress is minus the virial divided by the volume",
    )
    units: Units | None = Field(
        None, description="units of the files, if they are not eV and Å; .npz and HDF5 files that name none need them"
    )
    on_implausible: Literal["error", "report"] = Field(
        "error",
        description="what to do about labels whose unit or sign is found to be wrong although they are consistent "
        "(docs/data.md): differences of two methods, for example, are not forces and may be right nevertheless",
    )
    class_key: str | None = Field(None, description="info key by which errors are reported, for example label")
    separation_key: str | None = Field(None, description="info key of a distance along which errors are reported")
    split: Split = Field(default_factory=Split, description="division into train, validation, test")

    @model_validator(mode="after")
    def _one_source(self) -> "Dataset":
        names = ("label", "registry", "structures", "train")
        sources = [name for name in names if getattr(self, name) is not None]
        if len(sources) != 1:
            known = ", ".join(f"`{name}`" for name in names)
            raise ValueError(f"give exactly one of {known}; received {sources or 'none'}")
        if self.units is not None and sources[0] in ("label", "registry"):
            raise ValueError(f"`units` are those of files of your own: leave them out beside `{sources[0]}`")
        if self.stress_key and self.virial_key:
            raise ValueError("give `stress_key` or `virial_key`, not both")
        return self
