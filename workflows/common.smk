"""The checked configuration, where everything is, and what the targets are."""

from pathlib import Path
from types import SimpleNamespace

from lorem_openmm import config as settings, inputs
from lorem_openmm.errors import ConfigError
from lorem_openmm.files import write_json
from lorem_openmm.layout import Layout
from lorem_openmm.whole_config import config_class

if set("{}") & set(str(workflow.basedir)):
    raise ConfigError(
        f"{workflow.basedir}: the folder of the workflow must not have braces in its path, which Snakemake takes for "
        "wildcards; move or rename it"
    )
# Stricter than Snakemake, which takes the last of two equal keys.
for file in workflow.configfiles:
    settings.read_yaml(file)
CONFIG = settings.parse(config_class(), config, "configuration")
LAYOUT = Layout(Path(CONFIG.output), Path(CONFIG.downloads))
inputs.check_given(CONFIG, LAYOUT)

TARGETS = SimpleNamespace(
    labels=[
        LAYOUT.labels(name)
        for name, dataset in CONFIG.datasets.items()
        if dataset.label
    ],
    fetched=sorted(
        {
            LAYOUT.fetched(dataset.registry)
            for dataset in CONFIG.datasets.values()
            if dataset.registry
        }
    ),
    evaluations=[LAYOUT.evaluation(run) for run in CONFIG.runs],
    models=[
        LAYOUT.model(run, suffix)
        for run in CONFIG.runs
        for suffix in (".safetensors", ".pt")
    ],
    simulations=[
        LAYOUT.simulation(name) / "summary.json" for name in CONFIG.simulations
    ],
    analyses=[LAYOUT.analysis(name) for name in CONFIG.simulations],
    studies=[LAYOUT.study(name) for name in CONFIG.studies],
    windows=[
        LAYOUT.window(name, index) / "summary.json"
        for name, umbrella in CONFIG.umbrellas.items()
        for index in range(umbrella.num_windows)
    ],
    free_energies=[LAYOUT.free_energy(name) for name in CONFIG.umbrellas],
)
TARGETS.all = (
    TARGETS.evaluations
    + [LAYOUT.comparison]
    + TARGETS.models
    + TARGETS.analyses
    + TARGETS.studies
    + TARGETS.free_energies
    + [LAYOUT.verdict]
)


report: "report/workflow.rst"


wildcard_constraints:
    dataset="[^/]+",
    registry="[^/]+",
    run="[^/]+",
    simulation="[^/]+",
    study="[^/]+",
    umbrella="[^/]+",
    window=r"\d+",


onstart:
    write_json(LAYOUT.config, CONFIG.model_dump(mode="json"))


def section(kind, name):
    """The part of the configuration a job depends on; a change of it makes the job run again."""
    return getattr(CONFIG, kind)[name].model_dump_json()


def sources(wildcards):
    """Files a data set is read from: its labels, what was fetched, or the user's own."""
    dataset = CONFIG.datasets[wildcards.dataset]
    if dataset.label:
        return [LAYOUT.labels(wildcards.dataset)]
    if dataset.registry:
        return [LAYOUT.fetched(dataset.registry)]
    return inputs.dataset_files(dataset)


def given(section, wildcard):
    """Files that the user gives to an entry of a section, as a function of a job's wildcards."""
    find = {
        "datasets": inputs.dataset_files,
        "studies": lambda study: study.model_files,
    }
    return lambda wildcards: find.get(section, inputs.dynamics_files)(
        getattr(CONFIG, section)[wildcards[wildcard]]
    )


def contents(files):
    """What is in these files, as a function of a job's wildcards; a change of it makes the job run again."""
    return lambda wildcards: inputs.contents(files(wildcards), LAYOUT)


def stores(wildcards):
    """Prepared data sets of a run."""
    return [LAYOUT.store(name) for name in CONFIG.runs[wildcards.run].datasets]


def study_inputs(wildcards):
    """Runs, data sets and evaluations that a study reads."""
    study = CONFIG.studies[wildcards.study]
    files = [LAYOUT.run(run) / "result.json" for run in study.runs]
    files += study.model_files
    if study.kind in ("errors", "classes", "charge_degree"):
        files += [LAYOUT.evaluation(run) for run in study.runs]
    if hasattr(study, "dataset"):
        files.append(LAYOUT.store(study.dataset))
    return files
