"""Potentials and their derivatives in charges, positions and strain against the reference and autograd."""

import pytest
import torch
from helpers import rattled_box

from lorem_openmm.inference.electrostatics import Electrostatics
from lorem_openmm.nn.coulomb import direct_potentials, reciprocal_potentials
from lorem_openmm.nn.mesh import mesh_potentials
from lorem_openmm.nn.mesh_kernel import mesh_settings

TIGHT = {"rtol": 1e-11, "atol": 1e-12}


@pytest.fixture(autouse=True)
def _double():
    torch.manual_seed(3)
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("kind", ["direct", "ewald", "mesh"])
def test_electrostatics(kind):
    atoms = rattled_box()
    positions, cell = torch.tensor(atoms.positions), torch.tensor(atoms.cell[:])
    charges, adjoint = torch.randn(7, 4), torch.randn(7, 4)
    module = Electrostatics(1.0, 0.5, kind != "direct", 0 if kind == "mesh" else 100, 5e-5)

    def reference(q: torch.Tensor, r: torch.Tensor, h: torch.Tensor) -> torch.Tensor:
        if kind == "direct":
            return direct_potentials(q[None], r[None], torch.ones(1, 7, 1))[0]
        if kind == "ewald":
            return reciprocal_potentials(q[None], r[None], h[None], 1.0, 0.5)[0]
        return mesh_potentials(q, r, h, 1.0, *mesh_settings(5e-5))

    for scale in (1.0, 1.05):  # a changed cell is noticed
        r, h = positions * scale, cell * scale
        potentials, state = module(charges, r, h)
        q, x = charges.clone().requires_grad_(True), r.clone().requires_grad_(True)
        strain = torch.zeros(3, 3).requires_grad_(True)
        expected = reference(q, x + x @ strain, h + h @ strain)
        torch.testing.assert_close(potentials, expected, **TIGHT)
        of_charges, of_positions, of_strain = torch.autograd.grad(expected, [q, x, strain], adjoint)
        found = module.pullback(state, charges, adjoint)
        torch.testing.assert_close(found[0], of_charges, rtol=1e-10, atol=1e-11)
        torch.testing.assert_close(found[1], of_positions, rtol=1e-10, atol=1e-11)
        torch.testing.assert_close(module.strain_gradient(state, charges, adjoint), of_strain, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("periodic", [False, True])
def test_scripted_sums_follow_the_number_of_atoms_and_the_cell(periodic):
    eager = Electrostatics(1.0, 0.5, periodic, 5, 5e-5)
    scripted = torch.jit.script(Electrostatics(1.0, 0.5, periodic, 5, 5e-5))
    for n_atoms in (1, 4, 9, 4):  # nine are above the limit of the Ewald sum
        charges, adjoint, positions = torch.randn(n_atoms, 2), torch.randn(n_atoms, 2), 4.0 * torch.rand(n_atoms, 3)
        cell = torch.eye(3) * (5.0 + torch.rand(1)) + 0.3 * torch.rand(3, 3)
        found, expected = scripted(charges, positions, cell), eager(charges, positions, cell)
        torch.testing.assert_close(found[0], expected[0], **TIGHT)
        pulled = scripted.pullback(found[1], charges, adjoint)
        torch.testing.assert_close(pulled, eager.pullback(expected[1], charges, adjoint), **TIGHT)
        strain = scripted.strain_gradient(found[1], charges, adjoint)
        torch.testing.assert_close(strain, eager.strain_gradient(expected[1], charges, adjoint), **TIGHT)


def test_coincident_atoms_in_vacuum_stay_finite():
    module = Electrostatics(1.0, 0.5, False, 100, 5e-5)
    positions = torch.tensor([[0.0, 0.0, 0.0], [0.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
    potentials, state = module(torch.ones(3, 1), positions, torch.zeros(3, 3))
    torch.testing.assert_close(potentials, torch.tensor([[0.5], [0.5], [1.0]]))
    assert all(
        bool(torch.isfinite(value).all()) for value in module.pullback(state, torch.ones(3, 1), torch.ones(3, 1))
    )
