"""Checked, divided data sets with neighbour lists."""

from lorem_openmm.data.prepare import largest_cutoff


rule prepare:
    input:
        sources,
    output:
        store=LAYOUT.store("{dataset}"),
        report=LAYOUT.store("{dataset}").with_suffix(".json"),
    log:
        LAYOUT.root / "logs" / "prepare" / "{dataset}.log",
    conda:
        "../envs/run.yaml"
    threads: workflow.cores or 1
    params:
        config=str(LAYOUT.config),
        section=lambda wildcards: section("datasets", wildcards.dataset),
        contents=contents(given("datasets", "dataset")),
        cutoff=lambda wildcards: largest_cutoff(CONFIG, wildcards.dataset),
    shell:
        "lorem-openmm prepare {wildcards.dataset:q} --config {params.config:q} --processes {threads} 2>&1 | tee {log:q}"
