import numpy as np
import pytest
import torch
import torchpme
from kernel_checks import CHECKS, DISTANCES, SQUARED_WAVES, all_values
from scipy import special

from lorem_openmm.errors import ConfigError
from lorem_openmm.kernels.coulomb import Coulomb
from lorem_openmm.kernels.inverse_power import InversePower, exponential_integral

EXPONENTS = [1, 2, 3, 4, 5, 6]
SIGMA = 1.25


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("exponent", EXPONENTS)
def test_inverse_powers(check, exponent):
    check(InversePower(SIGMA, exponent))


def test_the_first_power_is_coulomb():
    ours, coulomb = InversePower(SIGMA, 1), Coulomb(SIGMA)
    for value, expected in zip(
        all_values(ours, DISTANCES, SQUARED_WAVES), all_values(coulomb, DISTANCES, SQUARED_WAVES), strict=True
    ):
        torch.testing.assert_close(value, expected, rtol=1e-13, atol=0)
    assert ours.self_term == pytest.approx(coulomb.self_term, rel=1e-15)
    assert ours.background == pytest.approx(coulomb.background, rel=1e-15)


@pytest.mark.parametrize("exponent", EXPONENTS)
def test_all_terms_are_those_of_torch_pme(exponent):
    ours = InversePower(SIGMA, exponent)
    other = torchpme.InversePowerLawPotential(exponent=exponent, smearing=SIGMA).double()
    near = DISTANCES[DISTANCES < 4 * SIGMA]
    torch.testing.assert_close(ours.bare(near * near), other.from_dist(near), rtol=1e-13, atol=0)
    torch.testing.assert_close(ours.real(near), other.sr_from_dist(near), rtol=0, atol=1e-14 * 0.3**-exponent)
    # At large k the differences that both take lose digits of what is nothing by then.
    largest = float(ours.reciprocal(SQUARED_WAVES[:1]))
    torch.testing.assert_close(
        ours.reciprocal(SQUARED_WAVES), other.lr_from_k_sq(SQUARED_WAVES), rtol=1e-10, atol=1e-15 * largest
    )
    assert ours.self_term == pytest.approx(float(other.self_contribution()), rel=1e-6)  # it keeps it in float32
    background = float(other.lr_from_k_sq(torch.zeros(1, dtype=torch.float64)) - 2.0 * other.background_correction())
    assert ours.background == pytest.approx(background, rel=1e-6, abs=1e-12)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("exponent", EXPONENTS)
def test_no_digits_are_lost_in_real_space(exponent, dtype):
    r = DISTANCES[DISTANCES < 6 * SIGMA].to(dtype)
    exact = special.gammaincc(exponent / 2, r.double().numpy() ** 2 / (2 * SIGMA**2)) * r.double().numpy() ** -exponent
    values = InversePower(SIGMA, exponent).real(r).double().numpy()
    assert np.abs(values / exact - 1.0).max() < 200 * torch.finfo(dtype).eps


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("scripted", [False, True])
def test_exponential_integral(scripted, dtype):
    function = torch.jit.script(exponential_integral) if scripted else exponential_integral
    z = torch.logspace(-6, 1.9, 500, dtype=dtype).requires_grad_()
    values = function(z)
    exact = torch.tensor(special.exp1(z.detach().double().numpy()))
    precision = 10 * torch.finfo(dtype).eps
    torch.testing.assert_close(values.detach().double(), exact, rtol=precision, atol=0)
    (slopes,) = torch.autograd.grad(values.sum(), z, create_graph=True)
    torch.testing.assert_close(slopes, -torch.exp(-z) / z, rtol=20 * precision, atol=0)
    if dtype == torch.float64:
        (curvatures,) = torch.autograd.grad(slopes.sum(), z)
        torch.testing.assert_close(curvatures, torch.exp(-z) * (1 / z + 1 / z**2), rtol=1e-12, atol=0)


@pytest.mark.parametrize("exponent", [0, 7, -1, 1.5])
def test_exponents_that_are_not_there(exponent):
    with pytest.raises(ConfigError, match="exponent: must be a whole number from 1 to 6; received"):
        InversePower(1.0, exponent)
