import argparse
import re
import subprocess
import sys

import pytest

from lorem_openmm.cli import build_parser, main

(SUBPARSERS,) = (a for a in build_parser()._actions if isinstance(a, argparse._SubParsersAction))
COMMANDS = tuple(SUBPARSERS.choices)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_teaches_with_an_example(command, capsys):
    with pytest.raises(SystemExit) as stop:
        main([command, "--help"])
    text = capsys.readouterr().out
    assert stop.value.code == 0
    assert f"example: lorem-openmm {command}" in text


def test_help_answers_without_loading_the_heavy_parts():
    program = (
        "import sys; from lorem_openmm.cli import build_parser; build_parser().format_help();"
        "print([name for name in ('torch', 'openmm', 'snakemake', 'mdtraj') if name in sys.modules])"
    )
    output = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert output.strip() == "[]"


def test_every_command_is_listed_with_a_summary():
    listed = re.findall(r"^    ([a-z-]+)(?: |$)", build_parser().format_help(), flags=re.MULTILINE)
    assert sorted(listed) == sorted(COMMANDS)
    assert all(action.help for action in SUBPARSERS._choices_actions)


def test_errors_are_one_message_and_exit_code_one(tmp_path, capsys):
    assert main(["train", "nothing", "--config", str(tmp_path / "none.yaml")]) == 1
    error = capsys.readouterr().err
    assert error.startswith("lorem-openmm: error: ")
    assert "cannot be read" in error
    assert "Traceback" not in error


def test_an_unknown_name_gets_the_nearest_one(tmp_path, capsys):
    (tmp_path / "c.yaml").write_text(
        "datasets: {mine: {structures: a.xyz}}\nmodels: {m: {}}\ntraining: {t: {}}\n"
        "runs: {first: {datasets: [mine], model: m, training: t}}\n"
    )
    assert main(["export", "frist", "--config", str(tmp_path / "c.yaml")]) == 1
    assert "runs: no entry named 'frist'. Did you mean 'first'?" in capsys.readouterr().err


def test_info_describes_a_model(tmp_path, capsys):
    from helpers import small_potential

    from lorem_openmm import export

    export.save(small_potential(), tmp_path / "m.safetensors")
    assert main(["info", str(tmp_path / "m.safetensors")]) == 0
    assert '"cutoff": 4.0' in capsys.readouterr().out
