"""From a wanted accuracy of the periodic sum to smearing, wavelength and mesh."""

import math
from typing import NamedTuple, Optional

import torch

from lorem_openmm.errors import ConfigError
from lorem_openmm.kernels.pair import PairKernel
from lorem_openmm.sums.batched import BatchedPairSum

SMALLEST, LARGEST = 2e-6, 1e-2


class EwaldSettings(NamedTuple):
    """Of the Ewald sum and the mesh.

    Attributes:
        smearing: σ in Å.
        wavelength: shortest one of the Ewald sum, in Å.
        mesh_accuracy: relative rms error of the forces on the mesh.
    """

    smearing: float
    wavelength: float
    mesh_accuracy: float


def ewald_settings(coulomb: BatchedPairSum, tolerance: Optional[float]) -> EwaldSettings:
    """real'(cutoff) / k'(cutoff) = 3δ and exp(−½σ²k²) = δ with k = π/wavelength.

    The first is the force left out at the cutoff, relative to the bare one (Coulomb: erfc(x/√2) + √(2/π) x e^(−x²/2)
    with x = cutoff/σ); the second the weight of the first wave left out. The root mean square error of Coulomb forces,
    relative to the forces, is then below δ, as measured for random charges in cubic, triclinic and skewed cells and for
    cutoffs of 4 to 6 Å (docs/mesh.md); of forces of 1/r², too, of higher powers up to 3δ. A converged sum does not
    depend on σ, so that tightening δ approaches one value; it is not exactly that of the model's own settings, which
    leave an error of 2e-4.

    Args:
        coulomb: of the model.
        tolerance: δ; None: the model's own settings.

    Raises:
        ConfigError: If the tolerance is out of reach.
    """
    if tolerance is None:
        return EwaldSettings(coulomb.smearing, coulomb.wavelength, coulomb.mesh_accuracy)
    if not SMALLEST <= tolerance <= LARGEST:
        raise ConfigError(
            f"ewaldErrorTolerance: must be from {SMALLEST:g} to {LARGEST:g}, or None for the model's own settings; "
            f"received {tolerance!r}"
        )
    from scipy.optimize import brentq  # noqa: PLC0415  # a quarter of a second, which most starts can do without

    kernel, cutoff = coulomb.kernel, coulomb.cutoff
    smearing = kernel.smearing
    if kernel.has_real_space:
        ratio = brentq(lambda x: force_left_out(kernel.with_smearing(cutoff / x), cutoff) - 3.0 * tolerance, 1.0, 10.0)
        smearing = cutoff / ratio
    wavelength = math.pi * smearing / math.sqrt(-2.0 * math.log(tolerance))
    return EwaldSettings(smearing, wavelength, max(0.5 * tolerance, 1e-6))


def force_left_out(kernel: PairKernel, cutoff: float) -> float:
    """Returns real'(r) / k'(r) at the cutoff."""
    r = torch.tensor(cutoff, dtype=torch.float64)
    bare_slope = 2.0 * r * kernel.bare_slope(r * r, kernel.bare(r * r))
    return float(kernel.real_slope(r, kernel.real(r)) / bare_slope)
