"""Whole free-energy analyses: windows made from exact samples, and the refusals."""

import json

import ase.io
import numpy as np
import pandas as pd
import pytest
from made_simulations import STABLE, topology_of, write_simulation

from lorem_openmm.analysis.free_energy import free_energy
from lorem_openmm.config import Umbrella
from lorem_openmm.errors import ConfigError, DataError
from lorem_openmm.export import PRETRAINED
from lorem_openmm.files import read_json, write_json
from lorem_openmm.simulate.stability import Verdict

KT = 8.617333262e-5 * 300.0
SN2 = {
    **{"run": "r", "start": "sn2:Cl,Br,3.2", "coordinate": "bond_difference", "first": 1.0, "last": -1.0},
    **{"num_windows": 9, "stiffness": 3.0, "steps": 4100, "equilibration": 100, "report_interval": 10},
}
PAIR = {**SN2, "start": "dimer:water,methane,3.0", "coordinate": "center_distance", "first": 3.0, "last": 5.0}


def double_well(x):
    """Wells at ±0.8 Å, 0.25 eV below the barrier, tilted towards the products."""
    return 0.25 * ((x / 0.8) ** 2 - 1.0) ** 2 + 0.06 * x


def reaction(coordinate):
    """X at the left, Y at the right, CH3 between; together stretched by 5 Å."""
    frames = np.zeros((len(coordinate), 6, 3))
    frames[:, 0, 2], frames[:, 2, 2] = -(5.0 + coordinate) / 2, (5.0 - coordinate) / 2
    frames[:, 3:] = 1.08 * np.array([[1.0, 0, 0], [-0.5, 0.866, 0], [-0.5, -0.866, 0]])
    return frames


def write_windows(folder, umbrella, potential, equilibration=10, seed=0):
    """Folders of windows with exact samples, after frames that equilibration has to leave out."""
    rng, grid = np.random.default_rng(seed), np.linspace(-4.0, 4.0, 4001)
    topology = topology_of([["Cl"], ["C", "Br", "H", "H", "H"]])
    folders = []
    for index, center in enumerate(umbrella.centers()):
        weights = np.exp(-(potential(grid) + 0.5 * umbrella.stiffness * (grid - center) ** 2) / KT)
        count = (umbrella.steps - umbrella.equilibration) // umbrella.report_interval
        cumulative = (np.cumsum(weights) - 0.5 * weights) / weights.sum()
        sampled = np.interp(rng.random(count), cumulative, grid)
        coordinate = np.concatenate([np.full(equilibration, 2.9), sampled])
        settings = umbrella.window(index).model_dump(mode="json")
        frames = reaction(coordinate)
        folders.append(write_simulation(folder / f"{index}", topology, frames, settings=settings, verdict=STABLE))
    return folders


@pytest.fixture(scope="module")
def analysed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("umbrella")
    umbrella = Umbrella(**SN2)
    folders = write_windows(folder, umbrella, double_well)
    return folder / "out", free_energy(umbrella, folders, PRETRAINED, folder / "out"), folders


def test_barrier_and_reaction_are_those_of_the_potential(analysed):
    output, summary, _ = analysed
    assert summary == json.loads((output / "summary.json").read_text())
    found = summary["free_energy"]
    x = np.linspace(-1.0, 1.0, 2001)
    top, low, high = double_well(x[500:1500]).max(), double_well(x[:1000]).min(), double_well(x[1000:]).min()
    for name, expected in (("barrier", top - high), ("reverse_barrier", top - low), ("reaction", low - high)):
        assert found[name]["ev"] == pytest.approx(expected, abs=0.004 + 3.0 * found[name]["error_ev"])
        assert found[name]["error_ev"] < 0.01
        assert found[name]["kj_per_mol"] == pytest.approx(96.4853 * found[name]["ev"])
    assert found["reaction"]["ev"] < 0
    assert found["reactants"]["coordinate"] == pytest.approx(0.79, abs=0.1)
    assert found["transition_state"]["coordinate"] == pytest.approx(0.02, abs=0.1)
    assert summary["smallest_overlap"]["value"] > 0.03
    assert summary["warnings"] == []
    assert summary["halves_differ_ev"] < 0.02
    assert [window["n_frames"] for window in summary["windows"]] == [400] * 9  # equilibration left out


def test_table_holds_the_profile_and_the_static_energy(analysed):
    output, summary, _ = analysed
    table = pd.read_csv(output / "profile.csv")
    assert table["coordinate"].is_monotonic_increasing
    reference = table["free_energy"].abs().argmin()
    off = table["free_energy"] - (double_well(table["coordinate"]) - double_well(table["coordinate"][reference]))
    assert (off.abs() < 0.004 + 4.0 * table["error"]).all()
    assert table["error"].max() < 0.012
    assert table["error"][reference] == 0.0
    assert table["samples"].sum() > 3000
    # The shipped model's reaction Cl- + CH3Br: zero at the reactants' complex, exothermic.
    static = table["static_energy"]
    assert static.min() < -0.01
    assert 0.15 < static.max() < 0.5
    assert summary["static"]["barrier"]["ev"] == pytest.approx(static.max(), abs=0.02)


def test_snapshots_show_the_reaction(analysed):
    output, summary, _ = analysed
    frames = {atoms.info["name"]: atoms for atoms in ase.io.read(output / "snapshots.xyz", ":")}
    assert list(frames) == ["reactants", "transition_state", "products"]
    for name, atoms in frames.items():
        difference = atoms.get_distance(0, 1) - atoms.get_distance(1, 2)
        assert difference == pytest.approx(summary["static"][name]["coordinate"], abs=0.06)
        assert difference == pytest.approx(atoms.info["coordinate"], abs=1e-4)
    assert frames["reactants"].get_distance(1, 2) < 2.1
    assert frames["products"].get_distance(0, 1) < 2.0
    assert frames["transition_state"].get_angle(0, 1, 2) > 170.0
    assert len(ase.io.read(output / "static.xyz", ":")) == 21


def test_every_figure_is_drawn(analysed):
    output, _, _ = analysed
    figures = {f"{stem}.{kind}" for stem in ("profile", "windows", "overlap", "snapshots") for kind in ("png", "svg")}
    others = {"profile.csv", "overlap.csv", "summary.json", "snapshots.xyz", "static.xyz"}
    assert {path.name for path in output.iterdir()} == figures | others
    assert all((output / name).stat().st_size > 5000 for name in figures)


def test_poor_sampling_is_said_and_solvent_has_no_static_profile(tmp_path):
    umbrella = Umbrella(**{**SN2, "stiffness": 200.0, "num_windows": 3, "steps": 250, "solvent": {}})
    folders = write_windows(tmp_path, umbrella, double_well)
    summary = free_energy(umbrella, folders, PRETRAINED, tmp_path / "out")
    text = "\n".join(summary["warnings"])
    assert "windows 0 and 1 overlap by" in text
    assert "windows 0, 1, 2 have fewer than 20 independent samples" in text
    assert "no samples in" in text
    table = pd.read_csv(tmp_path / "out" / "profile.csv")
    assert table["free_energy"].isna().any()
    assert "static" not in summary
    assert not (tmp_path / "out" / "static.xyz").exists()


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("missing", r"4/trajectory.dcd: no such file"),
        ("unfinished", r"4: window 4 must be finished"),
        ("other", r"4: was run with other settings \(temperature: 310.0 instead of 300.0\); run window 4 again"),
        ("short", r"4: must hold frames after the 100 steps of equilibration, its last is of step 50"),
    ],
)
def test_windows_that_cannot_be_used_are_named(tmp_path, fault, message):
    umbrella = Umbrella(**{**SN2, "steps": 300})
    folders = write_windows(tmp_path, umbrella, double_well)
    window = folders[4]
    if fault == "missing":
        (window / "trajectory.dcd").unlink()
    elif fault == "unfinished":
        (window / "summary.json").unlink()
    elif fault == "other":
        summary = read_json(window / "summary.json")
        write_json(window / "summary.json", {**summary, "settings": {**summary["settings"], "temperature": 310.0}})
    else:
        (window / "state.csv").write_text("\n".join((window / "state.csv").read_text().splitlines()[:6]) + "\n")
    with pytest.raises(DataError, match=message):
        free_energy(umbrella, folders, PRETRAINED, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": 150}, "must leave at least 10 frames of 10 steps; received 150 and 100, which leave 5"),
        ({"friction_per_ps": 0}, "friction_per_ps must be positive"),
        ({"restraint": 0.5}, "restraint must be 0"),
        ({"coordinate": "center_distance"}, "last must be positive, as a distance is; received -1.0"),
        ({"last": 1.0}, "first and last must differ"),
    ],
)
def test_umbrellas_that_cannot_work_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        Umbrella(**{**SN2, **changes})


def test_only_existing_windows_can_be_asked_for():
    umbrella = Umbrella(**SN2)
    assert umbrella.window(8).bias.center == -1.0
    assert umbrella.window(8).seed == 8
    longer = Umbrella(**{**SN2, "last": -1.7, "num_windows": 11, "first": 1.0})
    shorter = Umbrella(**{**SN2, "last": -0.62, "num_windows": 7, "first": 1.0})
    assert shorter.window(3) == longer.window(3)  # to the last digit: such windows are not run again
    for index in (-1, 9):
        with pytest.raises(ConfigError, match=f"window: must be from 0 to 8 .* received {index}"):
            umbrella.window(index)


def test_a_window_that_fell_apart_is_named_or_left_out(tmp_path):
    umbrella = Umbrella(**{**SN2, "steps": 1100, "stiffness": 2.0, "solvent": {}})
    folders = write_windows(tmp_path, umbrella, double_well)
    fell = Verdict(False, "the bond C[1]–H[3] is broken", 0.5, 1000, [])
    for index in (3, 8):
        summary = read_json(folders[index] / "summary.json")
        write_json(folders[index] / "summary.json", {**summary, "verdict": fell._asdict()})
    message = r"window 3 \(held at 0.25 Å\) fell apart at 0.5 ps: the bond C\[1\]–H\[3\] is broken"
    with pytest.raises(DataError, match=message):
        free_energy(umbrella, folders, PRETRAINED, tmp_path / "out")
    tolerant = umbrella.model_copy(update={"on_unstable": "report"})
    summary = free_energy(tolerant, folders, PRETRAINED, tmp_path / "out")
    assert [entry["window"] for entry in summary["left_out"]] == [3, 8]
    assert [window["window"] for window in summary["windows"]] == [0, 1, 2, 4, 5, 6, 7]
    assert summary["warnings"][0].startswith("window 3 is left out: it fell apart at 0.5 ps")
    assert set(summary["smallest_overlap"]["windows"]) <= {0, 1, 2, 4, 5, 6, 7}
    assert b"#b00020" in (tmp_path / "out" / "profile.svg").read_bytes()
    for folder in folders[1:]:
        write_json(folder / "summary.json", {**read_json(folder / "summary.json"), "verdict": fell._asdict()})
    summary = free_energy(tolerant, folders, PRETRAINED, tmp_path / "none")
    assert summary == read_json(tmp_path / "none" / "summary.json")
    assert (summary["free_energy"], len(summary["left_out"])) == (None, 8)
    assert "at least 2 windows that are sound, and 1 of 9 are: window 1 fell apart at 0.5 ps" in summary["reason"]
