"""The total charge as users give it: ``charge=`` in OpenMM, ``atoms.info["charge"]`` in ASE."""

import copy
import warnings

import openmm
import pytest
import torch
from charged_block import ChargedBlock
from helpers import graph_of, rattled_molecule, small_potential, topology_of
from made_systems import BOTH, assert_close, context_of, results, system_of
from test_mixed_systems import force_field_system, mixed, topology_of_waters, waters

import lorem_openmm
from lorem_openmm.errors import ConfigError, DataError
from lorem_openmm.export import save
from lorem_openmm.integrations.decomposition import _forces
from lorem_openmm.integrations.force_options import check_charge
from lorem_openmm.integrations.force_settings import ForceSettings
from lorem_openmm.integrations.model_source import ModelSource

CHARGED = {"kind": "charged"}


@pytest.fixture(scope="module")
def charged_model(tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "charged.safetensors"
    save(small_potential(long_range=CHARGED), path)
    return path


def charge_of(system: openmm.System) -> int | None:
    ((settings, _),) = _forces(system.getForces())
    return settings.total_charge


@pytest.mark.parametrize("implementation", BOTH)
def test_a_model_that_uses_it_runs_with_it_alone(charged_model, implementation):
    atoms, options = rattled_molecule(), {"precision": "double", "implementation": implementation}
    with pytest.raises(ConfigError, match=r"^charge: must be the total charge in e .*none\. .*topology, charge=0"):
        system_of(atoms, charged_model, **options)
    system = system_of(atoms, charged_model, charge=-1, **options)
    assert charge_of(system) == -1
    graph = graph_of(atoms)._replace(total_charge=-torch.ones(1, dtype=torch.float64))
    expected = lorem_openmm.load(charged_model, dtype="float64").evaluate(graph)
    wanted = float(expected.energy[0]) * 96.48533212331, expected.forces.numpy() * 964.8533212331
    context = context_of(system, atoms)
    assert_close(results(context), wanted, 1e-9)
    again = openmm.XmlSerializer.deserialize(lorem_openmm.serialize(system))
    assert charge_of(again) == -1
    assert_close(results(context_of(again, atoms)), wanted, 1e-9)


def test_what_runs_is_given_it(charged_model):
    settings = ForceSettings(ModelSource.find(charged_model), (8, 1), False, total_charge=-1)
    dynamics, potential = ForceSettings.from_json(settings.to_json()).load()
    assert isinstance(potential.model.long_range, ChargedBlock)
    assert dynamics.total_charge == dynamics.model.long_range.total_charge == -1.0


def test_settings_of_earlier_versions_are_read(model_file):
    settings = ForceSettings(ModelSource.find(model_file), (8, 1), False)
    text = settings.to_json().replace(', "total_charge": null', "")
    assert "total_charge" not in text
    assert ForceSettings.from_json(text) == settings


def test_others_accept_and_keep_it(model_file):
    atoms = rattled_molecule()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        systems = [system_of(atoms, model_file, precision="double", charge=charge) for charge in (None, 1, 1.0)]
    assert [charge_of(system) for system in systems] == [None, 1, 1]
    found = [results(context_of(system, atoms)) for system in systems]
    assert found[0][0] == found[1][0] == found[2][0]


@pytest.mark.parametrize("interpolate", [False, True])
def test_in_a_mixed_system_it_is_that_of_the_region(charged_model, interpolate):
    atoms = waters()
    topology = topology_of_waters(atoms, True)
    for atom in topology.atoms():
        atom.formalCharge = 0
    next(iter(topology.atoms())).formalCharge = 1  # outside the region
    with pytest.raises(
        ConfigError, match=r"^charge: .*none; their formal charges in the topology add up to \+0\. Give"
    ):
        mixed(charged_model, topology, force_field_system(topology, True), interpolate=interpolate)
    with pytest.raises(ConfigError, match=r"^charge: must be the sum of the formal charges .* \+0 here; received \+1"):
        mixed(charged_model, topology, force_field_system(topology, True), interpolate=interpolate, charge=1)
    system = mixed(charged_model, topology, force_field_system(topology, True), interpolate=interpolate, charge=0)
    assert charge_of(system) == 0


def test_some_formal_charges_are_no_total_charge():
    topology = topology_of(rattled_molecule())
    first, *_ = topology.atoms()
    first.formalCharge = -1
    check_charge(0, topology, None, True)
    check_charge(-1, topology, [0], True)
    with pytest.raises(ConfigError, match=r"received none\. Give"):
        check_charge(None, topology, None, True)
    with pytest.raises(ConfigError, match=r"-1 here; received \+0"):
        check_charge(0, topology, [0], False)


@pytest.mark.parametrize("value", [0.5, "minus one", True, float("nan")])
def test_it_is_a_whole_number(model_file, value):
    with pytest.raises(ConfigError, match=r"^charge: must be a whole number of elementary charges, received"):
        system_of(rattled_molecule(), model_file, charge=value)
    with pytest.raises(ConfigError, match=r"^charge: must be a whole number of elementary charges, received"):
        lorem_openmm.LoremCalculator(model_file, charge=value)


# -- ASE --


def with_calculator(charge: int | None = None, **options: object):
    atoms = rattled_molecule()
    atoms.calc = lorem_openmm.LoremCalculator(small_potential(**options), dtype="float64", charge=charge)
    return atoms


def charge_in_use(atoms) -> float:
    return atoms.calc._dynamics.model.long_range.total_charge


def test_ase_reads_it_from_the_structure_or_the_calculator():
    atoms = with_calculator(long_range=CHARGED)
    with pytest.raises(DataError, match=r"^charge: .*received none\. Set atoms.info\[\"charge\"\], or give"):
        atoms.get_potential_energy()
    for info, expected in (({"charge": -1}, -1), ({"total_charge": 2.0}, 2), ({"REF_charge": 0, "charge": 0}, 0)):
        atoms.info = info
        atoms.get_potential_energy()
        assert charge_in_use(atoms) == expected
    atoms = with_calculator(1, long_range=CHARGED)
    atoms.get_forces()
    assert charge_in_use(atoms) == 1
    atoms.info["charge"] = 0  # the structure's own comes first
    atoms.get_forces()
    assert charge_in_use(atoms) == 0


def test_ase_computes_anew_when_it_changes(monkeypatch):
    atoms, calls = with_calculator(long_range=CHARGED), []
    calculate = lorem_openmm.LoremCalculator.calculate
    monkeypatch.setattr(
        lorem_openmm.LoremCalculator, "calculate", lambda self, *a, **k: calls.append(1) or calculate(self, *a, **k)
    )
    atoms.info["charge"] = 1
    for _ in range(2):
        atoms.get_potential_energy()
    assert len(calls) == 1
    atoms.info["charge"] = 0
    atoms.get_potential_energy()
    assert len(calls) == 2
    assert charge_in_use(atoms) == 0
    del atoms.info["charge"]
    atoms.calc.charge = -1
    atoms.get_potential_energy()
    assert (len(calls), charge_in_use(atoms)) == (3, -1)
    copied = atoms.copy()
    copied.calc = copy.deepcopy(atoms.calc)
    copied.get_potential_energy()
    assert len(calls) == 3  # the results came along
    copied.info["charge"] = 1
    copied.get_potential_energy()
    assert len(calls) == 4


def test_ase_refuses_what_makes_no_sense():
    atoms = with_calculator(long_range=CHARGED)
    for info, text in (
        ({"charge": 0.5}, r"atoms.info\['charge'\]: must be a whole number of elementary charges, received 0.5"),
        ({"charge": 0, "total_charge": 1}, "atoms.info: `charge` and `total_charge` must be the same; received"),
    ):
        atoms.info = info
        with pytest.raises(DataError, match=text):
            atoms.get_potential_energy()


def test_ase_leaves_it_alone_for_other_models():
    atoms = with_calculator(1)
    before = atoms.get_potential_energy()
    atoms.info["charge"] = "unknown"
    assert atoms.get_potential_energy() == before
