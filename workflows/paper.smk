"""Tables and figures of the paper, on whatever data sets the studies of the configuration name."""


rule study:
    input:
        study_inputs,
    output:
        report(
            directory(LAYOUT.study("{study}")),
            patterns=["{figure}.png", "{figure,table}.csv"],
            caption="report/study.rst",
            category="6 Studies",
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
        contents=contents(given("studies", "study")),
    shell:
        "lorem-openmm study {wildcards.study:q} --config {params.config:q} 2>&1 | tee {log:q}"
