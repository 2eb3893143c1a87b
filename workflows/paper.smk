"""Tables and figures of the paper, on whatever data sets the studies of the configuration name."""


def study_inputs(wildcards):
    """Runs, data sets and evaluations that a study reads."""
    study = CONFIG.studies[wildcards.study]
    files = [LAYOUT.run(run) / "result.json" for run in study.runs]
    if study.kind in ("errors", "classes", "charge_degree"):
        files += [LAYOUT.evaluation(run) for run in study.runs]
    if hasattr(study, "dataset"):
        files.append(LAYOUT.store(study.dataset))
    return files


rule study:
    input:
        study_inputs,
    output:
        report(
            directory(LAYOUT.study("{study}")),
            patterns=["{figure}.png", "{figure,table}.csv"],
            caption="report/study.rst",
            category="Studies",
            subcategory="{study}",
            labels={"file": "{figure}"},
        ),
    log:
        LAYOUT.root / "logs" / "study" / "{study}.log",
    conda:
        "../envs/run.yaml"
    params:
        config=str(LAYOUT.config),
        section=lambda wildcards: section("studies", wildcards.study),
    shell:
        "lorem-openmm study {wildcards.study} --config {params.config} 2>&1 | tee {log}"
