"""Sections of molecular dynamics: simulations and umbrella sampling."""

from typing import Annotated, Literal

from pydantic import Field, StrictBool, StrictInt, model_validator

from lorem_openmm.config.names import FilePath
from lorem_openmm.config.section import Count, Index, NonNegative, Positive, Section
from lorem_openmm.errors import ConfigError

Coordinate = Literal["bond_difference", "center_distance"]
FEWEST_FRAMES = 10  # of a window, equilibration left out


class Solvent(Section):
    """Water around the molecules: inside them LOREM acts, between them and the water, and in it, a force field."""

    box_edge: Positive = Field(
        30.0,
        description="edge in Å of the cubic box that is filled with water; molecules must stay within half of it, so "
        "two of them need a wall (`restraint`) as well",
    )
    cutoff: Positive = Field(9.0, description="in Å, of Lennard-Jones and of the direct part of PME")
    force_field: Annotated[list[FilePath], Field(min_length=1)] = Field(
        default=["amber14/tip3p.xml", "fragments"],
        description="OpenMM force-field files with water of three sites and the molecules' charges and Lennard-Jones "
        "parameters; `fragments`: those that are shipped for the fragments of the dimers and for S_N2 complexes",
    )
    neutralize: bool = Field(
        False, description="replace water by Na+ or Cl- until the charges of the force field sum to zero"
    )
    polar_hydrogen_repulsion: bool = Field(
        True,
        description="give hydrogens of the molecules that the force field leaves without Lennard-Jones term, as those "
        "of hydroxyl and ammonium groups, CHARMM's towards the water; without it they can fall onto its oxygens, "
        "because no bond of the force field holds them any more",
    )
    equilibration_ps: NonNegative = Field(
        2.0, description="ps in which water alone moves, around fixed molecules, before the first step"
    )


class Dynamics(Section):
    """What every kind of molecular dynamics in OpenMM needs."""

    run: str = Field(description="name of the run whose model drives the dynamics")
    start: FilePath = Field(
        description="starting structure: `sn2:Cl,Br,3.2` (X- + CH3Y at a C-X distance in Å), "
        "`dimer:acetate,methylammonium,4.0` (two fragments and the distance in Å of their centres beyond contact), "
        "`water:64` (molecules in a periodic box at 1 g/cm^3), "
        "`smiles:CCO` (needs the extra `smiles`), or a file (XYZ, PDB, mmCIF, CIF, SDF, ASE's and VASP's files, also "
        "compressed; `file@index` for one of several structures)"
    )
    charge: StrictInt | None = Field(
        None,
        description="total charge in e of what LOREM acts in, for models whose long-range block uses it; none: what "
        "the starting structure states (formal charges of a SMILES or a file, `charge` of an XYZ file's comment line)",
    )
    steps: Count = Field(2000, description="number of steps")
    minimize: bool = Field(
        True,
        description="relax the starting structure for a moment; false: take it as equilibrated, as dynamics at "
        "constant energy takes a file anyway",
    )
    timestep_fs: Positive = Field(0.5, description="time step in fs")
    temperature: Positive = Field(300.0, description="temperature in K")
    friction_per_ps: NonNegative = Field(
        1.0, description="friction in 1/ps of Langevin dynamics; 0: constant energy (NVE)"
    )
    pressure_bar: Positive | None = Field(
        None,
        description="pressure in bar of a Monte Carlo barostat (periodic structures with a thermostat only); "
        "none: fixed box",
    )
    report_interval: Count = Field(10, description="steps between frames and lines of state data")
    restraint: NonNegative = Field(
        0.0,
        description="stiffness in eV/Å^2 of a wall that starts at `restraint_distance` between the two molecules' "
        "centres; 0: none",
    )
    restraint_distance: Positive = Field(10.0, description="distance in Å at which the wall starts")
    solvent: Solvent | None = Field(None, description="water of a force field around the molecules; none: vacuum")
    implementation: Literal["auto", "torchforce", "pythonforce"] = Field(
        "auto", description="how OpenMM calls the model"
    )
    precision: Literal["single", "double"] = Field("single", description="floating-point precision of the model")
    seed: int = Field(0, description="seed of the velocities, of the thermostat and of the barostat")
    reactive: StrictBool | list[Index] | None = Field(
        None,
        description="reactions that are wanted: true, or the atoms (counted from 0) whose bonds may break and form; "
        "else a bond that breaks, or an atom that goes to another molecule, makes the run unstable. None: the two "
        "halogens of X- + CH3Y, no others. Atoms on top of each other, temperature and energy are watched all the same",
    )
    on_unstable: Literal["fail", "report"] = Field(
        "fail",
        description="what to do with a run that fell apart, after it has stopped and its summary is written: fail: "
        "end with an error; report: end as others do, with the verdict in summary, figures and report",
    )

    @model_validator(mode="after")
    def _pressure_needs_temperature(self) -> "Dynamics":
        if self.pressure_bar is not None and self.friction_per_ps == 0:
            raise ValueError("pressure_bar needs a thermostat, received friction_per_ps 0; raise it, 1 is usual")
        return self


class Bias(Section):
    """A harmonic potential on a coordinate, U = ½ · stiffness · (ξ − center)²."""

    coordinate: Coordinate = Field(
        description="bond_difference: r(C-X) - r(C-Y) of an S_N2 complex; center_distance: between the centres of "
        "mass of the first two molecules"
    )
    center: float = Field(description="value of the coordinate in Å at which the potential is zero")
    stiffness: Positive = Field(2.0, description="in eV/Å^2")

    @model_validator(mode="after")
    def _distance_is_positive(self) -> "Bias":
        _check_centers(self.coordinate, center=self.center)
        return self


class Simulation(Dynamics):
    """One molecular-dynamics run in OpenMM."""

    bias: Bias | None = Field(None, description="harmonic potential on a coordinate; none: unbiased")


class Umbrella(Dynamics):
    """Umbrella sampling: simulations held along a coordinate, whose free energy MBAR puts together."""

    coordinate: Coordinate = Field(description="as in a simulation's `bias`")
    first: float = Field(description="value of the coordinate in Å at the first window")
    last: float = Field(description="value of the coordinate in Å at the last window")
    num_windows: Annotated[int, Field(ge=2)] = Field(16, description="number of windows, evenly from first to last")
    stiffness: Positive = Field(2.0, description="of the harmonic potentials, in eV/Å^2")
    equilibration: Index = Field(1000, description="steps at the start of each window that are left out")

    @model_validator(mode="after")
    def _windows_differ(self) -> "Umbrella":
        if self.first == self.last:
            raise ValueError(f"first and last must differ, received {self.first} for both")
        _check_centers(self.coordinate, first=self.first, last=self.last)
        frames = (self.steps - self.equilibration) // self.report_interval
        if frames < FEWEST_FRAMES:
            raise ValueError(
                f"steps less equilibration must leave at least {FEWEST_FRAMES} frames of {self.report_interval} steps; "
                f"received {self.steps} and {self.equilibration}, which leave {max(frames, 0)}"
            )
        if self.friction_per_ps == 0:
            raise ValueError("friction_per_ps must be positive: MBAR needs the thermostat's temperature; received 0")
        if self.restraint > 0:
            raise ValueError(
                f"restraint must be 0: the windows hold the molecules, and a wall would be part of the profile; "
                f"received {self.restraint}"
            )
        return self

    def centers(self) -> list[float]:
        """Returns the value of the coordinate in Å of each window."""
        step = (self.last - self.first) / (self.num_windows - 1)
        # Rounded, so that windows stay the same when a profile goes on further at the same spacing.
        return [round(self.first + index * step, 9) for index in range(self.num_windows)]

    def window(self, index: int) -> Simulation:
        """Returns the simulation of a window; each has its own seed.

        Raises:
            ConfigError: If there is no such window.
        """
        if not 0 <= index < self.num_windows:
            raise ConfigError(f"window: must be from 0 to {self.num_windows - 1} (num_windows); received {index}")
        own = {"coordinate", "first", "last", "num_windows", "stiffness", "equilibration"}
        bias = Bias(coordinate=self.coordinate, center=self.centers()[index], stiffness=self.stiffness)
        values = self.model_dump(exclude=own | {"seed"})
        return Simulation(**values, seed=self.seed + index, bias=bias)


def _check_centers(coordinate: Coordinate, **centers: float) -> None:
    for key, value in centers.items():
        if coordinate == "center_distance" and value <= 0:
            raise ValueError(f"{key} must be positive, as a distance is; received {value}")
