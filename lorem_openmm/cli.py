"""The command line: ``lorem-openmm COMMAND``; each stage of the workflow is one command."""

import argparse
import inspect
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeAlias

from lorem_openmm import commands, commands_dynamics
from lorem_openmm.endings import run_to_its_end
from lorem_openmm.errors import ConfigError
from lorem_openmm.files import expand_home

Subparsers: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"

DESCRIPTION = """\
LOREM for OpenMM: label structures, train a potential with equivariant long-range messages, run it in OpenMM.

The commands below are the stages of `snakemake train_all`, in this order. Names of data sets, runs and
simulations are those of the configuration file."""

EPILOG = """\
A first training on your own data (extended XYZ with energy and forces):
  cp config/custom.yaml my.yaml            # name your file and its keys in it
  snakemake train_all --configfile my.yaml --cores 2
or stage by stage:
  lorem-openmm prepare mine --config my.yaml
  lorem-openmm train my_run --config my.yaml
  lorem-openmm evaluate my_run --config my.yaml
  lorem-openmm export my_run --config my.yaml"""


def build_parser() -> argparse.ArgumentParser:
    """Returns the parser of all commands."""
    parser = argparse.ArgumentParser(
        "lorem-openmm", description=DESCRIPTION, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--version", action="store_true", help="print the versions of this package and its parts")
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND")
    _pipeline_commands(subparsers)
    _model_commands(subparsers)
    _dynamics_commands(subparsers)
    return parser


def _command(subparsers: Subparsers, run: Callable[[argparse.Namespace], None]) -> argparse.ArgumentParser:
    """Adds the command of a function; its docstring is what ``--help`` says."""
    summary, _, detail = (inspect.getdoc(run) or " ").partition("\n\n")
    summary = summary[0].lower() + summary[1:].rstrip(".")
    parser = subparsers.add_parser(
        run.__name__.replace("_", "-"),
        help=summary,
        description=f"{summary}\n\n{detail}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)
    return parser


def _path(text: str) -> Path:
    """Returns an argument as a path; the shell leaves the ``~`` of ``--config=~/my.yaml`` as it is."""
    try:
        return Path(expand_home(text))
    except ConfigError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _with_config(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--config",
        type=_path,
        default="config/config.yaml",
        metavar="FILE",
        help="configuration (default: %(default)s)",
    )


def _with_device(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda (default: %(default)s)")


def _pipeline_commands(subparsers: Subparsers) -> None:
    label = _command(subparsers, commands.label)
    label.add_argument("dataset", help="name of an entry of `datasets` with a `label` section")

    fetch = _command(subparsers, commands.fetch)
    fetch.add_argument("name", nargs="?", help="name of a published data set")
    fetch.add_argument(
        "--to", type=_path, default=Path("downloads"), metavar="FOLDER", help="folder (default: %(default)s)"
    )

    prepare = _command(subparsers, commands.prepare)
    prepare.add_argument("dataset", help="name of an entry of `datasets`")
    for parser in (label, prepare):
        parser.add_argument("--processes", type=int, help="worker processes (default: all cores)")

    train = _command(subparsers, commands.train)
    evaluate = _command(subparsers, commands.evaluate)
    for parser in (train, evaluate):
        parser.add_argument("name", metavar="run", help="name of an entry of `runs`")
        _with_device(parser)
    train.add_argument("--devices", type=int, metavar="N", help="GPUs or processes per node (default: 1)")
    train.add_argument("--nodes", type=int, metavar="N", help="nodes, see docs/devices.md (default: 1)")

    compare = _command(subparsers, commands.compare)
    compare.add_argument("names", metavar="run", nargs="+", help="names of evaluated runs")

    study = _command(subparsers, commands.study)
    study.add_argument("name", metavar="study", help="name of an entry of `studies`")
    _with_device(study)
    for parser in (label, prepare, train, evaluate, compare, study):
        _with_config(parser)


def _model_commands(subparsers: Subparsers) -> None:
    export = _command(subparsers, commands.export)
    export.add_argument("name", metavar="run", help="name of an entry of `runs`")
    _with_config(export)

    import_jax = _command(subparsers, commands.import_jax)
    import_jax.add_argument("checkpoint", type=_path, help="checkpoint folder")
    import_jax.add_argument("output", type=_path, help="model file to write (.safetensors or .pt)")
    import_jax.add_argument(
        "--vacuum-potential-scale",
        type=float,
        default=1.0,
        metavar="X",
        help="2 for vacuum checkpoints of the paper's time, trained without the factor 1/2 (default: %(default)s)",
    )

    info = _command(subparsers, commands.info)
    info.add_argument("model", nargs="?", type=_path, help="model file")

    schema = _command(subparsers, commands.schema)
    schema.add_argument("--output", type=_path, help="file to write instead of printing")


def _dynamics_commands(subparsers: Subparsers) -> None:
    simulate = _command(subparsers, commands_dynamics.simulate)
    simulate.add_argument("name", metavar="simulation", help="name of an entry of `simulations`")
    simulate.add_argument("--model", type=_path, help="model file (default: that of the simulation's run)")
    _with_device(simulate)
    simulate.add_argument("--restart", action="store_true", help="start anew instead of continuing")

    nve = _command(subparsers, commands_dynamics.nve)
    nve.add_argument("model", type=_path, help="model file")
    nve.add_argument("start", type=expand_home, help="starting structure, as `start` of a simulation")
    nve.add_argument("--timestep", type=float, default=0.25, metavar="FS", help="in fs (default: %(default)s)")
    nve.add_argument("--steps", type=int, default=40_000, help="number of steps (default: %(default)s)")
    nve.add_argument("--precision", choices=("single", "double"), default="single", help="(default: %(default)s)")

    analyze = _command(subparsers, commands_dynamics.analyze)
    analyze.add_argument("name", metavar="simulation", help="name of an entry of `simulations`")
    for parser in (simulate, analyze):
        _with_config(parser)

    window = _command(subparsers, commands_dynamics.window)
    window.add_argument("name", metavar="umbrella", help="name of an entry of `umbrellas`")
    window.add_argument("index", type=int, metavar="INDEX", help="number of the window, from 0 to num_windows - 1")
    window.add_argument("--restart", action="store_true", help="start anew instead of continuing")

    free_energy = _command(subparsers, commands_dynamics.free_energy)
    free_energy.add_argument("name", metavar="umbrella", help="name of an entry of `umbrellas`")
    for parser in (window, free_energy):
        parser.add_argument("--model", type=_path, help="model file (default: that of the umbrella's run)")
        _with_device(parser)
        _with_config(parser)

    verdict = _command(subparsers, commands_dynamics.verdict)
    verdict.add_argument("--strict", action="store_true", help="exit code 1 unless every check passes")
    _with_config(verdict)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command; returns the exit code: 0, or those of :mod:`lorem_openmm.endings`.

    Args:
        arguments: Command line without the program's name; default: the process's.
    """
    return run_to_its_end(lambda: _run(arguments))


def _run(arguments: Sequence[str] | None) -> None:
    parser = build_parser()
    options = parser.parse_args(arguments)
    if options.version:
        options.run, options.model = commands.info, None
    if hasattr(options, "run"):
        options.run(options)
    else:
        parser.print_help()


if __name__ == "__main__":
    sys.exit(main())
