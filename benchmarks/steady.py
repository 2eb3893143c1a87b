"""Speed and memory of a long OpenMM run: is the last tenth as fast and as large as the first?

Example: python benchmarks/steady.py --steps 50000 --implementation pythonforce --output benchmarks/results/steady.json

Langevin dynamics of methanol and methylamine at 300 K and 0.5 fs with the model that ships with the package.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import openmm
import openmm.app
from openmmml import MLPotential
from structures import dimer

BLOCKS = 50


def main() -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=50000)
    parser.add_argument("--implementation", default="pythonforce", choices=["pythonforce", "torchforce"])
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/steady.json"))
    options = parser.parse_args()
    context, integrator = start(options.implementation)
    integrator.step(max(20, options.steps // 100))  # compiles and warms up
    rows = []
    for block in range(BLOCKS):
        begin = time.perf_counter()
        integrator.step(max(1, options.steps // BLOCKS))
        seconds = (time.perf_counter() - begin) / max(1, options.steps // BLOCKS)
        rows.append({"ms_per_step": 1e3 * seconds, "rss_mb": resident_mb()})
        if block % 10 == 9:
            print(f"{(block + 1) * options.steps // BLOCKS} steps", json.dumps(rows[-1]), flush=True)
    energy = context.getState(getEnergy=True).getPotentialEnergy()._value
    assert np.isfinite(energy), "the simulation has become unstable"
    results: dict[str, Any] = {"steps": options.steps, "implementation": options.implementation, "blocks": rows}
    for name in ("ms_per_step", "rss_mb"):
        values = [row[name] for row in rows]
        tenth = max(1, BLOCKS // 10)
        results[f"{name}_last_over_first"] = float(np.median(values[-tenth:]) / np.median(values[:tenth]))
    print(json.dumps({key: value for key, value in results.items() if key != "blocks"}))
    options.output.parent.mkdir(parents=True, exist_ok=True)
    temporary = options.output.with_suffix(".part")
    temporary.write_text(json.dumps(results, indent=1))
    temporary.replace(options.output)


def start(implementation: str) -> tuple[openmm.Context, openmm.Integrator]:
    """Returns a Context of the dimer at rest near a minimum."""
    atoms = dimer()
    topology = openmm.app.Topology()
    residue = topology.addResidue("X", topology.addChain())
    for symbol in atoms.get_chemical_symbols():
        topology.addAtom(symbol, openmm.app.Element.getBySymbol(symbol), residue)
    system = MLPotential("lorem").createSystem(topology, implementation=implementation, device="cpu")
    center = openmm.CustomExternalForce("10*max(0, sqrt(x^2+y^2+z^2)-0.6)^2")  # keeps the molecules together
    for i in range(len(atoms)):
        center.addParticle(i)
    system.addForce(center)
    integrator = openmm.LangevinMiddleIntegrator(300, 1.0, 0.0005)
    integrator.setRandomNumberSeed(1)
    context = openmm.Context(system, integrator, openmm.Platform.getPlatformByName("CPU"), {"Threads": "1"})
    context.setPositions((atoms.positions - atoms.positions.mean(axis=0)) / 10)
    openmm.LocalEnergyMinimizer.minimize(context, maxIterations=100)
    return context, integrator


def resident_mb() -> float:
    """Resident memory of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 2**20


if __name__ == "__main__":
    main()
