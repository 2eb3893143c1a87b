"""Structures and their quantum-chemical energies and forces."""


rule label:
    output:
        structures=LAYOUT.labels("{dataset}"),
        summary=LAYOUT.labels("{dataset}").with_suffix(".json"),
    log:
        LAYOUT.root / "logs" / "label" / "{dataset}.log",
    # Takes all cores: after trainings of other data sets, which would leave some idle, everything else would wait.
    priority: 1
    conda:
        "../envs/run.yaml"
    threads: workflow.cores or 1
    params:
        config=str(LAYOUT.config),
        section=lambda wildcards: section("datasets", wildcards.dataset),
        seed=CONFIG.seed,
    shell:
        "lorem-openmm label {wildcards.dataset:q} --config {params.config:q} --processes {threads} 2>&1 | tee {log:q}"
