import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch
from ase.build import molecule
from helpers import graph_of, rattled_box, rattled_molecule, small_potential
from safetensors import safe_open
from safetensors.torch import save_file

import lorem_openmm
from lorem_openmm import export
from lorem_openmm.errors import ConfigError, ModelFileError

FORMATS = (".safetensors", ".pt")


@pytest.fixture(params=FORMATS)
def model_file(request, tmp_path):
    path = tmp_path / f"model{request.param}"
    export.save(small_potential(), path, {"training": {"datasets": ["a"]}, "electrostatics": {"trained_on": "vacuum"}})
    return path


def test_both_formats_hold_the_same_weights(tmp_path):
    original = small_potential(num_message_passing=1).float()
    export.save(original, tmp_path / "m.safetensors")
    export.save(original, tmp_path / "m.pt")
    for dtype, tolerance in ((torch.float32, 1e-5), (torch.float64, 1e-10)):
        graph = graph_of(rattled_molecule(), rattled_box(), dtype=dtype)
        expected = original.to(dtype).evaluate(graph, True)
        for suffix in FORMATS:
            found = export.load(tmp_path / f"m{suffix}", dtype=dtype).evaluate(graph, True)
            assert found.forces.dtype == dtype
            torch.testing.assert_close(found.energy, expected.energy, rtol=tolerance, atol=0)
            torch.testing.assert_close(found.forces, expected.forces, rtol=tolerance, atol=tolerance)
            torch.testing.assert_close(found.stress, expected.stress, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("rounds", [0, 1])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 2e-4)])
def test_torchscript_runs_any_structure(dtype, tolerance, rounds, tmp_path):
    original = small_potential(num_message_passing=rounds).float().to(dtype)
    export.save(original, tmp_path / "m.pt")
    scripted = torch.jit.load(str(tmp_path / "m.pt"))
    large = rattled_box().repeat((3, 3, 1))
    structures = [rattled_molecule(), rattled_box(), rattled_molecule("CH4"), rattled_box(), large, rattled_molecule()]
    for atoms in structures:
        expected = original.evaluate(graph_of(atoms, dtype=dtype), True)
        cell, numbers = torch.tensor(atoms.cell[:]), torch.tensor(atoms.numbers)
        found = scripted(torch.tensor(atoms.positions), numbers, cell, bool(atoms.pbc.all()), True)
        for name in ("energy", "forces", "stress", "charges"):
            one, other = getattr(found, name), getattr(expected, name)
            torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance, msg=name)
    with pytest.raises(torch.jit.Error, match="does not know the element of number 92"):
        scripted(torch.zeros(1, 3), torch.tensor([92]), torch.zeros(3, 3), False)
    with pytest.raises(torch.jit.Error, match="one per atom, received 3 for 2 atoms"):
        scripted(torch.rand(3, 3), torch.tensor([8, 1]), torch.zeros(3, 3), False)


@pytest.mark.slow
def test_the_documented_program_needs_no_package(tmp_path):
    document = (Path(__file__).parents[1] / "docs" / "openmm.md").read_text()
    section = document.split("## Without this package")[1]
    program = section.split("```python\n")[1].split("```")[0] + (
        "import sys\nassert 'lorem_openmm' not in sys.modules\ntorch.save([found.energy, found.forces], 'found.zip')\n"
    )
    potential = small_potential()
    export.save(potential, tmp_path / "model.pt")
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=True)
    energy, forces = torch.load(tmp_path / "found.zip")
    expected = export.load(tmp_path / "model.pt", dtype="float64").evaluate(graph_of(molecule("CH3CH2OH")))
    torch.testing.assert_close(energy, expected.energy, rtol=1e-12, atol=0)
    torch.testing.assert_close(forces, expected.forces, rtol=1e-10, atol=1e-10)


def test_torchscript_of_earlier_versions_is_read(tmp_path):
    class Earlier(torch.nn.Module):
        """The scripted training form, whose parameters were the weights."""

        def __init__(self, model):
            super().__init__()
            self.model = torch.nn.Module()
            for name, parameter in model.named_parameters():
                *folders, leaf = name.split(".")
                place = self.model
                for folder in folders:
                    if not hasattr(place, folder):
                        setattr(place, folder, torch.nn.Module())
                    place = getattr(place, folder)
                place.register_parameter(leaf, torch.nn.Parameter(parameter.detach().float()))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x

    potential = small_potential().float()
    body = json.dumps(export.describe(potential), sort_keys=True)
    weights = {name: tensor.detach() for name, tensor in potential.model.state_dict().items()}
    documents = {"lorem_openmm": body, "sha256": export._digest(body, weights)}
    torch.jit.script(Earlier(potential.model)).save(str(tmp_path / "m.pt"), _extra_files=documents)
    graph = graph_of(rattled_molecule(), dtype=torch.float32)
    found = export.load(tmp_path / "m.pt").evaluate(graph)
    torch.testing.assert_close(found.forces, potential.evaluate(graph).forces)


def test_a_fresh_process_reads_the_same_numbers(model_file):
    program = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "import lorem_openmm\n"
        "from helpers import graph_of, rattled_molecule\n"
        f"potential = lorem_openmm.load({str(model_file)!r}, dtype='float64')\n"
        "print(repr(potential.evaluate(graph_of(rattled_molecule())).energy.item()))\n"
    )
    output = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    expected = lorem_openmm.load(model_file, dtype="float64").evaluate(graph_of(rattled_molecule())).energy.item()
    assert float(output) == expected


def test_metadata_tells_what_one_needs(model_file):
    metadata = export.load(model_file).metadata
    assert metadata["species"] == [1, 6, 8, 17]
    assert metadata["units"]["energy"] == "eV"
    assert metadata["hyperparameters"]["cutoff"] == 4.0
    assert metadata["electrostatics"]["smearing"] == 1.0
    assert metadata["electrostatics"]["trained_on"] == "vacuum"
    assert metadata["training"] == {"datasets": ["a"]}
    assert metadata["versions"]["torch"]
    assert metadata["format_version"] == export.FORMAT_VERSION


def test_results_follow_a_change_of_dtype(model_file):
    potential = export.load(model_file)
    potential.evaluate(graph_of(rattled_molecule(), dtype=torch.float32))
    double = potential.double().evaluate(graph_of(rattled_molecule()))
    expected = export.load(model_file, dtype="float64").evaluate(graph_of(rattled_molecule()))
    torch.testing.assert_close(double.forces, expected.forces, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("keep", [0, 10, 0.5, 0.999])
def test_a_truncated_file_is_refused(model_file, keep):
    data = model_file.read_bytes()
    model_file.write_bytes(data[: keep if isinstance(keep, int) else int(keep * len(data))])
    with pytest.raises(ModelFileError, match="truncated or altered"):
        export.load(model_file)


@pytest.mark.parametrize("place", [0.1, 0.3, 0.5, 0.7, 0.9])
def test_a_flipped_bit_is_refused(model_file, place):
    data = bytearray(model_file.read_bytes())
    data[int(place * len(data))] ^= 4
    model_file.write_bytes(data)
    with pytest.raises(ModelFileError, match=r"altered|cannot be read"):
        export.load(model_file)


def test_changed_weights_in_an_intact_container_are_refused(tmp_path):
    path = tmp_path / "m.safetensors"
    export.save(small_potential(), path)
    with safe_open(path, framework="pt") as stream:
        metadata = stream.metadata()
        weights = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118
    weights["readout.layers.0.bias"] += 1.0
    save_file(weights, path, metadata=metadata)
    with pytest.raises(ModelFileError, match="do not match their checksum"):
        export.load(path)


def test_a_newer_format_asks_for_an_upgrade(tmp_path):
    path = tmp_path / "m.safetensors"
    body = json.dumps({"format_version": export.FORMAT_VERSION + 1})
    save_file({"x": torch.zeros(1)}, path, metadata={"lorem_openmm": body, "sha256": ""})
    with pytest.raises(ModelFileError, match=r"format version 2 is newer than 1.*upgrade lorem-openmm"):
        export.load(path)


def test_other_peoples_files_are_refused(tmp_path):
    save_file({"x": torch.zeros(1)}, tmp_path / "m.safetensors")
    with pytest.raises(ModelFileError, match="not a LOREM model"):
        export.load(tmp_path / "m.safetensors")
    with zipfile.ZipFile(tmp_path / "m.pt", "w") as archive:
        archive.writestr("hello", "world")
    with pytest.raises(ModelFileError, match="not a readable TorchScript file"):
        export.load(tmp_path / "m.pt")


def test_wrong_arguments_are_named(tmp_path, model_file):
    with pytest.raises(ModelFileError, match="no such model file"):
        export.load(tmp_path / "nothing.pt")
    with pytest.raises(ModelFileError, match=r"must end in .safetensors or .pt"):
        export.save(small_potential(), tmp_path / "model.onnx")
    with pytest.raises(ConfigError, match="must be float32 or float64, received 'half'"):
        export.load(model_file, dtype="half")


def test_a_failed_save_leaves_nothing_behind(tmp_path):
    folder = tmp_path / "taken"
    folder.write_text("a file where a folder should be")
    with pytest.raises(OSError, match="taken"):
        export.save(small_potential(), folder / "m.safetensors")
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]
