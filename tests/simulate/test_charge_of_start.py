"""Simulations give a model that uses it the total charge of the starting structure, or the key `charge`."""

import ase.io
import pytest
import torch
from ase import Atoms
from helpers import small_model
from test_simulation import settings

from lorem_openmm.config import Umbrella
from lorem_openmm.errors import ConfigError
from lorem_openmm.export import save
from lorem_openmm.integrations.decomposition import _forces
from lorem_openmm.model import Lorem
from lorem_openmm.potential import Potential
from lorem_openmm.simulate import engine
from lorem_openmm.simulate.outcome import settings_of
from lorem_openmm.simulate.simulation import simulate
from lorem_openmm.simulate.start import with_charge
from lorem_openmm.simulate.systems import read_structure


@pytest.fixture(scope="module")
def charged_model(tmp_path_factory):
    import charged_block  # noqa: F401 (declares the kind)

    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("model") / "charged.safetensors"
    baseline = dict.fromkeys((1, 6, 8, 17, 35), -10.0)
    save(Potential(Lorem(small_model(long_range={"kind": "charged"})), baseline), path)
    return path


def charge_given(start: str, model, **changes) -> int | None:
    """What the model's force is given."""
    simulation = settings(start=start, **changes)
    begin = with_charge(read_structure(start), simulation.charge)
    device = engine.choose_platform("cpu", "single")
    system = engine.create_system(begin, simulation, model, device)
    ((force, _),) = _forces(system.getForces())
    return force.total_charge


def bare(tmp_path) -> str:
    ase.io.write(tmp_path / "bare.xyz", Atoms("Cl2", positions=[[0, 0, 0], [0, 0, 3]]), format="extxyz")
    return str(tmp_path / "bare.xyz")


@pytest.mark.parametrize(
    ("start", "charge"),
    [("sn2:Cl,Br,3.2", -1), ("dimer:acetate,water,3.0", -1), ("water:8", 0), ("smiles:CC(=O)[O-].O", -1)],
)
def test_built_structures_state_theirs(charged_model, start, charge):
    if start.startswith("smiles"):
        pytest.importorskip("rdkit")
    assert charge_given(start, charged_model) == charge


def test_a_structure_that_states_none_needs_the_key(charged_model, tmp_path):
    with pytest.raises(
        ConfigError, match=r"^charge: .*does not guess; received none.*`charge` of a simulation in the con"
    ):
        charge_given(bare(tmp_path), charged_model)
    assert charge_given(bare(tmp_path), charged_model, charge=-2) == -2


def test_other_models_run_without(model_file, tmp_path):
    assert charge_given(bare(tmp_path), model_file) is None
    assert charge_given(bare(tmp_path), model_file, charge=1) == 1


def test_the_key_must_not_contradict_the_structure():
    start = read_structure("sn2:Cl,Br,3.2")
    assert with_charge(start, None) == start
    assert with_charge(start, -1).charge_source == "`charge` of the configuration"
    with pytest.raises(
        ConfigError, match=r"^charge: must be the total charge of the starting structure, -1 \(X⁻ \+ CH₃Y\)"
    ):
        with_charge(start, 0)
    partial = start._replace(charge_source="formal charges of 1 of 6 atoms, the others taken as neutral")
    assert with_charge(partial, 0).total_charge == 0


def test_runs_from_before_there_was_the_key_are_not_redone(model_file):
    assert "charge" not in settings_of(settings(), model_file)
    assert settings_of(settings(charge=0), model_file)["charge"] == 0


def test_windows_have_it():
    umbrella = Umbrella(
        run="r", start="sn2:Cl,Br,3.2", charge=-1, coordinate="bond_difference", first=-1, last=1, steps=2000
    )
    assert umbrella.window(1).charge == -1


def test_a_run_with_it(charged_model, tmp_path):
    made = settings(charge=-1, steps=2, report_interval=1, minimize=False, timestep_fs=1e-4, on_unstable="report")
    summary = simulate(made, charged_model, tmp_path / "run")
    assert summary["total_charge"] == -1
    assert summary["total_charge_source"] == "`charge` of the configuration"
