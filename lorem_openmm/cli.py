"""The command line: ``lorem-openmm COMMAND``; each stage of the workflow is one command."""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeAlias

from lorem_openmm import commands
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
        "lorem-openmm",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="store_true", help="print the versions of this package and its parts")
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND")
    for add in (_pipeline_commands, _model_commands, _dynamics_commands, _free_energy_commands, _verdict_command):
        add(subparsers)
    return parser


def _command(
    subparsers: Subparsers, name: str, summary: str, detail: str, run: Callable[[argparse.Namespace], None]
) -> argparse.ArgumentParser:
    parser = subparsers.add_parser(
        name, help=summary, description=f"{summary}\n\n{detail}", formatter_class=argparse.RawDescriptionHelpFormatter
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


def _pipeline_commands(subparsers: Subparsers) -> None:
    label = _command(
        subparsers,
        "label",
        "make structures and label them with a quantum-chemistry engine",
        "Resumable, parallel over cores, the same file for the same seed. Writes extended XYZ in eV and Å and a\n"
        "summary (.json) that counts what was rejected and why. Needs the extra `label` (tblite) or `pyscf`.\n\n"
        "example: lorem-openmm label dimers_xtb --processes 2",
        commands.label,
    )
    label.add_argument("dataset", help="name of an entry of `datasets` with a `label` section")
    label.add_argument("--processes", type=int, help="worker processes (default: all cores)")

    fetch = _command(
        subparsers,
        "fetch",
        "download a published data set of the paper, or list them",
        "Resumes cut downloads, checks them, and writes extended XYZ in eV and Å. Without a name it lists what there\n"
        "is. Without network it says which file to put where by hand. Checksums of first downloads are kept\n"
        "in checksums.json.\n\nexample: lorem-openmm fetch biodimers",
        commands.fetch,
    )
    fetch.add_argument("name", nargs="?", help="name of a published data set")
    fetch.add_argument(
        "--to", type=_path, default=Path("downloads"), metavar="FOLDER", help="folder (default: %(default)s)"
    )

    prepare = _command(
        subparsers,
        "prepare",
        "check a data set, split it, list its neighbours, and store it",
        "Reads extended XYZ (info: energy in eV; array: forces in eV/Å; other keys: see the configuration) and\n"
        "refuses missing or odd labels, naming file and frame.\n\nexample: lorem-openmm prepare dimers_xtb",
        commands.prepare,
    )
    prepare.add_argument("dataset", help="name of an entry of `datasets`")
    prepare.add_argument("--processes", type=int, help="worker processes (default: all cores)")

    train = _command(
        subparsers,
        "train",
        "train a model, or continue an interrupted training",
        "Shows a progress bar on a terminal; writes metrics.csv, train.log and TensorBoard files either way.\n"
        "Interrupt it as you like: the same command continues.\n\nexample: lorem-openmm train dimers\n"
        "         lorem-openmm train dimers --devices 4   # 4 GPUs, or 4 processes on a CPU: the same result sooner",
        commands.train,
    )
    train.add_argument("name", metavar="run", help="name of an entry of `runs`")
    train.add_argument("--device", default="auto", help="auto, cpu or cuda (default: %(default)s)")
    train.add_argument("--devices", type=int, metavar="N", help="GPUs or processes per node (default: 1)")
    train.add_argument("--nodes", type=int, metavar="N", help="nodes, see docs/devices.md (default: 1)")

    evaluate = _command(
        subparsers,
        "evaluate",
        "errors, parity plots and energy curves of a trained run",
        "RMSE and MAE of energies (meV/atom) and forces (meV/Å) on every split, per class and per separation.\n\n"
        "example: lorem-openmm evaluate dimers",
        commands.evaluate,
    )
    evaluate.add_argument("name", metavar="run", help="name of an entry of `runs`")
    evaluate.add_argument("--device", default="auto", help="auto, cpu or cuda (default: %(default)s)")

    compare = _command(
        subparsers,
        "compare",
        "tables and figures that put evaluated runs side by side",
        "example: lorem-openmm compare dimers dimers_short",
        commands.compare,
    )
    compare.add_argument("names", metavar="run", nargs="+", help="names of evaluated runs")

    study = _command(
        subparsers,
        "study",
        "a table or figure of the paper, from trained runs and a data set of the right kind",
        "Errors, errors by class, dihedral, distance and reaction profiles, cutoffs against layers, degrees of the\n"
        "charges, rotations: see the kinds of `studies` in `lorem-openmm schema`. All: snakemake paper_all\n\n"
        "example: lorem-openmm study table2 --config config/cumulene.yaml",
        commands.study,
    )
    study.add_argument("name", metavar="study", help="name of an entry of `studies`")
    study.add_argument("--device", default="auto", help="auto, cpu or cuda (default: %(default)s)")
    for parser in (label, prepare, train, evaluate, compare, study):
        _with_config(parser)


def _model_commands(subparsers: Subparsers) -> None:
    export = _command(
        subparsers,
        "export",
        "write the selected weights of a run as model files",
        "Writes model.safetensors (weights and metadata) and model.pt (TorchScript with the same metadata).\n\n"
        "example: lorem-openmm export dimers",
        commands.export,
    )
    export.add_argument("name", metavar="run", help="name of an entry of `runs`")
    _with_config(export)

    import_jax = _command(
        subparsers,
        "import-jax",
        "convert a lorem-jax checkpoint; needs no JAX",
        "CHECKPOINT is the folder that holds model/model.yaml, model/model.msgpack and model/baseline.yaml.\n\n"
        "example: lorem-openmm import-jax run/checkpoints/R2_E+F water.safetensors",
        commands.import_jax,
    )
    import_jax.add_argument("checkpoint", type=_path, help="checkpoint folder")
    import_jax.add_argument("output", type=_path, help="model file to write (.safetensors or .pt)")
    import_jax.add_argument(
        "--vacuum-potential-scale",
        type=float,
        default=1.0,
        metavar="X",
        help="2 for vacuum checkpoints of the paper's time, trained without the factor 1/2 (default: %(default)s)",
    )

    info = _command(
        subparsers,
        "info",
        "what a model file holds, or what is installed",
        "With a model file: hyper-parameters, elements, units, training, errors. Without: versions and whether\n"
        "TorchForce works here.\n\nexample: lorem-openmm info results/models/dimers.safetensors",
        commands.info,
    )
    info.add_argument("model", nargs="?", type=_path, help="model file")

    schema = _command(
        subparsers,
        "schema",
        "print the JSON Schema of the configuration",
        "Every key with its type, default and meaning; editors use it to complete and check YAML.\n\n"
        "example: lorem-openmm schema --output schema.json",
        commands.schema,
    )
    schema.add_argument("--output", type=_path, help="file to write instead of printing")


def _dynamics_commands(subparsers: Subparsers) -> None:
    simulate = _command(
        subparsers,
        "simulate",
        "molecular dynamics in OpenMM",
        "Continues an interrupted simulation. Writes trajectory.dcd, topology.pdb and state.csv.\n\n"
        "example: lorem-openmm simulate sn2_nvt",
        commands.simulate,
    )
    simulate.add_argument("name", metavar="simulation", help="name of an entry of `simulations`")
    simulate.add_argument("--model", type=_path, help="model file (default: that of the simulation's run)")
    simulate.add_argument("--device", default="auto", help="auto, cpu or cuda (default: %(default)s)")

    simulate.add_argument("--restart", action="store_true", help="start anew instead of continuing")

    nve = _command(
        subparsers,
        "nve",
        "how well a model conserves energy: drift and fluctuation without thermostat",
        "Minimises, equilibrates, then runs at constant energy; the drift is in kT/ns per degree of freedom.\n\n"
        "example: lorem-openmm nve results/models/sn2.safetensors sn2:Cl,Br,3.2 --timestep 0.25",
        commands.nve,
    )
    nve.add_argument("model", type=_path, help="model file")
    nve.add_argument("start", type=expand_home, help="starting structure, as `start` of a simulation")
    nve.add_argument("--timestep", type=float, default=0.25, metavar="FS", help="in fs (default: %(default)s)")
    nve.add_argument("--steps", type=int, default=40_000, help="number of steps (default: %(default)s)")
    nve.add_argument("--precision", choices=("single", "double"), default="single", help="(default: %(default)s)")

    analyze = _command(
        subparsers,
        "analyze",
        "reaction coordinate, distances, contacts and energy conservation of a simulation",
        "Writes CSV files and figures.\n\nexample: lorem-openmm analyze sn2_nvt",
        commands.analyze,
    )
    analyze.add_argument("name", metavar="simulation", help="name of an entry of `simulations`")
    for parser in (simulate, analyze):
        _with_config(parser)


def _free_energy_commands(subparsers: Subparsers) -> None:
    window = _command(
        subparsers,
        "window",
        "one window of an umbrella sampling: a simulation held at a value of a coordinate",
        "Pulls the start to the window's place and runs; continues an interrupted window, as `simulate` does.\n"
        "An entry of `umbrellas` needs run, start, coordinate (bond_difference of an S_N2 complex, or\n"
        "center_distance of two molecules), first and last (Å). All windows at once: snakemake free_energy_all\n\n"
        "example: lorem-openmm window sn2_barrier 0",
        commands.window,
    )
    window.add_argument("name", metavar="umbrella", help="name of an entry of `umbrellas`")
    window.add_argument("index", type=int, metavar="INDEX", help="number of the window, from 0 to num_windows - 1")
    window.add_argument("--restart", action="store_true", help="start anew instead of continuing")

    free_energy = _command(
        subparsers,
        "free-energy",
        "free-energy profile from all windows of an umbrella sampling",
        "MBAR over the windows, with error bars, beside the energy of structures relaxed along the coordinate.\n"
        "Writes profile.csv, summary.json (barriers, overlap of the windows, warnings), snapshots.xyz and figures.\n\n"
        "example: lorem-openmm free-energy sn2_barrier",
        commands.free_energy,
    )
    free_energy.add_argument("name", metavar="umbrella", help="name of an entry of `umbrellas`")
    for parser in (window, free_energy):
        parser.add_argument("--model", type=_path, help="model file (default: that of the umbrella's run)")
        parser.add_argument("--device", default="auto", help="auto, cpu or cuda (default: %(default)s)")
        _with_config(parser)


def _verdict_command(subparsers: Subparsers) -> None:
    verdict = _command(
        subparsers,
        "verdict",
        "whether everything that was made is fit for use, one line per question, green or red",
        "Errors beside what is needed, how interactions end beyond the cutoff, simulations alive or not, free\n"
        "energies sampled enough or not. Writes verdict.html (also the first page of report.html), verdict.json and\n"
        "verdict.csv, and prints what failed; see docs/verdict.md.\n\n"
        "example: lorem-openmm verdict --config my.yaml",
        commands.verdict,
    )
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
