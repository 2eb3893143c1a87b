"""What the commands do, from data to model files: read the configuration, call one function, say what was made.

Imports are inside the functions, so that ``--help`` answers without loading PyTorch or OpenMM.
"""
# ruff: noqa: PLC0415

import argparse
import json
import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TypeVar, cast

from lorem_openmm import config
from lorem_openmm.errors import ConfigError, InstallationError, did_you_mean
from lorem_openmm.files import read_json, write_json
from lorem_openmm.layout import Layout
from lorem_openmm.outputs import claim
from lorem_openmm.whole_config import config_class, load

EntryT = TypeVar("EntryT")
PACKAGES = ("lorem-openmm", "torch", "openmm", "openmmml", "openmmtorch", "vesin", "tblite", "mdtraj")


def read_settings(options: argparse.Namespace) -> tuple[config.Config, Layout]:
    """Returns the configuration that ``--config`` names, and where its results lie."""
    settings = load(options.config)
    return settings, Layout(Path(settings.output), Path(settings.downloads))


def find_entry(known: Mapping[str, EntryT], section: str, name: str) -> EntryT:
    """Returns the entry of that name of a section.

    Raises:
        ConfigError: If there is none.
    """
    if name not in known:
        raise ConfigError(
            f"{section}: no entry named '{name}'.{did_you_mean(name, known)} Known: {', '.join(known) or 'none'}"
        )
    return known[name]


def say(text: str) -> None:
    """Prints a line at once, also into a pipe."""
    print(text, flush=True)


def label(options: argparse.Namespace) -> None:
    """Make structures and label them with a quantum-chemistry engine.

    Resumable, parallel over cores, the same file for the same seed. Writes extended XYZ in eV and Å and a
    summary (.json) that counts what was rejected and why. Needs the extra `label` (tblite) or `pyscf`.

    example: lorem-openmm label dimers_xtb --processes 2
    """
    from lorem_openmm.label.label_dataset import label_dataset
    from lorem_openmm.sampling.plans import create_plan

    settings, layout = read_settings(options)
    dataset = find_entry(settings.datasets, "datasets", options.dataset)
    if dataset.label is None:
        raise ConfigError(f"datasets.{options.dataset}: has no `label` section, so there is nothing to label")
    output = layout.labels(options.dataset)
    with claim(output):
        summary = label_dataset(create_plan(dataset.label), output, settings.seed, options.processes)
    say(f"{output}: {summary['kept']} frames kept, {sum(summary['rejected'].values())} rejected {summary['rejected']}")


def fetch(options: argparse.Namespace) -> None:
    """Download a published data set of the paper, or list them.

    Resumes cut downloads, checks them, and writes extended XYZ in eV and Å. Without a name it lists what there
    is. Without network it says which file to put where by hand. Checksums of first downloads are kept
    in checksums.json.

    example: lorem-openmm fetch biodimers
    """
    from lorem_openmm.published.fetch import describe, fetch

    if options.name is None:
        say(describe(options.to))
        return
    output = Layout(Path(), options.to).fetched(options.name)
    summary = fetch(options.name, options.to, output)
    say(f"{output}: {summary['n_structures']} structures; {output.with_suffix('.json')}")
    if summary["published_structures"] not in (None, summary["n_structures"]):
        say(f"note: the set was published with {summary['published_structures']} structures")
    say(f"licence: {summary['licence']}; cite: {'; '.join(summary['citations'])}")


def prepare(options: argparse.Namespace) -> None:
    """Check a data set, split it, list its neighbours, and store it.

    Reads extended XYZ (info: energy in eV; array: forces in eV/Å; other keys: see the configuration) and
    refuses missing or odd labels, naming file and frame.

    example: lorem-openmm prepare dimers_xtb
    """
    from lorem_openmm.data.prepare import largest_cutoff, prepare_dataset
    from lorem_openmm.data.workers import available_cores

    settings, layout = read_settings(options)
    dataset = find_entry(settings.datasets, "datasets", options.dataset)
    made = layout.labels(options.dataset) if dataset.label is not None else None
    if dataset.registry is not None:
        made = layout.fetched(dataset.registry)
    output = layout.store(options.dataset)
    cutoff, processes = largest_cutoff(settings, options.dataset), options.processes or available_cores()
    with claim(output):
        report = prepare_dataset(dataset, options.dataset, made, cutoff, output, processes)
    counts = ", ".join(f"{number} {split}" for split, number in report["counts"].items() if split != "all")
    say(f"{output}: {counts}; report: {output.with_suffix('.json')}")
    for text in report["warnings"]:
        say(f"warning: {text}")


def train(options: argparse.Namespace) -> None:
    """Train a model, or continue an interrupted training.

    Shows a progress bar on a terminal; writes metrics.csv, train.log and TensorBoard files either way.
    Interrupt it as you like: the same command continues.

    example: lorem-openmm train dimers
             lorem-openmm train dimers --devices 4   # 4 GPUs, or 4 processes on a CPU: the same result sooner
    """
    settings, layout = read_settings(options)
    run = find_entry(settings.runs, "runs", options.name)
    from lorem_openmm.training.train import train as run_training

    stores = [layout.store(name) for name in run.datasets]
    initial = None
    if run.initial_model is not None:
        from lorem_openmm.integrations.initial_model import read_initial_model

        initial = read_initial_model(run.initial_model)
    result = run_training(
        settings,
        options.name,
        stores,
        layout.run(options.name),
        options.device,
        devices=options.devices,
        nodes=options.nodes,
        initial=initial,
    )
    if result.rank > 0:  # process 0 says and writes what is to be said and written
        return
    write_json(layout.run(options.name) / "result.json", {"epoch": result.epoch, "metrics": result.metrics})
    say(f"{result.output}: best epoch {result.epoch}")


def export(options: argparse.Namespace) -> None:
    """Write the selected weights of a run as model files.

    Writes model.safetensors (weights and metadata) and model.pt (TorchScript with the same metadata).

    example: lorem-openmm export dimers
    """
    from lorem_openmm.export import save
    from lorem_openmm.training.checkpoints import load_best
    from lorem_openmm.training.evaluate import training_record

    settings, layout = read_settings(options)
    run = find_entry(settings.runs, "runs", options.name)
    with claim(layout.model(options.name)):
        potential, _ = load_best(layout.run(options.name))
        record = {"description": run.description, **training_record(settings, options.name, layout)}
        for suffix in (".safetensors", ".pt"):
            path = layout.model(options.name, suffix)
            save(potential, path, record)
            say(str(path))


def evaluate(options: argparse.Namespace) -> None:
    """Errors, parity plots and energy curves of a trained run.

    RMSE and MAE of energies (meV/atom) and forces (meV/Å) on every split, per class and per separation.

    example: lorem-openmm evaluate dimers
    """
    from lorem_openmm.training.evaluate import evaluate_run

    settings, layout = read_settings(options)
    find_entry(settings.runs, "runs", options.name)
    with claim(layout.evaluation(options.name)):
        evaluate_run(settings, options.name, layout, options.device)
    say(str(layout.evaluation(options.name)))


def compare(options: argparse.Namespace) -> None:
    """Tables and figures that put evaluated runs side by side.

    example: lorem-openmm compare dimers dimers_short
    """
    from lorem_openmm.training.compare import compare_runs

    settings, layout = read_settings(options)
    for name in options.names:
        find_entry(settings.runs, "runs", name)
    with claim(layout.comparison):
        compare_runs(settings, options.names, layout)
    say(str(layout.comparison))


def study(options: argparse.Namespace) -> None:
    """A table or figure of the paper, from trained runs and a data set of the right kind.

    Errors, errors by class, dihedral, distance and reaction profiles, cutoffs against layers, degrees of the
    charges, rotations: see the kinds of `studies` in `lorem-openmm schema`. All: snakemake paper_all

    example: lorem-openmm study table2 --config config/cumulene.yaml
    """
    from lorem_openmm.paper.sections import ConfigWithStudies
    from lorem_openmm.paper.studies import run_study
    from lorem_openmm.tables import as_markdown

    whole, layout = read_settings(options)
    settings = cast(ConfigWithStudies, whole)
    find_entry(settings.studies, "studies", options.name)
    with claim(layout.study(options.name)):
        rows = run_study(settings, options.name, layout, options.device)
    say(as_markdown(rows))
    say(str(layout.study(options.name)))


def import_jax(options: argparse.Namespace) -> None:
    """Convert a lorem-jax checkpoint; needs no JAX.

    CHECKPOINT is the folder that holds model/model.yaml, model/model.msgpack and model/baseline.yaml.

    example: lorem-openmm import-jax run/checkpoints/R2_E+F water.safetensors
    """
    from lorem_openmm.export import save
    from lorem_openmm.integrations.lorem_jax import import_checkpoint
    from lorem_openmm.model import Lorem
    from lorem_openmm.potential import Potential

    hyperparameters, weights, baseline = import_checkpoint(options.checkpoint, options.vacuum_potential_scale)
    model = Lorem(hyperparameters)
    model.load_state_dict(weights)
    source = {"format": "lorem-jax", "vacuum_potential_scale": options.vacuum_potential_scale}
    save(Potential(model, baseline), options.output, {"imported_from": source})
    say(str(options.output))


def info(options: argparse.Namespace) -> None:
    """What a model file holds, or what is installed.

    With a model file: hyper-parameters, elements, units, training, errors. Without: versions and whether
    TorchForce works here.

    example: lorem-openmm info results/models/dimers.safetensors
    """
    if options.model is not None:
        from lorem_openmm.export import read_metadata

        say(json.dumps(read_metadata(options.model), indent=2, ensure_ascii=False))
        return
    say(f"python {platform.python_version()}")
    for package in PACKAGES:
        try:
            say(f"{package} {version(package)}")
        except PackageNotFoundError:
            say(f"{package} not installed")
    from lorem_openmm.integrations.torchforce import check_torchforce

    try:
        check_torchforce()
        say("TorchForce: works")
    except InstallationError as error:
        say(f"TorchForce: {error}")


def schema(options: argparse.Namespace) -> None:
    """Print the JSON Schema of the configuration.

    Every key with its type, default and meaning; editors use it to complete and check YAML.

    example: lorem-openmm schema --output schema.json
    """
    document = config_class().model_json_schema()
    if options.output is None:
        say(json.dumps(document, indent=2, ensure_ascii=False))
    elif not (options.output.is_file() and read_json(options.output) == document):
        write_json(options.output, document)
