"""How water stands around molecules in it."""

from pathlib import Path

import numpy as np

from lorem_openmm.analysis.csv_files import write_csv
from lorem_openmm.analysis.liquid import radial_distributions
from lorem_openmm.analysis.liquid_figures import draw_radial_distributions
from lorem_openmm.analysis.trajectory import WATER, SimulationData

BIN_WIDTH = 0.1  # Å: single molecules have fewer pairs than a liquid


def analyze_solvation(data: SimulationData, output: Path) -> None:
    """Writes ``solvation.csv`` and ``solvation.png/svg``: g(r) of water's oxygen around the molecules' heavy atoms.

    Args:
        data: Data of a simulation of molecules in water.
        output: Folder.
    """
    if data.trajectory.unitcell_vectors is None:
        return
    table = radial_distributions(data.trajectory, _water_groups(data), BIN_WIDTH)
    write_csv(output / "solvation.csv", table)
    draw_radial_distributions(output / "solvation", table)


def _water_groups(data: SimulationData) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Returns, for example for ``N of molecule 2``, these atoms and the oxygens of the water.

    Heavy atoms of each molecule by element, carbon only where there is nothing else.
    """
    topology = data.trajectory.topology
    symbols = np.array([atom.element.symbol for atom in topology.atoms])
    names = np.array([atom.residue.name for atom in topology.atoms])
    oxygens = np.flatnonzero((symbols == "O") & (names == WATER))
    oxygens = oxygens[oxygens > max(members.max() for members in data.solute)]
    groups = {}
    for number, members in enumerate(data.solute, 1):
        found = set(symbols[members])
        for element in sorted(found - {"H", "C"}) or sorted(found & {"C"}) or sorted(found):
            groups[f"{element} of molecule {number}"] = (members[symbols[members] == element], oxygens)
    return groups
