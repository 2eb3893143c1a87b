"""A program's own settings of PyTorch and NumPy change no result, and are as they were afterwards."""

import random
import subprocess
import sys
import warnings
from contextlib import ExitStack, contextmanager

import numpy as np
import pytest
import torch
from helpers import graph_of, rattled_box, rattled_molecule, small_potential, topology_of
from openmmml import MLPotential
from small_training import prepare_dimers, settings

import lorem_openmm
from lorem_openmm import ambient, export
from lorem_openmm.training.train import train


@contextmanager
def _set(change, value, back):
    change(value)
    try:
        yield
    finally:
        change(back)


STATES = {
    "float64": lambda: _set(torch.set_default_dtype, torch.float64, torch.float32),
    "float16": lambda: _set(torch.set_default_dtype, torch.float16, torch.float32),
    "device": lambda: torch.device("meta"),
    "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
    "inference": torch.inference_mode,
    "no_grad": torch.no_grad,
    "deterministic": lambda: _set(torch.use_deterministic_algorithms, True, False),
    "numpy": lambda: np.errstate(all="raise"),
}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("ambient") / "small.safetensors"
    export.save(small_potential(), path)
    return path


@pytest.fixture(scope="module")
def numbers(model):
    return results(model)


def results(model):
    """What is computed by ASE, by OpenMM and by the potential itself, each with a model loaded anew."""
    import openmm

    found = []
    for atoms in (rattled_molecule(), rattled_box()):
        atoms.calc = lorem_openmm.LoremCalculator(model)
        found += [atoms.get_potential_energy(), np.abs(atoms.get_forces()).sum()]
    atoms = rattled_box()
    system = MLPotential("lorem", modelPath=model).createSystem(topology_of(atoms), device="cpu", precision="double")
    platform = openmm.Platform.getPlatform("Reference")
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), platform)
    context.setPositions(atoms.positions / 10.0)
    found.append(context.getState(energy=True).getPotentialEnergy()._value)
    graphs = graph_of(rattled_molecule(), rattled_box(), dtype=torch.float32)
    prediction = lorem_openmm.load(model).evaluate(graphs, compute_stress=True)
    return [*found, *(float(getattr(prediction, name).abs().sum()) for name in ("energy", "forces", "stress"))]


@pytest.mark.parametrize("state", list(STATES))
def test_settings_of_the_program_change_no_number_and_stay(model, numbers, state):
    with STATES[state]():
        before = torch.get_default_dtype(), torch.empty(0).device, torch.is_grad_enabled(), np.geterr()
        if state == "device":  # the graphs of `results` are made by the program: on its device
            atoms = rattled_box()
            atoms.calc = lorem_openmm.LoremCalculator(model)
            assert [atoms.get_potential_energy(), np.abs(atoms.get_forces()).sum()] == numbers[2:4]
        else:
            assert results(model) == pytest.approx(numbers, rel=1e-6, abs=1e-6)
        assert before == (torch.get_default_dtype(), torch.empty(0).device, torch.is_grad_enabled(), np.geterr())


def test_what_is_kept_from_a_call_in_inference_mode_serves_later_ones(model):
    potential = small_potential(num_message_passing=1)
    graph = graph_of(rattled_box())
    for states in (["inference", "autocast"], []):
        with ExitStack() as stack:
            for state in states:
                stack.enter_context(STATES[state]())
            energies = potential.evaluate(graph).energy
    torch.testing.assert_close(energies, small_potential(num_message_passing=1).evaluate(graph).energy)


def test_random_numbers_of_the_program_are_neither_used_nor_moved(model, tmp_path):
    store = prepare_dimers(tmp_path)

    def state():
        return [torch.get_rng_state().tolist(), str(np.random.get_state()), random.getstate()]  # noqa: NPY002

    before = state()
    results(model)
    export.save(export.load(model), tmp_path / "again.safetensors")
    assert state() == before
    weights = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        before = state()
        with STATES["float64"](), STATES["autocast"]():
            train(settings(epochs=1), "small", [store], tmp_path / f"{seed}", device="cpu", progress=False)
        assert state() == before
        content = torch.load(tmp_path / f"{seed}" / "checkpoints" / "best.ckpt", weights_only=True)["state_dict"]
        weights.append(content)
    for name, weight in weights[0].items():
        assert torch.equal(weight, weights[1][name]), name


def test_remarks_of_pytorch_about_torchscript_reach_no_user(monkeypatch):
    usual = torch.jit.script

    def as_in_newer_versions(module):
        for category in (FutureWarning, DeprecationWarning):
            warnings.warn("`torch.jit.script` is deprecated. Please switch to `torch.compile`", category, stacklevel=2)
        return usual(module)

    monkeypatch.setattr(torch.jit, "script", as_in_newer_versions)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ambient.script(torch.nn.Identity())


EVERYTHING = """
import sys, numpy, torch
torch.set_default_device("meta"); torch.set_default_dtype(torch.float16); numpy.seterr(all="raise")
with torch.autocast("cpu", dtype=torch.bfloat16), torch.inference_mode():
    import lorem_openmm
    from ase.build import molecule
    atoms = molecule("CH3OH")
    atoms.calc = lorem_openmm.LoremCalculator(sys.argv[1])
    print(repr(atoms.get_potential_energy()))
"""


def test_everything_at_once_from_the_import_on_with_warnings_as_errors(model):
    from ase.build import molecule

    atoms = molecule("CH3OH")
    atoms.calc = lorem_openmm.LoremCalculator(model)
    command = [sys.executable, "-W", "error", "-c", EVERYTHING, str(model)]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert float(run.stdout) == pytest.approx(atoms.get_potential_energy(), abs=1e-5)
