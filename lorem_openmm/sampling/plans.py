"""The kinds of labelled data sets: which plan makes which section of the configuration."""

from typing import Any

from lorem_openmm.config.data import Labelling
from lorem_openmm.label.plan import Plan
from lorem_openmm.sampling.cumulene import CumulenePlan
from lorem_openmm.sampling.dimers import DimersPlan
from lorem_openmm.sampling.sn2 import Sn2Plan
from lorem_openmm.sampling.water import WaterPlan

_PLANS: dict[str, type[Plan[Any]]] = {
    "cumulene": CumulenePlan,
    "dimers": DimersPlan,
    "sn2": Sn2Plan,
    "water": WaterPlan,
}


def create_plan(section: Labelling) -> Plan[Any]:
    """Returns the plan of a ``label`` section.

    Raises:
        ConfigError: If a fragment is unknown, or the engine cannot do what the kind needs.
    """
    return _PLANS[section.kind](section)
