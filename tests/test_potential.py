import numpy as np
import pytest
import torch
from ase import Atoms
from helpers import graph_of, random_orthogonal, rattled_box, rattled_molecule, small_model, small_potential
from naive_lorem import predict

from lorem_openmm.config import Model
from lorem_openmm.errors import UnknownElementError
from lorem_openmm.model import Lorem
from lorem_openmm.potential import check_species

VARIANTS = {
    "default": {},
    "short-ranged": {"long_range": False},
    "scalar charges": {"max_charge_degree": 0},
    "charges of degree 3": {"max_charge_degree": 3},
    "message passing": {"num_message_passing": 2},
    "scalar message passing": {"num_message_passing": 1, "equivariant_message_passing": False},
    "zero start": {"initialize_node_features": False},
    "gaussian": {"radial_basis": "basic_gaussian", "cutoff_function": "smooth_cutoff"},
    "degree 0": {"max_degree": 0, "max_charge_degree": 0},
    "smooth norms": {"norm_smoothing": 0.1, "num_message_passing": 1},
    "tight ewald": {"smearing": 0.8, "wavelength": 0.35},
}
STRUCTURES = {"molecule": rattled_molecule, "box": rattled_box}


def count(**changes):
    return sum(parameter.numel() for parameter in Lorem(Model(**changes)).parameters())


def test_parameter_counts_are_those_of_lorem_jax():
    assert count() == 1_021_198
    assert count(max_charge_degree=1) == 1_020_749
    assert count(max_charge_degree=0) == 1_020_300
    assert count(long_range=False) == 839_129


@pytest.mark.parametrize("structure", STRUCTURES)
@pytest.mark.parametrize("variant", VARIANTS)
def test_fast_form_equals_the_plain_formulas(variant, structure):
    potential = small_potential(**VARIANTS[variant])
    atoms = STRUCTURES[structure]()
    expected = predict(small_model(**VARIANTS[variant]), potential.model.state_dict(), atoms)
    found = potential.evaluate(graph_of(atoms), compute_stress=True)
    tolerance = {"rtol": 1e-12, "atol": 2e-12}
    torch.testing.assert_close(found.atomic_energies, expected.atomic_energies, **tolerance)
    torch.testing.assert_close(found.forces, expected.forces, rtol=1e-10, atol=1e-11)
    if structure == "box":
        virial = found.stress[0] * abs(np.linalg.det(atoms.cell[:]))
        torch.testing.assert_close(virial, expected.virial, rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("structure", STRUCTURES)
def test_single_precision_stays_close(structure):
    potential = small_potential()
    atoms = STRUCTURES[structure]()
    double = potential.evaluate(graph_of(atoms))
    single = small_potential().float().evaluate(graph_of(atoms, dtype=torch.float32))
    torch.testing.assert_close(single.atomic_energies.double(), double.atomic_energies, rtol=5e-5, atol=5e-6)
    torch.testing.assert_close(single.forces.double(), double.forces, rtol=5e-5, atol=2e-5)


def test_energies_of_thousands_of_ev_keep_their_digits_in_single_precision():
    atoms = rattled_molecule()
    total = small_potential().float().evaluate(graph_of(atoms, dtype=torch.float32)).energy
    exact = small_potential().evaluate(graph_of(atoms)).energy
    assert abs(float(total - exact)) < 1e-5
    assert float(exact) < -4000


@pytest.mark.parametrize("variant", ["default", "message passing"])
@pytest.mark.parametrize("structure", STRUCTURES)
def test_forces_are_the_slope_of_the_energy(variant, structure):
    potential = small_potential(**VARIANTS[variant])
    atoms = STRUCTURES[structure]()
    forces = potential.evaluate(graph_of(atoms)).forces
    step = 1e-4
    for atom, axis in [(0, 0), (2, 1), (len(atoms) - 1, 2)]:
        energies = []
        for sign in (1, -1, 2, -2):
            moved = atoms.copy()
            moved.positions[atom, axis] += sign * step
            energies.append(potential.evaluate(graph_of(moved)).energy.item())
        slope = (8 * (energies[0] - energies[1]) - (energies[2] - energies[3])) / (12 * step)
        assert -slope == pytest.approx(forces[atom, axis].item(), rel=1e-5, abs=1e-7)


def test_stress_is_the_slope_of_the_energy_with_strain():
    potential, atoms = small_potential(), rattled_box()
    stress = potential.evaluate(graph_of(atoms), compute_stress=True).stress[0]
    torch.testing.assert_close(stress, stress.T, rtol=0, atol=1e-10)
    step = 1e-4
    for a, b in [(0, 0), (1, 1), (0, 1), (2, 0)]:
        energies = []
        for sign in (1, -1):
            strained = atoms.copy()
            strain = np.eye(3)
            strain[a, b] += sign * step
            strained.set_cell(atoms.cell[:] @ strain, scale_atoms=True)
            energies.append(potential.evaluate(graph_of(strained)).energy.item())
        slope = (energies[0] - energies[1]) / (2 * step * atoms.get_volume())
        assert slope == pytest.approx(stress[a, b].item(), rel=2e-5, abs=1e-8)


@pytest.mark.parametrize("reflect", [False, True])
@pytest.mark.parametrize("variant", ["default", "message passing", "charges of degree 3"])
@pytest.mark.parametrize("structure", STRUCTURES)
def test_rotations_and_reflections_turn_forces_and_stress(structure, variant, reflect):
    potential = small_potential(**VARIANTS[variant])
    atoms = STRUCTURES[structure]()
    rotation = random_orthogonal(5, reflect)
    turned = atoms.copy()
    turned.set_cell(atoms.cell[:] @ rotation.T)
    turned.positions = atoms.positions @ rotation.T
    before, after = (potential.evaluate(graph_of(a), compute_stress=True) for a in (atoms, turned))
    matrix = torch.tensor(rotation)
    assert np.abs(turned.positions - atoms.positions).max() > 0.5  # the input moved
    assert before.forces.abs().max() > 1e-2
    torch.testing.assert_close(after.energy, before.energy, rtol=0, atol=1e-8)
    torch.testing.assert_close(after.forces, before.forces @ matrix.T, rtol=0, atol=1e-8)
    torch.testing.assert_close(after.stress[0], matrix @ before.stress[0] @ matrix.T, rtol=0, atol=1e-8)
    torch.testing.assert_close(after.charges[:, :2], before.charges[:, :2], rtol=0, atol=1e-8)
    first_degree = slice(2, 5)
    torch.testing.assert_close(
        after.charges[:, first_degree], before.charges[:, first_degree] @ matrix.T, rtol=0, atol=1e-8
    )


@pytest.mark.parametrize("structure", STRUCTURES)
def test_translation_permutation_and_net_force(structure):
    potential, atoms = small_potential(), STRUCTURES[structure]()
    order = np.random.default_rng(0).permutation(len(atoms))
    changed = atoms[order]
    changed.positions += [3.3, -12.1, 0.7]
    before, after = potential.evaluate(graph_of(atoms)), potential.evaluate(graph_of(changed))
    assert (order != np.arange(len(atoms))).any()
    torch.testing.assert_close(after.energy, before.energy, rtol=0, atol=1e-8)
    torch.testing.assert_close(after.forces, before.forces[order], rtol=0, atol=1e-8)
    assert before.forces.sum(dim=0).abs().max() < 1e-10


def test_atoms_several_boxes_away_feel_the_same():
    potential, atoms = small_potential(), rattled_box()
    moved = atoms.copy()
    moved.positions[3] += 3 * atoms.cell[0] - 2 * atoms.cell[2]
    moved.positions[6] -= 4 * atoms.cell[1]
    before, after = (potential.evaluate(graph_of(a), compute_stress=True) for a in (atoms, moved))
    torch.testing.assert_close(after.energy, before.energy, rtol=0, atol=1e-9)
    torch.testing.assert_close(after.forces, before.forces, rtol=0, atol=1e-9)
    torch.testing.assert_close(after.stress, before.stress, rtol=0, atol=1e-9)


def test_a_batch_of_vacuum_and_periodic_structures_equals_its_parts():
    potential = small_potential(num_message_passing=1)
    structures = [
        rattled_molecule(),
        rattled_box(),
        Atoms("Cl", [[0, 0, 0]]),
        rattled_molecule("CH3OH"),
        rattled_box(7),
    ]
    together = potential(graph_of(*structures), compute_stress=True)
    start = 0
    for i, atoms in enumerate(structures):
        alone = potential(graph_of(atoms), compute_stress=True)
        stop = start + len(atoms)
        torch.testing.assert_close(together.energy[i], alone.energy[0], rtol=0, atol=1e-9)
        torch.testing.assert_close(together.forces[start:stop], alone.forces, rtol=0, atol=1e-10)
        torch.testing.assert_close(together.stress[i], alone.stress[0], rtol=0, atol=1e-10)
        torch.testing.assert_close(together.charges[start:stop], alone.charges, rtol=0, atol=1e-10)
        start = stop


def test_long_range_model_feels_what_is_beyond_the_cutoff():
    left, right = rattled_molecule(), rattled_molecule("CH3OH")
    right.positions += [12.0, 0.5, 0.2]
    for long_range in (True, False):
        potential = small_potential(long_range=long_range)
        together = potential.evaluate(graph_of(left + right)).forces[: len(left)]
        alone = potential.evaluate(graph_of(left)).forces
        change = (together - alone).abs().max()
        assert (change > 1e-4) == long_range


@pytest.mark.parametrize("variant", ["default", "message passing", "gaussian"])
def test_forces_are_continuous_at_the_cutoff(variant):
    potential = small_potential(**VARIANTS[variant], long_range=False)
    forces = []
    for distance in (4.0 - 1e-7, 4.0 + 1e-7):
        atoms = rattled_molecule() + Atoms("Cl")
        atoms.positions[-1] = atoms.positions[0] + [distance, 0, 0]
        forces.append(potential.evaluate(graph_of(atoms)).forces)
    torch.testing.assert_close(forces[0], forces[1], rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    "atoms",
    [
        Atoms("H", [[0, 0, 0]]),
        Atoms("OH", [[0, 0, 0], [0, 0, 9.0]]),
        Atoms("OH", [[0, 0, 0], [0, 0, 0.0]]),
        Atoms("OHH", [[0, 0, 0], [0, 0, 0.9], [25, 0, 0]]),
        Atoms("H", cell=[5, 5, 5], pbc=True),
        Atoms("H", cell=[1.7, 1.9, 2.1], pbc=True),
    ],
    ids=["isolated", "beyond the cutoff", "coincident", "pair and far atom", "lattice", "dense lattice"],
)
def test_edge_cases_have_finite_first_and_second_derivatives(atoms):
    potential = small_potential(num_message_passing=1)
    found = potential(graph_of(atoms), compute_stress=True, create_graph=True)
    loss = found.energy.sum() + (found.forces**2).sum() + (found.stress**2).sum()
    gradients = torch.autograd.grad(loss, list(potential.model.parameters()), allow_unused=True)
    assert torch.isfinite(found.energy).all()
    assert torch.isfinite(found.forces).all()
    assert all(torch.isfinite(gradient).all() for gradient in gradients if gradient is not None)


def test_gradients_of_a_force_loss_are_its_slopes():
    potential = small_potential(num_message_passing=1)
    graph = graph_of(rattled_molecule("CH3OH"), rattled_box())
    target = torch.randn(graph.positions.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

    def loss():
        found = potential(graph, compute_stress=True, create_graph=True)
        return ((found.forces - target) ** 2).mean() + found.energy.sum() * 1e-3 + (found.stress**2).sum()

    parameters = dict(potential.model.named_parameters())
    gradients = torch.autograd.grad(loss(), list(parameters.values()), allow_unused=True)
    generator = torch.Generator().manual_seed(1)
    for (name, parameter), gradient in zip(parameters.items(), gradients, strict=True):
        if gradient is None:
            continue
        direction = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        step, values = 1e-5, []
        for sign in (1, -1):
            with torch.no_grad():
                parameter += sign * step * direction
            values.append(loss().item())
            with torch.no_grad():
                parameter -= sign * step * direction
        slope = (values[0] - values[1]) / (2 * step)
        assert slope == pytest.approx((gradient * direction).sum().item(), rel=2e-4, abs=2e-7), name


def test_unknown_elements_are_named():
    with pytest.raises(UnknownElementError, match="does not know N, Na; it was trained on H, C, O, Cl"):
        check_species(small_potential().species, [1, 7, 11, 6])
