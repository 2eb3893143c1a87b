"""What the commands do: read the configuration, call one function, say what was made.

Imports are inside the functions, so that ``--help`` answers without loading PyTorch or OpenMM.
"""
# ruff: noqa: PLC0415

import argparse
import json
import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TypeVar, cast

from lorem_openmm import config
from lorem_openmm.errors import ConfigError, InstallationError, VerdictError, did_you_mean
from lorem_openmm.files import read_json, write_json
from lorem_openmm.layout import Layout
from lorem_openmm.outputs import claim
from lorem_openmm.whole_config import config_class, load

EntryT = TypeVar("EntryT")
PACKAGES = (
    "lorem-openmm",
    "torch",
    "openmm",
    "openmmml",
    "openmmtorch",
    "vesin",
    "tblite",
    "mdtraj",
)


def _read(options: argparse.Namespace) -> tuple[config.Config, Layout]:
    settings = load(options.config)
    return settings, Layout(Path(settings.output), Path(settings.downloads))


def _entry(known: Mapping[str, EntryT], section: str, name: str) -> EntryT:
    if name not in known:
        raise ConfigError(
            f"{section}: no entry named '{name}'.{did_you_mean(name, known)} Known: {', '.join(known) or 'none'}"
        )
    return known[name]


def _say(text: str) -> None:
    print(text, flush=True)


def label(options: argparse.Namespace) -> None:
    """``lorem-openmm label``."""
    from lorem_openmm.label.label_dataset import label_dataset
    from lorem_openmm.sampling.plans import create_plan

    settings, layout = _read(options)
    dataset = _entry(settings.datasets, "datasets", options.dataset)
    if dataset.label is None:
        raise ConfigError(f"datasets.{options.dataset}: has no `label` section, so there is nothing to label")
    output = layout.labels(options.dataset)
    with claim(output):
        summary = label_dataset(create_plan(dataset.label), output, settings.seed, options.processes)
    _say(f"{output}: {summary['kept']} frames kept, {sum(summary['rejected'].values())} rejected {summary['rejected']}")


def fetch(options: argparse.Namespace) -> None:
    """``lorem-openmm fetch``."""
    from lorem_openmm.published.fetch import describe, fetch

    if options.name is None:
        _say(describe(options.to))
        return
    output = Layout(Path(), options.to).fetched(options.name)
    summary = fetch(options.name, options.to, output)
    _say(f"{output}: {summary['n_structures']} structures; {output.with_suffix('.json')}")
    if summary["published_structures"] not in (None, summary["n_structures"]):
        _say(f"note: the set was published with {summary['published_structures']} structures")
    _say(f"licence: {summary['licence']}; cite: {'; '.join(summary['citations'])}")


def prepare(options: argparse.Namespace) -> None:
    """``lorem-openmm prepare``."""
    from lorem_openmm.data.prepare import largest_cutoff, prepare_dataset
    from lorem_openmm.data.workers import available_cores

    settings, layout = _read(options)
    dataset = _entry(settings.datasets, "datasets", options.dataset)
    made = layout.labels(options.dataset) if dataset.label is not None else None
    if dataset.registry is not None:
        made = layout.fetched(dataset.registry)
    output = layout.store(options.dataset)
    cutoff, processes = largest_cutoff(settings, options.dataset), options.processes or available_cores()
    with claim(output):
        report = prepare_dataset(dataset, options.dataset, made, cutoff, output, processes)
    counts = ", ".join(f"{number} {split}" for split, number in report["counts"].items() if split != "all")
    _say(f"{output}: {counts}; report: {output.with_suffix('.json')}")
    for text in report["warnings"]:
        _say(f"warning: {text}")


def train(options: argparse.Namespace) -> None:
    """``lorem-openmm train``."""
    settings, layout = _read(options)
    run = _entry(settings.runs, "runs", options.name)
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
    _say(f"{result.output}: best epoch {result.epoch}")


def export(options: argparse.Namespace) -> None:
    """``lorem-openmm export``."""
    from lorem_openmm.export import save
    from lorem_openmm.training.checkpoints import load_best
    from lorem_openmm.training.evaluate import training_record

    settings, layout = _read(options)
    run = _entry(settings.runs, "runs", options.name)
    with claim(layout.model(options.name)):
        potential, _ = load_best(layout.run(options.name))
        record = {"description": run.description, **training_record(settings, options.name, layout)}
        for suffix in (".safetensors", ".pt"):
            path = layout.model(options.name, suffix)
            save(potential, path, record)
            _say(str(path))


def evaluate(options: argparse.Namespace) -> None:
    """``lorem-openmm evaluate``."""
    from lorem_openmm.training.evaluate import evaluate_run

    settings, layout = _read(options)
    _entry(settings.runs, "runs", options.name)
    with claim(layout.evaluation(options.name)):
        evaluate_run(settings, options.name, layout, options.device)
    _say(str(layout.evaluation(options.name)))


def compare(options: argparse.Namespace) -> None:
    """``lorem-openmm compare``."""
    from lorem_openmm.training.compare import compare_runs

    settings, layout = _read(options)
    for name in options.names:
        _entry(settings.runs, "runs", name)
    with claim(layout.comparison):
        compare_runs(settings, options.names, layout)
    _say(str(layout.comparison))


def study(options: argparse.Namespace) -> None:
    """``lorem-openmm study``."""
    from lorem_openmm.paper.sections import ConfigWithStudies
    from lorem_openmm.paper.studies import run_study
    from lorem_openmm.tables import as_markdown

    whole, layout = _read(options)
    settings = cast(ConfigWithStudies, whole)
    _entry(settings.studies, "studies", options.name)
    with claim(layout.study(options.name)):
        rows = run_study(settings, options.name, layout, options.device)
    _say(as_markdown(rows))
    _say(str(layout.study(options.name)))


def import_jax(options: argparse.Namespace) -> None:
    """``lorem-openmm import-jax``."""
    from lorem_openmm.export import save
    from lorem_openmm.integrations.lorem_jax import import_checkpoint
    from lorem_openmm.model import Lorem
    from lorem_openmm.potential import Potential

    hyperparameters, weights, baseline = import_checkpoint(options.checkpoint, options.vacuum_potential_scale)
    model = Lorem(hyperparameters)
    model.load_state_dict(weights)
    source = {"format": "lorem-jax", "vacuum_potential_scale": options.vacuum_potential_scale}
    save(Potential(model, baseline), options.output, {"imported_from": source})
    _say(str(options.output))


def simulate(options: argparse.Namespace) -> None:
    """``lorem-openmm simulate``."""
    from lorem_openmm.simulate.simulation import simulate as run_simulation

    settings, layout = _read(options)
    simulation = _entry(settings.simulations, "simulations", options.name)
    model = options.model or layout.model(simulation.run)
    summary = run_simulation(simulation, model, layout.simulation(options.name), options.device, not options.restart)
    _say(json.dumps(summary, indent=2, ensure_ascii=False))
    _say_verdict(summary)


def _say_verdict(summary: dict[str, Any]) -> None:
    from lorem_openmm.simulate.verdict import Verdict

    if summary.get("verdict"):  # runs of earlier versions have none
        _say(f"verdict: {Verdict.of(summary['verdict']).describe()}")


def nve(options: argparse.Namespace) -> None:
    """``lorem-openmm nve``."""
    from lorem_openmm.simulate.nve import nve_test

    result = nve_test(options.model, options.start, options.timestep, options.steps, options.precision)
    _say(json.dumps(result.summary(), indent=2, ensure_ascii=False))


def analyze(options: argparse.Namespace) -> None:
    """``lorem-openmm analyze``."""
    from lorem_openmm.analysis.analyze import analyze as run_analysis

    settings, layout = _read(options)
    _entry(settings.simulations, "simulations", options.name)
    with claim(layout.analysis(options.name)):
        summary = run_analysis(layout.simulation(options.name), layout.analysis(options.name))
    _say_verdict(summary)
    _say(str(layout.analysis(options.name)))


def window(options: argparse.Namespace) -> None:
    """``lorem-openmm window``."""
    from lorem_openmm.simulate.simulation import simulate as run_simulation

    settings, layout = _read(options)
    umbrella = _entry(settings.umbrellas, "umbrellas", options.name)
    model = options.model or layout.model(umbrella.run)
    output = layout.window(options.name, options.index)
    summary = run_simulation(umbrella.window(options.index), model, output, options.device, not options.restart)
    _say_verdict(summary)
    _say(f"{output}: {umbrella.coordinate} held at {umbrella.centers()[options.index]:.2f} Å, {umbrella.steps} steps")


def free_energy(options: argparse.Namespace) -> None:
    """``lorem-openmm free-energy``."""
    from lorem_openmm.analysis.free_energy import free_energy as run_analysis

    settings, layout = _read(options)
    umbrella = _entry(settings.umbrellas, "umbrellas", options.name)
    folders = [layout.window(options.name, index) for index in range(umbrella.num_windows)]
    model, output = options.model or layout.model(umbrella.run), layout.free_energy(options.name)
    with claim(output):
        summary = run_analysis(umbrella, folders, model, output, options.device)
    for name in ("barrier", "reverse_barrier", "reaction", "well_depth"):
        if name in (summary["free_energy"] or ()):
            found = summary["free_energy"][name]
            _say(f"{name}: {found['ev']:.3f} ± {found['error_ev']:.3f} eV")
    for text in summary["warnings"]:
        _say(f"warning: {text}")
    _say(str(output))


def verdict(options: argparse.Namespace) -> None:
    """``lorem-openmm verdict``."""
    from lorem_openmm.verdict.judge import PAGE, judge

    settings, layout = _read(options)
    with claim(layout.verdict):
        found = judge(settings, layout)
    for line in found["lines"]:
        if line["counts"] and line["status"] in ("fail", "missing"):
            word = "FAIL" if line["status"] == "fail" else "not made yet"
            parts = (line["subject"], line["check"], line["value"], line["limit"] and f"needed: {line['limit']}")
            _say(f"{word}: {', '.join(part for part in parts if part)}. {line['reason']}".rstrip(" ."))
    _say(f"{layout.verdict / PAGE}: {found['headline']}")
    if options.strict and not found["all_pass"]:
        raise VerdictError(f"{layout.verdict / PAGE}: with --strict every check must pass; {found['headline']}")


def info(options: argparse.Namespace) -> None:
    """``lorem-openmm info``."""
    if options.model is not None:
        from lorem_openmm.export import read_metadata

        _say(json.dumps(read_metadata(options.model), indent=2, ensure_ascii=False))
        return
    _say(f"python {platform.python_version()}")
    for package in PACKAGES:
        try:
            _say(f"{package} {version(package)}")
        except PackageNotFoundError:
            _say(f"{package} not installed")
    from lorem_openmm.integrations.torchforce import check_torchforce

    try:
        check_torchforce()
        _say("TorchForce: works")
    except InstallationError as error:
        _say(f"TorchForce: {error}")


def schema(options: argparse.Namespace) -> None:
    """``lorem-openmm schema``."""
    document = config_class().model_json_schema()
    if options.output is None:
        _say(json.dumps(document, indent=2, ensure_ascii=False))
    elif not (options.output.is_file() and read_json(options.output) == document):
        write_json(options.output, document)
