import pytest
from kernel_checks import CHECKS

from lorem_openmm.kernels.coulomb import Coulomb


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("smearing", [1.25, 0.7])
def test_coulomb(check, smearing):
    check(Coulomb(smearing))
