"""Liquids in which everything is known: an ideal gas, a lattice, Brownian walkers, a changing box."""

import json

import mdtraj
import numpy as np
import pandas as pd
import pytest
from made_simulations import STABLE, topology_of, write_simulation
from openmm import app, unit

from lorem_openmm.analysis.analyze import analyze
from lorem_openmm.analysis.averages import average
from lorem_openmm.analysis.diffusion import (
    centers_of_mass,
    diffusion,
    finite_size_correction,
    mean_squared_displacements,
)
from lorem_openmm.analysis.liquid import densities, first_shell, radial_distributions
from lorem_openmm.analysis.trajectory import load_simulation

NVT = {"friction_per_ps": 1.0, "temperature": 300.0}


def trajectory_of(molecules, frames, box):
    trajectory = mdtraj.Trajectory(np.asarray(frames) / 10.0, mdtraj.Topology.from_openmm(topology_of(molecules)))
    trajectory.unitcell_vectors = np.broadcast_to(np.asarray(box) / 10.0, (len(frames), 3, 3)).copy()
    return trajectory


def walkers(rng, n_frames, n_walkers, coefficient, interval):
    """Brownian motion in Å with D in 10⁻⁹ m²/s."""
    width = np.sqrt(2.0 * 0.1 * coefficient * interval)
    return np.cumsum(width * rng.standard_normal((n_frames, n_walkers, 3)), axis=0)


def correlated(rng, n, time):
    """A series of unit variance whose correlation decays as exp(−k / time)."""
    memory = np.exp(-1.0 / time)
    values = [rng.standard_normal()]
    for noise in rng.standard_normal(n - 1):
        values.append(memory * values[-1] + np.sqrt(1.0 - memory**2) * noise)
    return np.array(values)


def test_ideal_gas_has_no_structure():
    rng = np.random.default_rng(0)
    gas = trajectory_of([["O"]] * 60, rng.uniform(0.0, 12.0, (200, 60, 3)), 12.0 * np.eye(3))
    table = radial_distributions(gas)
    outer = table["distance"] > 2.0
    deviations = (table["O–O"] - 1.0)[outer] / table["O–O error"][outer]
    # In a box of N atoms an atom sees N − 1 others; the deviations of the bins are those of their standard errors.
    assert table["O–O"][outer].mean() == pytest.approx(1.0, abs=0.01)
    assert 0.5 < np.median(np.abs(deviations)) < 1.5


def test_first_shell_finds_a_known_peak_and_counts_what_is_in_it():
    distances = 0.05 * np.arange(1, 120) - 0.025
    density = 0.0334
    peak = np.exp(-0.5 * ((distances - 2.813) / 0.15) ** 2)
    neighbors = 4.4
    values = peak * neighbors / (4 * np.pi * density * np.trapezoid(peak * distances**2, distances))
    values += np.where(distances > 4.0, 1.0, 0.0)
    shell = first_shell(distances, values, density)
    assert shell.position == pytest.approx(2.813, abs=0.01)
    assert shell.height == pytest.approx(values.max(), rel=0.02)
    assert 3.2 < shell.minimum < 4.0
    assert shell.neighbors == pytest.approx(neighbors, rel=0.01)


def test_brownian_walkers_diffuse_as_told_within_the_error():
    rng = np.random.default_rng(1)
    results = [diffusion(walkers(rng, 400, 64, 2.3, 0.02), 0.02) for _ in range(30)]
    deviations = [(result.coefficient - 2.3) / result.error for result in results]
    assert np.abs(np.mean(deviations)) < 3.0 / np.sqrt(30)
    assert 0.7 < np.std(deviations) < 1.4  # the error is neither too small nor too large
    assert np.mean([result.exponent for result in results]) == pytest.approx(1.0, abs=0.05)
    assert results[0].fitted == pytest.approx((0.8, 3.2))
    assert results[0].displacements[50] == pytest.approx(0.6 * 2.3 * 1.0, rel=0.2)


def test_rattling_is_told_from_diffusion_by_the_exponent():
    rng = np.random.default_rng(2)
    result = diffusion(0.1 * rng.standard_normal((300, 30, 3)), 0.02)
    assert result.exponent == pytest.approx(0.0, abs=0.05)
    assert diffusion(rng.standard_normal((19, 30, 3)), 0.02) is None
    assert diffusion(rng.standard_normal((100, 1, 3)), 0.02) is None


def test_displacements_by_fourier_transform_are_those_of_the_definition():
    positions = walkers(np.random.default_rng(3), 40, 5, 2.0, 0.1) + 100.0
    found = mean_squared_displacements(positions)
    for lag in (0, 1, 7, 39):
        wanted = ((positions[lag:] - positions[: 40 - lag]) ** 2).sum(-1).mean(0)
        assert found[lag] == pytest.approx(wanted, abs=1e-9)


def test_centers_are_followed_through_the_box_and_lose_their_common_motion():
    rng = np.random.default_rng(4)
    box = np.array([[9.0, 0, 0], [2.0, 8.0, 0], [-1.0, 1.5, 10.0]])
    way = walkers(rng, 60, 6, 20.0, 0.05) + rng.uniform(0, 9, (1, 6, 3)) + 0.3 * np.arange(60)[:, None, None]
    shape = np.array([[0.0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]])
    atoms = (way[:, :, None] + shape).reshape(60, 18, 3)
    wrapped = (atoms @ np.linalg.inv(box) % 1.0) @ box  # each atom by itself
    trajectory = trajectory_of([["O", "H", "H"]] * 6, wrapped, box)
    molecules = [np.arange(3 * k, 3 * k + 3) for k in range(6)]
    found = centers_of_mass(trajectory, molecules)
    wanted = way - way.mean(axis=1, keepdims=True)
    assert found - found[0] == pytest.approx(wanted - wanted[0], abs=1e-4)


def test_the_finite_size_correction_of_a_known_box():
    # 64 waters of 0.854 mPa·s at 300 K: ξ·kT / (6π·η·L).
    assert finite_size_correction(300.0, 12.42, 0.854) == pytest.approx(0.588, abs=0.001)
    assert finite_size_correction(300.0, 24.84, 0.854) == pytest.approx(0.294, abs=0.001)


def test_averages_of_correlated_series_have_honest_errors():
    rng = np.random.default_rng(5)
    deviations = []
    for _ in range(40):
        result = average(3.0 + correlated(rng, 1000, 10.0))
        deviations.append((result.mean - 3.0) / result.error)
    assert np.abs(np.mean(deviations)) < 3.0 / np.sqrt(40)
    assert 0.6 < np.std(deviations) < 1.6


def test_averages_leave_out_the_way_to_equilibrium():
    rng = np.random.default_rng(6)
    values = correlated(rng, 1000, 5.0) + 20.0 * np.exp(-np.arange(1000) / 40.0)
    result = average(values)
    assert 60 < result.start <= 500
    assert result.mean == pytest.approx(0.0, abs=4.0 * result.error)
    constant = average(np.full(50, 0.997))
    assert (constant.mean, constant.error, constant.start) == (pytest.approx(0.997), 0.0, 0)
    assert np.isnan(average(np.arange(5.0)).error)


def water_simulation(folder, frames, edges):
    """Frames [n, 3·n_waters, 3] of water in cubic boxes of known edges in Å."""
    topology = topology_of([["O", "H", "H"]] * (frames.shape[1] // 3), edges[0] * np.eye(3))
    write_simulation(folder, topology, frames, settings=NVT, verdict=STABLE)  # molecules that know of no others
    with (folder / "trajectory.dcd").open("w+b") as stream:
        file = app.DCDFile(stream, topology, 0.0005, 10, 10)
        for positions, edge in zip(frames, edges, strict=True):
            file.writeModel(positions * unit.angstrom, periodicBoxVectors=edge * np.eye(3) * unit.angstrom)
    lines = (folder / "state.csv").read_text().splitlines()
    lines[0] += ',"Box Volume (nm^3)"'
    lines[1:] = [f"{line},{(edge / 10) ** 3}" for line, edge in zip(lines[1:], edges, strict=True)]
    (folder / "state.csv").write_text("\n".join(lines) + "\n")
    return folder


def water_frames(rng, n_frames, n_waters, edge):
    centers = rng.uniform(0, edge, (1, n_waters, 3)) + walkers(rng, n_frames, n_waters, 2.3, 0.005)
    shape = np.array([[0.0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]])
    return (centers[:, :, None] + shape).reshape(n_frames, -1, 3)


def test_a_fixed_box_of_water_gets_its_density_shells_and_diffusion(tmp_path):
    rng = np.random.default_rng(7)
    folder = water_simulation(tmp_path / "s", water_frames(rng, 200, 32, 9.86), np.full(200, 9.86))
    summary = analyze(folder, tmp_path / "a")["liquid"]
    quantities = summary["quantities"]
    # 32 waters of 18.015 g/mol in (9.86 Å)³.
    assert quantities["density"]["value"] == pytest.approx(32 * 18.015 / 0.602214 / 9.86**3, rel=1e-4)
    assert quantities["density"]["note"] == "fixed"
    found = quantities["diffusion"]
    assert found["value"] == pytest.approx(2.3 * 31 / 32, abs=4.0 * found["standard_error"])
    assert found["standard_error"] < 0.5
    assert "Yeh-Hummer" in quantities["diffusion, finite-size correction"]["note"]
    assert {"radial.csv", "radial.png", "diffusion.csv", "diffusion.png", "liquid.csv"} <= {
        path.name for path in (tmp_path / "a").iterdir()
    }
    assert not (tmp_path / "a" / "density.png").exists()
    table = pd.read_csv(tmp_path / "a" / "liquid.csv")
    assert {"O–O first peak", "O–O first peak height", "O–O neighbors"} < set(table["quantity"])
    assert json.loads((tmp_path / "a" / "summary.json").read_text())["liquid"]["fixed_box"] is True


def test_a_changing_box_gets_a_mean_density_with_its_error_and_no_diffusion(tmp_path):
    rng = np.random.default_rng(8)
    edges = 9.86 * (1.0 + 0.01 * correlated(rng, 200, 5.0))
    folder = water_simulation(tmp_path / "s", water_frames(rng, 200, 32, 9.86), edges)
    summary = analyze(folder, tmp_path / "a")["liquid"]
    density = summary["quantities"]["density"]
    assert density["value"] == pytest.approx(0.9988, abs=4.0 * density["standard_error"])
    assert 0.001 < density["standard_error"] < 0.02
    assert "diffusion" not in summary["quantities"]
    assert (tmp_path / "a" / "density.png").exists()
    table = pd.read_csv(tmp_path / "a" / "density.csv")
    assert table["density"].to_numpy() == pytest.approx(densities(load_simulation(folder)), rel=1e-6)
    assert table["density"].to_numpy() * table["volume"].to_numpy() == pytest.approx(0.95728, rel=1e-3)
