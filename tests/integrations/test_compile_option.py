"""compile=True of ASE and OpenMM."""

import shutil

import numpy as np
import pytest
from helpers import rattled_molecule, small_potential
from made_systems import assert_close, context_of, results, system_of

from lorem_openmm.errors import ConfigError
from lorem_openmm.integrations.ase_calculator import LoremCalculator


@pytest.mark.slow
@pytest.mark.skipif(not any(map(shutil.which, ("g++", "clang++", "c++"))), reason="needs a C++ compiler, found none")
def test_ase_and_openmm_run_compiled_molecules(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    atoms, potential = rattled_molecule(), small_potential()
    calculators = [LoremCalculator(potential, dtype="float64", compile=wanted) for wanted in (False, True)]
    contexts = [
        context_of(system_of(atoms, potential, precision="double", compile=wanted), atoms) for wanted in (False, True)
    ]
    for seed in range(3):
        forces = [calculator.get_forces(atoms) for calculator in calculators]
        np.testing.assert_allclose(forces[1], forces[0], rtol=0, atol=1e-12 * np.abs(forces[0]).max())
        assert_close(results(contexts[1]), results(contexts[0]), 1e-12)
        atoms.rattle(0.05, seed=seed)
        for context in contexts:
            context.setPositions(atoms.positions / 10.0)
    assert calculators[1]._dynamics.is_compiled
    assert len(list((tmp_path / "lorem-openmm" / "compiled").iterdir())) == 1  # both run the same


def test_wrong_options():
    with pytest.raises(ConfigError, match="compile: must be False for implementation='torchforce'"):
        system_of(rattled_molecule(), small_potential(), compile=True, implementation="torchforce")
    with pytest.raises(ConfigError, match="compile: must be True or False, received 'yes'"):
        system_of(rattled_molecule(), small_potential(), compile="yes")
