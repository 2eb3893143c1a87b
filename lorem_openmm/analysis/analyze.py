"""Analysis of one simulation: tables, figures and a summary."""

from pathlib import Path
from typing import Any

import pandas as pd

from lorem_openmm.analysis import geometry
from lorem_openmm.analysis import time_figures as figures
from lorem_openmm.analysis.csv_files import write_csv
from lorem_openmm.analysis.liquid import analyze_liquid
from lorem_openmm.analysis.solvation import analyze_solvation
from lorem_openmm.analysis.trajectory import SimulationData, load_simulation
from lorem_openmm.errors import ConfigError
from lorem_openmm.files import write_json
from lorem_openmm.simulate.energy import EnergyConservation, nve_drift
from lorem_openmm.simulate.molecules import Sn2Atoms

CONTACT_DISTANCE = 4.5  # Å
SHORTEST_FIT = 10  # frames below which no drift is stated


def analyze(
    simulation_folder: str | Path, output: str | Path, contact_distance: float = CONTACT_DISTANCE, stride: int = 1
) -> dict[str, Any]:
    """Analyzes a simulation and returns the summary, which is also written.

    What is said of a run that fell apart (``verdict``) is said of the part before it did: averages, distributions and
    the reaction. Tables hold all frames and tell in the column ``sound`` which are meant; figures mark the broken
    stretch.

    Always written: ``energies.csv``, ``energies.png/svg`` and ``summary.json``. Further, for X⁻ + CH₃Y
    ``reaction.png/svg`` (reaction coordinate, distances, angle of attack); for two other molecules
    ``molecules.png/svg`` (distance, contacts, orientation); for both ``geometry.csv``; in water what
    :func:`lorem_openmm.analysis.solvation.analyze_solvation` writes; for periodic structures of more molecules what
    :func:`lorem_openmm.analysis.liquid.analyze_liquid` writes.

    Args:
        simulation_folder: Folder of the simulation, as :func:`lorem_openmm.simulate.simulation.simulate` writes it.
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
    sound = data.sound()
    conservation = _conservation(sound)
    settings = data.summary.get("settings", {})
    thermostat = settings["temperature"] if settings.get("friction_per_ps", 0) > 0 else None
    state = data.state.drop(columns="speed", errors="ignore").assign(sound=data.is_sound.astype(int))
    write_csv(output / "energies.csv", state)
    figures.draw_energies(output / "energies", data.state, thermostat, conservation, data.verdict)

    summary: dict[str, Any] = {
        "verdict": data.verdict._asdict(),
        "n_frames": len(data.trajectory),
        "n_sound_frames": len(sound.trajectory),
        "averages": _scope(data, sound),
        "n_atoms": data.trajectory.n_atoms,
        "n_molecules": len(data.molecules),
        "n_solute_molecules": data.num_solute,
        "time_ps": float(data.state["time"].iloc[-1]),
        "energy_conservation": conservation._asdict() if conservation else None,
        "temperature": _statistics(sound.state["temperature"]),
    }
    summary |= _analyze_geometry(data, sound, contact_distance, output)
    if data.num_solute < len(data.molecules):
        if len(sound.trajectory):
            analyze_solvation(sound, output)
    elif data.trajectory.unitcell_vectors is not None and len(data.molecules) > 2:
        summary["liquid"] = analyze_liquid(sound, output) if len(sound.trajectory) else None
    write_json(output / "summary.json", summary)
    return summary


def _scope(data: SimulationData, sound: SimulationData) -> str:
    """Returns in words what averages are taken over."""
    if data.verdict.stable:
        return "all frames"
    fell = f"the run fell apart at {data.verdict.time_ps:.4g} ps: {data.verdict.reason}"
    if len(sound.trajectory) == 0:
        return f"none are given, there is no frame before {fell}"
    return f"the {len(sound.trajectory)} frames before {fell}"


def _conservation(data: SimulationData) -> EnergyConservation | None:
    settings = data.summary.get("settings", {})
    if settings.get("friction_per_ps") != 0 or len(data.state) < SHORTEST_FIT:
        return None
    energies, times = data.state["total_energy"].to_numpy(), data.state["time"].to_numpy()
    return nve_drift(energies, times, float(data.state["temperature"].mean()), data.summary["degrees_of_freedom"])


def _analyze_geometry(
    data: SimulationData, sound: SimulationData, contact_distance: float, output: Path
) -> dict[str, Any]:
    found: dict[str, Any] = {}
    table = pd.DataFrame({"time": data.trajectory.time, "sound": data.is_sound.astype(int)})
    sn2 = geometry.find_sn2(data.trajectory.topology)
    if sn2 is not None:
        found |= _analyze_reaction(data, sn2, table, output)
    if data.num_solute == 2:
        _analyze_molecules(data, contact_distance, table, output)
        found["contact_distance"] = contact_distance
    if len(table.columns) > 2:
        write_csv(output / "geometry.csv", table)
        kept = table[data.is_sound]
        found["geometry"] = {name: _statistics(kept[name]) for name in table.columns.drop(["time", "sound"])}
    return found


def _analyze_reaction(data: SimulationData, atoms: Sn2Atoms, table: pd.DataFrame, output: Path) -> dict[str, Any]:
    for name, values in geometry.sn2_coordinates(data.trajectory, atoms).items():
        table[name] = values
    attacker, leaving = (data.trajectory.topology.atom(k).element.symbol for k in (atoms.attacker, atoms.leaving))
    figures.draw_reaction(output / "reaction", table, attacker, leaving, data.verdict)
    coordinate = table["reaction_coordinate"].to_numpy()[data.is_sound]
    return {
        "reaction": f"{attacker}⁻ + CH₃{leaving}",
        "reacted": bool(coordinate[-1] < 0) if len(coordinate) else None,
        "n_crossings": geometry.crossings(coordinate) if len(coordinate) else None,
    }


def _analyze_molecules(data: SimulationData, contact_distance: float, table: pd.DataFrame, output: Path) -> None:
    first, second = data.solute
    table["center_distance"] = geometry.center_distance(data.trajectory, first, second)
    closest, contacts = geometry.contacts(data.trajectory, first, second, contact_distance)
    table["closest_distance"], table["contacts"] = closest, contacts
    if min(len(first), len(second)) > 1:
        table["axis_angle"] = geometry.axis_angle(data.trajectory, first, second)
    if "reaction_coordinate" not in table:  # whose figure says more
        figures.draw_molecules(output / "molecules", table, contact_distance, data.verdict)


def _statistics(values: pd.Series) -> dict[str, float] | None:
    if values.empty:
        return None
    return {
        "mean": float(values.mean()),
        "std": float(values.std(ddof=0)),
        "min": float(values.min()),
        "max": float(values.max()),
        "first": float(values.iloc[0]),
        "last": float(values.iloc[-1]),
    }
