"""One HTML file with all figures and tables."""


rule report:
    input:
        TARGETS.all,
    output:
        LAYOUT.report,
    log:
        LAYOUT.root / "logs" / "report.log",
    conda:
        "../envs/run.yaml"
    params:
        config=str(LAYOUT.config),
        snakefile=workflow.main_snakefile,
    # The report is read off the finished jobs; --nolock because this workflow itself holds the lock.
    shell:
        "snakemake figures_all --snakefile {params.snakefile:q} --configfile {params.config:q}"
        " --cores 1 --report {output:q} --nolock &> {log:q}"


rule figures_all:
    input:
        TARGETS.all,
