"""MLPotential("lorem"): options, errors, warnings, mixed systems."""

import sys
import warnings

import numpy as np
import openmm
import openmm.app
import pytest
from ase import Atoms
from helpers import rattled_box, rattled_molecule, small_potential
from made_systems import assert_close, context_of, expected, results, system_of, topology_of
from openmmml import MLPotential

from lorem_openmm.errors import ConfigError, InstallationError, ModelFileError, UnknownElementError
from lorem_openmm.export import PRETRAINED, save
from lorem_openmm.integrations import force_options, torchforce
from lorem_openmm.integrations.openmm_ml import LoremPotentialImplFactory


def test_the_entry_point_is_registered():
    assert isinstance(MLPotential._implFactories["lorem"], LoremPotentialImplFactory)


def test_both_formats_and_potentials_in_memory_give_the_same_numbers(tmp_path):
    atoms, potential = rattled_molecule(), small_potential()
    found = [results(context_of(system_of(atoms, potential, precision="double"), atoms))]
    for suffix in (".safetensors", ".pt"):
        path = tmp_path / f"model{suffix}"
        save(potential, path)
        found.append(results(context_of(system_of(atoms, str(path), precision="double"), atoms)))
    assert found[1][0] == found[2][0]
    assert_close(found[0], found[1], 1e-6)  # files hold weights in float32


def test_without_a_path_the_shipped_model_is_used():
    if PRETRAINED.is_file():
        assert MLPotential("lorem")._impl.source.location == "shipped"
    else:
        with pytest.raises(ModelFileError, match="ships no model; give modelPath"):
            MLPotential("lorem")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"precison": "double"}, r"precison: unknown argument of createSystem .* Did you mean 'precision'\?"),
        ({"charge": 1}, "charge: unknown argument"),
        ({"precision": "mixed"}, "precision: must be one of single, double, received 'mixed'"),
        ({"implementation": "torch"}, r"implementation: must be one of auto, .* Did you mean 'torchforce'\?"),
        ({"skin": -0.1}, "skin: must be a length in Å"),
        ({"device": "gpu0"}, "device: must be a PyTorch device"),
        ({"device": "cuda:77"}, "device: 'cuda:77' needs a GPU"),
    ],
)
def test_wrong_options(model_file, options, message):
    with pytest.raises(ConfigError, match=message):
        MLPotential("lorem", modelPath=model_file).createSystem(topology_of(rattled_molecule()), **options)


def test_wrong_arguments_of_the_constructor(tmp_path, model_file):
    with pytest.raises(ConfigError, match=r"modelpath: unknown argument of MLPotential\. Did you mean 'modelPath'\?"):
        MLPotential("lorem", modelpath=model_file)
    with pytest.raises(ModelFileError, match=r"absent\.pt: no such model file"):
        MLPotential("lorem", modelPath=tmp_path / "absent.pt")
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(model_file.read_bytes()[:-100])
    with pytest.raises(ModelFileError, match="truncated or altered"):
        MLPotential("lorem", modelPath=damaged)


def test_elements_are_checked(model_file):
    with pytest.raises(UnknownElementError, match="does not know Xe"):
        system_of(Atoms("OHXe", positions=np.eye(3)), model_file)
    topology = topology_of(rattled_molecule("H2O"))
    topology.addAtom("M", None, next(topology.residues()))
    potential = MLPotential("lorem", modelPath=model_file)
    with pytest.raises(UnknownElementError, match=r"1 have none, first M \(index 3, residue MOL\): virtual sites"):
        potential.createSystem(topology, device="cpu")
    system = openmm.System()
    for _ in range(4):
        system.addParticle(1.0)
    potential._impl.addForces(topology, system, [0, 1, 2], 0, device="cpu")  # leaving it out is fine


@pytest.mark.parametrize("atoms", [[], [0, 1, 1], [0, 9]])
def test_wrong_subsets(model_file, atoms):
    topology = topology_of(rattled_molecule())
    with pytest.raises(ConfigError, match="atoms: must"):
        MLPotential("lorem", modelPath=model_file)._impl.addForces(topology, openmm.System(), atoms, 0, device="cpu")


def test_long_range_is_reported(model_file):
    assert MLPotential("lorem", modelPath=model_file)._impl.getMLLongRange() is True
    assert MLPotential("lorem", modelPath=small_potential(long_range=False))._impl.getMLLongRange() is False


@pytest.mark.parametrize("trained_on", ["vacuum", "periodic", "both", None])
def test_a_model_run_in_the_other_boundary_conditions_warns_once(tmp_path, trained_on):
    path = tmp_path / "model.safetensors"
    save(small_potential(), path, {"electrostatics": {"trained_on": trained_on}} if trained_on else None)
    for atoms, kind in [(rattled_molecule(), "vacuum"), (rattled_box(), "periodic")]:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            system_of(atoms, path)
        expected_warnings = int(trained_on in ("vacuum", "periodic") and trained_on != kind)
        messages = [str(warning.message) for warning in caught if "trained on" in str(warning.message)]
        assert len(messages) == expected_warnings
        assert all(f"trained on {trained_on} structures only" in message for message in messages)


def test_a_molecule_whose_file_holds_a_box_is_periodic(model_file):
    atoms = rattled_molecule()
    atoms.set_cell(np.eye(3) * 12.0)
    atoms.pbc = True
    system = system_of(atoms, model_file, precision="double")
    assert system.usesPeriodicBoundaryConditions()
    assert_close(results(context_of(system, atoms)), expected(model_file, atoms), 1e-10)


def water_box() -> openmm.app.Modeller:
    modeller = openmm.app.Modeller(openmm.app.Topology(), [])
    modeller.addSolvent(openmm.app.ForceField("tip3pfb.xml"), boxSize=openmm.Vec3(1.9, 1.9, 1.9), neutralize=False)
    return modeller


@pytest.mark.parametrize("interpolate", [False, True])
def test_mixed_systems(model_file, interpolate):
    box = water_box()
    mm_system = openmm.app.ForceField("tip3pfb.xml").createSystem(
        box.topology, nonbondedMethod=openmm.app.PME, nonbondedCutoff=0.9, constraints=None, rigidWater=False
    )
    subset = [3, 4, 5, 30, 31, 32]
    system = MLPotential("lorem", modelPath=model_file).createMixedSystem(
        box.topology, mm_system, subset, forceGroup=5, interpolate=interpolate, device="cpu", precision="double"
    )
    positions = np.array(box.positions.value_in_unit(openmm.unit.angstrom))
    cell = np.array(box.topology.getPeriodicBoxVectors().value_in_unit(openmm.unit.angstrom))
    symbols = [atom.element.symbol for atom in box.topology.atoms()]
    atoms = Atoms(symbols, positions, cell=cell, pbc=True)
    context = context_of(system, atoms)
    if interpolate:
        context.setParameter("lambda_interpolate", 0.0)
        assert_close(results(context), results(context_of(mm_system, atoms)), 1e-5)
    else:
        energy, forces = results(context, groups=1 << 5)
        assert_close((energy, forces[subset]), expected(model_file, atoms[subset]), 1e-9)
        rest = np.setdiff1d(np.arange(len(atoms)), subset)
        assert not forces[rest].any()


def test_auto_is_pythonforce_on_the_cpu(model_file):
    assert isinstance(system_of(rattled_molecule(), model_file).getForce(0), openmm.PythonForce)


def test_auto_warns_about_an_openmmtorch_that_does_not_load(monkeypatch, tmp_path):
    (tmp_path / "openmmtorch.py").write_text("raise ImportError('libOpenMMTorch.so: undefined symbol: _ZN3c10')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "openmmtorch", raising=False)
    torchforce.check_torchforce.cache_clear()
    force_options._torchforce_works.cache_clear()
    with pytest.warns(UserWarning, match=r"undefined symbol.*pip install .*Continuing with PythonForce"):
        assert not force_options._torchforce_works()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not force_options._torchforce_works()
    with pytest.raises(InstallationError, match="undefined symbol"):
        torchforce.check_torchforce()
    force_options._torchforce_works.cache_clear()


def test_interpolation_through_torchforce_is_refused(model_file):
    """Copying a TorchForce would end the process."""
    topology = topology_of(rattled_molecule())
    with pytest.raises(InstallationError, match="interpolate=True copies forces"):
        MLPotential("lorem", modelPath=model_file)._impl.addForces(
            topology, openmm.System(), None, 0, device="cpu", implementation="torchforce"
        )
