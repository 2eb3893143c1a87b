"""Molecular dynamics in OpenMM and what mdtraj makes of the trajectories."""


rule simulate:
    input:
        model=lambda wildcards: LAYOUT.model(CONFIG.simulations[wildcards.simulation].run),
    output:
        summary=LAYOUT.simulation("{simulation}") / "summary.json",
        trajectory=LAYOUT.simulation("{simulation}") / "trajectory.dcd",
        topology=LAYOUT.simulation("{simulation}") / "topology.pdb",
        state=LAYOUT.simulation("{simulation}") / "state.csv",
    params:
        section=lambda wildcards: section("simulations", wildcards.simulation),
    log:
        LAYOUT.root / "logs" / "simulate" / "{simulation}.log",
    resources:
        gpu=1,
    shell:
        "{COMMAND} simulate {wildcards.simulation} {IN_FORCE} --model {input.model} 2>&1 | tee {log}"


rule analyze:
    input:
        LAYOUT.simulation("{simulation}") / "trajectory.dcd",
        LAYOUT.simulation("{simulation}") / "topology.pdb",
        LAYOUT.simulation("{simulation}") / "state.csv",
    output:
        summary=LAYOUT.analysis("{simulation}") / "summary.json",
    log:
        LAYOUT.root / "logs" / "analyze" / "{simulation}.log",
    shell:
        "{COMMAND} analyze {wildcards.simulation} {IN_FORCE} 2>&1 | tee {log}"
