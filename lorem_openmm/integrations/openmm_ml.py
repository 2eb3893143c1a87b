"""``openmmml.MLPotential("lorem")``: LOREM among the machine-learning potentials of OpenMM."""

import importlib.util
import logging
import warnings
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import openmm
import openmm.app
import torch
from openmmml.mlpotential import MLPotentialImpl, MLPotentialImplFactory

from lorem_openmm.errors import ConfigError, InstallationError, UnknownElementError, did_you_mean
from lorem_openmm.inference.verlet import DEFAULT_SKIN
from lorem_openmm.integrations.model_source import PRECISIONS, ModelSource
from lorem_openmm.integrations.openmm_force import (
    PotentialFunction,
    add_python_force,
    add_torch_force,
    check_torchforce,
)
from lorem_openmm.potential import Potential, check_species

logger = logging.getLogger(__name__)

IMPLEMENTATIONS = ("auto", "torchforce", "pythonforce")
OPTIONS = ("device", "precision", "implementation", "skin", "compile")
# openmm-ml hands the options of its embeddings on to the potential as well.
EMBEDDING_OPTIONS = ("linkAtomDistances", "mlLongRange")


class LoremPotentialImplFactory(MLPotentialImplFactory):
    """Creates :class:`LoremPotentialImpl` for ``MLPotential("lorem", modelPath=...)``."""

    def createImpl(  # noqa: N802 (openmm-ml's name)
        self,
        name: str,
        modelPath: str | Path | Potential | None = None,
        **args: Any,
    ) -> MLPotentialImpl:
        """Returns the implementation.

        Args:
            name: ``lorem``.
            modelPath: model file (.safetensors or .pt), or a potential in memory; None: the model that is shipped.
            **args: none are known.

        Raises:
            ConfigError: If there is another argument.
            ModelFileError: If the file is missing or damaged.
        """
        _refuse_unknown(args, ("modelPath",), "MLPotential")
        return LoremPotentialImpl(modelPath)


class LoremPotentialImpl(MLPotentialImpl):
    """Adds LOREM to OpenMM systems.

    ``createSystem(topology, ...)`` and ``createMixedSystem(topology, system, atoms, ...)`` take

    - ``device``: where the model runs, for example 'cuda'; default: CUDA if there is any, else the CPU;
    - ``precision``: 'single' (default) or 'double';
    - ``implementation``: 'pythonforce' works with any PyTorch and serialises with its System, by path and hash of the
      model file; 'torchforce' spares Python at each step, needs an openmmtorch that matches PyTorch and cannot be
      serialised (``XmlSerializer.deserialize`` of a System with any TorchForce crashes in openmmtorch 1.5); 'auto'
      (default) takes torchforce on CUDA where it works, else pythonforce;
    - ``skin``: Å added to the cutoff of the neighbour lists so that they last for several steps;
    - ``compile``: True compiles molecules of up to 32 atoms in vacuum to native code at the first step, which then take
      about two thirds of the time; needs 'pythonforce' and a C++ compiler. Where it fails, a warning says why and it
      runs as without.

    The system is periodic (Ewald sum) if the topology has box vectors or the system uses periodic boundary
    conditions, else it is in vacuum (direct sum). A periodic System of this potential alone has no bonds: write
    trajectories with ``enforcePeriodicBox=False`` to keep molecules whole. Barostats scale each atom by itself.

    Args:
        model: model file, potential, or None for the shipped model.

    Raises:
        ModelFileError: If the file is missing or damaged.
    """

    def __init__(self, model: str | Path | Potential | None = None):
        self.source = ModelSource.find(model)
        potential = model if isinstance(model, Potential) else self.source.load("single", "cpu")
        self._potential = potential  # held: forces share it, and a potential in memory must not vanish
        self.species = potential.species
        self.long_range = bool(potential.model.hyperparameters["long_range"])
        self.trained_on = getattr(potential, "metadata", {}).get("electrostatics", {}).get("trained_on")

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
            ConfigError: If an argument is unknown or breaks its rule.
            UnknownElementError: If the model does not know an element, or an atom has none.
            InstallationError: If ``implementation='torchforce'`` and openmmtorch does not work.
        """
        options = _check_options(args)
        indices = _check_atoms(atoms, topology.getNumAtoms())
        numbers = _atomic_numbers(topology, indices)
        check_species(self.species, numbers)
        periodic = topology.getPeriodicBoxVectors() is not None or system.usesPeriodicBoundaryConditions()
        self._warn_about_boundary(periodic)
        wanted = "pythonforce" if options["compile"] else options["implementation"]
        implementation = choose_implementation(wanted, options["device"], system, topology)
        function = PotentialFunction(
            self.source,
            numbers,
            periodic,
            options["precision"],
            options["device"],
            options["skin"],
            options["compile"],
        )
        add = add_torch_force if implementation == "torchforce" else add_python_force
        add(system, function, indices, forceGroup)
        box = topology.getPeriodicBoxVectors() if periodic else "none (vacuum)"
        logger.info("LOREM: %d atoms, box %s, %s, %s", len(numbers), box, implementation, options)

    def getMLLongRange(self) -> bool:  # noqa: N802 (openmm-ml's name)
        """Returns whether the model sends charges through an Ewald or direct sum, so that images interact."""
        return self.long_range

    def _warn_about_boundary(self, periodic: bool) -> None:
        here, other = ("periodic", "vacuum") if periodic else ("vacuum", "periodic")
        if self.long_range and self.trained_on == other:
            remedy = (
                "remove the box with topology.setPeriodicBoxVectors(None)" if periodic else "give the topology a box"
            )
            kind = "in a periodic box" if periodic else "in vacuum"
            warnings.warn(
                f"the model was trained on {other} structures only and is run {kind}: latent charges are not neutral, "
                f"and energies differ between the two. To run as trained, {remedy}; else train on {here} data too.",
                stacklevel=4,
            )


def choose_implementation(wanted: str, device: str, system: openmm.System, topology: openmm.app.Topology) -> str:
    """Returns ``torchforce`` or ``pythonforce``.

    Args:
        wanted: ``auto``, ``torchforce`` or ``pythonforce``.
        device: where the model runs.
        system: the force will be added to.
        topology: of the system.

    Raises:
        InstallationError: If TorchForce is wanted and does not work.
    """
    # openmm-ml interpolates by copying the forces of a scratch system without particles.
    will_be_copied = system.getNumParticles() < topology.getNumAtoms()
    if wanted == "torchforce":
        if will_be_copied:
            raise InstallationError(
                "implementation: interpolate=True copies forces, and copying a TorchForce crashes with the present "
                "openmmtorch; use implementation='pythonforce'"
            )
        check_torchforce()
        return "torchforce"
    if wanted == "auto" and torch.device(device).type == "cuda" and not will_be_copied and _torchforce_works():
        return "torchforce"
    return "pythonforce"


@cache
def _torchforce_works() -> bool:
    if importlib.util.find_spec("openmmtorch") is None:
        return False
    try:
        check_torchforce()
    except InstallationError as error:
        warnings.warn(f"{error} Continuing with PythonForce.", stacklevel=6)
        return False
    return True


def _refuse_unknown(args: Mapping[str, Any], known: Iterable[str], where: str) -> None:
    known = tuple(known)
    for name in args:
        if name not in known:
            raise ConfigError(
                f"{name}: unknown argument of {where}.{did_you_mean(name, known)} Known: {', '.join(known)}"
            )


def _check_options(args: Mapping[str, Any]) -> dict[str, Any]:
    _refuse_unknown(args, (*OPTIONS, *EMBEDDING_OPTIONS), "createSystem for the potential 'lorem'")
    device = args.get("device") or ("cuda" if torch.cuda.is_available() else "cpu")
    precision = args.get("precision") or "single"
    implementation = args.get("implementation") or "auto"
    skin, compiled = args.get("skin", DEFAULT_SKIN), args.get("compile", False)
    if precision not in PRECISIONS:
        raise ConfigError(f"precision: must be one of {', '.join(PRECISIONS)}, received {precision!r}")
    if implementation not in IMPLEMENTATIONS:
        raise ConfigError(
            f"implementation: must be one of {', '.join(IMPLEMENTATIONS)}, received {implementation!r}."
            f"{did_you_mean(str(implementation), IMPLEMENTATIONS)}"
        )
    if not isinstance(skin, (int, float)) or not 0 <= skin < float("inf"):
        raise ConfigError(f"skin: must be a length in Å, zero or more, received {skin!r}")
    if not isinstance(compiled, bool):
        raise ConfigError(f"compile: must be True or False, received {compiled!r}")
    if compiled and implementation == "torchforce":
        raise ConfigError("compile: must be False for implementation='torchforce', received True; use 'pythonforce'")
    try:
        device = str(torch.device(device))
    except (RuntimeError, TypeError):
        raise ConfigError(f"device: must be a PyTorch device such as 'cpu' or 'cuda', received {device!r}") from None
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise ConfigError(f"device: '{device}' needs a GPU that PyTorch can use, found none; use device='cpu'")
    return {
        "device": device,
        "precision": precision,
        "implementation": implementation,
        "skin": float(skin),
        "compile": compiled,
    }


def _check_atoms(atoms: Iterable[int] | None, n_atoms: int) -> list[int] | None:
    if atoms is None:
        return None
    indices = [int(index) for index in atoms]
    if not indices:
        raise ConfigError("atoms: must name at least one atom, received none")
    wrong = [index for index in indices if not 0 <= index < n_atoms]
    if wrong or len(set(indices)) != len(indices):
        raise ConfigError(
            f"atoms: must be different indices from 0 to {n_atoms - 1}, "
            + (f"received {wrong[0]}" if wrong else "received one of them twice")
        )
    return indices


def _atomic_numbers(topology: openmm.app.Topology, indices: list[int] | None) -> list[int]:
    chosen = list(topology.atoms())
    if indices is not None:
        chosen = [chosen[index] for index in indices]
    without = [atom for atom in chosen if atom.element is None]
    if without:
        first = without[0]
        raise UnknownElementError(
            f"topology: every atom must have an element, but {len(without)} have none, first {first.name} "
            f"(index {first.index}, residue {first.residue.name}): virtual sites and Drude particles are not atoms. "
            "Remove them, for example use a water model without extra sites, or leave them out of `atoms`."
        )
    return [atom.element.atomic_number for atom in chosen]
