"""Real OpenMM runs of a random-weight model: files, continuation after a kill, refusals, the wall."""

import contextlib
import os
import random
import signal
import subprocess
import sys
import time

import mdtraj
import numpy as np
import pytest
import torch

from lorem_openmm.config import Simulation
from lorem_openmm.errors import ConfigError, InstallationError, ModelFileError, SimulationError, UnknownElementError
from lorem_openmm.files import read_json
from lorem_openmm.outputs import claim
from lorem_openmm.simulate.energy import read_state
from lorem_openmm.simulate.simulation import simulate
from lorem_openmm.simulate.systems import read_structure

SCRIPT = """
import sys, torch
torch.set_num_threads(1)
from lorem_openmm.config import Simulation
from lorem_openmm.simulate.simulation import simulate
simulate(Simulation.model_validate_json(sys.argv[1]), sys.argv[2], sys.argv[3], checkpoint_seconds=0.3)
"""


def settings(**changes):
    values = {"run": "r", "start": "sn2:Cl,Br,3.2", "steps": 60, "report_interval": 10, "seed": 3}
    return Simulation(**{**values, **changes})


def read(folder):
    trajectory = mdtraj.load(str(folder / "trajectory.dcd"), top=str(folder / "topology.pdb"))
    return 10.0 * trajectory.xyz, read_state(folder / "state.csv")


def without_speed(folder):
    return [line.rsplit(",", 1)[0] for line in (folder / "state.csv").read_text().splitlines()]


def test_a_run_writes_everything_and_is_not_redone(tmp_path, sound_model, capfd):
    folder = tmp_path / "run"
    summary = simulate(settings(), sound_model, folder)
    files = {"trajectory.dcd", "topology.pdb", "state.csv", "checkpoint.chk", "summary.json"}
    assert {path.name for path in folder.iterdir()} == files
    positions, state = read(folder)
    assert positions.shape == (6, 6, 3)
    assert state["step"].tolist() == [10, 20, 30, 40, 50, 60]
    assert state["time"] == pytest.approx(0.005 * np.arange(1, 7))
    dof = 3 * 6 - 3
    assert summary["degrees_of_freedom"] == dof
    kelvin = 2.0 * state["kinetic_energy"] / dof / 8.617333262e-5
    assert state["temperature"] == pytest.approx(kelvin, rel=1e-6)
    assert summary["frames"] == 6
    assert summary["energy_conservation"] is None
    assert summary["ns_per_day"] > 0
    assert "simulate sn2:Cl,Br,3.2" in capfd.readouterr().err

    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert simulate(settings(), sound_model, folder) == summary
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == before


def test_built_structures_are_minimised_at_their_distance(tmp_path, sound_model):
    simulate(settings(steps=1, report_interval=1, start="dimer:methanol,water,3.0"), sound_model, tmp_path / "run")
    start = mdtraj.load(str(tmp_path / "run" / "topology.pdb"))
    centers = [mdtraj.compute_center_of_mass(start.atom_slice(atoms)) for atoms in (range(6), range(6, 9))]
    built = read_structure("dimer:methanol,water,3.0", 3)
    masses = np.array([atom.element.mass._value for atom in built.topology.atoms()])
    a, b = (np.average(built.positions[m], axis=0, weights=masses[m]) for m in built.molecules)
    assert 10.0 * np.linalg.norm(centers[1] - centers[0]) == pytest.approx(np.linalg.norm(b - a), abs=0.05)
    moved = np.abs(10.0 * start.xyz[0] - built.positions).max()
    assert moved > 0.01


def test_constant_energy_conserves_it(tmp_path, sound_model):
    summary = simulate(
        settings(friction_per_ps=0, steps=400, timestep_fs=0.25, precision="double"), sound_model, tmp_path / "run"
    )
    _, state = read(tmp_path / "run")
    assert summary["energy_conservation"]["fluctuation"] < 1e-3
    assert state["total_energy"].std() < 0.02 * state["kinetic_energy"].std()


def test_thermostat_reaches_its_temperature(tmp_path, sound_model):
    hot = settings(friction_per_ps=200.0, temperature=800.0, steps=600, report_interval=5)
    summary = simulate(hot, sound_model, tmp_path / "run")
    assert summary["temperature_mean"] == pytest.approx(800.0, rel=0.25)


def test_the_seed_decides_the_trajectory(tmp_path, sound_model):
    same, again, other = tmp_path / "a", tmp_path / "b", tmp_path / "c"
    simulate(settings(), sound_model, same)
    simulate(settings(), sound_model, again)
    simulate(settings(seed=4), sound_model, other)
    assert without_speed(same) == without_speed(again)
    assert without_speed(same) != without_speed(other)


def size_of(path):
    """Bytes of a file; 0 where there is none. A run killed before its first checkpoint starts by removing its files."""
    with contextlib.suppress(FileNotFoundError):
        return path.stat().st_size
    return 0


@pytest.mark.slow
def test_a_run_continues_where_it_was_killed(tmp_path, sound_model):
    wanted = settings(steps=800, report_interval=2)
    folder, rng = tmp_path / "killed", random.Random(0)  # noqa: S311
    kills = 0
    for target in sorted(rng.sample(range(20, 300), 3)):
        process = subprocess.Popen([sys.executable, "-c", SCRIPT, wanted.model_dump_json(), sound_model, folder])
        trajectory = folder / "unfinished" / "trajectory.dcd"
        while process.poll() is None:
            if size_of(trajectory) > 276 + 96 * target:
                time.sleep(rng.uniform(0.0, 0.2))
                os.kill(process.pid, signal.SIGKILL)
                kills += process.wait() == -signal.SIGKILL
        assert (folder / "unfinished" / "progress.json").is_file() or (folder / "summary.json").is_file()
    assert kills == 3
    assert not (folder / "summary.json").exists()

    simulate(wanted, sound_model, folder)
    simulate(wanted, sound_model, tmp_path / "straight")
    assert without_speed(folder) == without_speed(tmp_path / "straight")
    resumed, straight = ((path / "trajectory.dcd").read_bytes()[276:] for path in (folder, tmp_path / "straight"))
    assert resumed == straight
    positions, state = read(folder)
    assert len(positions) == len(state["step"]) == 400


def test_a_finished_run_can_be_made_longer_but_not_shorter(tmp_path, sound_model):
    folder = tmp_path / "run"
    simulate(settings(steps=25), sound_model, folder)
    summary = simulate(settings(steps=60), sound_model, folder)
    assert summary["steps"] == 60
    simulate(settings(steps=60), sound_model, tmp_path / "straight")
    assert without_speed(folder) == without_speed(tmp_path / "straight")
    assert simulate(settings(steps=30), sound_model, folder)["steps"] == 30
    assert without_speed(tmp_path / "run.old-1") == without_speed(tmp_path / "straight")


def test_what_has_changed_starts_anew_beside_the_old_run(tmp_path, sound_model, caplog):
    folder, start, other = tmp_path / "run", tmp_path / "start.xyz", tmp_path / "other.safetensors"
    other.write_bytes(sound_model.read_bytes())
    start.write_text("3\n\nO 0 0 0\nH 0.76 0.59 0\nH -0.76 0.59 0\n")
    brief = {"start": str(start), "steps": 10, "report_interval": 5}
    before = simulate(settings(**brief), other, folder)
    simulate(settings(**brief, temperature=310.0), other, folder)
    assert read_json(tmp_path / "run.old-1" / "summary.json") == before
    assert "temperature: 300.0 there, 310.0 now" in caplog.text
    assert simulate(settings(**brief, temperature=310.0), other, folder, resume=False)["steps"] == 10
    start.write_text(start.read_text().replace("0.59", "0.60"))
    simulate(settings(**brief, temperature=310.0), other, folder)
    assert "start_sha256" in caplog.text
    with pytest.raises(ModelFileError):  # nothing is moved for what cannot run
        simulate(settings(**brief, temperature=310.0), tmp_path / "none.safetensors", folder)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"run", "run.old-1", "run.old-2", "start.xyz", "other.safetensors"}


def test_one_process_runs_in_a_folder(tmp_path, sound_model):
    with claim(tmp_path / "run"), pytest.raises(ConfigError, match="one process at a time may write here"):
        simulate(settings(), sound_model, tmp_path / "run")


def test_a_wall_keeps_the_molecules_together(tmp_path, sound_model):
    far = {"start": "dimer:water,methane,4.0", "steps": 400, "temperature": 700.0, "seed": 7}
    limit = 8.0
    simulate(settings(**far), sound_model, tmp_path / "free")
    simulate(settings(**far, restraint=2.0, restraint_distance=limit), sound_model, tmp_path / "walled")
    last = {}
    for name in ("free", "walled"):
        trajectory = mdtraj.load(str(tmp_path / name / "trajectory.dcd"), top=str(tmp_path / name / "topology.pdb"))
        a, b = (mdtraj.compute_center_of_mass(trajectory.atom_slice(atoms)) for atoms in (range(3), range(3, 8)))
        last[name] = 10.0 * np.linalg.norm(b - a, axis=1)
    assert last["free"].max() > limit + 1.5
    assert last["walled"][-5:].max() < limit + 1.0


def test_periodic_molecules_are_written_whole(tmp_path, sound_model):
    structure = tmp_path / "box.xyz"
    # A water across the boundary: its hydrogens are at the other side.
    structure.write_text(
        '3\nLattice="9 0 0 0 9 0 0 0 9" pbc="T T T" Properties=species:S:1:pos:R:3\n'
        "O 0.1 4.0 4.0\nH 8.5 4.76 4.0\nH 8.5 3.24 4.0\n"
    )
    # At constant energy a file is taken as it is; minimised by a random model, the molecule would fall apart.
    simulate(settings(start=str(structure), steps=20, friction_per_ps=0), sound_model, tmp_path / "run")
    trajectory = mdtraj.load(str(tmp_path / "run" / "trajectory.dcd"), top=str(tmp_path / "run" / "topology.pdb"))
    assert trajectory.unitcell_lengths[0] == pytest.approx([0.9, 0.9, 0.9])
    bonds = 10.0 * np.linalg.norm(trajectory.xyz[:, 1:] - trajectory.xyz[:, :1], axis=-1)
    assert bonds.max() < 1.6
    assert "volume" in read_state(tmp_path / "run" / "state.csv")


def test_instability_is_explained(tmp_path, sound_model):
    wild = settings(timestep_fs=1e30)
    with pytest.raises(SimulationError, match=r"UNSTABLE at .* the temperature is .* shorter time step"):
        simulate(wild, sound_model, tmp_path / "run")


def test_torchforce_runs_after_minimisation(tmp_path, sound_model):
    pytest.importorskip("openmmtorch", reason="openmmtorch is not installed")
    summaries = [
        simulate(settings(implementation=name), sound_model, tmp_path / name) for name in ("torchforce", "pythonforce")
    ]
    assert [summary["implementation"] for summary in summaries] == ["torchforce", "pythonforce"]
    first, second = (read(tmp_path / name)[0] for name in ("torchforce", "pythonforce"))
    assert first[0] == pytest.approx(second[0], abs=1e-3)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"report_interval": 61}, ConfigError, "report_interval: must be at most steps"),
        ({"start": "sn2:Cl,I,3.2"}, UnknownElementError, "does not know I"),
        ({"start": "sn2:Cl"}, ConfigError, "must look like"),
    ],
)
def test_impossible_settings_leave_nothing_behind(tmp_path, model_file, changes, error, message):
    with pytest.raises(error, match=message):
        simulate(settings(**changes), model_file, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_wall_needs_two_molecules(tmp_path, model_file):
    structure = tmp_path / "one.xyz"
    structure.write_text("3\n\nO 0 0 0\nH 0.76 0.59 0\nH -0.76 0.59 0\n")
    with pytest.raises(ConfigError, match=r"exactly two molecules.*has 1"):
        simulate(settings(start=str(structure), restraint=1.0), model_file, tmp_path / "run")


def test_missing_model_and_wrong_device(tmp_path, model_file):
    with pytest.raises(ModelFileError, match="no such model file"):
        simulate(settings(), tmp_path / "none.safetensors", tmp_path / "run")
    with pytest.raises(ConfigError, match="device: must be auto, cpu, cuda"):
        simulate(settings(), model_file, tmp_path / "run", device="gpu")
    if not torch.cuda.is_available():
        with pytest.raises(InstallationError, match="needs CUDA in both PyTorch and OpenMM"):
            simulate(settings(), model_file, tmp_path / "run", device="cuda")
