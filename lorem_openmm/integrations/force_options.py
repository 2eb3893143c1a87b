"""Options and arguments of ``createSystem`` and ``createMixedSystem``, checked; which kind of force to use."""

import importlib.util
import operator
import warnings
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any, NamedTuple

import openmm
import torch
from openmm import app

from lorem_openmm.charge import whole_charge
from lorem_openmm.devices import find_device
from lorem_openmm.electric import read_field
from lorem_openmm.errors import ConfigError, DataError, InstallationError, UnknownElementError, did_you_mean
from lorem_openmm.inference.accuracy import LARGEST, SMALLEST
from lorem_openmm.inference.verlet import DEFAULT_SKIN
from lorem_openmm.integrations.model_source import PRECISIONS
from lorem_openmm.integrations.torchforce import check_torchforce

IMPLEMENTATIONS = ("auto", "torchforce", "pythonforce")
# openmm-ml hands the options of its embeddings on to the potential as well.
EMBEDDING_OPTIONS = ("linkAtomDistances", "mlLongRange")


class ForceOptions(NamedTuple):
    """Options of ``createSystem``, checked; see :class:`lorem_openmm.integrations.openmm_ml.LoremPotentialImpl`."""

    device: str
    precision: str
    implementation: str
    skin: float
    compile: bool
    ewaldErrorTolerance: float | None  # noqa: N815 (OpenMM's name)
    charge: int | None
    electricField: tuple[float, ...] | None  # noqa: N815


def refuse_unknown(args: Mapping[str, Any], known: Iterable[str], where: str) -> None:
    """Raises ConfigError if there is an argument that is not known."""
    known = tuple(known)
    for name in args:
        if name not in known:
            raise ConfigError(
                f"{name}: unknown argument of {where}.{did_you_mean(name, known)} Known: {', '.join(known)}"
            )


def check_options(args: Mapping[str, Any]) -> ForceOptions:
    """Fills in defaults and checks every option.

    Raises:
        ConfigError: If an argument is unknown or breaks its rule.
    """
    refuse_unknown(args, (*ForceOptions._fields, *EMBEDDING_OPTIONS), "createSystem for the potential 'lorem'")
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
    if compiled:
        implementation = "pythonforce"
    tolerance = _check_tolerance(args.get("ewaldErrorTolerance"), precision)
    charge, field = _check_charge(args.get("charge")), args.get("electricField")
    field = None if field is None else read_field(field, "electricField")
    device = str(find_device(args.get("device") or "auto"))
    return ForceOptions(device, precision, implementation, float(skin), compiled, tolerance, charge, field)


def _check_tolerance(tolerance: Any, precision: str) -> float | None:
    if tolerance is None:
        return None
    # Finer ones than these would be lost in rounding, or are beyond the mesh.
    smallest = SMALLEST if precision == "double" else 10.0 * SMALLEST
    if isinstance(tolerance, bool) or not isinstance(tolerance, (int, float)) or not smallest <= tolerance <= LARGEST:
        raise ConfigError(
            f"ewaldErrorTolerance: must be from {smallest:g} to {LARGEST:g} in {precision} precision, or None for the "
            f"settings the model was trained with; received {tolerance!r}"
        )
    return float(tolerance)


def _check_charge(charge: Any) -> int | None:
    if charge is None:
        return None
    whole = whole_charge(charge)
    if whole is None:
        raise ConfigError(f"charge: must be a whole number of elementary charges, received {charge!r}")
    return whole


def check_charge(charge: int | None, topology: app.Topology, indices: list[int] | None, needed: bool) -> None:
    """Refuses a total charge that contradicts the topology, or that is missing where the model uses it.

    A topology states the charge of the atoms if each of them has a formal charge.

    Args:
        charge: total charge in e of the atoms that the model sees; None: not given.
        topology: topology of the system.
        indices: indices of the atoms that the model sees; None: all.
        needed: whether the model uses it.

    Raises:
        ConfigError: If it is missing, or not the sum of the formal charges.
    """
    chosen = list(topology.atoms())
    if indices is not None:
        chosen = [chosen[index] for index in indices]
    formal = [atom.formalCharge for atom in chosen if atom.formalCharge is not None]
    states = len(formal) == len(chosen)
    if charge is None and needed:
        hint = f"; their formal charges in the topology add up to {sum(formal):+d}" if states else ""
        raise ConfigError(
            "charge: must be the total charge in e of the atoms that the model sees, because this model uses it and "
            f"does not guess; received none{hint}. Give it, as in createSystem(topology, charge=0), or as `charge` of "
            "a simulation in the configuration."
        )
    if charge is not None and states and charge != sum(formal):
        raise ConfigError(
            f"charge: must be the sum of the formal charges in the topology where each atom has one, {sum(formal):+d} "
            f"here; received {charge:+d}. Correct it, or the atoms' formalCharge."
        )


def check_atoms(atoms: Iterable[int] | None, n_atoms: int) -> list[int] | None:
    """Returns the indices of the atoms that the model sees, None for all.

    Args:
        atoms: indices as the user gave them.
        n_atoms: number of atoms of the topology.

    Raises:
        ConfigError: If there are none, or one is out of range or given twice.
    """
    if atoms is None:
        return None
    try:
        indices = [operator.index(index) for index in atoms]
    except TypeError:
        raise ConfigError(f"atoms: must be indices of atoms, whole numbers; received {atoms!r:.100}") from None
    if not indices:
        raise ConfigError("atoms: must name at least one atom, received none")
    wrong = [index for index in indices if not 0 <= index < n_atoms]
    if wrong or len(set(indices)) != len(indices):
        raise ConfigError(
            f"atoms: must be different indices from 0 to {n_atoms - 1}, "
            + (f"received {wrong[0]}" if wrong else "received one of them twice")
        )
    return indices


def check_particles(system: openmm.System, topology: app.Topology) -> None:
    """Refuses a system that is not of the topology.

    Raises:
        ConfigError: If their numbers of particles and atoms differ.
    """
    if system.getNumParticles() != topology.getNumAtoms():
        raise ConfigError(
            f"system: must have one particle for each of the topology's {topology.getNumAtoms()} atoms, received one "
            f"with {system.getNumParticles()}; pass the topology the system was made from (after Modeller, its own)"
        )


def atomic_numbers(topology: app.Topology, indices: list[int] | None) -> list[int]:
    """Returns the atomic numbers of the atoms that the model sees.

    Args:
        topology: topology with elements.
        indices: indices of the atoms; None: all.

    Raises:
        DataError: If there are no atoms.
        UnknownElementError: If an atom has no element.
    """
    chosen = list(topology.atoms())
    if not chosen:
        raise DataError("topology: there are no atoms in it; the model needs at least one")
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


def choose_implementation(wanted: str, device: str, system: openmm.System, topology: app.Topology) -> str:
    """Returns ``torchforce`` or ``pythonforce``.

    Args:
        wanted: ``auto``, ``torchforce`` or ``pythonforce``.
        device: where the model runs.
        system: the force will be added to.
        topology: topology of the system.

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
