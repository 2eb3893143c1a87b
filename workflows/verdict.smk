"""Whether what was made is fit for use; opens the report."""


rule verdict:
    input:
        [LAYOUT.store(name).with_suffix(".json") for name in CONFIG.datasets],
        [LAYOUT.run(name) / "result.json" for name in CONFIG.runs],
        TARGETS.evaluations,
        [LAYOUT.model(name) for name in CONFIG.runs],
        TARGETS.simulations,
        TARGETS.analyses,
        TARGETS.windows,
        TARGETS.free_energies,
    output:
        report(
            directory(LAYOUT.verdict),
            patterns=["{figure}.{kind,png}", "{figure,verdict}.{kind,csv|html}"],
            caption="report/verdict.rst",
            category="1 Verdict",
            labels={"file": "{figure}.{kind}"},
        ),
    log:
        LAYOUT.root / "logs" / "verdict.log",
    conda:
        "../envs/run.yaml"
    params:
        config=str(LAYOUT.config),
    shell:
        "lorem-openmm verdict --config {params.config:q} 2>&1 | tee {log:q}"
