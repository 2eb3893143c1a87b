"""LOREM for OpenMM: from labels to trajectories. `snakemake train_all --cores 2` runs everything."""

# A file given with --configfile takes the place of the default one; Snakemake alone would merge the two.
if not workflow.configfiles:

    configfile: "config/config.yaml"


include: "workflows/common.smk"
include: "workflows/label.smk"
include: "workflows/fetch.smk"
include: "workflows/data.smk"
include: "workflows/train.smk"
include: "workflows/evaluate.smk"
include: "workflows/paper.smk"
include: "workflows/simulate.smk"
include: "workflows/free_energy.smk"
include: "workflows/verdict.smk"
include: "workflows/report.smk"


rule train_all:
    default_target: True
    input:
        LAYOUT.report,
        TARGETS.all,


rule label_all:
    input:
        TARGETS.labels,


rule fetch_all:
    input:
        TARGETS.fetched,


rule evaluate_all:
    input:
        TARGETS.evaluations,
        LAYOUT.comparison,


rule export_all:
    input:
        TARGETS.models,


rule simulate_all:
    input:
        TARGETS.simulations,


rule analyze_all:
    input:
        TARGETS.analyses,


rule free_energy_all:
    input:
        TARGETS.free_energies,


rule paper_all:
    input:
        TARGETS.studies,
