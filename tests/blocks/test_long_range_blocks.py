"""A block costs one file: the toy's trains, is exported and runs everywhere, with the right forces and stress."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import graph_of, rattled_box, rattled_molecule, small_model, small_potential
from small_training import prepare_dimers, settings
from toy_block import ToyBlock

from lorem_openmm import config, export
from lorem_openmm.config.long_range import EquivariantCharges, LongRange, ScalarCharges, register_kind
from lorem_openmm.errors import ConfigError
from lorem_openmm.inference import blocks as dynamics_blocks
from lorem_openmm.inference.blocks.bridge import AutogradBridge
from lorem_openmm.inference.dynamics import Dynamics
from lorem_openmm.integrations.ase_calculator import LoremCalculator
from lorem_openmm.model import Lorem
from lorem_openmm.training.checkpoints import load_best
from lorem_openmm.training.train import train

KINDS = {
    "toy": {"kind": "toy", "strength": 3.0},
    "scalar": {"kind": "scalar_charges", "num_charges": 2},
    "scalar, p = 6": {"kind": "scalar_charges", "num_charges": 2, "exponent": 6},
    "coulomb": {"kind": "coulomb_charges"},
    "explicit": {"kind": "explicit_charges"},
    "explicit, points": {"kind": "explicit_charges", "smooth": False, "neutral": False},
    "equilibrated": {"kind": "equilibrated_charges"},
    "neutral": {"kind": "equivariant_charges", "neutral": True},
    "smooth": {"kind": "equivariant_charges", "smooth": True},
    "neutral, p = 3": {"kind": "scalar_charges", "neutral": True, "exponent": 3},
    "smooth, p = 3": {"kind": "scalar_charges", "neutral": True, "smooth": True, "exponent": 3},
    "published": True,
    "published, p = 2": {"kind": "equivariant_charges", "exponent": 2},
}
STRUCTURES = {"molecule": rattled_molecule, "box": rattled_box, "large box": lambda: rattled_box().repeat((4, 3, 3))}


CHARGE = -1.0
BOTH = ("pythonforce", "torchforce")


@pytest.fixture(params=KINDS)
def potential(request):
    return small_potential(long_range=KINDS[request.param], smearing=0.6, wavelength=0.3)  # no step at the cutoff


def numerical_forces(evaluate, atoms, step=1e-4):
    """Central differences for some atoms and axes."""
    found = {}
    for index, axis in ((0, 0), (2, 1), (len(atoms) - 1, 2)):
        ends = []
        for sign in (1.0, -1.0):
            moved = atoms.copy()
            moved.positions[index, axis] += sign * step
            ends.append(evaluate(moved))
        found[index, axis] = -(ends[0] - ends[1]) / (2 * step)
    return found


def made(potential, structure):
    """A structure; one for the mesh is smaller where training's form makes whole matrices of it."""
    if structure == "large box" and potential.model.needs_total_charge:
        potential.model.pair_sum.max_ewald_atoms = 20
        return rattled_box().repeat((2, 2, 1))
    return STRUCTURES[structure]()


def charged_graph(atoms):
    """The graph of a structure, with a total charge for the blocks that use it."""
    return graph_of(atoms)._replace(total_charge=torch.tensor([CHARGE], dtype=torch.float64))


@pytest.mark.parametrize("structure", STRUCTURES)
def test_forces_and_stress_are_gradients(potential, structure):
    atoms = made(potential, structure)
    if structure == "large box":
        assert len(atoms) > potential.model.pair_sum.max_ewald_atoms  # on the mesh
    prediction = potential.evaluate(charged_graph(atoms), True)
    energy = lambda atoms: float(potential.evaluate(charged_graph(atoms)).atomic_energies.sum())  # noqa: E731
    for (index, axis), value in numerical_forces(energy, atoms).items():
        assert float(prediction.forces[index, axis]) == pytest.approx(value, rel=1e-5, abs=1e-6)
    if not atoms.pbc.all():
        return
    ends, step = [], 1e-5
    for sign in (1.0, -1.0):
        strained = atoms.copy()
        deformation = torch.eye(3, dtype=torch.float64)
        deformation[0, 1] += sign * step
        strained.set_cell(atoms.cell[:] @ deformation.numpy(), scale_atoms=True)
        ends.append(energy(strained))
    expected = (ends[0] - ends[1]) / (2 * step) / atoms.get_volume()
    assert float(prediction.stress[0, 0, 1]) == pytest.approx(expected, rel=1e-4, abs=1e-8)


@pytest.mark.parametrize("structure", STRUCTURES)
def test_dynamics_gives_the_same(potential, structure):
    atoms = made(potential, structure)
    expected = potential.evaluate(charged_graph(atoms), True)
    module = Dynamics(potential, atoms.numbers.tolist(), bool(atoms.pbc.all()), total_charge=CHARGE)
    for form in (module, torch.jit.script(module)):
        found = form(torch.tensor(atoms.positions), torch.tensor(atoms.cell[:]), True)
        for name in ("energy", "forces", "stress", "charges", "long_range_energy"):
            torch.testing.assert_close(getattr(found, name), getattr(expected, name), rtol=1e-9, atol=1e-10, msg=name)


def test_the_bridge_equals_gradients_by_hand(monkeypatch):
    potential, atoms = small_potential(), rattled_box()
    by_hand = Dynamics(potential, atoms.numbers.tolist(), True)
    assert not isinstance(by_hand.model.long_range.block, AutogradBridge)
    monkeypatch.setattr(dynamics_blocks.registry, "_by_hand", {})
    bridged = Dynamics(potential, atoms.numbers.tolist(), True)
    assert isinstance(bridged.model.long_range.block, AutogradBridge)
    arguments = torch.tensor(atoms.positions), torch.tensor(atoms.cell[:]), True
    for form in (bridged, torch.jit.script(bridged)):
        for one, other in zip(form(*arguments), by_hand(*arguments), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-11, atol=1e-11)


def test_a_toy_trains_and_is_read_again(tmp_path):
    chosen = settings(8, long_range={"kind": "toy", "strength": 2.0}, learning_rate=1e-2)
    result = train(chosen, "small", [prepare_dimers(tmp_path)], tmp_path / "run", device="cpu", progress=False)
    trained, _ = load_best(result.output)
    assert isinstance(trained.model.long_range, ToyBlock)
    fresh = Lorem(chosen.models["tiny"])
    changed = (trained.model.long_range.mix - fresh.long_range.mix).abs().max()
    assert float(changed.detach()) > 1e-3
    assert all(bool(torch.isfinite(parameter).all()) for parameter in trained.parameters())


@pytest.mark.parametrize(
    ("kind", "implementation", "structure"),
    [
        *[("toy", implementation, structure) for implementation in BOTH for structure in ("molecule", "box")],
        ("explicit", "pythonforce", "box"),
        ("explicit", "torchforce", "molecule"),
        ("equilibrated", "pythonforce", "molecule"),
        ("equilibrated", "torchforce", "box"),
    ],
)
def test_blocks_run_in_ase_and_openmm(kind, implementation, structure, tmp_path):
    from made_contexts import make_context, make_system
    from made_systems import results

    if implementation == "torchforce":
        pytest.importorskip("openmmtorch")
    potential, atoms = small_potential(long_range=KINDS[kind]), STRUCTURES[structure]()
    for suffix in (".safetensors", ".pt"):
        export.save(potential, tmp_path / f"model{suffix}")
    again = export.load(tmp_path / "model.pt", dtype="float64")
    assert again.model.hyperparameters.long_range == potential.model.hyperparameters.long_range
    expected = again.evaluate(charged_graph(atoms), True)
    system = make_system(atoms, tmp_path / "model.safetensors", implementation, charge=int(CHARGE))
    context = make_context(system, atoms)
    energy, forces = results(context)
    assert energy / 96.48533212331 == pytest.approx(float(expected.energy[0]), abs=1e-7)
    assert forces / 964.8533212331 == pytest.approx(expected.forces.numpy(), abs=1e-7)
    context.getIntegrator().step(3)
    atoms.info["charge"] = CHARGE
    atoms.calc = LoremCalculator(tmp_path / "model.pt", dtype="float64")
    assert atoms.get_potential_energy() == pytest.approx(float(expected.energy[0]), abs=1e-9)
    assert atoms.get_forces() == pytest.approx(expected.forces.numpy(), abs=1e-9)
    if atoms.pbc.all():
        assert atoms.get_stress(voigt=False) == pytest.approx(expected.stress[0].numpy(), abs=1e-10)


def test_the_energy_of_given_charges_is_that_of_coulombs_law():
    potential, atoms = small_potential(long_range={"kind": "coulomb_charges"}), rattled_molecule()
    for parameter in potential.model.long_range.readout.parameters():
        parameter.detach().zero_()
    found = potential.evaluate(graph_of(atoms))
    charges, distances = found.charges[:, 0].numpy(), atoms.get_all_distances()
    i, j = np.triu_indices(len(atoms), 1)
    expected = (14.399645 * charges[i] * charges[j] / distances[i, j]).sum()
    assert abs(expected) > 1e-3
    assert float(found.long_range_energy[0]) == pytest.approx(expected, rel=1e-6)


def test_how_a_block_is_chosen():
    published = small_model()
    assert published.long_range is True
    assert small_model(long_range={"kind": "equivariant_charges"}) == published
    assert small_model(long_range={"kind": "none"}) == small_model(long_range=False)
    assert small_model(long_range=False).long_range_block is None
    assert published.long_range_block == EquivariantCharges()
    scalar = small_model(long_range={"kind": "scalar_charges", "num_charges": 3})
    assert scalar.long_range == ScalarCharges(num_charges=3)
    assert config.Model(**scalar.model_dump(mode="json")) == scalar


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (
            {"kind": "scalar"},
            "kind must be one of none, equivariant_charges, scalar_charges, coulomb_charges.*received 'scalar'",
        ),
        ({"num_charges": 2}, "kind must be one of .* received None"),
        ({"kind": "scalar_charges", "num_charge": 2}, "num_charge"),
        ({"kind": "scalar_charges", "num_charges": 0}, "num_charges"),
        ({"kind": "none", "num_charges": 1}, "takes no other keys"),
        ({"kind": "coulomb_charges", "exponent": 6}, "exponent: Input should be 1"),
        ("scalar_charges", r"received 'scalar_charges'; write \{kind: scalar_charges\}"),
        ({"kind": "mine"}, "A kind of your own is known after its file was imported"),
    ],
)
def test_wrong_blocks_are_refused(value, message):
    with pytest.raises(ConfigError, match=message):
        config.parse(config.Model, {"long_range": value}, "test")


def test_charges_have_no_higher_degree_than_features_whatever_their_exponent():
    for value in (True, {"kind": "equivariant_charges", "exponent": 6}):
        with pytest.raises(ConfigError, match="max_charge_degree must not exceed max_degree, received 2 > 1"):
            config.parse(config.Model, {"long_range": value, "max_degree": 1, "max_charge_degree": 2}, "test")
    assert small_model(long_range={"kind": "scalar_charges"}, max_degree=1).long_range


def test_installed_packages_declare_kinds(tmp_path):
    package = tmp_path / "site"
    (package / "far_fields-1.0.dist-info").mkdir(parents=True)
    (package / "far_fields-1.0.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: far-fields\nVersion: 1.0\n"
    )
    group = "[lorem_openmm.nn.blocks]\ntoy = far_fields\n"
    (package / "far_fields-1.0.dist-info" / "entry_points.txt").write_text(group)
    shutil.copy(Path(__file__).with_name("toy_block.py"), package / "far_fields.py")
    program = (
        "from lorem_openmm.config import Model\n"
        "from lorem_openmm.model import Lorem\n"
        "model = Lorem(Model(long_range={'kind': 'toy'}, max_degree=1, max_charge_degree=0))\n"
        "print(type(model.long_range).__module__)\n"
    )
    paths = os.pathsep.join([str(package), *filter(None, [os.environ.get("PYTHONPATH")])])
    settings = {"env": os.environ | {"PYTHONPATH": paths}, "capture_output": True, "text": True}
    run = subprocess.run([sys.executable, "-c", program], check=False, **settings)
    assert run.stdout == "far_fields\n", run.stderr


def test_a_kind_has_one_section():
    class ScalarCharges2(LongRange):
        kind: str = "scalar_charges"

    with pytest.raises(ConfigError, match="'scalar_charges' must be declared once"):
        register_kind(ScalarCharges2)
    with pytest.raises(ConfigError, match="must give it a default"):
        register_kind(LongRange)
