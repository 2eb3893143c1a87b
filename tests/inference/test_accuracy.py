"""The accuracy that is asked for is reached, by Ewald sum and mesh, and by whole models."""

import numpy as np
import pytest
import torch
from ase import Atoms
from helpers import rattled_box, small_potential
from whole_operators import results

from lorem_openmm.errors import ConfigError
from lorem_openmm.inference.accuracy import ewald_settings
from lorem_openmm.inference.dynamics import Dynamics
from lorem_openmm.kernels.coulomb import Coulomb
from lorem_openmm.kernels.inverse_power import InversePower
from lorem_openmm.sums.batched import BatchedPairSum
from lorem_openmm.sums.operator import PairOperator


def ions(n: int, shape: str, seed: int = 0) -> Atoms:
    """A rattled rock salt of n³ ions in a cubic or a skewed box."""
    grid = np.array(np.meshgrid(*[np.arange(n)] * 3, indexing="ij")).reshape(3, -1).T
    cell = np.eye(3) if shape == "cubic" else np.array([[1.0, 0.0, 0.0], [0.4, 1.0, 0.0], [-0.3, 0.45, 1.0]])
    atoms = Atoms(np.where(grid.sum(axis=1) % 2, 17, 8), 2.9 * grid @ cell, cell=2.9 * n * cell, pbc=True)
    atoms.rattle(0.35, seed=seed)
    return atoms


def forces_of(kernel, charges, positions, cell, cutoff, settings, mesh: bool):
    """Forces of Σ q V by the very parts that dynamics uses."""
    smearing, wavelength, mesh_accuracy = settings
    most = 0 if mesh else 10**9
    operator = PairOperator(kernel.with_smearing(smearing), cutoff, wavelength, True, most, mesh_accuracy)
    return -2.0 * results(operator, charges, torch.tensor(positions), torch.tensor(cell), charges, cutoff)[2]


@pytest.mark.parametrize("mesh", [False, True])
@pytest.mark.parametrize("shape", ["cubic", "skewed"])
@pytest.mark.parametrize("cutoff", [4.0, 6.0])
@pytest.mark.parametrize("tolerance", [1e-2, 1e-3, 1e-4, 1e-5, 2e-6])
def test_forces_are_as_accurate_as_asked_for(tolerance, cutoff, shape, mesh):
    atoms = ions(4, shape)
    charges = torch.randn(len(atoms), 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    kernel = Coulomb(cutoff / 4)
    converged = forces_of(kernel, charges, atoms.positions, atoms.cell[:], 9.0, (1.0, 0.4, 1e-6), mesh=False)
    settings = ewald_settings(BatchedPairSum(kernel, cutoff, cutoff / 8), tolerance)
    found = forces_of(kernel, charges, atoms.positions, atoms.cell[:], cutoff, settings, mesh)
    error = float((found - converged).pow(2).mean().sqrt() / converged.pow(2).mean().sqrt())
    assert error < tolerance
    if not mesh:
        assert error > tolerance / 100  # not paid for what was not asked for


def test_a_models_energy_converges_with_the_tolerance():
    atoms, potential = rattled_box(), small_potential()
    energies = {}
    for tolerance in (None, 1e-2, 1e-3, 1e-4, 1e-5, 2e-6):
        dynamics = Dynamics(potential, atoms.numbers.tolist(), True, tolerance=tolerance)
        prediction = dynamics(torch.tensor(atoms.positions), torch.tensor(atoms.cell[:]))
        energies[tolerance] = float(prediction.energy[0])
    errors = [abs(energies[tolerance] - energies[2e-6]) for tolerance in (1e-2, 1e-4, 1e-5)]
    assert errors[0] > 10.0 * errors[1] > 0.0
    assert errors[2] < 1e-5
    assert energies[None] != energies[1e-4]  # the model's own settings are others


@pytest.mark.parametrize("tolerance", [0.0, -1e-3, 1e-7, 0.1, float("nan")])
def test_what_cannot_be_reached(tolerance):
    with pytest.raises(ConfigError, match=r"ewaldErrorTolerance: must be from 2e-06 to 0\.01"):
        ewald_settings(BatchedPairSum(Coulomb(1.0), 4.0, 0.5), tolerance)


@pytest.mark.parametrize("tolerance", [1e-2, 1e-3, 1e-4, 1e-5])
@pytest.mark.parametrize(("exponent", "factor"), [(2, 1.0), (6, 3.0)])
def test_other_powers_are_as_accurate_but_for_a_factor(exponent, factor, tolerance):
    atoms, kernel = ions(4, "skewed"), InversePower(1.0, exponent)
    charges = torch.randn(len(atoms), 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    converged = forces_of(kernel, charges, atoms.positions, atoms.cell[:], 9.0, (1.0, 0.4, 1e-6), mesh=False)
    settings = ewald_settings(BatchedPairSum(kernel, 4.0, 0.5), tolerance)
    found = forces_of(kernel, charges, atoms.positions, atoms.cell[:], 4.0, settings, mesh=False)
    assert float((found - converged).norm() / converged.norm()) < factor * tolerance
