import re
from pathlib import Path

import pytest

from lorem_openmm import config, whole_config
from lorem_openmm.errors import ConfigError

MINIMAL = {
    "datasets": {"mine": {"structures": "mine.xyz"}},
    "models": {"small": {"max_degree": 2}},
    "training": {"quick": {"epochs": 3}},
    "runs": {"first": {"datasets": ["mine"], "model": "small", "training": "quick"}},
}


def parsed(**changes):
    return config.parse(whole_config.config_class(), {**MINIMAL, **changes}, "test.yaml")


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


@pytest.mark.parametrize("section", ["datasets", "models", "training", "runs", "simulations", "umbrellas", "studies"])
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("-x", "must not begin with '-'"),
        ("..", "must not begin with '.'"),
        ("a/b", "must not contain '/'"),
        ("a\\b", r"must not contain '\\\\'"),
        ("a{b}", "must not contain '{'"),
        ("$a$", r"must not contain '\$'"),
        ("a\nb", "must not contain '.n', which cannot be printed"),
        ("a\0", "must not contain '.x00'"),
        ("a ", "must not begin or end with a space"),
        ("", "must not be empty"),
        ("ü" * 51, "at most 100 bytes"),
        (1, "YAML reads 1 as int: put it into quotes"),
        (True, "YAML reads True as bool"),
    ],
)
def test_names_become_files_and_arguments(section, name, message):
    with pytest.raises(ConfigError, match=rf"  {section}\..*{message}"):
        parsed(**{section: {name: {}}})


def test_names_may_be_odd_otherwise():
    run = MINIMAL["runs"]["first"]
    for name in ("my run", 'it\'s (1); & | > "x" #`y` *?[z]', "naïve@home", "a" * 100, "1"):
        assert list(parsed(runs={name: run}).runs) == [name]


@pytest.mark.parametrize(
    ("path", "message"),
    [("-x", "write ./-x"), ("a{b", "contain '{'"), (" ", "be empty"), ("a ", "end with a space"), ("a\0b", "x00")],
)
def test_paths_that_the_workflow_cannot_handle(path, message):
    changes = [{"output": path}, {"downloads": path}, {"datasets": {"mine": {"train": ["a.xyz", path]}}}]
    changes += [{"runs": {"first": {**MINIMAL["runs"]["first"], "initial_model": path}}}]
    changes += [{"simulations": {"s": {"run": "first", "start": path}}}]
    changes += [{"simulations": {"s": {"run": "first", "start": "sn2:Cl,Cl,3", "solvent": {"force_field": [path]}}}}]
    changes += [{"studies": {"s": {"kind": "symmetry", "dataset": "mine", "models": [path]}}}]
    for change in changes:
        with pytest.raises(ConfigError, match=f"the path must not .*{re.escape(message)}"):
            parsed(**change)


def test_home_is_expanded_in_every_path(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    run, start = {**MINIMAL["runs"]["first"], "initial_model": "~/m.pt"}, {"run": "first", "start": "~/a.xyz@3"}
    window = {"coordinate": "bond_difference", "first": 1, "last": 2}
    settings = parsed(
        output="~/out",
        downloads="~",
        datasets={"mine": {"train": ["~/a.xyz"], "validation": "~/b.xyz", "test": "~/c.xyz"}},
        runs={"first": run},
        simulations={"s": {**start, "solvent": {"force_field": ["~/ff.xml", "fragments"]}}},
        umbrellas={"u": {**start, **window}},
        studies={"s": {"kind": "symmetry", "dataset": "mine", "models": ["~/m.pt", "pretrained"]}},
    )
    text = settings.model_dump_json()
    assert "~" not in text
    assert text.count("/home/me") == 10
    assert settings.umbrellas["u"].window(0).start == "/home/me/a.xyz@3"


def test_files_that_are_not_configurations_are_named(tmp_path):
    def load(content):
        (tmp_path / "c.yaml").write_bytes(content)
        whole_config.load(tmp_path / "c.yaml")

    for content, message in (
        (b"- 1\n", "must be a mapping of sections, received list"),
        (b"", "must be a mapping of sections, received an empty file"),
        (b"a: [1\n", "not valid YAML"),
        (b"[" * 3000, "not valid YAML"),
        (b"a: 2020-13-45\n", "not valid YAML.*quotes"),
        (b"\x89PNG\r\n", "must be a text file in UTF-8, but its byte 0"),
        ("a: 1".encode("utf-16"), "must be a text file in UTF-8"),
    ):
        with pytest.raises(ConfigError, match=f"c.yaml: {message}"):
            load(content)
    for path in (tmp_path, tmp_path / "none.yaml", tmp_path / "c.yaml" / "x"):
        with pytest.raises(ConfigError, match="cannot be read"):
            whole_config.load(path)


def test_a_byte_order_mark_and_merge_keys_are_fine(tmp_path):
    (tmp_path / "c.yaml").write_bytes(b"\xef\xbb\xbfa: &x {b: 1, c: 1}\nd: {<<: *x, b: 2}\ne: *x\n")
    assert config.read_yaml(tmp_path / "c.yaml") == {
        "a": {"b": 1, "c": 1},
        "d": {"b": 2, "c": 1},
        "e": {"b": 1, "c": 1},
    }


def test_a_key_that_stands_twice_is_named_with_its_lines(tmp_path):
    (tmp_path / "c.yaml").write_text("a: {b: 1,\n  b: 2}\nc:\n- x: &x {y: 1, 'y': 1}\n- *x\n- {<<: *x, <<: *x}\na: 3\n")
    with pytest.raises(ConfigError, match=r"c.yaml: 4 fault\(s\)") as error:
        whole_config.load(tmp_path / "c.yaml")
    for text in ("a.b: stands twice, in lines 1 and 2", "a: stands twice, in lines 1 and 7", "c.0.x.y: ", "c.2.<<: "):
        assert f"\n  {text}" in str(error.value)


def test_every_key_is_described():
    def undescribed(name, schema):
        for key, value in schema.get("properties", {}).items():
            if "description" not in value and "const" not in value:
                yield f"{name}.{key}"

    schema = whole_config.config_class().model_json_schema()
    missing = [key for name, part in schema["$defs"].items() for key in undescribed(name, part)]
    assert missing + list(undescribed("Config", schema)) == []


@pytest.mark.parametrize("path", sorted(Path(__file__).parents[1].glob("config/*.yaml")), ids=lambda path: path.stem)
def test_every_shipped_configuration_is_valid(path):
    assert whole_config.load(path).runs
