"""Checked, divided data sets with neighbour lists."""

from lorem_openmm.data.prepare import largest_cutoff


rule prepare:
    input:
        sources,
    output:
        store=LAYOUT.store("{dataset}"),
        report=LAYOUT.store("{dataset}").with_suffix(".json"),
    params:
        section=lambda wildcards: section("datasets", wildcards.dataset),
        cutoff=lambda wildcards: largest_cutoff(CONFIG, wildcards.dataset),
    log:
        LAYOUT.root / "logs" / "prepare" / "{dataset}.log",
    shell:
        "{COMMAND} prepare {wildcards.dataset} {IN_FORCE} 2>&1 | tee {log}"
