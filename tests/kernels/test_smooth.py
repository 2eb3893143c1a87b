import math

import pytest
import torch
from kernel_checks import DISTANCES, check_scripted, check_slopes, check_split

from lorem_openmm.kernels.choice import choose_kernel


@pytest.mark.parametrize("check", [check_slopes, check_split, check_scripted])
@pytest.mark.parametrize("exponent", [1, 2, 3])
def test_smooth(check, exponent):
    check(choose_kernel(exponent, 1.25, True))


def test_smooth_coulomb_is_that_of_gaussian_charges():
    kernel = choose_kernel(1, 0.9, True)
    expected = torch.erf(DISTANCES / (math.sqrt(2) * 0.9)) / DISTANCES
    torch.testing.assert_close(kernel.bare(DISTANCES**2), expected, rtol=1e-13, atol=0)
