import argparse
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from lorem_openmm import commands
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


@pytest.mark.parametrize(
    ("arguments", "streams"),
    [(["schema"], "stdout"), (["schema"], "both"), (["train", "--help"], "stdout")],
)
def test_a_closed_pipe_ends_quietly(arguments, streams, tmp_path):
    read, write = os.pipe()
    os.close(read)
    errors = tmp_path / "errors"
    with errors.open("wb") as stream:
        stderr = stream if streams == "stdout" else write
        command = [sys.executable, "-m", "lorem_openmm.cli", *arguments]
        code = subprocess.run(command, stdout=write, stderr=stderr, check=False).returncode
    os.close(write)
    assert errors.read_text() == ""
    assert code in (0, 141)


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (OSError(28, "No space left on device", "a.ckpt"), 1, "error: a.ckpt: No space left on device; free space, or"),
        (OSError(28, "No space left on device"), 1, "error: No space left on device; free space"),
        (PermissionError(13, "Permission denied", "/x"), 1, "error: /x: Permission denied\n"),
        (
            BrokenPipeError(32, "Broken pipe"),
            1,
            "error: Broken pipe",
        ),  # of a worker: nobody closed what is printed into
        (KeyboardInterrupt(), 130, "interrupted; the same command continues"),
    ],
)
def test_errors_of_the_system_are_one_line(monkeypatch, capsys, error, code, message):
    def schema(options):
        raise error

    monkeypatch.setattr(commands, "schema", schema)
    assert main(["schema"]) == code
    text = capsys.readouterr().err
    assert f"lorem-openmm: {message}" in text
    assert text.count("\n") == 1


def test_home_is_expanded_in_arguments(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert main(["schema", "--output=~/schema.json"]) == 0
    assert (tmp_path / "schema.json").is_file()
    assert main(["prepare", "x", "--config=~/none.yaml"]) == 1
    assert f"{tmp_path}/none.yaml: cannot be read" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["info", "~nobody-has-this-name/x"])
    assert "name of a user" in capsys.readouterr().err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_what_cannot_be_printed_is_an_error():
    with open("/dev/full", "wb") as full:
        run = subprocess.run(
            [sys.executable, "-m", "lorem_openmm.cli", "schema"],
            stdout=full,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONIOENCODING": "ascii"},
            check=False,
        )
    assert run.returncode == 1
    assert run.stderr.startswith(b"lorem-openmm: error: No space left on device")
    assert run.stderr.count(b"\n") == 1


def test_terminals_without_our_letters_get_them_escaped():
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    command = [sys.executable, "-m", "lorem_openmm.cli", "schema"]
    run = subprocess.run(command, capture_output=True, env=environment, check=True)
    assert b"eV/\\xc5" in run.stdout
