"""Long-range blocks in dynamics: gradients by hand where a file of this folder has them, else a bridge to autograd."""

import importlib
import pkgutil

from lorem_openmm.inference.blocks.registry import block_for_dynamics, gradients_by_hand

__all__ = ["block_for_dynamics", "gradients_by_hand"]

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")
