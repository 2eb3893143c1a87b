"""The converter of lorem-jax checkpoints: what it refuses, and the potential scale. Values: tests/parity."""

import shutil
from pathlib import Path

import msgpack
import naive_lorem
import numpy as np
import pytest
import torch
import yaml
from parity_cases import checkpoint_folder, load_case

from lorem_openmm.errors import ConfigError, ModelFileError
from lorem_openmm.integrations.lorem_jax import import_checkpoint

STORED = Path(__file__).parents[1] / "parity" / "stored"


@pytest.fixture
def checkpoint(tmp_path):
    """A copy of a checkpoint that lorem-jax wrote, to be damaged."""
    return Path(shutil.copytree(checkpoint_folder(STORED / "small"), tmp_path / "checkpoint"))


def edit_yaml(path, change):
    content = yaml.safe_load(path.read_text())
    path.write_text(yaml.safe_dump(change(content)))


def edit_hyperparameters(checkpoint, handle="lorem.models.mlip.Lorem", drop=(), **changes):
    def change(content):
        (values,) = content.values()
        return {handle: {k: v for k, v in {**values, **changes}.items() if k not in drop}}

    edit_yaml(checkpoint / "model" / "model.yaml", change)


def edit_weights(checkpoint, change):
    """Applies ``change`` to the tree of weights, arrays left packed."""
    path = checkpoint / "model" / "model.msgpack"
    tree = msgpack.unpackb(path.read_bytes())
    change(tree["params"])
    path.write_bytes(msgpack.packb(tree))


def packed(array, code=1, **changes):
    parts = {"shape": array.shape, "dtype": array.dtype.name, "data": array.tobytes(), **changes}
    return msgpack.ExtType(code, msgpack.packb(list(parts.values())))


def test_short_handle_is_the_same_model(checkpoint):
    expected = import_checkpoint(checkpoint)
    edit_hyperparameters(checkpoint, "lorem.Lorem")
    found = import_checkpoint(checkpoint)
    assert found[0] == expected[0]
    assert all(torch.equal(found[1][name], expected[1][name]) for name in expected[1])


def test_hyperparameters_left_out_are_lorem_jax_defaults(checkpoint):
    edit_hyperparameters(checkpoint, drop=["lr", "cutoff_fn", "inputs", "initialize_node_features"])
    assert import_checkpoint(checkpoint)[0] == import_checkpoint(checkpoint_folder(STORED / "small"))[0]


def test_weights_own_their_memory_and_precision(checkpoint):
    _, weights, _ = import_checkpoint(checkpoint)
    assert all(weight.is_contiguous() and weight.dtype == torch.float32 for weight in weights.values())
    for weight in weights.values():
        weight.zero_()  # a view of the read-only file would warn or fail
    assert sum(weight.numel() for weight in weights.values()) == 2131


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"handle": "lorem.LoremBEC"}, r"PerParticleTensorPredictor_0/Dense_0/0\+/kernel: missing"),
        ({"handle": "mace.MACE"}, "unknown model 'mace.MACE'"),
        ({"num_radials": 5}, r"unknown hyper-parameter\(s\): 'num_radials'. Did you mean 'num_radial'"),
        ({"inputs": ["total_charge"]}, "inputs: must be empty"),
        ({"radial_basis": "reciprocal_bernstein"}, "radial_basis"),
        ({"cutoff": -1.0}, "cutoff"),
        ({"max_degree_lr": 3}, "max_charge_degree must not exceed max_degree, received 3 > 2"),
    ],
)
def test_model_it_cannot_import(checkpoint, changes, message):
    edit_hyperparameters(checkpoint, **changes)
    with pytest.raises(ModelFileError, match=message):
        import_checkpoint(checkpoint)


def test_model_file_of_another_kind(checkpoint):
    edit_yaml(checkpoint / "model" / "model.yaml", lambda content: {"model": content, "baseline": {}})
    with pytest.raises(ModelFileError, match="one class name"):
        import_checkpoint(checkpoint)


@pytest.mark.parametrize("name", ["model.yaml", "model.msgpack", "baseline.yaml"])
def test_missing_file(checkpoint, name):
    (checkpoint / "model" / name).unlink()
    with pytest.raises(ModelFileError, match=rf"{name}: cannot be read .* give the checkpoint folder"):
        import_checkpoint(checkpoint)


def test_every_truncation_is_an_error(checkpoint):
    path = checkpoint / "model" / "model.msgpack"
    content = path.read_bytes()
    for length in [*range(0, len(content), 97), len(content) - 1]:
        path.write_bytes(content[:length])
        with pytest.raises(ModelFileError, match=r"model\.msgpack"):
            import_checkpoint(checkpoint)


def test_bytes_after_the_end_are_an_error(checkpoint):
    path = checkpoint / "model" / "model.msgpack"
    path.write_bytes(path.read_bytes() + b"\x00")
    with pytest.raises(ModelFileError, match="ExtraData"):
        import_checkpoint(checkpoint)


def test_deeply_nested_file_is_an_error(checkpoint):
    (checkpoint / "model" / "model.msgpack").write_bytes(b"\x91" * 100_000)
    with pytest.raises(ModelFileError, match="not msgpack"):
        import_checkpoint(checkpoint)


ONES = np.ones((6, 6), dtype=np.float32)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (packed(ONES[:5]), r"Dense_1/kernel: shape \(6, 6\) expected, received \(5, 6\)"),
        (packed(ONES.T[0]), r"Dense_1/kernel: shape \(6, 6\) expected, received \(6,\)"),
        (packed(ONES * np.nan), "Dense_1/kernel: weights must be finite"),
        (packed(ONES, shape=[6, 60]), "needs 1440 bytes, received 144"),
        (packed(ONES, shape=[2**62, 4]), "bytes, received 144"),
        (packed(ONES, shape=[-6, -6]), "impossible shape"),
        (packed(ONES, shape="66"), "impossible shape"),
        (packed(ONES, dtype="object"), "of type 'object'"),
        (packed(ONES, dtype="bfloat16"), "of type 'bfloat16'"),
        (packed(ONES, data="text"), "not stored as"),
        (packed(ONES, code=2), "extension 2"),
        (msgpack.ExtType(1, b""), "msgpack"),
        ([1.0, 2.0], "Dense_1/kernel: expected an array, received list"),
    ],
)
def test_odd_array(checkpoint, array, message):
    edit_weights(checkpoint, lambda params: params["Dense_1"].update(kernel=array))
    with pytest.raises(ModelFileError, match=message):
        import_checkpoint(checkpoint)


def test_missing_and_left_over_weights_are_all_listed(checkpoint):
    def change(params):
        del params["Update_1"]["LayerNorm_0"]["scale"]
        params["Dense_9"] = {"kernel": packed(ONES)}

    edit_weights(checkpoint, change)
    with pytest.raises(ModelFileError, match=r"2 fault\(s\)") as error:
        import_checkpoint(checkpoint)
    assert "Update_1/LayerNorm_0/scale: missing, shape (6,) expected" in str(error.value)
    assert "Dense_9/kernel: not used" in str(error.value)


@pytest.mark.parametrize(
    ("baseline", "message"),
    [
        ({"elements": {1: 0.0}}, "must hold 'elemental'"),
        ({"elemental": {"H": 0.0}}, "atomic numbers must be integers from 1 to 99, received 'H'"),
        ({"elemental": {120: 0.0}}, "received 120"),
        ({"elemental": {1: float("nan")}}, "element 1 must be finite"),
        ([1, 2], "must be a mapping"),
    ],
)
def test_odd_baseline(checkpoint, baseline, message):
    edit_yaml(checkpoint / "model" / "baseline.yaml", lambda _: baseline)
    with pytest.raises(ModelFileError, match=message):
        import_checkpoint(checkpoint)


@pytest.mark.parametrize("case", ["small", "messages", "scalar_messages"])
def test_potential_scale_doubles_the_potentials(case, monkeypatch):
    """Weights imported with scale 2 = the same weights in a world without the ½, in vacuum and in a box."""
    hyperparameters, scaled, _ = import_checkpoint(checkpoint_folder(STORED / case), potential_scale=2.0)
    plain = load_case(STORED / case)
    for name in ("sn2", "triclinic_short"):
        atoms = plain.expected[name].atoms
        found = naive_lorem.predict(hyperparameters, scaled, atoms)
        assert abs(found.energy - plain.expected[name].energy_without_baseline) > 1e-3
        with monkeypatch.context() as patch:
            direct, ewald = naive_lorem.direct_potentials, naive_lorem.ewald_potentials
            patch.setattr(naive_lorem, "direct_potentials", lambda *args, f=direct: 2 * f(*args))
            patch.setattr(naive_lorem, "ewald_potentials", lambda *args, f=ewald: 2 * f(*args))
            expected = naive_lorem.predict(hyperparameters, plain.weights, atoms)
        assert found.energy == pytest.approx(expected.energy, abs=1e-12)
        torch.testing.assert_close(found.forces, expected.forces, rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    ("case", "scale", "message"),
    [("small", -1.0, "positive number, received -1"), ("no_long_range", 2.0, "without long-range part")],
)
def test_senseless_potential_scale(case, scale, message):
    with pytest.raises(ConfigError, match=message):
        import_checkpoint(checkpoint_folder(STORED / case), potential_scale=scale)
