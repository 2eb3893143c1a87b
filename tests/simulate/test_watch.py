"""The watch: each thing it looks for alone on made frames, no false alarms, and whole runs of broken models."""

import json
import time

import numpy as np
import openmm
import pytest
from ase import Atoms
from ase.build import molecule
from openmm import app, unit

import lorem_openmm
from lorem_openmm.config import Simulation
from lorem_openmm.errors import ConfigError, SimulationError
from lorem_openmm.files import read_json
from lorem_openmm.simulate import simulation as run_module
from lorem_openmm.simulate.energy import read_state
from lorem_openmm.simulate.images import close_pairs, nearest_image
from lorem_openmm.simulate.simulation import simulate
from lorem_openmm.simulate.watch import Frame, Watch
from lorem_openmm.simulate.watch_energy import Energies, Ensemble
from lorem_openmm.simulate.watch_structure import Subject

STEP_PS = 0.005


def subject_of(molecules, box=None, **changes):
    """What is watched of ASE molecules, one behind the other."""
    atoms = sum(molecules[1:], molecules[0].copy())
    ends = np.cumsum([len(part) for part in molecules])
    members = [list(range(end - len(part), end)) for end, part in zip(ends, molecules, strict=True)]
    return Subject(list(atoms.symbols), atoms.positions, box, members, **changes)


def waters(distance=2.8, count=2):
    """Waters in a row along x."""
    parts = []
    for k in range(count):
        part = molecule("H2O")
        part.positions[:, 0] += distance * k
        parts.append(part)
    return parts


def show(watch, *frames, box=None, energies=None, first=0):
    """Shows frames to a watch at intervals of 5 fs."""
    for k, positions in enumerate(frames, start=first):
        energy = None if energies is None else Energies(*energies[k - first])
        watch.check(Frame(10 * k, STEP_PS * k, np.asarray(positions, dtype=float), box, energy))
    return watch


def stretched(subject, atom, by, frames=1):
    """Frames in which an atom is moved along z."""
    moved = subject.positions.copy()
    moved[atom, 2] += by
    return [moved] * frames


def rattled(subject, scale, frames, seed=0):
    rng = np.random.default_rng(seed)
    return [subject.positions + scale * rng.normal(size=subject.positions.shape) for _ in range(frames)]


# -- structure --


def test_a_bond_that_is_far_too_long_is_broken_at_once():
    subject = subject_of([molecule("CH3OH")])
    watch = show(Watch(subject), subject.positions, *stretched(subject, 2, 1.8))
    verdict = watch.verdict
    assert (verdict.stable, verdict.step, verdict.time_ps) == (False, 10, STEP_PS)
    assert "bond C[0]–H[2] is broken" in verdict.reason
    assert "Å longer than at the start" in verdict.reason


def test_a_bond_that_is_too_long_must_stay_so():
    subject = subject_of([molecule("H2O")])
    moved = subject.positions.copy()
    moved[1] += 0.7 * (moved[1] - moved[0]) / 0.96
    assert show(Watch(subject), *[moved] * 9, subject.positions, *[moved] * 9).conclude().time_ps == 10 * STEP_PS
    assert show(Watch(subject), *[moved] * 9, subject.positions, moved).conclude().stable
    lasting = show(Watch(subject), subject.positions, *[moved] * 12)
    assert (lasting.verdict.stable, lasting.verdict.step) == (False, 10)  # since when, not when it was certain


@pytest.mark.parametrize("box", [None, np.eye(3) * 9.0, np.array([[9.0, 0, 0], [4.4, 8.0, 0], [-4.3, 3.9, 7.5]])])
def test_atoms_on_top_of_each_other_in_any_box(box):
    subject = subject_of(waters(4.0), box)
    assert show(Watch(subject), subject.positions, box=box).verdict.stable
    moved = subject.positions.copy()
    target = moved[0] + (0 if box is None else box[2] - 2 * box[1])  # an image far away
    moved[3:] += target + np.array([0.0, 0.0, 0.6]) - moved[3]
    verdict = show(Watch(subject), moved, box=box).verdict
    assert "O[0] and O[3] are on top of each other: 0.60 Å apart" in verdict.reason


def test_molecules_that_have_merged():
    parts = [Atoms("CO", [[0, 0, 0], [1.2, 0, 0]]), Atoms("NN", [[0, 5, 0], [1.1, 5, 0]])]
    subject = subject_of(parts)
    moved = subject.positions.copy()
    moved[2:] += [0.0, -3.7, 0.0]
    verdict = show(Watch(subject), moved).verdict
    assert "molecules 1 and 2, had no bond at the start, have merged: 1.30 Å apart" in verdict.reason


def test_residues_whose_bonds_nobody_declared_have_not_merged():
    parts = [Atoms("CO", [[0, 0, 0], [1.2, 0, 0]]), Atoms("NH", [[0, 1.4, 0], [0, 2.4, 0]])]
    subject = subject_of(parts)
    assert show(Watch(subject), *[subject.positions] * 20).conclude().stable


def transfer(reactive=None, shared=1.45, frames=20, back=False):
    """A proton of one water goes over to the next, whose oxygen is 2.5 Å away."""
    parts = waters(2.5)
    subject = subject_of(parts)
    start = subject.positions.copy()
    start[1] = start[0] + [0.98, 0, 0]
    subject = subject._replace(positions=start)
    moved = start.copy()
    moved[1] = start[0] + [shared, 0, 0]
    watch = show(Watch(subject, reactive), start, *[moved] * frames)
    if back:
        show(watch, start, first=frames + 1)
    return watch


def test_a_proton_that_has_gone_to_another_molecule():
    verdict = transfer().verdict
    assert not verdict.stable
    assert "H[1] has left O[0] for O[3], from molecule 1 to molecule 2" in verdict.reason
    assert transfer(frames=4, back=True).conclude().stable  # 20 fs: it looked and came back
    assert transfer(shared=1.24).conclude().stable  # in the middle it is still its own


@pytest.mark.parametrize("reactive", [True, [1], [0, 1, 3]])
def test_a_proton_transfer_that_is_wanted(reactive):
    assert transfer(reactive).conclude().stable
    crushed = transfer(reactive, shared=2.0, frames=1)
    assert "H[1] and O[3] are on top of each other" in crushed.verdict.reason


def test_only_what_is_declared_may_react():
    subject = subject_of([molecule("CH3OH")])
    watch = show(Watch(subject, [3]), *stretched(subject, 2, 3.0))
    assert "C[0]–H[2]" in watch.verdict.reason
    assert show(Watch(subject, [2]), *stretched(subject, 2, 3.0)).verdict.stable
    with pytest.raises(ConfigError, match=r"reactive: must name atoms from 0 to 5, .*received \[6\]"):
        Watch(subject, [6])


def sn2_frames(n_frames=60):
    """Cl⁻ + CH₃Br → ClCH₃ + Br⁻, and the hydrogens turn over."""
    way = np.linspace(0.0, 1.0, n_frames)
    frames = np.zeros((n_frames, 6, 3))
    frames[:, 0, 2], frames[:, 2, 2] = -(3.2 - 1.4 * way), 1.94 + 1.6 * way
    angles = 2 * np.pi * np.arange(3) / 3
    height = 0.33 * (2 * way - 1)
    frames[:, 3:, :2] = 1.03 * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    frames[:, 3:, 2] = height[:, None]
    return frames


def test_the_reaction_of_an_sn2_complex_is_declared_by_what_it_is():
    frames = sn2_frames()
    subject = Subject(["Cl", "C", "Br", "H", "H", "H"], frames[0], None, [[0], [1, 2, 3, 4, 5]])
    assert show(Watch(subject), *frames).conclude().stable
    assert show(Watch(subject, True), *frames).conclude().stable
    assert not show(Watch(subject, False), *frames).conclude().stable
    broken = frames[-1].copy()
    broken[3, :2] *= 3.0
    assert "C[1]–H[3]" in show(Watch(subject), *frames, broken).verdict.reason


def test_bonds_across_the_faces_of_a_box_and_ions_of_metals():
    box = np.eye(3) * 12.0
    water = molecule("H2O")
    sodium = Atoms("Na", [[0.0, 0.0, 2.3]])
    subject = subject_of([water, sodium], box)
    wrapped = subject.positions % 12.0
    gone = subject.positions.copy()
    gone[3, 2] += 3.0
    assert show(Watch(subject), wrapped, *[gone] * 20, box=box).conclude().stable
    bound = subject_of([water, sodium], box)._replace(molecules=[[0, 1, 2, 3]], bonds=[(0, 3)])
    assert "O[0]–Na[3] is broken" in show(Watch(bound), gone, box=box).verdict.reason


def test_water_of_a_solvent_is_seen_where_it_meets_the_molecules():
    box = np.eye(3) * 20.0
    subject = subject_of(waters(3.0, count=5), box, atoms=[0, 1, 2])
    moved = subject.positions.copy()
    moved[12:] += moved[9] - moved[12] + [0, 0.1, 0]  # of no concern: water and water
    assert show(Watch(subject), moved, box=box).verdict.stable
    moved[3] = moved[1] + [0.1, 0, 0]
    assert "O[3]" in show(Watch(subject), moved, box=box).verdict.reason


# -- energies --


@pytest.mark.parametrize(("n_atoms", "fluctuation"), [(6, 1.0), (5000, 0.05)])
def test_temperatures_fluctuate_as_they_do_and_no_more(n_atoms, fluctuation):
    dof = 3 * n_atoms - 3
    ensemble = Ensemble(300.0, dof, True)
    subject = subject_of([Atoms("He")])
    kt = 8.617333262e-5 * 300.0
    rng = np.random.default_rng(1)
    kinetic = kt / 2 * rng.chisquare(dof, 2000)
    assert np.ptp(kinetic) > fluctuation * kinetic.mean()
    sound = Watch(subject, ensemble=ensemble)
    sound._energies = type(sound._energies)(ensemble, n_atoms, False)
    energies = [(-5.0, value) for value in kinetic]
    assert show(sound, *[subject.positions] * 2000, energies=energies).conclude().stable
    hot = Watch(subject, ensemble=ensemble)
    hot._energies = type(hot._energies)(ensemble, n_atoms, False)
    energies = [(-5.0, value * (12.0 if n_atoms == 6 else 3.0)) for value in kinetic]
    assert "K where 300 K are asked for" in show(hot, *[subject.positions] * 2000, energies=energies).verdict.reason


def test_a_dimer_that_stays_at_six_times_its_temperature():
    ensemble, kt = Ensemble(300.0, 42, True), 8.617333262e-5 * 300.0
    subject = subject_of(waters(count=5))
    kinetic = 6 * kt / 2 * np.random.default_rng(2).chisquare(42, 200)
    energies = [(0.0, value) for value in kinetic]
    verdict = show(Watch(subject, ensemble=ensemble), *[subject.positions] * 200, energies=energies).verdict
    assert "temperature" in verdict.reason
    met = np.where(np.arange(200) < 20, 900.0, 450.0) / 300.0  # two ions that have found each other
    energies = [(0.0, value) for value in met * kinetic / 6]
    watch = Watch(subject, ensemble=ensemble)
    assert show(watch, *[subject.positions] * 200, energies=energies).conclude().stable


@pytest.mark.parametrize(
    ("energies", "thermostat", "reason"),
    [
        ([(-10.0, 0.2), (-60.0, 0.2)], True, "potential energy has fallen by 50 eV"),
        ([(-10.0, 0.2), (1e6, 0.2)], True, "potential energy has risen by"),
        ([(-10.0, 0.2), (-9.0, 0.3)], False, "total energy has changed by"),
        ([(-10.0, 0.2), (np.nan, 0.2)], True, "energy is NaN or infinite"),
    ],
)
def test_energies_that_run_away(energies, thermostat, reason):
    subject = subject_of([molecule("H2O")])
    watch = Watch(subject, ensemble=Ensemble(300.0, 6, thermostat))
    assert reason in show(watch, *[subject.positions] * 2, energies=energies).verdict.reason


def test_positions_that_are_no_numbers():
    subject = subject_of([molecule("H2O")])
    moved = subject.positions.copy()
    moved[2, 1] = np.inf
    verdict = show(Watch(subject), subject.positions, moved).verdict
    assert (verdict.step, "atom 2 (from 0)" in verdict.reason) == (10, True)


def test_a_watch_goes_on_where_it_was():
    subject = subject_of(waters(2.5), None)
    frames, kt = stretched(subject, 1, 1.55 - 0.757, 12), 0.0259
    energies = [(-3.0, 6 * kt)] * 12
    straight = show(Watch(subject, ensemble=Ensemble(300.0, 12, True)), *frames, energies=energies)
    first = show(Watch(subject, ensemble=Ensemble(300.0, 12, True)), *frames[:6], energies=energies)
    second = Watch(subject, ensemble=Ensemble(300.0, 12, True))
    second.restore(json.loads(json.dumps(first.state())))
    assert first.verdict.stable
    assert show(second, *frames[6:], energies=energies, first=6).verdict == straight.verdict


# -- no false alarms --


@pytest.mark.parametrize("name", ["CH3OH", "C6H6", "CH3CONH2", "bicyclobutane", "SiH4", "C2H2", "CH3Cl", "PH3", "SO2"])
def test_molecules_that_shake_as_at_1000_kelvin(name):
    subject = subject_of([molecule(name)])
    watch = show(Watch(subject), *rattled(subject, 0.06, 200))
    assert watch.conclude().stable


def test_heavy_halogens_of_one_carbon_are_no_bond():
    angle = np.radians(114.7 / 2)
    places = 2.14 * np.array([[0, 0, 0], [np.sin(angle), np.cos(angle), 0], [-np.sin(angle), np.cos(angle), 0]])
    subject = subject_of([Atoms("CI2", places)])
    closed = subject.positions * [[1, 1, 1], [0.8, 1, 1], [0.8, 1, 1]]
    assert show(Watch(subject), *[closed] * 20).conclude().stable


@pytest.mark.parametrize("temperature", [300.0, 500.0])
def test_real_dynamics_of_methanol_is_sound(tmp_path, sound_model, temperature):
    settings = {"start": "dimer:methanol,methanol,1.0", "steps": 400, "temperature": temperature, "seed": 1}
    summary = simulate(Simulation(run="r", report_interval=5, **settings), sound_model, tmp_path / "run")
    assert summary["verdict"]["stable"]
    assert summary["verdict"]["reason"] is None
    assert summary["sound_frames"] == summary["frames"] == 80


# -- whole runs --


def settings(**changes):
    values = {"run": "r", "start": "sn2:Cl,Br,3.2", "steps": 60, "report_interval": 10, "seed": 3}
    return Simulation(**{**values, **changes})


def test_a_broken_model_fails_or_reports(tmp_path, model_file):
    folder = tmp_path / "run"
    with pytest.raises(SimulationError, match=r"UNSTABLE at .* ps \(step \d+\): .* on top of each other"):
        simulate(settings(), model_file, folder)
    summary = read_json(folder / "summary.json")
    verdict = summary["verdict"]
    assert set(verdict) == {"stable", "reason", "time_ps", "step", "watched"}
    assert (verdict["stable"], verdict["step"] < 60, summary["sound_frames"] < summary["frames"]) == (False, True, True)
    assert len(read_state(folder / "state.csv")["step"]) == summary["frames"]  # the broken frame is there

    for name in ("summary.json", "trajectory.dcd", "topology.pdb", "state.csv"):  # a workflow clears a failed job
        (folder / name).unlink()
    written = (folder / "unstable" / "trajectory.dcd").stat().st_mtime_ns
    with pytest.raises(SimulationError):
        simulate(settings(), model_file, folder)
    assert (folder / "trajectory.dcd").stat().st_mtime_ns == written  # the same verdict, not another run
    again = simulate(settings(on_unstable="report", steps=600), model_file, folder)
    assert again == summary
    fresh = simulate(settings(on_unstable="report"), model_file, folder, resume=False)
    assert fresh["verdict"] == verdict
    assert not (folder / "unstable").exists()


def test_a_minimisation_that_breaks_molecules_is_seen_at_step_0(tmp_path, model_file):
    start = settings(start="dimer:methanol,water,3.0", on_unstable="report")
    summary = simulate(start, model_file, tmp_path / "run")
    assert (summary["verdict"]["step"], summary["steps"], summary["frames"]) == (0, 0, 1)
    assert summary["temperature_mean"] is None


def test_a_run_that_is_no_number_before_its_first_frame_is_complete(tmp_path, sound_model):
    wild = settings(timestep_fs=1e6, on_unstable="report", steps=100, report_interval=100)
    summary = simulate(wild, sound_model, tmp_path / "run")
    assert not summary["verdict"]["stable"]
    assert {path.name for path in (tmp_path / "run").iterdir()} == {
        *("trajectory.dcd", "topology.pdb", "state.csv", "checkpoint.chk", "summary.json")
    }
    assert (summary["frames"], summary["sound_frames"]) == (1, 0)


def test_an_error_whose_words_hold_nan_is_no_instability(tmp_path, sound_model, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device", "/scratch/nanotubes/trajectory.dcd")

    monkeypatch.setattr(run_module.app.DCDReporter, "report", full)
    with pytest.raises(OSError, match="No space left"):
        simulate(settings(), sound_model, tmp_path / "run")
    assert not (tmp_path / "run" / "summary.json").exists()


# -- scripts --


def chlorine(energy="-k*(r-r0)^2/2"):
    """Two atoms and whatever acts between them."""
    system, topology = openmm.System(), app.Topology()
    residue = topology.addResidue("CL2", topology.addChain())
    for k in range(2):
        topology.addAtom(f"CL{k}", app.Element.getBySymbol("Cl"), residue)
        system.addParticle(35.45)
    force = openmm.CustomBondForce(f"{energy}; k=1e5; r0=0.199")
    force.addBond(0, 1, [])
    system.addForce(force)
    integrator = openmm.LangevinMiddleIntegrator(300.0, 1.0, 0.001)
    integrator.setRandomNumberSeed(1)
    simulation = app.Simulation(topology, system, integrator, openmm.Platform.getPlatform("Reference"))
    simulation.context.setPositions(np.array([[0, 0, 0], [0.2, 0, 0]]) * unit.nanometer)
    simulation.context.setVelocitiesToTemperature(300.0, 1)
    return simulation


def test_the_reporter_in_a_script():
    simulation = chlorine()
    simulation.reporters.append(lorem_openmm.WatchReporter(10))
    with pytest.raises(SimulationError, match=r"UNSTABLE at .*(is broken|on top of|temperature)"):
        simulation.step(1000)
    simulation = chlorine("k*(r-r0)^2/2")
    simulation.reporters.append(lorem_openmm.WatchReporter(10))
    simulation.step(1000)
    assert simulation.reporters[0].conclude().stable
    assert "bonds of the start" in simulation.reporters[0].verdict.watched
    assert Watch(subject_of(waters()), [1]).verdict.watched[0] == "bonds of the start, but those of H[1]"


def test_the_reporter_can_go_on_and_refuses_what_it_cannot_do():
    simulation = chlorine("-1e4*r")
    simulation.reporters.append(lorem_openmm.WatchReporter(10, on_unstable="report"))
    simulation.step(200)
    found = simulation.reporters[0].conclude()
    assert not found.stable
    assert found.step < 200
    with pytest.raises(ConfigError, match="reportInterval: must be at least 1"):
        lorem_openmm.WatchReporter(0)
    with pytest.raises(ConfigError, match="on_unstable: must be fail or report"):
        lorem_openmm.WatchReporter(10, on_unstable="ignore")
    simulation.reporters[0] = lorem_openmm.WatchReporter(10, atoms=[2])
    with pytest.raises(ConfigError, match="atoms: must be from 0 to 1"):
        simulation.step(1)


# -- geometry and cost --


def test_pairs_and_nearest_images_by_brute_force():
    rng = np.random.default_rng(3)
    box = np.array([[9.0, 0, 0], [4.4, 8.0, 0], [-4.3, 3.9, 7.5]])
    positions = rng.uniform(-8.0, 18.0, (40, 3))
    shifts = np.stack(np.meshgrid(*[np.arange(-9, 10)] * 3, indexing="ij"), -1).reshape(-1, 3) @ box
    i, j = np.triu_indices(40, 1)
    steps = positions[j] - positions[i]
    shortest = np.array([np.linalg.norm(step + shifts, axis=1).min() for step in steps])
    assert np.linalg.norm(nearest_image(steps, box), axis=1) == pytest.approx(shortest)
    pairs, found = close_pairs(positions, box, 3.0)
    assert {tuple(pair) for pair in pairs} == {(a, b) for a, b, d in zip(i, j, shortest, strict=True) if d < 3.0}
    assert found.max() < 3.0
    around = np.array([3, 17])
    some, _ = close_pairs(positions, box, 3.0, around)
    assert {tuple(pair) for pair in some} == {tuple(pair) for pair in pairs if set(pair) & {3, 17}}


def test_a_check_costs_little():
    rng = np.random.default_rng(4)
    parts = []
    for place in 3.1 * np.stack(np.meshgrid(*[np.arange(12)] * 3), -1).reshape(-1, 3)[:1667]:
        part = molecule("H2O")
        part.positions += place
        parts.append(part)
    subject = subject_of(parts, np.eye(3) * 37.2)
    watch = Watch(subject)
    frame = Frame(0, 0.0, subject.positions + 0.02 * rng.normal(size=(5001, 3)), subject.box)
    begun = time.process_time()
    for _ in range(3):
        watch.check(frame)
    assert watch.verdict.stable
    assert (time.process_time() - begun) / 3 < 0.5  # 0.02 s of CPU time; a step of a model takes a second
