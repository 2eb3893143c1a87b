"""Errors and figures of trained runs, one by one and side by side."""


rule evaluate:
    input:
        stores,
        result=LAYOUT.run("{run}") / "result.json",
    output:
        report(
            directory(LAYOUT.evaluation("{run}")),
            patterns=["{figure}.png", "{figure,table}.csv"],
            caption="report/evaluation.rst",
            category="2 Evaluation",
            subcategory="{run}",
            labels={"file": "{figure}"},
        ),
    log:
        LAYOUT.root / "logs" / "evaluate" / "{run}.log",
    conda:
        "../envs/run.yaml"
    params:
        config=str(LAYOUT.config),
    shell:
        "lorem-openmm evaluate {wildcards.run:q} --config {params.config:q} 2>&1 | tee {log:q}"


rule compare:
    input:
        TARGETS.evaluations,
    output:
        report(
            directory(LAYOUT.comparison),
            patterns=["{figure}.png", "{figure,errors}.csv"],
            caption="report/comparison.rst",
            category="3 What long range buys",
            labels={"file": "{figure}"},
        ),
    log:
        LAYOUT.root / "logs" / "compare.log",
    conda:
        "../envs/run.yaml"
    params:
        config=str(LAYOUT.config),
        runs=list(CONFIG.runs),
    shell:
        "lorem-openmm compare {params.runs:q} --config {params.config:q} 2>&1 | tee {log:q}"
