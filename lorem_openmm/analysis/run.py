"""Analysis of one simulation: tables, figures and a summary."""

from itertools import combinations_with_replacement
from pathlib import Path
from typing import Any

import mdtraj
import numpy as np
import pandas as pd

from lorem_openmm.analysis import figures, geometry
from lorem_openmm.analysis.trajectory import WATER, SimulationData, load_simulation
from lorem_openmm.errors import ConfigError
from lorem_openmm.files import atomic_path, write_json
from lorem_openmm.simulate.energy import EnergyConservation, nve_drift
from lorem_openmm.units import ANGSTROM_PER_NANOMETER

CONTACT_DISTANCE = 4.5  # Å
SHORTEST_FIT = 10  # frames below which no drift is stated
BIN_WIDTH = 0.05  # Å, of radial distribution functions
SOLVATION_BIN_WIDTH = 0.1  # Å, around single molecules, which have fewer pairs


def analyze(
    simulation_folder: str | Path, output: str | Path, contact_distance: float = CONTACT_DISTANCE, stride: int = 1
) -> dict[str, Any]:
    """Analyzes a simulation and returns the summary, which is also written.

    Always written: ``energies.csv``, ``energies.png/svg`` and ``summary.json``. Further, for X⁻ + CH₃Y
    ``reaction.png/svg`` (reaction coordinate, distances, angle of attack); for two other molecules
    ``molecules.png/svg`` (distance, contacts, orientation); for both ``geometry.csv``, also where they are in water,
    then with ``solvation.csv`` and ``solvation.png/svg`` (radial distributions of the water around them); for periodic
    structures of more molecules ``radial.csv`` and ``radial.png/svg``.

    Args:
        simulation_folder: As :func:`lorem_openmm.simulate.run.simulate` writes it.
        output: Folder of tables and figures.
        contact_distance: Å, below which two heavy atoms are in contact.
        stride: Use every ``stride``-th frame.

    Raises:
        ConfigError: If ``contact_distance`` or ``stride`` is not positive.
        DataError: If the trajectory is missing, empty or damaged.
    """
    if contact_distance <= 0 or stride < 1:
        raise ConfigError(f"contact_distance, stride: must be positive; received {contact_distance} Å and {stride}")
    data, output = load_simulation(simulation_folder, stride), Path(output)
    conservation = _conservation(data)
    settings = data.summary.get("settings", {})
    thermostat = settings["temperature"] if settings.get("friction_per_ps", 0) > 0 else None
    _write_csv(output / "energies.csv", data.state.drop(columns="speed", errors="ignore"))
    figures.draw_energies(output / "energies", data.state, thermostat, conservation)

    summary: dict[str, Any] = {
        "n_frames": len(data.trajectory),
        "n_atoms": data.trajectory.n_atoms,
        "n_molecules": len(data.molecules),
        "n_solute_molecules": data.num_solute,
        "time_ps": float(data.state["time"].iloc[-1]),
        "energy_conservation": conservation._asdict() if conservation else None,
        "temperature": _statistics(data.state["temperature"]),
    }
    table = pd.DataFrame({"time": data.trajectory.time})
    sn2 = geometry.find_sn2(data.trajectory.topology.subset(np.concatenate(data.solute)))
    if sn2 is not None:
        summary |= _analyze_reaction(data, sn2, table, output)
    if data.num_solute == 2:
        _analyze_molecules(data, contact_distance, table, output)
        summary["contact_distance"] = contact_distance
    if len(table.columns) > 1:
        _write_csv(output / "geometry.csv", table)
        summary["geometry"] = {name: _statistics(table[name]) for name in table.columns.drop("time")}
    if data.num_solute < len(data.molecules):
        if data.trajectory.unitcell_vectors is not None:
            solvation = water_distributions(data)
            _write_csv(output / "solvation.csv", solvation)
            figures.draw_radial_distributions(output / "solvation", solvation)
    elif data.trajectory.unitcell_vectors is not None and len(data.molecules) > 2:
        radial = radial_distributions(data.trajectory)
        _write_csv(output / "radial.csv", radial)
        figures.draw_radial_distributions(output / "radial", radial)
    write_json(output / "summary.json", summary)
    return summary


def radial_distributions(trajectory: mdtraj.Trajectory) -> pd.DataFrame:
    """g(r) of each pair of elements, up to half the box; hydrogens only where there is nothing else.

    Args:
        trajectory: Periodic, [n_frames].

    Returns:
        ``distance`` in Å and one column per pair, for example ``O–O``.
    """
    symbols = _symbols(trajectory.topology)
    elements = sorted(set(symbols) - {"H"}) or ["H"]
    groups = {
        f"{first}–{second}": (np.flatnonzero(symbols == first), np.flatnonzero(symbols == second))
        for first, second in combinations_with_replacement(elements, 2)
    }
    return _distributions(trajectory, groups, BIN_WIDTH)


def water_distributions(data: SimulationData) -> pd.DataFrame:
    """g(r) of water's oxygen around the heavy atoms of each molecule in it, carbon only where there is nothing else.

    Args:
        data: A periodic simulation with water around the molecules.

    Returns:
        ``distance`` in Å and one column per element of each molecule, for example ``N of molecule 2``.
    """
    topology = data.trajectory.topology
    symbols = _symbols(topology)
    names = np.array([atom.residue.name for atom in topology.atoms])
    oxygens = np.flatnonzero((symbols == "O") & (names == WATER))
    oxygens = oxygens[oxygens > max(members.max() for members in data.solute)]
    groups = {}
    for number, members in enumerate(data.solute, 1):
        found = set(symbols[members])
        for element in sorted(found - {"H", "C"}) or sorted(found & {"C"}) or sorted(found):
            groups[f"{element} of molecule {number}"] = (members[symbols[members] == element], oxygens)
    return _distributions(data.trajectory, groups, SOLVATION_BIN_WIDTH)


def _symbols(topology: mdtraj.Topology) -> np.ndarray:
    return np.array([atom.element.symbol for atom in topology.atoms])


def _distributions(
    trajectory: mdtraj.Trajectory, groups: dict[str, tuple[np.ndarray, np.ndarray]], width: float
) -> pd.DataFrame:
    heights = 1.0 / np.linalg.norm(np.linalg.inv(trajectory.unitcell_vectors), axis=1)
    reach = (0.0, float(heights.min() / 2))
    columns: dict[str, np.ndarray] = {}
    for name, (first, second) in groups.items():
        pairs = trajectory.topology.select_pairs(first, second)
        if len(pairs) == 0:
            continue
        distances, values = mdtraj.compute_rdf(
            trajectory, pairs, r_range=reach, bin_width=width / ANGSTROM_PER_NANOMETER
        )
        columns.setdefault("distance", ANGSTROM_PER_NANOMETER * distances)
        columns[name] = values
    return pd.DataFrame(columns)


def _conservation(data: SimulationData) -> EnergyConservation | None:
    settings = data.summary.get("settings", {})
    if settings.get("friction_per_ps") != 0 or len(data.state) < SHORTEST_FIT:
        return None
    energies, times = data.state["total_energy"].to_numpy(), data.state["time"].to_numpy()
    return nve_drift(energies, times, float(data.state["temperature"].mean()), data.summary["degrees_of_freedom"])


def _analyze_reaction(
    data: SimulationData, atoms: geometry.Sn2Atoms, table: pd.DataFrame, output: Path
) -> dict[str, Any]:
    for name, values in geometry.sn2_coordinates(data.trajectory, atoms).items():
        table[name] = values
    attacker, leaving = (data.trajectory.topology.atom(k).element.symbol for k in (atoms.attacker, atoms.leaving))
    figures.draw_reaction(output / "reaction", table, attacker, leaving)
    coordinate = table["reaction_coordinate"].to_numpy()
    return {
        "reaction": f"{attacker}⁻ + CH₃{leaving}",
        "reacted": bool(coordinate[-1] < 0),
        "n_crossings": geometry.crossings(coordinate),
    }


def _analyze_molecules(data: SimulationData, contact_distance: float, table: pd.DataFrame, output: Path) -> None:
    first, second = data.solute
    table["center_distance"] = geometry.center_distance(data.trajectory, first, second)
    closest, contacts = geometry.contacts(data.trajectory, first, second, contact_distance)
    table["closest_distance"], table["contacts"] = closest, contacts
    if min(len(first), len(second)) > 1:
        table["axis_angle"] = geometry.axis_angle(data.trajectory, first, second)
    if "reaction_coordinate" not in table:  # whose figure says more
        figures.draw_molecules(output / "molecules", table, contact_distance)


def _statistics(values: pd.Series) -> dict[str, float]:
    return {
        "mean": float(values.mean()),
        "std": float(values.std(ddof=0)),
        "min": float(values.min()),
        "max": float(values.max()),
        "first": float(values.iloc[0]),
        "last": float(values.iloc[-1]),
    }


def _write_csv(path: Path, table: pd.DataFrame) -> None:
    with atomic_path(path) as temporary:
        table.to_csv(temporary, index=False, float_format="%.9g")
