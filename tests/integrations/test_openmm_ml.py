"""MLPotential("lorem"): options, errors, warnings, mixed systems."""

import subprocess
import sys
import warnings

import numpy as np
import openmm
import openmm.app
import pytest
from ase import Atoms
from helpers import rattled_box, rattled_molecule, small_potential
from made_systems import (
    BOTH,
    KJ_PER_MOL_PER_EV,
    PLATFORMS,
    assert_close,
    context_of,
    expected,
    needs_openmmtorch,
    results,
    system_of,
    topology_of,
)
from openmmml import MLPotential

from lorem_openmm.errors import ConfigError, DataError, InstallationError, ModelFileError, UnknownElementError
from lorem_openmm.export import PRETRAINED, save
from lorem_openmm.integrations import force_options, torchforce
from lorem_openmm.integrations.ase_calculator import LoremCalculator
from lorem_openmm.integrations.openmm_ml_plugin import LoremPotentialImplFactory


def test_the_entry_point_is_registered():
    assert isinstance(MLPotential._implFactories["lorem"], LoremPotentialImplFactory)


@pytest.mark.parametrize("first", ["lorem_openmm.integrations.openmm_ml", "openmmml", "openmm, lorem_openmm"])
def test_any_order_of_imports(first):
    program = f"import {first}\nfrom openmmml import MLPotential\nprint(MLPotential('lorem')._impl.species)"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert "17" in run.stdout


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
        ({"multiplicity": 1}, "multiplicity: unknown argument"),
        ({"precision": "mixed"}, "precision: must be one of single, double, received 'mixed'"),
        ({"implementation": "torch"}, r"implementation: must be one of auto, .* Did you mean 'torchforce'\?"),
        ({"skin": -0.1}, "skin: must be a length in Å"),
        ({"ewaldErrorTolerance": 0.5}, r"ewaldErrorTolerance: must be from 2e-05 to 0\.01 in single precision"),
        ({"ewaldErrorTolerance": 5e-6}, r"ewaldErrorTolerance: must be from 2e-05 to 0\.01 in single precision"),
        ({"ewaldErrorTolerance": 1e-6, "precision": "double"}, "ewaldErrorTolerance: must be from 2e-06"),
        ({"ewaldErrorTolerance": "fine"}, "ewaldErrorTolerance: .* received 'fine'"),
        ({"device": "gpu0"}, "device: must be auto, cpu, cuda"),
        ({"device": "cuda:77"}, "device: 'cuda:77' is not available here"),
    ],
)
def test_wrong_options(model_file, options, message):
    with pytest.raises(ConfigError, match=message):
        MLPotential("lorem", modelPath=model_file).createSystem(topology_of(rattled_molecule()), **options)


@pytest.mark.usefixtures("fused_torchforce")
@pytest.mark.parametrize(
    ("platform", "precision", "implementation"),
    [
        ("Reference", "single", "pythonforce"),
        ("CPU", "double", "pythonforce"),
        pytest.param("Reference", "double", "torchforce", marks=needs_openmmtorch),
        pytest.param("CPU", "single", "torchforce", marks=needs_openmmtorch),
        *(
            pytest.param(*entry.values, precision, "pythonforce", marks=entry.marks)
            for precision in ("single", "double")
            for entry in PLATFORMS[2:]
        ),
    ],
)
def test_the_shipped_model_has_the_energy_of_the_calculator(platform, precision, implementation):
    atoms = rattled_molecule("CH3Cl")
    system = MLPotential("lorem").createSystem(
        topology_of(atoms), device="cpu", precision=precision, implementation=implementation
    )
    found = results(context_of(system, atoms, platform))
    atoms.calc = LoremCalculator(PRETRAINED, dtype={"single": "float32", "double": "float64"}[precision])
    wanted = atoms.get_potential_energy() * KJ_PER_MOL_PER_EV, atoms.get_forces() * KJ_PER_MOL_PER_EV * 10.0
    assert_close(found, wanted, 1e-6 if precision == "double" else 5e-6)
    assert found[0] == pytest.approx(wanted[0], rel=1e-6)


@pytest.mark.parametrize(
    "arguments", [{"boundary": "vacuum"}, {"ewaldErrorTolerance": 1e-4}, {"boundary": "box", "skin": 0.0}]
)
def test_what_does_not_matter_for_a_molecule(model_file, arguments):
    atoms = rattled_molecule()
    constructor = {"boundary": arguments.pop("boundary")} if "boundary" in arguments else {}
    potential = MLPotential("lorem", modelPath=model_file, **constructor)
    system = potential.createSystem(topology_of(atoms), device="cpu", precision="double", **arguments)
    assert_close(results(context_of(system, atoms)), expected(model_file, atoms), 1e-10)


@pytest.mark.parametrize("implementation", BOTH)
def test_the_accuracy_of_the_ewald_sum_can_be_chosen(model_file, implementation):
    atoms, energies = rattled_box(), {}
    for tolerance in (None, 1e-3, 1e-5, 2e-6):
        options = {"precision": "double", "implementation": implementation, "ewaldErrorTolerance": tolerance}
        energies[tolerance] = results(context_of(system_of(atoms, model_file, **options), atoms))[0]
    errors = {tolerance: abs(energy - energies[2e-6]) for tolerance, energy in energies.items()}
    assert 0.0 < errors[1e-5] < errors[1e-3]
    assert 0.0 < errors[None] < 1.0  # kJ/mol: of the settings of training, parity with lorem-jax


def test_wrong_arguments_of_the_constructor(tmp_path, model_file):
    with pytest.raises(ConfigError, match=r"modelpath: unknown argument of MLPotential\. Did you mean 'modelPath'\?"):
        MLPotential("lorem", modelpath=model_file)
    with pytest.raises(ConfigError, match=r"boundary: must be one of box, vacuum, received 'vacum'\. Did you mean"):
        MLPotential("lorem", modelPath=model_file, boundary="vacum")
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


@pytest.mark.parametrize("atoms", [[], [0, 1, 1], [0, 9], [-1], [0.5], "ab", np.array([True, False])])
def test_wrong_subsets(model_file, atoms):
    topology = topology_of(rattled_molecule())
    with pytest.raises(ConfigError, match="atoms: must"):
        MLPotential("lorem", modelPath=model_file)._impl.addForces(topology, openmm.System(), atoms, 0, device="cpu")


def test_wrong_systems_and_topologies(model_file):
    topology, potential = topology_of(rattled_molecule()), MLPotential("lorem", modelPath=model_file)
    with pytest.raises(DataError, match="topology: there are no atoms in it"):
        potential.createSystem(openmm.app.Topology())
    system = openmm.System()
    for _ in range(topology.getNumAtoms() + 1):  # one more, as a virtual site would be
        system.addParticle(1.0)
    with pytest.raises(ConfigError, match="one particle for each of the topology's 9 atoms, received one with 10"):
        potential.createMixedSystem(topology, system, [0, 1])
    with pytest.raises(ConfigError, match="modelPath: must be the path of a model file, received int"):
        MLPotential("lorem", modelPath=3)


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
