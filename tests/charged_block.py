"""A long-range block that needs the total charge of each structure; what it makes of it is left out."""

from typing import Literal

from lorem_openmm.config.long_range import LongRange
from lorem_openmm.nn.blocks import long_range_block
from lorem_openmm.nn.blocks.scalar_charges import ScalarChargesBlock


class ChargedSettings(LongRange):
    """Nothing to set."""

    kind: Literal["charged"] = "charged"


@long_range_block(ChargedSettings)
class ChargedBlock(ScalarChargesBlock):
    """One scalar charge per atom."""

    needs_total_charge = True
