"""Molecular dynamics in OpenMM and what mdtraj makes of the trajectories."""


rule simulate:
    input:
        given("simulations", "simulation"),
        model=lambda wildcards: LAYOUT.model(
            CONFIG.simulations[wildcards.simulation].run
        ),
    output:
        summary=LAYOUT.simulation("{simulation}") / "summary.json",
        trajectory=LAYOUT.simulation("{simulation}") / "trajectory.dcd",
        topology=LAYOUT.simulation("{simulation}") / "topology.pdb",
        state=LAYOUT.simulation("{simulation}") / "state.csv",
    log:
        LAYOUT.root / "logs" / "simulate" / "{simulation}.log",
    conda:
        "../envs/run.yaml"
    resources:
        gpu=1,
    params:
        config=str(LAYOUT.config),
        section=lambda wildcards: section("simulations", wildcards.simulation),
        contents=contents(given("simulations", "simulation")),
    shell:
        "lorem-openmm simulate {wildcards.simulation:q} --config {params.config:q} --model {input.model:q} 2>&1 | tee {log:q}"


rule analyze:
    input:
        LAYOUT.simulation("{simulation}") / "summary.json",
        LAYOUT.simulation("{simulation}") / "trajectory.dcd",
        LAYOUT.simulation("{simulation}") / "topology.pdb",
        LAYOUT.simulation("{simulation}") / "state.csv",
    output:
        report(
            directory(LAYOUT.analysis("{simulation}")),
            # Only patterns with a wildcard are looked up.
            patterns=["{figure}.png", "{figure,liquid}.csv"],
            caption="report/analysis.rst",
            category="4 Simulations",
            subcategory="{simulation}",
            labels={"file": "{figure}"},
        ),
    log:
        LAYOUT.root / "logs" / "analyze" / "{simulation}.log",
    conda:
        "../envs/run.yaml"
    params:
        config=str(LAYOUT.config),
    shell:
        "lorem-openmm analyze {wildcards.simulation:q} --config {params.config:q} 2>&1 | tee {log:q}"
