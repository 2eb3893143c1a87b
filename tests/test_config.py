from pathlib import Path

import pytest

from lorem_openmm import config
from lorem_openmm.errors import ConfigError

MINIMAL = {
    "datasets": {"mine": {"structures": "mine.xyz"}},
    "models": {"small": {"max_degree": 2}},
    "training": {"quick": {"epochs": 3}},
    "runs": {"first": {"datasets": ["mine"], "model": "small", "training": "quick"}},
}


def parsed(**changes):
    return config.parse(config.Config, {**MINIMAL, **changes}, "test.yaml")


def test_defaults_are_the_papers():
    model = parsed().models["small"]
    assert (model.cutoff, model.num_features, model.num_radial, model.num_spherical_features) == (5.0, 128, 32, 8)
    assert (config.Model().max_degree, config.Model().max_charge_degree) == (6, 2)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"modles": {}}, "modles: unknown key. Did you mean 'models'?"),
        ({"models": {"small": {"cuttoff": 4.0}}}, "models.small.cuttoff: unknown key. Did you mean 'cutoff'?"),
        ({"models": {"small": {"cutoff": -1}}}, r"models.small.cutoff: .*greater than 0.*received -1"),
        ({"models": {"small": {"radial_basis": "bessel"}}}, "models.small.radial_basis: .*received 'bessel'"),
        (
            {"datasets": {"mine": {"structures": "a", "split": {"test_count": 5, "test_above": {"d": 4.0}}}}},
            "give `test_count` or `test_above`, not both",
        ),
        (
            {"datasets": {"mine": {"registry": "biodimer"}}},
            "datasets.mine.registry: .*'biodimers'.*received 'biodimer'",
        ),
        ({"datasets": {"mine": {}}}, "exactly one of `label`, `registry`, `structures`, `train`; received none"),
        (
            {"datasets": {"mine": {"structures": "a.xyz", "label": {"kind": "sn2"}}}},
            r"exactly one of .*received \['label', 'structures'\]",
        ),
        (
            {"runs": {"first": {"datasets": ["mime"], "model": "small", "training": "quick"}}},
            "runs.first.datasets: no entry named 'mime'. Did you mean 'mine'?",
        ),
        ({"runs": {"first": {"datasets": ["mine"], "model": "small"}}}, "runs.first.training: required key is missing"),
    ],
)
def test_faults_name_the_key_the_rule_and_the_nearest_word(changes, message):
    with pytest.raises(ConfigError, match=message) as error:
        parsed(**changes)
    assert "test.yaml" in str(error.value)


def test_files_that_are_not_configurations_are_named(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        config.load(tmp_path / "none.yaml")
    (tmp_path / "list.yaml").write_text("- 1\n")
    with pytest.raises(ConfigError, match="must be a mapping of sections, received list"):
        config.load(tmp_path / "list.yaml")
    (tmp_path / "bad.yaml").write_text("a: [1\n")
    with pytest.raises(ConfigError, match="not valid YAML"):
        config.load(tmp_path / "bad.yaml")


def test_every_key_is_described():
    def undescribed(name, schema):
        for key, value in schema.get("properties", {}).items():
            if "description" not in value and "const" not in value:
                yield f"{name}.{key}"

    schema = config.Config.model_json_schema()
    missing = [key for name, part in schema["$defs"].items() for key in undescribed(name, part)]
    assert missing + list(undescribed("Config", schema)) == []


@pytest.mark.parametrize("path", sorted(Path(__file__).parents[1].glob("config/*.yaml")), ids=lambda path: path.stem)
def test_every_shipped_configuration_is_valid(path):
    assert config.load(path).runs
