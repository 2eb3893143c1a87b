"""``openmmml.MLPotential("lorem")``: LOREM among the machine-learning potentials of OpenMM."""

import logging
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import openmm
import openmm.app
from openmmml.embeddings.mechanicalembedding import MechanicalEmbedding
from openmmml.mlpotential import MLPotentialImpl

from lorem_openmm.electric import check_field
from lorem_openmm.errors import ConfigError, did_you_mean
from lorem_openmm.integrations.force_options import (
    atomic_numbers,
    check_atoms,
    check_charge,
    check_options,
    check_particles,
    choose_implementation,
)
from lorem_openmm.integrations.force_settings import ForceSettings
from lorem_openmm.integrations.model_source import ModelSource
from lorem_openmm.integrations.openmm_force import add_python_force, add_torch_force
from lorem_openmm.integrations.polar_hydrogens import add_polar_hydrogen_repulsion
from lorem_openmm.potential import Potential, check_species

logger = logging.getLogger(__name__)

BOUNDARIES = ("box", "vacuum")
EMBEDDING = "mechanical"
LAMBDA = "lambda_interpolate"  # openmm-ml's parameter


class LoremPotentialImpl(MLPotentialImpl):
    """Adds LOREM to OpenMM systems.

    ``createSystem(topology, ...)`` and ``createMixedSystem(topology, system, atoms, ...)`` take

    - ``device``: where the model runs, for example 'cuda'; default: CUDA if there is any, else the CPU;
    - ``precision``: 'single' (default) or 'double';
    - ``implementation``: 'pythonforce' works with any PyTorch and serialises with its System, by path and hash of the
      model file; 'torchforce' spares Python at each step, needs an openmmtorch that matches PyTorch, and serialises
      through ``lorem_openmm.serialize``; 'auto' (default) takes torchforce on CUDA where it works, else pythonforce;
    - ``skin``: Å added to the cutoff of the neighbour lists so that they last for several steps;
    - ``ewaldErrorTolerance``: relative error of the long-range forces in periodic boxes, from 2e-6 (single precision:
      2e-5) to 1e-2, which sets smearing, wavelength and mesh; default: what the model was trained with (2e-4);
    - ``compile``: True compiles molecules of up to 32 atoms in vacuum to native code at the first step, which then take
      about two thirds of the time; needs 'pythonforce' and a C++ compiler. Where it fails, a warning says why and it
      runs as without;
    - ``charge``: total charge in e of the atoms that the model sees, a whole number, as for openmm-ml's other
      potentials; default: not stated. A model whose long-range block uses it refuses to run without it, others keep it
      with the force and do nothing with it. It is never guessed, but must be the sum of the formal charges where the
      topology has one for each of these atoms;
    - ``electricField``: three numbers in V/Å, a uniform field that acts on the explicit charges of the model's atoms in
      vacuum (not on the atoms of a force field).

    and ``createMixedSystem`` takes

    - ``polarHydrogenRepulsion``: True (default) gives hydrogens of the region that have no Lennard-Jones term in the
      force field, as those of hydroxyl and ammonium groups, CHARMM's towards the atoms outside, because no bond of the
      force field protects them any more: see :mod:`lorem_openmm.integrations.polar_hydrogens`.

    With ``boundary='box'`` the model is periodic (Ewald sum, or a mesh for more than 200 atoms) if the topology has box
    vectors or the system uses periodic boundary conditions, else it is in vacuum (direct sum). With
    ``boundary='vacuum'`` it is in vacuum even so: in a pure system the box is ignored, and in a mixed one the model's
    atoms form one cluster of nearest images, which interacts with its periodic images through the force field's
    charges. This is the right choice for models trained in vacuum.

    A periodic System of this potential alone has no bonds: write trajectories with ``enforcePeriodicBox=False`` to keep
    molecules whole. Barostats scale each atom by itself. In a mixed system without interpolation the topology's bonds
    within the region are kept with stiffness 0, so that its molecules stay molecules.

    Args:
        model: model file, potential, or None for the shipped model.
        boundary: ``box`` or ``vacuum``.

    Raises:
        ConfigError: If ``boundary`` is neither.
        ModelFileError: If the file is missing or damaged.
    """

    def __init__(self, model: str | Path | Potential | None = None, boundary: str = "box"):
        if boundary not in BOUNDARIES:
            raise ConfigError(
                f"boundary: must be one of {', '.join(BOUNDARIES)}, received {boundary!r}."
                f"{did_you_mean(str(boundary), BOUNDARIES)}"
            )
        self.boundary = boundary
        self.source = ModelSource.find(model)
        potential = model if isinstance(model, Potential) else self.source.load("single", "cpu")
        self._potential = potential  # held: forces share it, and a potential in memory must not vanish
        self.species = potential.species
        self.long_range = potential.model.long_range is not None
        self.needs_total_charge = potential.model.needs_total_charge
        self.trained_on = getattr(potential, "metadata", {}).get("electrostatics", {}).get("trained_on")

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if not self.source.sha256:  # a potential in memory: the copy has its own, which may be in another process
            self.source = ModelSource.find(self._potential)

    def addForces(  # noqa: N802 (openmm-ml's name)
        self,
        topology: openmm.app.Topology,
        system: openmm.System,
        atoms: Iterable[int] | None,
        forceGroup: int,
        **args: Any,
    ) -> None:
        """Adds the force.

        Args:
            topology: elements and box of the system.
            system: to add to.
            atoms: indices of the atoms the model sees; None: all.
            forceGroup: of the new force.
            **args: see the class.

        Raises:
            ConfigError: If an argument is unknown or breaks its rule, or the system is not of the topology.
            DataError: If the topology has no atoms.
            UnknownElementError: If the model does not know an element, or an atom has none.
            InstallationError: If ``implementation='torchforce'`` and openmmtorch does not work.
        """
        options = check_options(args)
        indices = check_atoms(atoms, topology.getNumAtoms())
        numbers = atomic_numbers(topology, indices)
        if system.getNumParticles():  # openmm-ml collects forces in systems without particles
            check_particles(system, topology)
        check_species(self.species, numbers)
        check_charge(options.charge, topology, indices, self.needs_total_charge)
        boxed = topology.getPeriodicBoxVectors() is not None or system.usesPeriodicBoundaryConditions()
        periodic = boxed and self.boundary == "box"
        self._warn_about_boundary(periodic)
        settings = ForceSettings(
            source=self.source,
            atomic_numbers=tuple(numbers),
            periodic=periodic,
            gather=boxed and not periodic and indices is not None,
            precision=options.precision,
            device=options.device,
            skin=options.skin,
            compile=options.compile,
            tolerance=options.ewaldErrorTolerance if periodic else None,
            total_charge=options.charge,
            electric_field=options.electricField,
        )
        if options.electricField is not None:
            check_field(self._potential.model, periodic)
        implementation = choose_implementation(options.implementation, options.device, system, topology)
        add = add_torch_force if implementation == "torchforce" else add_python_force
        add(system, settings, indices, forceGroup)
        if indices is not None:
            _add_molecules(topology, system, set(indices))
        box = topology.getPeriodicBoxVectors() if periodic else "none (vacuum)"
        logger.info("LOREM: %d atoms, box %s, %s, %s", len(numbers), box, implementation, options)

    def getSupportedEmbeddings(self) -> list[str]:  # noqa: N802 (openmm-ml's name)
        """Returns the embeddings that this class adds something to; openmm-ml then leaves them to it."""
        return [EMBEDDING]

    def createMixedSystem(  # noqa: N802 (openmm-ml's name)
        self,
        topology: openmm.app.Topology,
        system: openmm.System,
        atoms: list[int],
        forceGroup: int,
        interpolate: bool,
        embedding: str,
        returnInfo: bool = False,
        polarHydrogenRepulsion: bool = True,
        **args: Any,
    ) -> openmm.System | dict[str, Any]:
        """Returns openmm-ml's mechanical embedding, with a wall for hydrogens that have none.

        Args:
            topology: of the system.
            system: of the force field.
            atoms: indices of the atoms the model sees.
            forceGroup: of the model's force.
            interpolate: whether ``lambda_interpolate`` goes from the force field (0) to the mixed system (1).
            embedding: the only one there is.
            returnInfo: whether to return the topology and the new indices as well.
            polarHydrogenRepulsion: whether hydrogens without Lennard-Jones term get one towards the force field.
            **args: see the class.

        Raises:
            ConfigError: If an argument is unknown or breaks its rule.
            UnknownElementError: If the model does not know an element, or an atom has none.
        """
        if not isinstance(polarHydrogenRepulsion, bool):
            raise ConfigError(f"polarHydrogenRepulsion: must be True or False, received {polarHydrogenRepulsion!r}")
        check_particles(system, topology)
        indices = check_atoms(atoms, topology.getNumAtoms()) or []
        info = MechanicalEmbedding().createMixedSystem(
            self, topology, system, indices, forceGroup, interpolate, returnInfo=True, **args
        )
        if polarHydrogenRepulsion:
            scale = LAMBDA if interpolate else None
            add_polar_hydrogen_repulsion(topology, system, indices, info["system"], scale)
        return info if returnInfo else info["system"]

    def getMLLongRange(self) -> bool:  # noqa: N802 (openmm-ml's name)
        """Returns whether the model's periodic images interact, through the Ewald sum of its charges."""
        return self.long_range and self.boundary == "box"

    def _warn_about_boundary(self, periodic: bool) -> None:
        here, other = ("periodic", "vacuum") if periodic else ("vacuum", "periodic")
        if self.long_range and self.trained_on == other:
            remedy = "use MLPotential('lorem', boundary='vacuum')" if periodic else "give the topology a box"
            kind = "in a periodic box" if periodic else "in vacuum"
            warnings.warn(
                f"the model was trained on {other} structures only and is run {kind}: latent charges are not neutral, "
                f"and energies differ between the two. To run as trained, {remedy}; else train on {here} data too.",
                stacklevel=4,
            )


def _add_molecules(topology: openmm.app.Topology, system: openmm.System, atoms: set[int]) -> None:
    """Adds the region's bonds with stiffness 0, unless the system is one that openmm-ml only takes forces from.

    openmm-ml removes the force field's bonds of the region, and OpenMM would take each atom for a molecule: barostats
    would scale, and wrapping would move, every atom by itself.
    """
    bonds = [(bond[0].index, bond[1].index) for bond in topology.bonds()]
    bonds = [pair for pair in bonds if atoms.issuperset(pair)]
    if not bonds or system.getNumParticles() < topology.getNumAtoms():
        return
    force = openmm.HarmonicBondForce()
    force.setName("molecules of LOREM")
    for first, second in bonds:
        force.addBond(first, second, 0.0, 0.0)
    system.addForce(force)
