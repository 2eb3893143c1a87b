"""From what a file holds to eV, Å, eV/Å and eV/Å³: units, gradients, virials, and labels that mean nothing."""

from typing import NamedTuple

import numpy as np

from lorem_openmm.config import Units
from lorem_openmm.data.frames import Frames
from lorem_openmm.units import (
    ENERGY_IN_EV,
    FORCE_IN_EV_PER_ANGSTROM,
    LENGTH_IN_ANGSTROM,
    STRESS_IN_EV_PER_CUBIC_ANGSTROM,
)


class Conversion(NamedTuple):
    """What the numbers of a file mean.

    Attributes:
        units: Units of the numbers; None: eV, Å, or what the file says.
        is_gradient: whether the forces are gradients, minus the forces.
        is_virial: whether the stress is a virial, minus the stress times the volume.
    """

    units: Units | None = None
    is_gradient: bool = False
    is_virial: bool = False


def convert(frames: Frames, conversion: Conversion) -> Frames:
    """Brings labels and positions to eV, Å, eV/Å and eV/Å³, and drops the stress of structures in vacuum.

    Nothing is pulled or pressed in vacuum, whose volume is infinite: a stress there is left over from another setup.
    """
    arrays = dict(frames.arrays)
    units = conversion.units or Units()
    length = LENGTH_IN_ANGSTROM[units.length]
    forces = FORCE_IN_EV_PER_ANGSTROM[units.forces or f"{units.energy}/{units.length}"]
    scales = {
        "energy": ENERGY_IN_EV[units.energy],
        "positions": length,
        "cell": length,
        "forces": -forces if conversion.is_gradient else forces,
        "stress": ENERGY_IN_EV[units.energy] if conversion.is_virial else STRESS_IN_EV_PER_CUBIC_ANGSTROM[units.stress],
    }
    for name, scale in scales.items():
        if scale != 1.0:
            arrays[name] = scale * arrays[name] + 0.0  # without negative zeros
    if conversion.is_virial:
        volumes = np.abs(np.linalg.det(arrays["cell"]))
        arrays["stress"] = -arrays["stress"] / np.where(arrays["periodic"], volumes, 1.0)[:, None, None] + 0.0
    arrays["stress_dropped"] = arrays["has_stress"] & ~arrays["periodic"]
    if arrays["stress_dropped"].any():
        arrays["has_stress"] = arrays["has_stress"] & arrays["periodic"]
        arrays["stress"] = np.where(arrays["periodic"][:, None, None], arrays["stress"], 0.0)
    return Frames(arrays, frames.info, frames.file, frames.first)
