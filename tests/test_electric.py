"""Born effective charges; their numbers are lorem-jax's: tests/parity."""

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.calculators.calculator import PropertyNotImplementedError
from e3nn import o3
from helpers import graph_of, random_orthogonal, rattled_box, rattled_molecule, small_potential, topology_of
from naive_lorem import component_order
from openmm import Context, Platform, VerletIntegrator, XmlSerializer, unit
from openmmml import MLPotential

import lorem_openmm
from lorem_openmm.config import Model, parse
from lorem_openmm.electric import born_charges
from lorem_openmm.errors import ConfigError, UnknownElementError
from lorem_openmm.ops.spherical import axial_coupling
from lorem_openmm.units import KJ_PER_MOL_NM_PER_EV_ANGSTROM


def born_potential(**changes):
    """A small potential with random weights that give Born effective charges of a visible size."""
    potential = small_potential(born_charges=True, **changes)
    for readout in potential.model.born_readouts:
        readout.kernel.data *= 300
    return potential


@pytest.mark.parametrize("degree", [1, 2, 3, 6])
def test_axial_coupling_is_wigners(degree):
    wigner = 3**0.5 * o3.wigner_3j(degree, degree, 1, dtype=torch.float64)
    order, vector = torch.tensor(component_order(degree)), torch.tensor(component_order(1))
    torch.testing.assert_close(axial_coupling(degree), wigner[order][:, order][:, :, vector], rtol=0, atol=1e-12)


@pytest.mark.parametrize("changes", [{}, {"num_message_passing": 1}, {"long_range": {"kind": "coulomb_charges"}}])
@pytest.mark.parametrize("reflect", [False, True])
@pytest.mark.parametrize("make", [rattled_molecule, rattled_box])
def test_born_charges_turn_with_the_structure(make, reflect, changes):
    potential, atoms, matrix = born_potential(**changes), make(), random_orthogonal(3, reflect)
    turned = make()
    turned.positions, turned.cell[:] = atoms.positions @ matrix.T, atoms.cell[:] @ matrix.T
    found, expected = born_charges(potential, graph_of(turned)), born_charges(potential, graph_of(atoms))
    np.testing.assert_allclose(found, matrix @ expected.numpy() @ matrix.T, rtol=0, atol=1e-12)
    asymmetry = expected - expected.transpose(1, 2)
    assert asymmetry.abs().max() > 0.01 * expected.abs().max()  # the axial part is there
    assert expected.abs().max() > 1e-3


def test_born_charges_of_each_structure_of_a_batch_add_up_to_zero():
    potential = born_potential()
    structures = [rattled_molecule(), rattled_box(), Atoms("O"), rattled_molecule("CH3OH")]
    together = born_charges(potential, graph_of(*structures))
    first = 0
    for atoms in structures:
        alone = born_charges(potential, graph_of(atoms))
        np.testing.assert_allclose(together[first : first + len(atoms)], alone, rtol=0, atol=1e-12)
        np.testing.assert_allclose(alone.sum(dim=0), np.zeros((3, 3)), rtol=0, atol=1e-13)
        first += len(atoms)


def test_they_do_not_change_energies_and_the_calculator_gives_them():
    potential, atoms = born_potential(), rattled_box()
    atoms.calc = lorem_openmm.LoremCalculator(potential, dtype="float64")
    forces = atoms.get_forces()
    assert "born_effective_charges" not in atoms.calc.results
    found = atoms.calc.get_property("born_effective_charges", atoms)
    np.testing.assert_allclose(found, born_charges(potential, graph_of(atoms)), rtol=0, atol=1e-12)
    np.testing.assert_allclose(atoms.get_forces(), forces, rtol=0, atol=1e-13)
    assert "born_effective_charges" not in lorem_openmm.LoremCalculator(small_potential()).implemented_properties


def test_a_model_file_keeps_the_readouts(tmp_path):
    potential = born_potential().float()
    for name in ("model.safetensors", "model.pt"):
        lorem_openmm.export.save(potential, tmp_path / name)
        again = lorem_openmm.export.load(tmp_path / name)
        graph = graph_of(rattled_molecule(), dtype=torch.float32)
        assert torch.equal(born_charges(again, graph), born_charges(potential, graph))


def test_what_has_none_is_named():
    with pytest.raises(ConfigError, match="born_charges: true"):
        born_charges(small_potential(), graph_of(rattled_molecule()))
    with pytest.raises(ConfigError, match="max_degree is 0"):
        parse(Model, {"born_charges": True, "max_degree": 0, "max_charge_degree": 0}, "test")
    with pytest.raises(UnknownElementError):
        born_charges(born_potential(), graph_of(Atoms("Kr")))


# -- explicit charges --

COULOMB = {"long_range": {"kind": "coulomb_charges"}}


def charged_potential(**changes):
    """A small potential whose explicit charges are visible and differ from atom to atom."""
    potential = small_potential(**COULOMB, **changes)
    potential.model.long_range.scalar_charges.layers[-1].weight.data *= 3
    return potential


def dipole_of(potential, atoms, center=None):
    """Σ_i q_i (r_i − R) about the centre of mass, or a fixed point."""
    charges = potential(graph_of(atoms)).charges[:, 0].numpy()
    return charges @ (atoms.positions - (atoms.get_center_of_mass() if center is None else center))


def central_differences(function, atoms, step=1e-4):
    slopes = np.zeros((len(atoms), 3, *np.shape(function(atoms))))
    for i, a in np.ndindex(len(atoms), 3):
        ends = []
        for sign in (1, -1):
            moved = atoms.copy()
            moved.positions[i, a] += sign * step
            ends.append(np.asarray(function(moved)))
        slopes[i, a] = (ends[0] - ends[1]) / (2 * step)
    return slopes


@pytest.mark.parametrize("changes", [{}, {"num_message_passing": 1}])
def test_polar_tensors_in_vacuum_are_slopes_of_the_dipole(changes):
    potential, atoms = charged_potential(**changes), rattled_molecule("CH3OH")
    center, found = atoms.get_center_of_mass(), born_charges(potential, graph_of(atoms))
    expected = central_differences(lambda moved: dipole_of(potential, moved, center), atoms)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-7)
    total = potential(graph_of(atoms)).charges.sum().item()
    np.testing.assert_allclose(found.sum(dim=0), total * np.eye(3), rtol=0, atol=1e-12)
    assert abs(total) > 1e-3


@pytest.mark.parametrize("kind", ["explicit_charges", "equilibrated_charges"])
def test_charges_of_other_blocks_are_those_that_act(kind):
    potential, atoms = small_potential(long_range={"kind": kind}), rattled_molecule("H2O")
    center = atoms.get_center_of_mass()

    def graph(moved):
        return graph_of(moved)._replace(total_charge=torch.zeros(1, dtype=torch.float64))

    def moment(moved):
        return potential(graph(moved)).charges[:, 0].numpy() @ (moved.positions - center)

    found = born_charges(potential, graph(atoms))
    np.testing.assert_allclose(found, central_differences(moment, atoms), rtol=0, atol=1e-6)
    if kind == "equilibrated_charges":
        box = graph_of(rattled_box())._replace(total_charge=torch.zeros(1, dtype=torch.float64))
        with pytest.raises(ConfigError, match="moves charges between atoms"):
            born_charges(potential, box)


def test_polar_tensors_in_a_large_box_are_those_of_vacuum():
    """Up to what a model whose charges do not add up to a constant leaves to the sum rule."""
    potential, atoms = charged_potential(), rattled_molecule("CH3OH")
    graph = graph_of(atoms)
    vacuum = born_charges(potential, graph)
    charge = central_differences(lambda moved: potential(graph_of(moved)).charges.sum().item(), atoms)
    missing = charge[:, :, None] * (atoms.positions - atoms.get_center_of_mass())[:, None, :]
    boxed = atoms.copy()
    boxed.set_cell([30, 30, 30])
    boxed.positions += 14.5  # so that the border of the box cuts the molecule
    boxed.pbc = True
    boxed.wrap()
    found, plain = born_charges(potential, graph_of(boxed)), vacuum - torch.tensor(missing)
    shift = (plain.sum(dim=0) - vacuum.sum(dim=0)) / len(atoms)
    np.testing.assert_allclose(found, plain - shift, rtol=0, atol=1e-8)
    mixed = born_charges(potential, graph_of(atoms, boxed))
    np.testing.assert_allclose(mixed, torch.cat([vacuum, found]), rtol=0, atol=1e-12)


def test_a_box_and_its_supercell_have_the_same_born_charges():
    potential, box = charged_potential(), rattled_box()
    found = born_charges(potential, graph_of(box.repeat((2, 1, 1))))
    np.testing.assert_allclose(found[: len(box)], born_charges(potential, graph_of(box)), rtol=0, atol=1e-12)
    with pytest.raises(ConfigError, match="num_message_passing"):
        born_charges(charged_potential(num_message_passing=1), graph_of(box))


class Constant(torch.nn.Module):
    """Charges that depend on nothing."""

    def forward(self, x):
        return torch.full((len(x), 1), 0.25, dtype=x.dtype)


@pytest.mark.parametrize("make", [rattled_molecule, rattled_box])
def test_constant_charges_are_born_charges(make):
    potential, atoms = charged_potential().requires_grad_(False), make()
    potential.model.long_range.scalar_charges = Constant()
    expected = np.broadcast_to(0.25 * np.eye(3), (len(atoms), 3, 3))
    np.testing.assert_allclose(born_charges(potential, graph_of(atoms)), expected, rtol=0, atol=1e-14)


def test_the_calculator_has_a_dipole_in_vacuum_only():
    potential, atoms = charged_potential(), rattled_molecule()
    atoms.calc = lorem_openmm.LoremCalculator(potential, dtype="float64")
    np.testing.assert_allclose(atoms.get_dipole_moment(), dipole_of(potential, atoms), rtol=0, atol=1e-12)
    tensors = atoms.calc.get_property("born_effective_charges", atoms)
    np.testing.assert_allclose(tensors, born_charges(potential, graph_of(atoms)), rtol=0, atol=1e-12)
    box = rattled_box()
    box.calc = atoms.calc
    with pytest.raises(PropertyNotImplementedError):
        box.get_dipole_moment()


FIELD = (0.31, -0.17, 0.05)


def test_a_field_in_vacuum_pulls_at_the_dipole():
    potential, atoms = charged_potential(), rattled_molecule()
    plain = lorem_openmm.LoremCalculator(potential, dtype="float64")
    atoms.calc = lorem_openmm.LoremCalculator(potential, dtype="float64", electric_field=FIELD)
    work = -dipole_of(potential, atoms) @ FIELD
    assert atoms.get_potential_energy() == pytest.approx(plain.get_potential_energy(atoms) + work, abs=1e-10)
    slopes = central_differences(atoms.calc.get_potential_energy, atoms)
    np.testing.assert_allclose(atoms.get_forces(), -slopes, rtol=0, atol=2e-6)
    np.testing.assert_allclose(atoms.get_forces().sum(axis=0), np.zeros(3), rtol=0, atol=1e-11)


@pytest.mark.parametrize("kind", ["explicit_charges", "equilibrated_charges"])
def test_a_field_pulls_at_the_charges_of_other_blocks(kind):
    atoms = rattled_molecule("H2O")
    potential = small_potential(long_range={"kind": kind})
    atoms.calc = lorem_openmm.LoremCalculator(potential, dtype="float64", charge=0, electric_field=FIELD)
    slopes = central_differences(atoms.calc.get_potential_energy, atoms)
    np.testing.assert_allclose(atoms.get_forces(), -slopes, rtol=0, atol=2e-6)
    plain = lorem_openmm.LoremCalculator(potential, dtype="float64", charge=0)
    work = -atoms.get_dipole_moment() @ FIELD
    assert atoms.get_potential_energy() == pytest.approx(plain.get_potential_energy(atoms) + work, abs=1e-9)
    assert abs(work) > 1e-5


def test_a_field_pulls_at_predicted_born_charges_also_in_a_box():
    potential, box = born_potential(), rattled_box()
    plain = potential(graph_of(box))
    box.calc = lorem_openmm.LoremCalculator(potential, dtype="float64", electric_field=FIELD)
    expected = plain.forces.numpy() + born_charges(potential, graph_of(box)).numpy() @ np.array(FIELD)
    np.testing.assert_allclose(box.get_forces(), expected, rtol=0, atol=1e-11)
    assert box.get_potential_energy() == pytest.approx(plain.energy.item(), abs=1e-9)


def test_fields_that_cannot_be_right_are_refused():
    with pytest.raises(ConfigError, match="explicit charges"):
        lorem_openmm.LoremCalculator(small_potential(), electric_field=FIELD)
    with pytest.raises(ConfigError, match="three finite numbers"):
        lorem_openmm.LoremCalculator(charged_potential(), electric_field=(1, 2))
    box = rattled_box()
    box.calc = lorem_openmm.LoremCalculator(charged_potential(), electric_field=FIELD)
    with pytest.raises(ConfigError, match="periodic box"):
        box.get_potential_energy()


@pytest.mark.parametrize("implementation", ["pythonforce", "torchforce"])
def test_forces_of_openmm_feel_the_field(implementation):
    potential, atoms = charged_potential(), rattled_molecule()
    atoms.calc = lorem_openmm.LoremCalculator(potential, dtype="float64", electric_field=FIELD)
    system = MLPotential("lorem", modelPath=potential).createSystem(
        topology_of(atoms), precision="double", device="cpu", implementation=implementation, electricField=FIELD
    )
    if implementation == "pythonforce":
        system = XmlSerializer.deserialize(XmlSerializer.serialize(system))
    context = Context(system, VerletIntegrator(0.001), Platform.getPlatformByName("Reference"))
    context.setPositions(atoms.positions * 0.1)
    state = context.getState(energy=True, forces=True)
    forces = state.getForces(asNumpy=True).value_in_unit(unit.kilojoule_per_mole / unit.nanometer)
    np.testing.assert_allclose(forces / KJ_PER_MOL_NM_PER_EV_ANGSTROM, atoms.get_forces(), rtol=0, atol=1e-8)
    with pytest.raises(ConfigError, match="electricField: must be three finite numbers"):
        MLPotential("lorem", modelPath=potential).createSystem(topology_of(atoms), electricField=3.0)
