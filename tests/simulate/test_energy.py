"""Drift and fluctuation on energies made up with known ones; tables of energies."""

import numpy as np
import pytest
from scipy.signal import lfilter

from lorem_openmm.errors import DataError
from lorem_openmm.simulate.energy import nve_drift, read_state
from lorem_openmm.units import EV_PER_KELVIN

HEADER = (
    '#"Step","Time (ps)","Potential Energy (kJ/mole)","Kinetic Energy (kJ/mole)","Total Energy (kJ/mole)",'
    '"Temperature (K)","Speed (ns/day)"'
)
TEMPERATURE, DOF = 350.0, 15


def test_drift_of_a_straight_line_is_its_slope_in_kt_per_ns_and_degree_of_freedom():
    times = np.linspace(0.0, 20.0, 500)  # ps
    wanted = -0.037  # kT/ns/dof
    energies = -2.0e5 + wanted * EV_PER_KELVIN * TEMPERATURE * DOF * times * 1e-3
    found = nve_drift(energies, times, TEMPERATURE, DOF)
    assert found.drift == pytest.approx(wanted, rel=1e-5)
    assert found.fluctuation < 1e-8


def test_fluctuation_of_an_oscillation_is_its_rms_and_no_drift():
    times = np.linspace(0.0, 20.0, 4001)
    energies = -712.0 + 3e-3 * np.cos(2 * np.pi * 5.0 * times)
    found = nve_drift(energies, times, TEMPERATURE, DOF)
    assert found.fluctuation == pytest.approx(3e-3 / np.sqrt(2), rel=1e-3)
    assert abs(found.drift) < 1e-3


@pytest.mark.parametrize("correlation", [0.0, 0.8])
def test_drift_error_covers_the_drift_of_noise(correlation):
    rng = np.random.default_rng(3)
    times = np.linspace(0.0, 5.0, 1000)
    ratios = []
    for _ in range(300):
        noise = lfilter([1.0], [1.0, -correlation], rng.normal(0.0, 1e-3, 1000))
        found = nve_drift(noise, times, TEMPERATURE, DOF)
        ratios.append(found.drift / found.drift_error)
    assert np.std(ratios) == pytest.approx(1.1, abs=0.25)


@pytest.mark.parametrize(
    ("energies", "times"),
    [([1.0, 2.0], [0.0, 1.0]), ([1.0, 2.0, np.nan], [0.0, 1.0, 2.0]), ([1.0, 2.0, 3.0], [0.0, 1.0, 1.0])],
)
def test_drift_refuses_too_few_or_damaged_points(energies, times):
    with pytest.raises(DataError, match="total_energies, times"):
        nve_drift(np.array(energies), np.array(times), TEMPERATURE, DOF)


def test_state_tables_are_read_in_ev(tmp_path):
    path = tmp_path / "state.csv"
    path.write_text(f"{HEADER}\n10,0.005,96.48533212331,0.0,9.6485,300.5,--\n")
    table = read_state(path)
    assert table["potential_energy"][0] == pytest.approx(1.0)
    assert table["step"][0] == 10
    assert np.isnan(table["speed"][0])


@pytest.mark.parametrize(
    ("last", "speed"),
    [
        ("20,0.010,9.6,0.0,9.6,", None),
        ("20,0.010,9.6,0.0,9.6,30", None),  # of 300.5, perhaps
        ("20,0.010,9.6,0.0,9.6,300.5,", np.nan),
        ("20,0.010,9.6,0.0,9.6,300.5,1", 1.0),
    ],
)
def test_a_last_line_is_left_out_where_it_was_cut_before_its_temperature_was_whole(tmp_path, last, speed):
    path = tmp_path / "state.csv"
    path.write_text(f"{HEADER}\n10,0.005,9.6,0.0,9.6,299.5,2\n{last}")
    table = read_state(path)
    assert table["step"].tolist() == [10] + [20] * (speed is not None)
    assert table["temperature"].mean() == (299.5 if speed is None else 300.0)
    assert table["speed"] == pytest.approx([2.0] + [speed] * (speed is not None), nan_ok=True)


@pytest.mark.parametrize(
    "text",
    ["", "a,b\n1,2\n", '#"Step","Time (ps)"\n', "\0\1\2", f"{HEADER}\n10,0.005,nothing,0.0,9.6,300.5,--\n", HEADER],
)
def test_other_tables_are_refused(tmp_path, text):
    path = tmp_path / "state.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=r"state\.csv: not a table of energies"):
        read_state(path)
    with pytest.raises(DataError, match="run the simulation first"):
        read_state(tmp_path / "none.csv")
