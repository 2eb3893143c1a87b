"""The kernel that a configuration asks for."""

from lorem_openmm.kernels.coulomb import Coulomb
from lorem_openmm.kernels.inverse_power import InversePower
from lorem_openmm.kernels.pair import PairKernel
from lorem_openmm.kernels.smooth import Smooth


def choose_kernel(exponent: int, smearing: float, smooth: bool) -> PairKernel:
    """Returns 1/r^p: for p = 1 the Coulomb kernel, which needs fewer operations than the general form.

    Args:
        exponent: p, 1 to 6.
        smearing: σ in Å.
        smooth: whether between Gaussian charges rather than points.

    Raises:
        ConfigError: If the exponent is not one of these.
    """
    kernel = Coulomb(smearing) if exponent == 1 else InversePower(smearing, exponent)
    return Smooth(kernel) if smooth else kernel
