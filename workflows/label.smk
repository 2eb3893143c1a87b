"""Structures and their quantum-chemical energies and forces."""


rule label:
    output:
        structures=LAYOUT.labels("{dataset}"),
        summary=LAYOUT.labels("{dataset}").with_suffix(".json"),
    params:
        section=lambda wildcards: section("datasets", wildcards.dataset),
        seed=CONFIG.seed,
    log:
        LAYOUT.root / "logs" / "label" / "{dataset}.log",
    threads: workflow.cores or 1
    shell:
        "{COMMAND} label {wildcards.dataset} {IN_FORCE} --processes {threads} 2>&1 | tee {log}"
