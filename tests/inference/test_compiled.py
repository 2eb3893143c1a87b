"""Compiled molecules give the numbers of the scripted module, are kept, and where compiling fails nothing is lost."""

import shutil
import warnings

import numpy as np
import pytest
import torch
from helpers import rattled_box, rattled_molecule, small_potential
from made_dynamics import VARIANTS, assert_equal, dynamics, run

from lorem_openmm.inference import compiled
from lorem_openmm.inference.compiled import CompiledDynamics

needs_compiler = pytest.mark.skipif(
    not any(map(shutil.which, ("g++", "clang++", "c++"))), reason="needs a C++ compiler, found none"
)


@pytest.fixture(autouse=True)
def empty_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "lorem-openmm" / "compiled"


def started(potential, atoms, expected_warning=None):
    module = CompiledDynamics(dynamics(potential, atoms))
    if expected_warning is None:
        with warnings.catch_warnings():
            warnings.filterwarnings("error", message="compile:")
            run(module, atoms)
    else:
        with pytest.warns(UserWarning, match=expected_warning):
            run(module, atoms)
    return module


@pytest.mark.slow
@needs_compiler
def test_compiled_molecules_have_the_numbers_of_the_scripted_module(empty_cache, monkeypatch):
    """In single precision; in double precision: tests/integrations/test_compile_option.py."""
    dtype, tolerance = torch.float32, 5e-5
    atoms, potential = rattled_molecule(), small_potential().to(dtype)
    module = started(potential, atoms)
    assert module.is_compiled
    rng = np.random.default_rng(6)
    for _ in range(3):
        atoms.positions += rng.normal(scale=0.2, size=atoms.positions.shape)
        assert_equal(run(module, atoms), run(module.scripted, atoms), tolerance)
    assert len(list(empty_cache.iterdir())) == 1  # nothing half-written is left

    def compiles(*_, **__):
        raise AssertionError("compiled again")

    monkeypatch.setattr(torch._inductor, "aoti_compile_and_package", compiles)
    again = started(potential, atoms)
    assert again.is_compiled
    assert_equal(run(again, atoms), run(module, atoms), 0.0)
    with monkeypatch.context() as patch:
        patch.setitem(compiled.TOLERANCES, dtype, -1.0)
        assert not started(potential, atoms, "compiled and scripted energy differ").is_compiled
    with torch.no_grad():  # other weights are another molecule
        potential.model.species_embedding.weight += 0.1
    assert not started(potential, atoms, "compiled again").is_compiled


@pytest.mark.parametrize(
    ("make", "variant", "reason"),
    [
        (rattled_box, "long range", "only molecules of up to 32 atoms in vacuum"),
        (rattled_molecule, "equivariant round", "message passing is differentiated by autograd"),
        (rattled_molecule, "other basis", "bases other than Bernstein's"),
    ],
)
def test_what_cannot_be_compiled_runs_without(make, variant, reason, empty_cache):
    atoms, potential = make(), small_potential(**VARIANTS[variant])
    module = started(potential, atoms, f"compile: running without it, because {reason}")
    assert not module.is_compiled
    assert_equal(run(module, atoms), run(dynamics(potential, atoms), atoms), 1e-12)
    assert not empty_cache.exists()


@pytest.mark.slow
def test_a_compiler_that_fails_is_reported(empty_cache):
    atoms, potential = rattled_molecule("H2O"), small_potential(max_degree=0, max_charge_degree=0, long_range=False)
    with torch._inductor.config.patch({"cpp.cxx": (None, "no-such-compiler")}):
        module = started(potential, atoms, "compile: running without it, because .*")
    assert not module.is_compiled
    assert_equal(run(module, atoms), run(dynamics(potential, atoms), atoms), 1e-12)
    assert not list(empty_cache.iterdir())
