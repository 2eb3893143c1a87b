"""Speed and memory of a long OpenMM run: is the last tenth as fast and as large as the first?

Example: python benchmarks/steady.py --structure dimer13 --steps 50000 --output benchmarks/results/steady.json

Langevin dynamics at 300 K and 0.5 fs with the model that ships with the package, which was trained on molecules in
vacuum: for water it is a load to carry, not a liquid to believe, and springs keep the atoms near their places.
"""

import argparse
import json
import time
import warnings
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import openmm
import torch
from ase import Atoms
from records import machine, resident_mb
from simulation import context_of
from structures import STRUCTURES

from lorem_openmm.files import write_json

FLAT_SPEED, FLAT_MEMORY = 1.1, 1.05  # last tenth over first


def main() -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--structure", default="dimer13", choices=STRUCTURES)
    parser.add_argument("--steps", type=int, default=50000)
    parser.add_argument("--blocks", type=int, default=50)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--implementation", default="pythonforce", choices=["pythonforce", "torchforce"])
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/steady.json"))
    options = parser.parse_args()
    if options.blocks < 1 or options.steps < options.blocks:
        parser.error("--blocks must be at least 1 and --steps no less than --blocks")
    torch.set_num_threads(options.threads)
    context, integrator = start(STRUCTURES[options.structure](), options.implementation)
    length = options.steps // options.blocks
    integrator.step(max(20, length))  # warm-up; the first calls also fill PyTorch's memory pools
    blocks = []
    for block in range(options.blocks):
        begin = time.perf_counter()
        integrator.step(length)
        seconds = (time.perf_counter() - begin) / length
        blocks.append({"ms_per_step": 1e3 * seconds, "rss_mb": resident_mb()})
        if (block + 1) % max(1, options.blocks // 5) == 0:
            print(f"{(block + 1) * length} steps", json.dumps(blocks[-1]), flush=True)
    if not np.isfinite(context.getState(getEnergy=True).getPotentialEnergy()._value):
        raise SystemExit("the simulation has become unstable: its speed means nothing")
    what = {"structure": options.structure, "steps": length * options.blocks, "implementation": options.implementation}
    results = {"machine": machine(options.threads), **what, "blocks": blocks, **verdict(blocks)}
    write_json(options.output, results)
    print(json.dumps(what | verdict(blocks)))


def start(atoms: Atoms, implementation: str) -> tuple[openmm.Context, openmm.Integrator]:
    """Returns a Context near a minimum and its integrator."""
    integrator = openmm.LangevinMiddleIntegrator(300, 1.0, 0.0005)
    integrator.setRandomNumberSeed(1)
    if not atoms.pbc.all():
        atoms.positions -= atoms.positions.mean(axis=0)
    with warnings.catch_warnings():  # trained in vacuum, run in a box: said above
        warnings.simplefilter("ignore")
        context = context_of(atoms, None, implementation, integrator, [_keeper(atoms)])
    openmm.LocalEnergyMinimizer.minimize(context, maxIterations=30)
    context.setVelocitiesToTemperature(300, 1)
    return context, integrator


def _keeper(atoms: Atoms) -> openmm.CustomExternalForce:
    """Keeps molecules in vacuum together, and the atoms of a box near their places."""
    if not atoms.pbc.all():
        force = openmm.CustomExternalForce("10*max(0, sqrt(x^2+y^2+z^2)-0.6)^2")
        for i in range(len(atoms)):
            force.addParticle(i)
        return force
    force = openmm.CustomExternalForce("5000*periodicdistance(x, y, z, x0, y0, z0)^2")
    for name in ("x0", "y0", "z0"):
        force.addPerParticleParameter(name)
    for i, position in enumerate(atoms.positions / 10):
        force.addParticle(i, position.tolist())
    return force


def verdict(blocks: list[dict[str, float]]) -> dict[str, Any]:
    """Last tenth over first tenth of time per step and memory, and whether both are flat."""
    tenth = max(1, len(blocks) // 10)
    ratios = {}
    for name in ("ms_per_step", "rss_mb"):
        values = [block[name] for block in blocks]
        ratios[f"{name}_last_over_first"] = median(values[-tenth:]) / median(values[:tenth])
    flat = ratios["ms_per_step_last_over_first"] < FLAT_SPEED and ratios["rss_mb_last_over_first"] < FLAT_MEMORY
    return {**ratios, "flat": flat}


if __name__ == "__main__":
    main()
