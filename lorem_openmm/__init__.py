"""LOREM for OpenMM: train, export and run interatomic potentials with equivariant long-range messages.

``load(path)`` gives the PyTorch potential, ``LoremCalculator(path)`` the ASE calculator, and
``openmmml.MLPotential("lorem", modelPath=path)`` the OpenMM potential. ``read_structure(file_or_text)`` gives OpenMM
topology and positions.
"""

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lorem_openmm.export import load
    from lorem_openmm.integrations.ase_calculator import LoremCalculator
    from lorem_openmm.simulate.systems import read_structure

__version__ = version("lorem-openmm")
__all__ = ["LoremCalculator", "__version__", "load", "read_structure"]

_SOURCES = {
    "load": "lorem_openmm.export",
    "LoremCalculator": "lorem_openmm.integrations.ase_calculator",
    "read_structure": "lorem_openmm.simulate.systems",
}


def __getattr__(name: str) -> Any:  # PyTorch is imported at the first use, so that --help answers at once
    if name in _SOURCES:
        return getattr(import_module(_SOURCES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
