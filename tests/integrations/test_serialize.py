"""Systems of both implementations, pure and mixed, written and read again in a fresh process."""

import subprocess
import sys

import openmm
import pytest
from helpers import rattled_box, rattled_molecule, small_potential
from made_systems import BOTH, context_of, needs_openmmtorch, results, system_of
from test_mixed_systems import force_field_system, mixed, topology_of_waters, waters

import lorem_openmm
from lorem_openmm.errors import ConfigError
from lorem_openmm.export import save

READ = """
import sys, openmm, lorem_openmm
system = openmm.XmlSerializer.deserialize(open(sys.argv[1]).read())
context = openmm.Context(system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatform("Reference"))
context.setState(openmm.XmlSerializer.deserialize(open(sys.argv[2]).read()))
print(repr(context.getState(energy=True).getPotentialEnergy()._value))
"""


def energy_in_a_fresh_process(folder, text: str, context: openmm.Context) -> float:
    (folder / "system.xml").write_text(text)
    (folder / "state.xml").write_text(openmm.XmlSerializer.serialize(context.getState(positions=True, parameters=True)))
    command = [sys.executable, "-c", READ, str(folder / "system.xml"), str(folder / "state.xml")]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    return float(run.stdout.splitlines()[-1])


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "model.safetensors"
    save(small_potential(), path)
    return path


@pytest.mark.parametrize("implementation", BOTH)
@pytest.mark.parametrize("kind", ["vacuum", "box"])
def test_pure_systems(tmp_path, model, kind, implementation):
    atoms = rattled_box() if kind == "box" else rattled_molecule()
    system = system_of(atoms, model, precision="double", implementation=implementation, skin=0.45)
    context = context_of(system, atoms)
    text = lorem_openmm.serialize(system)
    assert len(text) < 10_000  # no weights inside
    assert energy_in_a_fresh_process(tmp_path, text, context) == results(context)[0]
    if implementation == "pythonforce":
        assert (
            energy_in_a_fresh_process(tmp_path, openmm.XmlSerializer.serialize(system), context) == results(context)[0]
        )


@pytest.mark.parametrize(
    ("implementation", "interpolate"),
    [("pythonforce", False), ("pythonforce", True), pytest.param("torchforce", False, marks=needs_openmmtorch)],
)
@pytest.mark.parametrize("boundary", ["box", "vacuum"])
def test_mixed_systems(tmp_path, model, boundary, implementation, interpolate):
    atoms = waters()
    topology = topology_of_waters(atoms, True)
    system = mixed(
        model,
        topology,
        force_field_system(topology, True),
        boundary=boundary,
        implementation=implementation,
        interpolate=interpolate,
        forceGroup=4,
    )
    context = context_of(system, atoms)
    if interpolate:
        context.setParameter("lambda_interpolate", 0.3)
    found = energy_in_a_fresh_process(tmp_path, lorem_openmm.serialize(system), context)
    assert found == pytest.approx(results(context)[0], rel=1e-12)


def test_a_model_file_that_vanished_is_named_in_the_fresh_process(tmp_path, model):
    atoms = rattled_molecule()
    system = system_of(atoms, model)
    context, text = context_of(system, atoms), lorem_openmm.serialize(system)
    results(context)
    model.unlink()
    with pytest.raises(AssertionError, match=r"model\.safetensors: no such model file"):
        energy_in_a_fresh_process(tmp_path, text, context)


@needs_openmmtorch
def test_a_torchforce_of_somebody_else_is_refused(model):
    import openmmtorch
    import torch

    class Square(torch.nn.Module):
        def forward(self, positions: torch.Tensor) -> torch.Tensor:
            return (positions * positions).sum()

    system = openmm.System()
    system.addForce(openmmtorch.TorchForce(torch.jit.script(Square())))
    with pytest.raises(ConfigError, match="only if this package made it"):
        lorem_openmm.serialize(system)
