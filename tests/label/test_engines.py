"""The engines: forces are the slope of the energy, charges add up, failures and missing packages say so."""

import sys

import numpy as np
import pytest
from ase import Atoms

from lorem_openmm import config
from lorem_openmm.errors import ConfigError, InstallationError
from lorem_openmm.label.engines import EngineFailure, PyscfEngine, TbliteEngine, create_engine
from lorem_openmm.sampling.fragments import fragment
from lorem_openmm.sampling.sn2_path import sn2_complex


def worst_force_error(engine, atoms, charge, step=2e-3):
    """Largest difference between the forces and the slopes of the energy, eV/Å."""
    attempt = engine.attempts[0]
    forces = engine.calculate(atoms, charge, attempt).forces
    errors = []
    for index, axis in [(0, 0), (0, 2), (1, 1), (len(atoms) - 1, 2)]:
        energies = []
        for sign in (1, -1):
            moved = atoms.copy()
            moved.positions[index, axis] += sign * step
            energies.append(engine.calculate(moved, charge, attempt).energy)
        errors.append(abs((energies[1] - energies[0]) / (2 * step) - forces[index, axis]))
    return max(errors)


@pytest.mark.parametrize("method", TbliteEngine.methods)
def test_tblite_forces_are_the_slope_of_the_energy(method):
    pytest.importorskip("tblite")
    atoms = fragment("acetate").atoms()
    atoms.rattle(0.05, seed=3)
    assert worst_force_error(TbliteEngine(method), atoms, -1) < 5e-4


def test_tblite_charges_add_up_to_the_total():
    pytest.importorskip("tblite")
    engine = TbliteEngine("GFN2-xTB")
    label = engine.calculate(sn2_complex("Cl", "Cl", 12.0), -1, engine.attempts[0])
    assert label.charges.sum() == pytest.approx(-1, abs=1e-6)
    assert label.charges[0] == pytest.approx(-1, abs=1e-3)  # the far chloride keeps its electron


def test_tblite_reports_a_field_that_does_not_converge():
    pytest.importorskip("tblite")
    engine = TbliteEngine("GFN2-xTB")
    cold = next(attempt for attempt in engine.attempts if attempt.name == "cold")
    with pytest.raises(EngineFailure) as failure:
        engine.calculate(sn2_complex("Br", "Br", 12.0), -1, cold)
    assert failure.value.reason == "not_converged"


def test_tblite_refuses_a_method_it_does_not_know():
    with pytest.raises(ConfigError, match=r"GFN3-xTB.*Did you mean 'GFN"):
        create_engine(config.Engine(method="GFN3-xTB"))


@pytest.mark.parametrize(
    ("engine", "module", "hint"),
    [
        (config.Engine(), "tblite.interface", r"pip install 'lorem-openmm\[label\]'"),
        (config.Engine(name="pyscf", method="HF"), "pyscf", r"pip install 'lorem-openmm\[pyscf\]'"),
    ],
)
def test_a_missing_package_says_what_to_install(monkeypatch, engine, module, hint):
    monkeypatch.setitem(sys.modules, module, None)  # Python's own way to make an import fail
    with pytest.raises(InstallationError, match=hint):
        create_engine(engine)


@pytest.mark.parametrize("functional", ["HF", "PBE0"])
def test_pyscf_forces_are_the_slope_of_the_energy(functional):
    pytest.importorskip("pyscf")
    water = Atoms("OHH", positions=[[0.0, 0.0, 0.1], [0.0, 0.8, -0.5], [0.1, -0.75, -0.48]])
    engine = PyscfEngine(functional, "STO-3G")
    # The gradient of a density functional leaves out the motion of the integration grid.
    assert worst_force_error(engine, water, 0) < (2e-4 if functional == "HF" else 5e-3)
    charges = engine.calculate(water, 0, engine.attempts[0]).charges
    assert charges.sum() == pytest.approx(0, abs=1e-6)
    assert charges[0] < -0.2


def test_pyscf_settings_agree():
    pytest.importorskip("pyscf")
    engine = PyscfEngine("HF", "STO-3G")
    ion = sn2_complex("F", "F", 3.0)
    energies = [engine.calculate(ion, -1, attempt).energy for attempt in engine.attempts]
    assert np.ptp(energies) < 1e-5


@pytest.mark.parametrize(("method", "basis", "named"), [("PBE17", "STO-3G", "PBE17"), ("HF", "def9-XYZ", "def9-XYZ")])
def test_pyscf_refuses_names_it_does_not_know(method, basis, named):
    pytest.importorskip("pyscf")
    with pytest.raises(ConfigError, match=named):
        create_engine(config.Engine(name="pyscf", method=method, basis=basis))
