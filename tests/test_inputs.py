import os
from pathlib import Path

import pytest

from lorem_openmm import config, inputs, whole_config
from lorem_openmm.errors import ConfigError
from lorem_openmm.layout import Layout

BASE = {
    "datasets": {"mine": {"structures": "mine.xyz"}},
    "models": {"m": {}},
    "training": {"t": {}},
    "runs": {"r": {"datasets": ["mine"], "model": "m", "training": "t"}},
}
RUN, START = BASE["runs"]["r"], {"run": "r", "start": "start.pdb"}
WATER = {"solvent": {"force_field": ["amber14/tip3p.xml", "fragments", "own.xml"]}}
UMBRELLA = {"coordinate": "bond_difference", "first": 1, "last": 2}
LAYOUT = Layout(Path("results"), Path("downloads"))


def parsed(**changes):
    return config.parse(whole_config.config_class(), {**BASE, **changes}, "test.yaml")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("mine.xyz", "start.pdb", "own.xml"):
        Path(name).write_text("")
    return tmp_path


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"datasets": {"mine": {"train": ["mine.xyz", "none"]}}}, "datasets.mine"),
        ({"datasets": {"mine": {"train": "mine.xyz", "validation": "none"}}}, "datasets.mine"),
        ({"datasets": {"mine": {"train": "mine.xyz", "test": "none"}}}, "datasets.mine"),
        ({"runs": {"r": {**RUN, "initial_model": "none.pt"}}}, "runs.r.initial_model"),
        ({"runs": {"r": {**RUN, "initial_model": "none"}}}, "runs.r.initial_model"),
        ({"simulations": {"s": {**START, "start": "none.xyz"}}}, "simulations.s.start"),
        ({"simulations": {"s": {**START, "start": "none.xyz@4"}}}, "simulations.s.start"),
        ({"simulations": {"s": {**START, "start": "sn3:Cl,Cl,3"}}}, "simulations.s.start"),
        ({"simulations": {"s": {**START, "solvent": {"force_field": ["none.xml"]}}}}, "simulations.s.solvent.force_f"),
        ({"umbrellas": {"u": {**START, **UMBRELLA, "start": "none.xyz"}}}, "umbrellas.u.start"),
        ({"studies": {"y": {"kind": "symmetry", "dataset": "mine", "models": ["none.pt"]}}}, "studies.y.models"),
    ],
)
def test_files_that_are_not_there_are_named_with_their_keys(changes, key):
    with pytest.raises(ConfigError, match=rf"  {key}.*: there is no file (none|sn3).*\(relative paths start at"):
        inputs.check_given(parsed(**changes), LAYOUT)


def test_what_is_there_or_made_by_the_workflow_is_no_fault():
    made = {**RUN, "initial_model": "./results/models/r.safetensors"}
    simulations = {"s": {**START, **WATER}, "t": {**START, "start": "results/simulations/s/topology.pdb"}}
    simulations["u"] = {**START, "start": "sn2:Cl,Cl,3.2"}
    inputs.check_given(parsed(runs={"r": RUN, "made": made}, simulations=simulations), LAYOUT)
    with pytest.raises(ConfigError, match=r"start: \. is a folder"):
        inputs.check_given(parsed(simulations={"s": {**START, "start": "."}}), LAYOUT)


def test_own_force_fields_are_watched_with_what_they_include():
    Path("own.xml").write_text(
        '<ForceField><Include file="other.xml"/><Include file="amber14/tip3p.xml"/></ForceField>'
    )
    Path("other.xml").write_text('<ForceField>\n <Include\n  file="own.xml"/></ForceField>')
    dynamics = parsed(simulations={"s": {**START, **WATER}}).simulations["s"]
    assert inputs.dynamics_files(dynamics) == ["start.pdb", "own.xml", "other.xml"]
    window = parsed(umbrellas={"u": {**START, **UMBRELLA, **WATER}}).umbrellas["u"].window(0)
    assert inputs.dynamics_files(window) == ["start.pdb", "own.xml", "other.xml"]


def test_contents_tell_files_apart_whatever_their_dates():
    before = inputs.contents(["start.pdb", "mine.xyz"], LAYOUT)
    os.utime("start.pdb", (1e9, 1e9))
    assert inputs.contents(["start.pdb", "mine.xyz"], LAYOUT) == before
    Path("start.pdb").write_text("x")
    os.utime("start.pdb", (1e9, 1e9))
    assert inputs.contents(["start.pdb", "mine.xyz"], LAYOUT) != before
    assert inputs.contents(["results/models/r.pt", "none"], LAYOUT) == []
