"""Energies, forces and dynamics in OpenMM, through TorchForce and PythonForce."""

import copy
import itertools
import pickle
import subprocess
import sys

import numpy as np
import openmm
import pytest
import torch
from ase import Atoms
from helpers import graph_of, rattled_box, rattled_molecule, small_potential
from made_systems import (
    BOTH,
    KJ_PER_MOL_PER_EV,
    PLATFORMS,
    TOLERANCES,
    assert_close,
    context_of,
    expected,
    needs_openmmtorch,
    results,
    system_of,
    topology_of,
)

from lorem_openmm.errors import InstallationError, ModelFileError
from lorem_openmm.export import save
from lorem_openmm.integrations.force_settings import ForceSettings
from lorem_openmm.integrations.model_source import ModelSource
from lorem_openmm.integrations.openmm_force import PotentialFunction
from lorem_openmm.integrations.torchforce import run_probe


def far_apart() -> Atoms:
    """A molecule of more atoms than are listed as all pairs, in vacuum."""
    atoms = Atoms()
    for i in range(4):
        part = rattled_molecule(seed=i)
        part.translate([4.0 * i, 1.5 * i, 0.0])
        atoms += part
    return atoms


STRUCTURES = {"vacuum": rattled_molecule, "skewed box": rattled_box, "vacuum, with lists": far_apart}


KINDS_AND_BOTH = pytest.mark.parametrize(
    ("kind", "implementation"),
    [("skewed box", "pythonforce"), pytest.param("vacuum", "torchforce", marks=needs_openmmtorch)],
)


# Each pair of kind, precision, implementation and platform at least once.
@pytest.mark.usefixtures("fused_torchforce")
@pytest.mark.parametrize(
    ("kind", "precision", "implementation", "platform"),
    [
        ("vacuum", "single", "pythonforce", "Reference"),
        pytest.param("vacuum", "double", "torchforce", "CPU", marks=needs_openmmtorch),
        ("skewed box", "double", "pythonforce", "CPU"),
        pytest.param("skewed box", "single", "torchforce", "Reference", marks=needs_openmmtorch),
        ("vacuum, with lists", "single", "pythonforce", "CPU"),
        pytest.param("vacuum, with lists", "double", "torchforce", "Reference", marks=needs_openmmtorch),
        *(
            pytest.param(kind, precision, "pythonforce", *entry.values, marks=entry.marks)
            for kind, precision in zip(STRUCTURES, ("single", "double", "single"), strict=True)
            for entry in PLATFORMS[2:]
        ),
    ],
)
def test_energies_and_forces_are_the_potentials(model_file, kind, precision, implementation, platform):
    atoms = STRUCTURES[kind]()
    system = system_of(atoms, model_file, precision=precision, implementation=implementation)
    assert system.usesPeriodicBoundaryConditions() == bool(atoms.pbc.all())
    context = context_of(system, atoms, platform)
    for seed in (3, 4):  # twice: the list is reused, then made anew
        assert_close(results(context), expected(model_file, atoms, precision), TOLERANCES[precision])
        atoms.rattle(0.02 if seed == 3 else 0.5, seed=seed)
        context.setPositions(atoms.positions / 10.0)


@KINDS_AND_BOTH
def test_forces_are_gradients_of_the_energies(model_file, kind, implementation):
    atoms = STRUCTURES[kind]()
    context = context_of(system_of(atoms, model_file, precision="double", implementation=implementation), atoms)
    forces = results(context)[1]
    step, numeric = 1e-4, np.zeros_like(forces)
    for i in range(len(atoms)):
        for axis in range(3):
            sides = []
            for sign in (1.0, -1.0):
                positions = atoms.positions / 10.0
                positions[i, axis] += sign * step
                context.setPositions(positions)
                sides.append(results(context)[0])
            numeric[i, axis] = -(sides[0] - sides[1]) / (2.0 * step)
    assert np.abs(numeric - forces).max() < 1e-4 * np.abs(forces).max()


@pytest.mark.parametrize("implementation", BOTH)
def test_a_subset_of_the_atoms(model_file, implementation):
    atoms = rattled_box()
    chosen = [6, 1, 3, 0]
    from openmmml import MLPotential

    system = openmm.System()
    system.setDefaultPeriodicBoxVectors(*atoms.cell[:] / 10.0)
    for _ in atoms:
        system.addParticle(1.0)
    potential = MLPotential("lorem", modelPath=model_file)
    options = {"device": "cpu", "precision": "double", "implementation": implementation}
    potential._impl.addForces(topology_of(atoms), system, chosen, 3, **options)
    assert system.getForce(0).getForceGroup() == 3
    energy, forces = results(context_of(system, atoms), groups=1 << 3)
    wanted_energy, wanted = expected(model_file, atoms[chosen])
    assert_close((energy, forces[chosen]), (wanted_energy, wanted), 1e-10)
    assert not forces[[2, 4, 5]].any()


@pytest.mark.parametrize("implementation", BOTH)
def test_minimisation_as_the_first_call_and_molecules_of_different_sizes(model_file, implementation):
    contexts = []
    for atoms in (rattled_molecule(), rattled_molecule("CH3OH"), rattled_box()):
        context = context_of(system_of(atoms, model_file, implementation=implementation), atoms)
        openmm.LocalEnergyMinimizer.minimize(context, maxIterations=5)
        assert results(context)[0] < expected(model_file, atoms, "single")[0]
        contexts.append((context, atoms))
    for context, atoms in contexts:
        context.setPositions(atoms.positions / 10.0)
        assert_close(results(context), expected(model_file, atoms, "single"), 1e-5)


@KINDS_AND_BOTH
def test_constant_energy_with_fluctuations_that_fall_as_the_squared_time_step(kind, implementation):
    # Tighter than the default smearing, whose truncated real-space sum steps by 6e-5 e²/Å at the cutoff. Springs keep
    # the atoms together, which random weights do not: a molecule that dissociates passes through stiff regions.
    atoms, potential = STRUCTURES[kind](), small_potential(smearing=0.65, wavelength=0.33)
    system = system_of(atoms, potential, precision="double", implementation=implementation, removeCMMotion=False)
    springs = openmm.HarmonicBondForce()
    for i, j in itertools.combinations(range(len(atoms)), 2):
        springs.addBond(i, j, atoms.get_distance(i, j) / 10.0, 2e4)
    system.addForce(springs)
    context = context_of(system, atoms)
    openmm.LocalEnergyMinimizer.minimize(context, maxIterations=20)
    context.setVelocitiesToTemperature(300.0, 1)
    start = context.getState(positions=True, velocities=True)
    spreads = []
    for step in (0.001, 0.0005):
        context.setState(start)
        context.getIntegrator().setStepSize(step)
        energies = []
        for _ in range(round(0.05 / step)):
            context.getIntegrator().step(1)
            state = context.getState(energy=True)
            energies.append((state.getPotentialEnergy() + state.getKineticEnergy())._value)
        spreads.append(np.std(energies))
    assert spreads[0] < 0.2  # kJ/mol
    assert 3.5 < spreads[0] / spreads[1] < 4.5


@pytest.mark.parametrize("implementation", BOTH)
def test_errors_inside_the_force_reach_the_user(model_file, implementation):
    atoms = rattled_box()
    context = context_of(system_of(atoms, model_file, implementation=implementation), atoms)
    atoms.positions[2, 1] = np.inf
    context.setPositions(atoms.positions / 10.0)
    with pytest.raises(Exception, match="must be finite"):
        results(context)


def test_a_model_file_that_changed_or_vanished_is_an_error(tmp_path):
    model = tmp_path / "model.safetensors"
    save(small_potential(seed=1), model)
    atoms = rattled_box()
    text = openmm.XmlSerializer.serialize(system_of(atoms, model, precision="double"))
    save(small_potential(seed=2), model)
    with pytest.raises(openmm.OpenMMException, match=r"another model than the force was made with"):
        results(context_of(openmm.XmlSerializer.deserialize(text), atoms))
    model.unlink()
    with pytest.raises(openmm.OpenMMException, match=r"model\.safetensors: no such model file"):
        results(context_of(openmm.XmlSerializer.deserialize(text), atoms))


def test_potentials_in_memory_live_as_long_as_the_force_and_do_not_leave_the_process():
    atoms = rattled_molecule()
    system = system_of(atoms, small_potential(), precision="double")
    copied = copy.deepcopy(system)
    wanted = small_potential().evaluate(graph_of(atoms))
    for either in (system, copied):
        energy = results(context_of(either, atoms))[0]
        assert energy == pytest.approx(float(wanted.energy[0]) * KJ_PER_MOL_PER_EV, rel=1e-12)
    potential = small_potential()
    assert ModelSource.find(potential) == ModelSource.find(potential)
    lost = PotentialFunction(ForceSettings(ModelSource("in-memory:elsewhere", ""), (1,), False))
    with pytest.raises(ModelFileError, match="potential in memory"):
        pickle.loads(pickle.dumps(lost)).load()  # noqa: S301


class Failing(torch.nn.Module):
    def forward(self, positions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        if positions.size(0) > 0:
            raise RuntimeError("set_stride is not allowed")
        return positions.sum(), positions


class Wrong(torch.nn.Module):
    def forward(self, positions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return positions.sum(), positions


@needs_openmmtorch
def test_an_openmmtorch_that_does_not_fit_is_an_error():
    """What a build for another PyTorch does in the force (it imports, then fails when called)."""
    with pytest.raises(
        InstallationError, match=r"set_stride.*Found PyTorch .*pip install 'lorem-openmm\[torchforce\]'"
    ):
        run_probe(Failing())
    with pytest.raises(InstallationError, match="expected 5, received 3"):
        run_probe(Wrong())


def test_a_missing_openmmtorch_is_an_error(monkeypatch):
    monkeypatch.setitem(sys.modules, "openmmtorch", None)
    with pytest.raises(InstallationError, match="openmmtorch: TorchForce must load and run"):
        run_probe(torch.nn.Module())


@pytest.mark.slow
def test_memory_stays_flat(model_file):
    import resource

    atoms = rattled_box()
    context = context_of(system_of(atoms, model_file), atoms)
    openmm.LocalEnergyMinimizer.minimize(context, maxIterations=30)
    context.setVelocitiesToTemperature(300.0, 1)
    context.getIntegrator().step(500)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    context.getIntegrator().step(5000)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < 1.05 * before


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("implementation", BOTH)
@pytest.mark.parametrize("kind", list(STRUCTURES))
def test_cuda_gives_the_energies_and_forces_of_the_cpu(model_file, kind, implementation):
    from openmmml import MLPotential

    atoms = STRUCTURES[kind]()
    system = MLPotential("lorem", modelPath=model_file).createSystem(
        topology_of(atoms), device="cuda", precision="double", implementation=implementation
    )
    platform = openmm.Platform.getPlatform("CUDA")
    context = openmm.Context(system, openmm.VerletIntegrator(0.0005), platform, {"Precision": "double"})
    for _ in range(3):
        context.setPositions(atoms.positions / 10.0)
        assert_close(results(context), expected(model_file, atoms), 1e-9)
        atoms.rattle(0.3, seed=5)


@needs_openmmtorch
def test_torchforce_works_where_openmm_was_imported_before_pytorch():
    program = (
        "import openmm\n"
        "from lorem_openmm.integrations.torchforce import check_torchforce\n"
        "check_torchforce()\n"
        "print('works')\n"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert run.stdout.strip().endswith("works"), run.stderr
