"""The library without the paper's room: everything but `studies` is there."""

import json
import subprocess
import sys

import pytest

from lorem_openmm import whole_config
from lorem_openmm.errors import ConfigError

WITHOUT = "import sys; sys.modules['lorem_openmm.paper'] = None; from lorem_openmm.cli import main; sys.exit(main())"


def without_the_paper(*arguments):
    command = [sys.executable, "-c", WITHOUT, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_configuration_has_studies_with_the_room_and_none_without_it():
    found = without_the_paper("schema")
    assert found.returncode == 0, found.stderr
    schema = json.loads(found.stdout)
    whole = whole_config.config_class().model_json_schema()
    assert set(whole["properties"]) - set(schema["properties"]) == {"studies"}
    assert {name: schema["$defs"][name] for name in schema["$defs"]}.items() <= whole["$defs"].items()


def test_without_the_room_a_configuration_with_studies_is_refused_and_one_without_is_read(tmp_path):
    path = tmp_path / "mine.yaml"
    text = "datasets: {mine: {structures: none.xyz}}\nmodels: {m: {}}\ntraining: {t: {}}\nruns: {}\n"
    path.write_text(text)
    assert "none.xyz" in without_the_paper("prepare", "mine", "--config", path).stderr
    path.write_text(text + "studies: {}\n")
    assert "studies: unknown key" in without_the_paper("prepare", "mine", "--config", path).stderr


def test_an_import_that_fails_inside_the_room_is_not_hidden(monkeypatch):
    monkeypatch.delitem(sys.modules, "lorem_openmm.paper.sections", raising=False)
    monkeypatch.setitem(sys.modules, "pydantic", None)
    with pytest.raises(ModuleNotFoundError, match="pydantic"):
        whole_config.config_class()


def test_faults_of_studies_are_found_with_the_room(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("datasets: {}\nmodels: {}\ntraining: {}\nruns: {}\nstudies: {s: {kind: errors, runs: [none]}}\n")
    with pytest.raises(ConfigError, match=r"studies.s.runs: no entry named 'none'"):
        whole_config.load(path)
