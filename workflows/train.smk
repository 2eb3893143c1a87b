"""Training and model files. Checkpoints are not outputs, so that an interrupted training finds them again."""


rule train:
    input:
        stores,
        initial=lambda wildcards: CONFIG.runs[wildcards.run].initial_files,
    output:
        LAYOUT.run("{run}") / "result.json",
    log:
        LAYOUT.root / "logs" / "train" / "{run}.log",
    conda:
        "../envs/run.yaml"
    # Small batches do not feed many threads: the cores are shared out over the runs.
    threads: max(1, (workflow.cores or 1) // len(CONFIG.runs))
    resources:
        gpu=1,
    params:
        config=str(LAYOUT.config),
        model=lambda wildcards: section("models", CONFIG.runs[wildcards.run].model),
        training=lambda wildcards: section(
            "training", CONFIG.runs[wildcards.run].training
        ),
        initial=lambda wildcards: CONFIG.runs[wildcards.run].model_dump_json(
            include={"datasets", "initial_model", "keep_baseline"}
        ),
        contents=contents(lambda wildcards: CONFIG.runs[wildcards.run].initial_files),
    # How many devices a machine has belongs in its profile, as the resource `gpu`: not being a parameter, it can change
    # without training anew.
    shell:
        "lorem-openmm train {wildcards.run:q} --config {params.config:q} --devices {resources.gpu}"
        " 2> >(tee {log:q} >&2)"


rule export:
    input:
        stores,
        result=LAYOUT.run("{run}") / "result.json",
        evaluation=LAYOUT.evaluation("{run}"),
    output:
        safetensors=LAYOUT.model("{run}", ".safetensors"),
        torchscript=LAYOUT.model("{run}", ".pt"),
    log:
        LAYOUT.root / "logs" / "export" / "{run}.log",
    conda:
        "../envs/run.yaml"
    params:
        config=str(LAYOUT.config),
        section=lambda wildcards: section("runs", wildcards.run),
    shell:
        "lorem-openmm export {wildcards.run:q} --config {params.config:q} 2>&1 | tee {log:q}"
