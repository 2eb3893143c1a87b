"""Training and model files. Checkpoints are not outputs, so that an interrupted training finds them again."""


rule train:
    input:
        stores,
    output:
        LAYOUT.run("{run}") / "result.json",
    params:
        model=lambda wildcards: section("models", CONFIG.runs[wildcards.run].model),
        training=lambda wildcards: section("training", CONFIG.runs[wildcards.run].training),
    log:
        LAYOUT.root / "logs" / "train" / "{run}.log",
    threads: workflow.cores or 1
    resources:
        gpu=1,
    shell:
        "{COMMAND} train {wildcards.run} {IN_FORCE} 2> >(tee {log} >&2)"


rule export:
    input:
        stores,
        result=LAYOUT.run("{run}") / "result.json",
        metrics=LAYOUT.evaluation("{run}") / "metrics.json",
    output:
        safetensors=LAYOUT.model("{run}", ".safetensors"),
        torchscript=LAYOUT.model("{run}", ".pt"),
    log:
        LAYOUT.root / "logs" / "export" / "{run}.log",
    shell:
        "{COMMAND} export {wildcards.run} {IN_FORCE} 2>&1 | tee {log}"
