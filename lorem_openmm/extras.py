"""Packages beyond the core's: what needs some says so at its door, and the error names the extra that has them."""

from importlib import import_module
from importlib.util import find_spec
from typing import Any

from lorem_openmm.errors import InstallationError

# What the parts that need a whole extra import of it.
MODULES = {
    "analysis": ("matplotlib", "mdtraj", "pandas", "pymbar"),
    "train": ("lightning", "matplotlib", "tensorboard"),
}


class MissingExtraError(InstallationError, ImportError):
    """A package that an extra of this one brings is not installed; the message names the extra."""


def needs(purpose: str, *extras: str) -> None:
    """Checks that the packages of extras are there, without importing them.

    Stands in the ``__init__`` of a part of the library that does not work without them.

    Args:
        purpose: what needs them, the beginning of the message.
        *extras: of this package, as in ``MODULES``.

    Raises:
        MissingExtraError: If one is missing.
    """
    missing = {extra: [module for module in MODULES[extra] if find_spec(module) is None] for extra in extras}
    modules = sorted(set().union(*missing.values()))
    if modules:
        raise MissingExtraError(
            _message(purpose, modules, [extra for extra in extras if missing[extra]], "not installed")
        )


def import_optional(module: str, purpose: str, extra: str) -> Any:
    """Imports and returns a module of a package that few uses need.

    Args:
        module: name as it is imported, also of a submodule.
        purpose: what needs it, the beginning of the message.
        extra: the extra of this package that has it.

    Raises:
        MissingExtraError: If it is missing, or cannot be imported for another reason, which the message holds.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise MissingExtraError(_message(purpose, [module.partition(".")[0]], [extra], str(error))) from None


def _message(purpose: str, modules: list[str], extras: list[str], reason: str) -> str:
    return (
        f"{purpose} needs the package{'s' if len(modules) > 1 else ''} {', '.join(modules)}, which cannot be imported "
        f"({reason}); install what is missing with: pip install 'lorem-openmm[{','.join(extras)}]'"
    )
