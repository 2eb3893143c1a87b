"""Whole analyses of made-up simulations: tables, figures, summaries and refusals."""

import json

import numpy as np
import pandas as pd
import pytest
from made_simulations import STABLE, topology_of, write_simulation

from lorem_openmm.analysis.analyze import analyze
from lorem_openmm.analysis.liquid import radial_distributions
from lorem_openmm.analysis.trajectory import load_simulation
from lorem_openmm.errors import ConfigError, DataError
from lorem_openmm.simulate.stability import Verdict
from lorem_openmm.units import EV_PER_KELVIN

NVE = {"friction_per_ps": 0.0, "temperature": 300.0}
NVT = {"friction_per_ps": 1.0, "temperature": 300.0}


def anywhere(n_frames, n_atoms):
    return np.random.default_rng(0).uniform(0.0, 3.0, (n_frames, n_atoms, 3))


def reaction_frames(n_frames):
    """Cl comes in from 4 to 1.8 Å while Br leaves from 1.9 to 4.1 Å, on a line."""
    progress = np.linspace(0.0, 1.0, n_frames)
    frames = np.zeros((n_frames, 6, 3))
    frames[:, 0, 2], frames[:, 2, 2] = -(4.0 - 2.2 * progress), 1.9 + 2.2 * progress
    frames[:, 3:] = np.array([[1.0, 0, 0], [-0.5, 0.9, 0], [-0.5, -0.9, 0]])
    return frames


def test_reaction_at_constant_energy(tmp_path):
    times = 0.005 * np.arange(1, 51)
    drift = 0.2  # kT/ns/dof at the mean temperature of 325.5 K, 15 degrees of freedom
    energies = -500.0 + drift * 1e-3 * EV_PER_KELVIN * 325.5 * 15 * times
    topology = topology_of([["Cl"], ["C", "Br", "H", "H", "H"]])
    folder = write_simulation(tmp_path / "s", topology, reaction_frames(50), energies, NVE)
    summary = analyze(folder, tmp_path / "a")

    assert summary == json.loads((tmp_path / "a" / "summary.json").read_text())
    assert summary["energy_conservation"]["drift"] == pytest.approx(drift, rel=1e-3)
    assert (summary["reaction"], summary["reacted"], summary["n_crossings"]) == ("Cl⁻ + CH₃Br", True, 1)
    assert summary["geometry"]["reaction_coordinate"]["first"] == pytest.approx(2.1, abs=1e-4)
    assert summary["geometry"]["reaction_coordinate"]["last"] == pytest.approx(-2.3, abs=1e-4)
    table = pd.read_csv(tmp_path / "a" / "geometry.csv")
    assert table["time"].to_numpy() == pytest.approx(times)
    assert table["attack_angle"].to_numpy() == pytest.approx(np.full(50, 180.0), abs=0.1)
    names = {path.name for path in (tmp_path / "a").iterdir()}
    figures = {f"{stem}.{kind}" for stem in ("energies", "reaction") for kind in ("png", "svg")}
    assert names == figures | {"energies.csv", "geometry.csv", "summary.json"}
    assert all((tmp_path / "a" / name).stat().st_size > 5000 for name in figures)


def test_dimer_with_thermostat_and_stride(tmp_path):
    frames = np.zeros((21, 4, 3))
    frames[:, 1, 2], frames[:, 3, 1] = 1.4, 1.2
    frames[:, 2:, 0] = np.linspace(3.0, 8.0, 21)[:, None]
    folder = write_simulation(tmp_path / "s", topology_of([["C", "O"], ["N", "N"]]), frames, settings=NVT)
    summary = analyze(folder, tmp_path / "a", contact_distance=4.1, stride=4)
    table = pd.read_csv(tmp_path / "a" / "geometry.csv")
    assert len(table) == summary["n_frames"] == 6
    assert table["closest_distance"].to_numpy() == pytest.approx(np.linspace(3.0, 8.0, 6), abs=1e-4)
    assert table["contacts"].tolist() == [4, 1, 0, 0, 0, 0]
    assert table["axis_angle"].to_numpy() == pytest.approx(np.full(6, 90.0), abs=0.1)
    assert summary["energy_conservation"] is None
    assert (tmp_path / "a" / "molecules.svg").exists()
    assert not (tmp_path / "a" / "reaction.png").exists()
    assert summary["temperature"]["first"] == pytest.approx(301.0)


def test_periodic_box_has_radial_distributions(tmp_path):
    # A simple cubic lattice of O in steps of 3 Å: neighbours at 3√1, 3√2, ... 3√6 Å.
    grid = 3.0 * np.stack(np.meshgrid(*[np.arange(5)] * 3), -1).reshape(-1, 3)
    topology = topology_of([["O"]] * 125, np.eye(3) * 15.0)
    folder = write_simulation(tmp_path / "s", topology, np.stack([grid, grid]), settings=NVT)
    analyze(folder, tmp_path / "a")
    table = pd.read_csv(tmp_path / "a" / "radial.csv")
    peaks = table["distance"][table["O–O"] > 0].to_numpy()
    assert sorted({round(float(peak), 1) for peak in peaks}) == pytest.approx(3.0 * np.sqrt(range(1, 7)), abs=0.1)
    assert table["distance"].max() < 7.5
    shell = 4.0 * np.pi * 125 / 15.0**3 * table["distance"] ** 2 * 0.05
    counts = (table["O–O"] * shell)[table["distance"] < 3.5].sum()
    assert counts == pytest.approx(6.0, rel=0.05)
    assert (tmp_path / "a" / "radial.svg").exists()


def test_elements_in_a_box_are_paired(tmp_path):
    grid = 2.5 * np.stack(np.meshgrid(*[np.arange(2)] * 3), -1).reshape(-1, 3)
    topology = topology_of([["Mg"], ["O"]] * 4, np.eye(3) * 5.0)
    folder = write_simulation(tmp_path / "s", topology, grid[None])
    table = radial_distributions(load_simulation(folder).trajectory)
    assert list(table.columns) == ["distance", "Mg–Mg", "Mg–O", "O–O"]


def test_one_molecule_in_vacuum_has_energies_only(tmp_path):
    folder = write_simulation(tmp_path / "s", topology_of([["O", "H", "H"]]), anywhere(3, 3))
    summary = analyze(folder, tmp_path / "a")
    assert "geometry" not in summary
    assert {path.name for path in (tmp_path / "a").iterdir()} == {
        "energies.csv",
        "energies.png",
        "energies.svg",
        "summary.json",
    }


def test_a_run_that_goes_on_is_read_to_the_last_complete_frame(tmp_path):
    folder = write_simulation(tmp_path / "s", topology_of([["Cl"]]), anywhere(5, 1))
    lines = (folder / "state.csv").read_text().splitlines()
    (folder / "state.csv").write_text("\n".join(lines[:-1]) + "\n")
    data = load_simulation(folder)
    assert len(data.trajectory) == len(data.state) == 4
    assert data.summary == {}


def test_bonds_join_residues_and_molecules_stay_apart(tmp_path):
    topology = topology_of([["C", "H", "H", "H"], ["C", "H", "H", "H"], ["Cl"]])
    atoms = list(topology.atoms())
    topology.addBond(atoms[0], atoms[4])
    folder = write_simulation(tmp_path / "s", topology, anywhere(2, 9))
    assert [len(members) for members in load_simulation(folder).molecules] == [8, 1]


@pytest.mark.parametrize("name", ["trajectory.dcd", "topology.pdb", "state.csv"])
def test_missing_files_are_named(tmp_path, name):
    folder = write_simulation(tmp_path / "s", topology_of([["Cl"]]), np.zeros((2, 1, 3)))
    (folder / name).unlink()
    with pytest.raises(DataError, match=rf"{name}: no such file"):
        analyze(folder, tmp_path / "a")


def damage(folder, how):
    path = folder / "trajectory.dcd"
    content = path.read_bytes()
    if how == "empty":
        path.write_bytes(b"")
    elif how == "noise":
        path.write_bytes(np.random.default_rng(0).bytes(500))
    elif how == "header":
        path.write_bytes(content[:276])
    elif how == "atoms":
        path.with_name("topology.pdb").write_text("ATOM      1 CL   CL  A   1       0.000   0.000   0.000\nEND\n")


@pytest.mark.parametrize("how", ["empty", "noise", "header", "atoms"])
def test_empty_and_damaged_trajectories_are_refused(tmp_path, how):
    folder = write_simulation(tmp_path / "s", topology_of([["Cl", "Cl"]]), np.zeros((3, 2, 3)))
    damage(folder, how)
    with pytest.raises(DataError, match=r"trajectory\.dcd: (is empty|cannot be read|holds no frame)"):
        analyze(folder, tmp_path / "a")
    assert not (tmp_path / "a").exists()


def test_positions_that_are_not_finite_are_cut_off_or_refused(tmp_path):
    atoms = np.zeros((3, 2, 3))
    atoms[:, 1, 0] = 2.0
    folder = write_simulation(tmp_path / "s", topology_of([["Cl", "Cl"]]), atoms, settings=NVT)
    path = folder / "trajectory.dcd"
    content = bytearray(path.read_bytes())
    content[-8:-4] = np.array([np.nan], dtype="<f4").tobytes()
    path.write_bytes(content)
    data = load_simulation(folder)
    assert (len(data.trajectory), len(data.sound().trajectory)) == (2, 2)
    assert (data.verdict.stable, data.verdict.step) == (False, 30)
    assert "NaN" in data.verdict.reason
    summary = json.loads((folder / "summary.json").read_text()) | {"verdict": STABLE._asdict()}
    (folder / "summary.json").write_text(json.dumps(summary))
    with pytest.raises(DataError, match=r"must be finite, received NaN or infinity in frame 3"):
        load_simulation(folder)


def test_impossible_settings_are_refused(tmp_path):
    for settings in ({"stride": 0}, {"contact_distance": -1.0}):
        with pytest.raises(ConfigError, match="must be positive"):
            analyze(tmp_path, tmp_path / "a", **settings)


# -- runs that fell apart --


def breaking_frames(n_frames, breaks_at):
    """Carbon monoxide and nitrogen; from a frame on, oxygen leaves."""
    frames = np.zeros((n_frames, 4, 3))
    frames[:, 1, 2], frames[:, 3, 1] = 1.13, 1.1
    frames[:, 2:, 0] = 4.0
    frames[breaks_at:, 1, 2] += 2.0
    return frames


def test_a_trajectory_written_without_a_watch_is_judged(tmp_path):
    topology = topology_of([["C", "O"], ["N", "N"]])
    folder = write_simulation(tmp_path / "s", topology, breaking_frames(30, 20), settings=NVT)
    summary = analyze(folder, tmp_path / "a")
    verdict = summary["verdict"]
    assert (verdict["stable"], verdict["step"], verdict["time_ps"]) == (False, 210, pytest.approx(0.105))
    assert "bond C[0]–O[1] is broken: 3.13 Å long" in verdict["reason"]
    assert (summary["n_frames"], summary["n_sound_frames"]) == (30, 20)
    assert summary["averages"].startswith("the 20 frames before the run fell apart at 0.105 ps: the bond")
    assert summary["temperature"]["max"] == pytest.approx(320.0)  # 301, 302, ... K
    table = pd.read_csv(tmp_path / "a" / "geometry.csv")
    assert table["sound"].tolist() == [1] * 20 + [0] * 10
    kept = table["center_distance"][:20]
    assert summary["geometry"]["center_distance"]["mean"] == pytest.approx(kept.mean())
    assert b"#b00020" in (tmp_path / "a" / "molecules.svg").read_bytes()
    assert b"#b00020" in (tmp_path / "a" / "energies.svg").read_bytes()


def test_the_verdict_of_the_run_is_kept_and_without_sound_frames_nothing_is_averaged(tmp_path):
    found = Verdict(False, "made up", 0.0, 0, ["all"])
    topology, frames = topology_of([["Cl"], ["C", "Br", "H", "H", "H"]]), reaction_frames(2)
    folder = write_simulation(tmp_path / "s", topology, frames, settings=NVE, verdict=found)
    summary = analyze(folder, tmp_path / "a")
    assert summary["verdict"] == found._asdict()
    assert (summary["temperature"], summary["reacted"], summary["energy_conservation"]) == (None, None, None)
    assert summary["geometry"]["reaction_coordinate"] is None
    assert summary["averages"].startswith("none are given")
    assert (tmp_path / "a" / "reaction.svg").exists()


def test_a_box_that_fell_apart_has_no_radial_distributions_of_its_ruin(tmp_path):
    grid = 3.0 * np.stack(np.meshgrid(*[np.arange(3)] * 3), -1).reshape(-1, 3)
    merged = grid.copy()
    merged[1] = merged[0] + [0.3, 0, 0]
    topology = topology_of([["O"]] * 27, np.eye(3) * 9.0)
    folder = write_simulation(tmp_path / "s", topology, np.stack([grid, grid, merged]), settings=NVT)
    summary = analyze(folder, tmp_path / "a")
    assert "O[0] and O[1] are on top of each other" in summary["verdict"]["reason"]
    table = pd.read_csv(tmp_path / "a" / "radial.csv")
    assert table["O–O"][table["distance"] < 2.5].max() == 0.0
