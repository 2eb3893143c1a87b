import math

import pytest
import torch

from lorem_openmm.kernels.coulomb import Coulomb
from lorem_openmm.sums.real_space import RealSpace

CUTOFF = 4.0


def test_weights_and_slopes():
    module = RealSpace(Coulomb(1.0), CUTOFF)
    distances = torch.linspace(0.2, 4.8, 24, dtype=torch.float64).view(4, 6).requires_grad_()
    weights = module.weights(distances)
    expected = [math.erfc(r / math.sqrt(2.0)) / r if r < CUTOFF else 0.0 for r in distances.flatten().tolist()]
    torch.testing.assert_close(weights.flatten(), torch.tensor(expected, dtype=torch.float64), rtol=1e-13, atol=0)
    (slopes,) = torch.autograd.grad(weights.sum(), distances)
    torch.testing.assert_close(module.slopes(distances, weights), slopes, rtol=1e-13, atol=1e-16)


@pytest.mark.parametrize("distance", [0.0, 1e-15])
def test_coincident_atoms_stay_finite(distance):
    module = RealSpace(Coulomb(1.0), CUTOFF)
    distances = torch.tensor([distance], dtype=torch.float64, requires_grad=True)
    weights = module.weights(distances)
    assert bool(torch.isfinite(module.slopes(distances, weights)).all())
    (slope,) = torch.autograd.grad(weights.sum(), distances)
    assert bool(torch.isfinite(slope).all())
    assert (distance > 0) == bool(weights[0] > 0)
