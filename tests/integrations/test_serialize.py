"""Systems of both implementations, pure and mixed, written and read again in a fresh process."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import openmm
import pytest
from helpers import rattled_box, rattled_molecule, small_potential
from made_systems import context_of, needs_openmmtorch, results, system_of
from test_mixed_systems import force_field_system, mixed, topology_of_waters, waters

import lorem_openmm
from lorem_openmm.errors import ConfigError
from lorem_openmm.export import save

IMPLEMENTATIONS = ["pythonforce", *(["torchforce"] if importlib.util.find_spec("openmmtorch") else [])]
READ = """
import json, pathlib, sys
import openmm, lorem_openmm
found = {}
for case in sorted(pathlib.Path(sys.argv[1]).iterdir()):
    texts = [(case / f"{part}.xml").read_text() for part in ("system", "state")]
    system, state = map(openmm.XmlSerializer.deserialize, texts)
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatform("Reference"))
    context.setState(state)
    found[case.name] = context.getState(energy=True).getPotentialEnergy()._value
print(json.dumps(found))
"""


def energies_in_a_fresh_process(folder: Path, cases: dict[str, tuple[str, openmm.Context]]) -> dict[str, float]:
    """Energies of written systems in the state of their Contexts; one process for all, which takes seconds to start."""
    for name, (text, context) in cases.items():
        (folder / name).mkdir(parents=True)
        (folder / name / "system.xml").write_text(text)
        state = context.getState(positions=True, parameters=True)
        (folder / name / "state.xml").write_text(openmm.XmlSerializer.serialize(state))
    run = subprocess.run([sys.executable, "-c", READ, str(folder)], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout.splitlines()[-1])


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "model.safetensors"
    save(small_potential(), path)
    return path


@pytest.mark.slow
def test_pure_systems(tmp_path, model):
    cases = {}
    for kind, atoms in (("vacuum", rattled_molecule()), ("box", rattled_box())):
        for implementation in IMPLEMENTATIONS:
            system = system_of(atoms, model, precision="double", implementation=implementation, skin=0.45)
            text, context = lorem_openmm.serialize(system), context_of(system, atoms)
            assert len(text) < 10_000  # no weights inside
            cases[f"{kind}, {implementation}"] = text, context
            if implementation == "pythonforce":
                cases[f"{kind}, by OpenMM"] = openmm.XmlSerializer.serialize(system), context
    found = energies_in_a_fresh_process(tmp_path / "cases", cases)
    assert found == {name: results(context)[0] for name, (_, context) in cases.items()}


@pytest.mark.slow
def test_mixed_systems(tmp_path, model):
    atoms, cases = waters(), {}
    topology = topology_of_waters(atoms, True)
    for boundary in ("box", "vacuum"):
        for implementation, interpolate in [*((name, False) for name in IMPLEMENTATIONS), ("pythonforce", True)]:
            options = {"boundary": boundary, "implementation": implementation, "interpolate": interpolate}
            system = mixed(model, topology, force_field_system(topology, True), forceGroup=4, **options)
            context = context_of(system, atoms)
            if interpolate:
                context.setParameter("lambda_interpolate", 0.3)
            cases[f"{boundary}, {implementation}, {interpolate}"] = lorem_openmm.serialize(system), context
    found = energies_in_a_fresh_process(tmp_path / "cases", cases)
    assert found == {name: pytest.approx(results(context)[0], rel=1e-12) for name, (_, context) in cases.items()}


def test_a_model_file_that_vanished_is_named_in_the_fresh_process(tmp_path, model):
    atoms = rattled_molecule()
    system = system_of(atoms, model)
    context, text = context_of(system, atoms), lorem_openmm.serialize(system)
    results(context)
    model.unlink()
    with pytest.raises(AssertionError, match=r"model\.safetensors: no such model file"):
        energies_in_a_fresh_process(tmp_path / "cases", {"vanished": (text, context)})


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
