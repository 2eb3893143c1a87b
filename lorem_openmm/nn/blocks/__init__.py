"""Long-range blocks: what charges atoms carry, and what they make of the potentials of all others.

Every file of this folder declares one or more blocks with :func:`~lorem_openmm.nn.blocks.registry.long_range_block`;
``long_range`` in the configuration of a model chooses one by its ``kind``. Files elsewhere declare theirs in the same
way, before the configuration is read.
"""

import importlib
import pkgutil

from lorem_openmm.nn.blocks.block import LongRangeBlock
from lorem_openmm.nn.blocks.registry import long_range_block, make_block

__all__ = ["LongRangeBlock", "long_range_block", "make_block"]

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")
