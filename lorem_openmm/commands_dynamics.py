"""What the commands of simulations do, and that of the verdict; as in :mod:`lorem_openmm.commands`."""
# ruff: noqa: PLC0415

import argparse
import json
from typing import Any

from lorem_openmm.commands import find_entry, read_settings, say
from lorem_openmm.errors import VerdictError
from lorem_openmm.outputs import claim


def simulate(options: argparse.Namespace) -> None:
    """Molecular dynamics in OpenMM.

    Continues an interrupted simulation. Writes trajectory.dcd, topology.pdb and state.csv.

    example: lorem-openmm simulate sn2_nvt
    """
    from lorem_openmm.simulate.simulation import simulate as run_simulation

    settings, layout = read_settings(options)
    simulation = find_entry(settings.simulations, "simulations", options.name)
    model = options.model or layout.model(simulation.run)
    summary = run_simulation(simulation, model, layout.simulation(options.name), options.device, not options.restart)
    say(json.dumps(summary, indent=2, ensure_ascii=False))
    _say_verdict(summary)


def _say_verdict(summary: dict[str, Any]) -> None:
    from lorem_openmm.simulate.stability import Verdict

    if summary.get("verdict"):  # runs of earlier versions have none
        say(f"verdict: {Verdict.of(summary['verdict']).describe()}")


def nve(options: argparse.Namespace) -> None:
    """How well a model conserves energy: drift and fluctuation without thermostat.

    Minimises, equilibrates, then runs at constant energy; the drift is in kT/ns per degree of freedom.

    example: lorem-openmm nve results/models/sn2.safetensors sn2:Cl,Br,3.2 --timestep 0.25
    """
    from lorem_openmm.simulate.nve import nve_test

    result = nve_test(options.model, options.start, options.timestep, options.steps, options.precision)
    say(json.dumps(result.summary(), indent=2, ensure_ascii=False))


def analyze(options: argparse.Namespace) -> None:
    """Reaction coordinate, distances, contacts and energy conservation of a simulation.

    Writes CSV files and figures.

    example: lorem-openmm analyze sn2_nvt
    """
    from lorem_openmm.analysis.analyze import analyze as run_analysis

    settings, layout = read_settings(options)
    find_entry(settings.simulations, "simulations", options.name)
    with claim(layout.analysis(options.name)):
        summary = run_analysis(layout.simulation(options.name), layout.analysis(options.name))
    _say_verdict(summary)
    say(str(layout.analysis(options.name)))


def window(options: argparse.Namespace) -> None:
    """One window of an umbrella sampling: a simulation held at a value of a coordinate.

    Pulls the start to the window's place and runs; continues an interrupted window, as `simulate` does.
    An entry of `umbrellas` needs run, start, coordinate (bond_difference of an S_N2 complex, or
    center_distance of two molecules), first and last (Å). All windows at once: snakemake free_energy_all

    example: lorem-openmm window sn2_barrier 0
    """
    from lorem_openmm.simulate.simulation import simulate as run_simulation

    settings, layout = read_settings(options)
    umbrella = find_entry(settings.umbrellas, "umbrellas", options.name)
    model = options.model or layout.model(umbrella.run)
    output = layout.window(options.name, options.index)
    summary = run_simulation(umbrella.window(options.index), model, output, options.device, not options.restart)
    _say_verdict(summary)
    say(f"{output}: {umbrella.coordinate} held at {umbrella.centers()[options.index]:.2f} Å, {umbrella.steps} steps")


def free_energy(options: argparse.Namespace) -> None:
    """Free-energy profile from all windows of an umbrella sampling.

    MBAR over the windows, with error bars, beside the energy of structures relaxed along the coordinate.
    Writes profile.csv, summary.json (barriers, overlap of the windows, warnings), snapshots.xyz and figures.

    example: lorem-openmm free-energy sn2_barrier
    """
    from lorem_openmm.analysis.free_energy import free_energy as run_analysis

    settings, layout = read_settings(options)
    umbrella = find_entry(settings.umbrellas, "umbrellas", options.name)
    folders = [layout.window(options.name, index) for index in range(umbrella.num_windows)]
    model, output = options.model or layout.model(umbrella.run), layout.free_energy(options.name)
    with claim(output):
        summary = run_analysis(umbrella, folders, model, output, options.device)
    for name in ("barrier", "reverse_barrier", "reaction", "well_depth"):
        if name in (summary["free_energy"] or ()):
            found = summary["free_energy"][name]
            say(f"{name}: {found['ev']:.3f} ± {found['error_ev']:.3f} eV")
    for text in summary["warnings"]:
        say(f"warning: {text}")
    say(str(output))


def verdict(options: argparse.Namespace) -> None:
    """Whether everything that was made is fit for use, one line per question, green or red.

    Errors beside what is needed, how interactions end beyond the cutoff, simulations alive or not, free
    energies sampled enough or not. Writes verdict.html (also the first page of report.html), verdict.json and
    verdict.csv, and prints what failed; see docs/verdict.md.

    example: lorem-openmm verdict --config my.yaml
    """
    from lorem_openmm.verdict.judge import PAGE, judge

    settings, layout = read_settings(options)
    with claim(layout.verdict):
        found = judge(settings, layout)
    for line in found["lines"]:
        if line["counts"] and line["status"] in ("fail", "missing"):
            word = "FAIL" if line["status"] == "fail" else "not made yet"
            parts = (line["subject"], line["check"], line["value"], line["limit"] and f"needed: {line['limit']}")
            say(f"{word}: {', '.join(part for part in parts if part)}. {line['reason']}".rstrip(" ."))
    say(f"{layout.verdict / PAGE}: {found['headline']}")
    if options.strict and not found["all_pass"]:
        raise VerdictError(f"{layout.verdict / PAGE}: with --strict every check must pass; {found['headline']}")
