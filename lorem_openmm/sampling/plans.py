"""The kinds of labelled data sets: which plan makes which section of the configuration."""

from lorem_openmm.config import CumuleneLabel, DimersLabel, Sn2Label, WaterLabel
from lorem_openmm.label.plan import Plan
from lorem_openmm.sampling.cumulene import CumulenePlan
from lorem_openmm.sampling.dimers import DimersPlan
from lorem_openmm.sampling.sn2 import Sn2Plan
from lorem_openmm.sampling.water import WaterPlan


def create_plan(section: Sn2Label | DimersLabel | WaterLabel | CumuleneLabel) -> Plan:
    """Returns the plan of a ``label`` section.

    Args:
        section: What to make.

    Raises:
        ConfigError: If a fragment is unknown, or the engine cannot do what the kind needs.
    """
    if isinstance(section, WaterLabel):
        return WaterPlan(section)
    if isinstance(section, CumuleneLabel):
        return CumulenePlan(section)
    return Sn2Plan(section) if isinstance(section, Sn2Label) else DimersPlan(section)
