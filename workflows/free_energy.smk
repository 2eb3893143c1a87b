"""Umbrella sampling: one job per window, then the free-energy profile from all of them."""


rule window:
    input:
        given("umbrellas", "umbrella"),
        model=lambda wildcards: LAYOUT.model(CONFIG.umbrellas[wildcards.umbrella].run),
    output:
        summary=LAYOUT.window("{umbrella}", "{window}") / "summary.json",
        trajectory=LAYOUT.window("{umbrella}", "{window}") / "trajectory.dcd",
        topology=LAYOUT.window("{umbrella}", "{window}") / "topology.pdb",
        state=LAYOUT.window("{umbrella}", "{window}") / "state.csv",
    log:
        LAYOUT.root / "logs" / "window" / "{umbrella}-{window}.log",
    conda:
        "../envs/run.yaml"
    resources:
        gpu=1,
    params:
        config=str(LAYOUT.config),
        # Of this window alone: what changes for others leaves it as it is.
        section=lambda wildcards: CONFIG.umbrellas[wildcards.umbrella]
        .window(int(wildcards.window))
        .model_dump_json(),
        contents=contents(given("umbrellas", "umbrella")),
    shell:
        "lorem-openmm window {wildcards.umbrella:q} {wildcards.window:q} --config {params.config:q} --model {input.model:q}"
        " 2>&1 | tee {log:q}"


rule free_energy:
    input:
        lambda wildcards: [
            LAYOUT.window(wildcards.umbrella, index) / file
            for index in range(CONFIG.umbrellas[wildcards.umbrella].num_windows)
            for file in ("summary.json", "trajectory.dcd", "topology.pdb", "state.csv")
        ],
        given("umbrellas", "umbrella"),
        model=lambda wildcards: LAYOUT.model(CONFIG.umbrellas[wildcards.umbrella].run),
    output:
        report(
            directory(LAYOUT.free_energy("{umbrella}")),
            patterns=["{figure}.png", "{figure}.csv"],
            caption="report/free_energy.rst",
            category="5 Free energies",
            subcategory="{umbrella}",
            labels={"file": "{figure}"},
        ),
    log:
        LAYOUT.root / "logs" / "free_energy" / "{umbrella}.log",
    conda:
        "../envs/run.yaml"
    params:
        config=str(LAYOUT.config),
        section=lambda wildcards: section("umbrellas", wildcards.umbrella),
    shell:
        "lorem-openmm free-energy {wildcards.umbrella:q} --config {params.config:q} --model {input.model:q}"
        " 2>&1 | tee {log:q}"
