"""LOREM for OpenMM: train, export and run interatomic potentials with equivariant long-range messages.

``load(path)`` gives the PyTorch potential, ``LoremCalculator(path)`` the ASE calculator, and
``openmmml.MLPotential("lorem", modelPath=path)`` the OpenMM potential; ``read_structure(file_or_text)`` reads
topology and positions for it. Of an OpenMM System, ``decompose(system, state)`` gives the parts of LOREM's energy and
the latent charges, ``DecompositionReporter`` writes them during a simulation, ``WatchReporter`` ends one whose
molecules fall apart, and ``serialize(system)`` gives XML, also of a System with a TorchForce.
"""

import sys
from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lorem_openmm.export import load
    from lorem_openmm.integrations.ase_calculator import LoremCalculator
    from lorem_openmm.integrations.decomposition import DecompositionReporter, decompose
    from lorem_openmm.integrations.serialize import serialize
    from lorem_openmm.simulate.systems import read_structure
    from lorem_openmm.simulate.watch_reporter import WatchReporter

__version__ = version("lorem-openmm")
__all__ = [
    "DecompositionReporter",
    "LoremCalculator",
    "WatchReporter",
    "__version__",
    "decompose",
    "load",
    "read_structure",
    "serialize",
]

_SOURCES = {
    "load": "lorem_openmm.export",
    "LoremCalculator": "lorem_openmm.integrations.ase_calculator",
    "DecompositionReporter": "lorem_openmm.integrations.decomposition",
    "decompose": "lorem_openmm.integrations.decomposition",
    "read_structure": "lorem_openmm.simulate.systems",
    "serialize": "lorem_openmm.integrations.serialize",
    "WatchReporter": "lorem_openmm.simulate.watch_reporter",
}


def __getattr__(name: str) -> Any:  # PyTorch is imported at the first use, so that --help answers at once
    if name in _SOURCES:
        if "torch" in sys.modules:  # whatever its default dtype and device are by now
            with import_module("lorem_openmm.ambient").building():
                return getattr(import_module(_SOURCES[name]), name)
        return getattr(import_module(_SOURCES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
