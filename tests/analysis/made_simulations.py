"""Folders as a simulation writes them, with positions made up so that every quantity is known."""

from pathlib import Path

import numpy as np
from openmm import app, unit

from lorem_openmm.files import write_json
from lorem_openmm.simulate.stability import Verdict
from lorem_openmm.units import KJ_PER_MOL_PER_EV

STABLE = Verdict(True, None, None, None, [])
HEADER = '#"Step","Time (ps)","Potential Energy (kJ/mole)","Kinetic Energy (kJ/mole)","Total Energy (kJ/mole)"'


def topology_of(molecules: list[list[str]], box: np.ndarray | None = None) -> app.Topology:
    """One residue per molecule, given by its symbols; box vectors in Å."""
    topology = app.Topology()
    chain = topology.addChain()
    for symbols in molecules:
        residue = topology.addResidue("MOL", chain)
        for k, symbol in enumerate(symbols):
            topology.addAtom(f"{symbol}{k}", app.Element.getBySymbol(symbol), residue)
    if box is not None:
        topology.setPeriodicBoxVectors(box / 10.0 * unit.nanometer)
    return topology


def write_simulation(
    folder: Path,
    topology: app.Topology,
    frames: np.ndarray,
    energies: np.ndarray | None = None,
    settings: dict[str, float] | None = None,
    verdict: Verdict | None = None,
) -> Path:
    """Writes trajectory [n_frames, n_atoms, 3] Å, topology, energies (total, eV) and summary, a verdict if given."""
    folder.mkdir(parents=True)
    with (folder / "topology.pdb").open("w") as stream:
        app.PDBFile.writeFile(topology, frames[0] * unit.angstrom, stream)
    with (folder / "trajectory.dcd").open("w+b") as stream:
        file = app.DCDFile(stream, topology, 0.0005, 10, 10)
        for positions in frames:
            file.writeModel(positions * unit.angstrom)
    totals = np.full(len(frames), -500.0) if energies is None else energies
    lines = [f'{HEADER},"Temperature (K)","Speed (ns/day)"']
    for k, total in enumerate(totals, start=1):
        energy = float(total * KJ_PER_MOL_PER_EV)
        lines.append(f"{10 * k},{0.005 * k!r},{energy - 20.0!r},20.0,{energy!r},{300.0 + k},1.5")
    (folder / "state.csv").write_text("\n".join(lines) + "\n")
    if settings is not None:
        dof = 3 * topology.getNumAtoms() - 3
        summary = {"settings": settings, "degrees_of_freedom": dof}
        write_json(folder / "summary.json", summary | ({"verdict": verdict._asdict()} if verdict else {}))
    return folder
