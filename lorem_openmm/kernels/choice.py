"""The kernel of an exponent."""

from lorem_openmm.kernels.coulomb import Coulomb
from lorem_openmm.kernels.inverse_power import InversePower
from lorem_openmm.kernels.pair import PairKernel


def kernel_of_exponent(exponent: int, smearing: float) -> PairKernel:
    """Returns 1/r^p: for p = 1 the Coulomb kernel, which needs fewer operations than the general form.

    Args:
        exponent: p, 1 to 6.
        smearing: σ in Å.

    Raises:
        ConfigError: If the exponent is not one of these.
    """
    return Coulomb(smearing) if exponent == 1 else InversePower(smearing, exponent)
