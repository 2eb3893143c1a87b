"""A model whose block needs the total charge is given it everywhere, and refuses to guess; others run without."""

import math

import numpy as np
import pytest
import torch
from charged_block import ChargedBlock
from helpers import graph_of, rattled_box, rattled_molecule, small_potential
from small_training import prepare_dimers, settings

from lorem_openmm import export
from lorem_openmm.data.store import read_store
from lorem_openmm.errors import DataError
from lorem_openmm.inference.dynamics import Dynamics, scripted_calls
from lorem_openmm.training.predictions import predict
from lorem_openmm.training.train import train
from lorem_openmm.verdict import pairs

CHARGED = {"kind": "charged"}


def charged_graph(*structures, charge: float = -1.0):
    graph = graph_of(*structures)
    return graph._replace(total_charge=torch.full((len(structures),), charge, dtype=torch.float64))


def test_evaluation_needs_it():
    potential = small_potential(long_range=CHARGED)
    assert isinstance(potential.model.long_range, ChargedBlock)
    assert potential.model.needs_total_charge
    graph = charged_graph(rattled_molecule(), rattled_box())
    potential.evaluate(graph, True)
    graph.total_charge[1] = math.nan
    with pytest.raises(DataError, match=r"total_charge: must be stated .* for structure 1 .*1 of 2 in all.*`charge`"):
        potential.evaluate(graph)


@pytest.mark.parametrize("kind", [True, False, {"kind": "coulomb_charges"}])
def test_others_run_without_and_do_not_change(kind):
    potential, atoms = small_potential(long_range=kind), rattled_molecule()
    assert not potential.model.needs_total_charge
    assert torch.equal(potential.evaluate(graph_of(atoms)).energy, potential.evaluate(charged_graph(atoms)).energy)
    charged = Dynamics(potential, atoms.numbers.tolist(), False, total_charge=-1)
    assert charged.total_charge == -1.0
    positions, cell = torch.tensor(atoms.positions), torch.zeros(3, 3)
    expected = Dynamics(potential, atoms.numbers.tolist(), False)(positions, cell)
    for module in (charged, torch.jit.script(charged)):
        assert torch.equal(module(positions, cell).energy, expected.energy)


@pytest.mark.parametrize("make", [rattled_molecule, rattled_box])
def test_dynamics_are_given_it(make):
    atoms = make()
    potential, periodic = small_potential(long_range=CHARGED), bool(atoms.pbc.all())
    with pytest.raises(DataError, match="total_charge: must be given, because the model uses it"):
        Dynamics(potential, atoms.numbers.tolist(), periodic)
    module = Dynamics(potential, atoms.numbers.tolist(), periodic, total_charge=-1)
    positions, cell = torch.tensor(atoms.positions), torch.tensor(atoms.cell[:])
    expected = potential.evaluate(charged_graph(atoms))
    for form in (module, torch.jit.script(module)):
        assert form.total_charge == form.model.long_range.total_charge == -1.0
        torch.testing.assert_close(form(positions, cell).forces, expected.forces, rtol=1e-9, atol=1e-10)


def test_other_atoms_have_another_charge():
    potential, atoms = small_potential(long_range=CHARGED), rattled_molecule()
    module = torch.jit.script(Dynamics(potential, [1], False, any_atoms=True))
    module.set_atoms(torch.tensor(atoms.numbers), 1.0)
    assert module.total_charge == module.model.long_range.total_charge == 1.0
    module(torch.tensor(atoms.positions), torch.zeros(3, 3))
    module.set_atoms(torch.tensor(atoms.numbers))
    assert math.isnan(module.model.long_range.total_charge)
    with pytest.raises(DataError, match="total_charge: must be given"), scripted_calls(len(atoms)):
        module(torch.tensor(atoms.positions), torch.zeros(3, 3))


@pytest.mark.slow
def test_files_for_other_programs_take_it_last(tmp_path):
    structures = [rattled_molecule(), rattled_box(), rattled_molecule()]
    for kind in (CHARGED, True):
        export.save(small_potential(long_range=kind), tmp_path / "m.pt")
        scripted = torch.jit.load(str(tmp_path / "m.pt"))
        potential = export.load(tmp_path / "m.pt", dtype="float64")
        for atoms in structures:
            cell, numbers = torch.tensor(atoms.cell[:]), torch.tensor(atoms.numbers)
            given = torch.tensor(atoms.positions), numbers, cell, bool(atoms.pbc.all())
            found = scripted(*given, False, -1.0)
            torch.testing.assert_close(found.energy, potential.evaluate(charged_graph(atoms)).energy)
            if kind is True:
                assert torch.equal(scripted(*given).energy, found.energy)
            else:
                with pytest.raises(torch.jit.Error, match="total_charge: must be given"):
                    scripted(*given)


def prepared(tmp_path, *missing: int):
    path = prepare_dimers(tmp_path)
    store = read_store(path)
    charges = store["total_charge"].copy()
    charges[list(missing)] = np.nan
    return type(store)(path, store.arrays | {"total_charge": charges}, store.metadata)


def test_training_refuses_structures_without(tmp_path, monkeypatch):
    chosen = settings(1, long_range=CHARGED)
    store = prepared(tmp_path, 5)
    monkeypatch.setattr("lorem_openmm.training.train.read_store", lambda path: store)
    with pytest.raises(DataError, match=r"dimers.xyz, frame 5 .*1 of 72 structures .*`charge=...` \(in e\)"):
        train(chosen, "small", [store.path], tmp_path / "run", device="cpu", progress=False)
    with pytest.raises(DataError, match=r"frame 5 \(counted from 0\): must state its total charge"):
        predict(small_potential(long_range=CHARGED), store, torch.device("cpu"))


def test_training_and_evaluation_with_it(tmp_path):
    store = prepared(tmp_path)
    result = train(
        settings(1, long_range=CHARGED), "small", [store.path], tmp_path / "run", device="cpu", progress=False
    )
    assert result.epoch == 1
    predictions = predict(small_potential(long_range=CHARGED), store, torch.device("cpu"))
    assert np.isfinite(predictions.energy).all()
    assert np.isnan(predictions.apart).all()  # data do not state the charges of parts


def test_pairs_of_the_verdict_have_their_charges():
    pair = next(pairs.all_pairs(["acetate"], 1))
    assert pair.structure(8.0).info["charge"] == -2
    alone = pair.first.atoms()
    assert alone.info["charge"] == -1
    potential = small_potential(long_range=CHARGED)
    assert np.isfinite(pairs.energies(potential, [alone, pair.structure(8.0)])).all()
