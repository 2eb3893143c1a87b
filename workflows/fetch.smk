"""Published data sets. Downloads are not outputs, so that a cut one is continued and files put by hand are found."""


rule fetch:
    output:
        structures=LAYOUT.fetched("{registry}"),
        summary=LAYOUT.fetched("{registry}").with_suffix(".json"),
    log:
        LAYOUT.root / "logs" / "fetch" / "{registry}.log",
    # Compute nodes often have no network.
    localrule: True
    conda:
        "../envs/run.yaml"
    params:
        folder=subpath(output.structures, parent=True),
    shell:
        "lorem-openmm fetch {wildcards.registry:q} --to {params.folder:q} 2>&1 | tee {log:q}"
