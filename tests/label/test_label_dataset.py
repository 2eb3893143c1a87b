"""Whole data sets: the physics of their tails, determinism, resuming, and what is counted."""

import itertools
import os
import signal
import subprocess
import sys
import textwrap
import time

import ase.io
import numpy as np
import pytest
from ase import Atoms

from lorem_openmm.config import DimersLabel, Sn2Label
from lorem_openmm.errors import DataError, InstallationError
from lorem_openmm.files import read_json
from lorem_openmm.label.engines import TbliteEngine
from lorem_openmm.label.label_dataset import label_dataset
from lorem_openmm.sampling.plans import create_plan
from lorem_openmm.sampling.sn2_path import methyl_halide
from lorem_openmm.units import COULOMB_EV_ANGSTROM

pytest.importorskip("tblite")

SMALL = DimersLabel(
    kind="dimers",
    fragments=["methylsulfonate", "tetramethylammonium", "methanol", "methane"],
    num_dimers=12,
    num_separations=8,
    encounter_frames=2,
    trajectory_frames=1,
)


@pytest.fixture(scope="module")
def dimers(tmp_path_factory):
    output = tmp_path_factory.mktemp("labels") / "dimers.xyz"
    summary = label_dataset(create_plan(SMALL), output, seed=3, processes=2)
    return output, summary, ase.io.read(output, ":")


@pytest.fixture(scope="module")
def sn2(tmp_path_factory):
    output = tmp_path_factory.mktemp("labels") / "sn2.xyz"
    section = Sn2Label(kind="sn2", reactions=[("Cl", "Cl"), ("Cl", "Br")], num_frames=120, num_profile_frames=41)
    summary = label_dataset(create_plan(section), output, seed=3, processes=2)
    return output, summary, ase.io.read(output, ":")


def curves(frames):
    found = {}
    for atoms in frames:
        if atoms.info["source"] == "scan":
            found.setdefault(int(atoms.info["dimer_id"]), []).append(atoms)
    return found


def test_the_number_of_processes_does_not_change_a_byte(dimers, tmp_path):
    output, _, _ = dimers
    label_dataset(create_plan(SMALL), tmp_path / "dimers.xyz", seed=3, processes=1)
    assert (tmp_path / "dimers.xyz").read_bytes() == output.read_bytes()


def test_another_seed_gives_other_frames(dimers, tmp_path):
    output, _, _ = dimers
    section = SMALL.model_copy(update={"num_dimers": 2})
    label_dataset(create_plan(section), tmp_path / "other.xyz", seed=4, processes=1)
    other = ase.io.read(tmp_path / "other.xyz", 0)
    assert not np.allclose(other.positions, ase.io.read(output, 0).positions)


def test_dimer_frames_say_what_they_are(dimers):
    output, summary, frames = dimers
    assert summary == {**read_json(output.with_suffix(".json"))}
    assert summary["kept"] == len(frames) == sum(summary["kept_by_category"].values())
    assert not output.with_name("dimers.xyz.parts").exists()
    assert {atoms.info["label"] for atoms in frames} == {"AA", "CA", "CC", "CP", "PA", "PP"}
    for atoms in frames:
        info = atoms.info
        assert info["charge"] == info["charge_a"] + info["charge_b"]
        assert info["separation_growth"] == pytest.approx(info["separation"] - info["contact_separation"], abs=2e-6)
        assert (info["engine"], info["method"], info["engine_version"], info["seed"]) == (
            "tblite",
            "GFN2-xTB",
            summary["versions"]["tblite"],
            3,
        )
        assert np.linalg.norm(atoms.get_forces().sum(axis=0)) < 1e-4
        assert not atoms.pbc.any()


def test_far_dimers_are_their_fragments_and_coulomb(dimers):
    checked = set()
    for curve in curves(dimers[2]).values():
        far, info = curve[-1], curve[-1].info
        if info["separation_growth"] < 14:
            continue
        coulomb = COULOMB_EV_ANGSTROM * info["charge_a"] * info["charge_b"] / info["separation"]
        interaction = far.get_potential_energy() - info["energy_a"] - info["energy_b"]
        # What is left is the field of dipoles: at most about 1 e·Å at 18 Å.
        charged = abs(info["charge_a"]) + abs(info["charge_b"])
        assert interaction == pytest.approx(coulomb, abs=0.002 + 0.045 * charged), info
        checked.add(np.sign(info["charge_a"] * info["charge_b"]))
    assert checked == {-1, 0, 1}  # opposite and like charges, and neutral molecules


def test_the_force_between_far_ions_is_coulombs(dimers):
    n_checked = 0
    for curve in curves(dimers[2]).values():
        far = curve[-1]
        product = far.info["charge_a"] * far.info["charge_b"]
        if product == 0 or far.info["separation_growth"] < 14:
            continue
        move = far.positions - curve[0].positions
        second = np.linalg.norm(move, axis=1) > 1e-3
        direction = move[second][0] / np.linalg.norm(move[second][0])
        force = far.get_forces()[second].sum(axis=0) @ direction
        assert force == pytest.approx(product * COULOMB_EV_ANGSTROM / far.info["separation"] ** 2, rel=0.25)
        n_checked += 1
    assert n_checked > 0


def test_energies_along_a_curve_are_the_work_of_the_forces(dimers):
    for curve in curves(dimers[2]).values():
        assert [a.info["separation_growth"] for a in curve] == sorted(a.info["separation_growth"] for a in curve)
        for first, second in itertools.pairwise(curve):
            step = second.positions - first.positions
            work = 0.5 * ((first.get_forces() + second.get_forces()) * step).sum()
            change = ((second.get_forces() - first.get_forces()) * step).sum()
            mismatch = second.get_potential_energy() - first.get_potential_energy() + work
            assert abs(mismatch) < 0.03 + 0.2 * abs(change)


def test_the_sn2_profile_has_wells_and_a_barrier(sn2):
    frames = sn2[2]
    for reaction in ("Cl-Cl", "Cl-Br"):
        profile = [a for a in frames if a.info["profile"] and a.info["reaction"] == reaction]
        coordinates = np.array([a.info["reaction_coordinate"] for a in profile])
        order = np.argsort(coordinates)
        energies = np.array([a.get_potential_energy() for a in profile])[order]
        coordinates = coordinates[order]
        top = energies[np.abs(coordinates) < 0.6].max()
        left, right = energies[coordinates < -0.6].min(), energies[coordinates > 0.6].min()
        assert top - max(left, right) > 0.2  # barrier
        assert energies[0] - left > 0.25  # ion-dipole wells
        assert energies[-1] - right > 0.25


def test_sn2_frames_keep_the_charge_of_the_ion_and_reach_the_asymptote(sn2):
    _, summary, frames = sn2
    reach = summary["notes"]["profile-0-Cl-Cl"]["reach"]
    assert reach == pytest.approx([15.0, 15.0], abs=1e-6)
    engine = TbliteEngine("GFN2-xTB")
    free = [engine.calculate(*piece, engine.attempts[0]) for piece in ((Atoms("Cl"), -1), (methyl_halide("Cl"), 0))]
    asymptote = sum(label.energy for label in free)
    far = [a for a in frames if a.info["profile"] and a.info["reaction"] == "Cl-Cl" and a.info["separation"] > 14]
    assert len(far) >= 2
    for atoms in far:  # −14.4 eV·Å · 0.4 e·Å / r²
        expected = -COULOMB_EV_ANGSTROM * 0.4 / atoms.info["separation"] ** 2
        assert atoms.get_potential_energy() - asymptote == pytest.approx(expected, rel=0.5)
    assert {a.info["charge"] for a in frames} == {0, -1}
    assert {a.info["source"] for a in frames} == {"profile", "path", "trajectory", "fragment"}
    displaced = [a for a in frames if a.info["source"] == "path"]
    assert len({a.info["path_id"] for a in displaced}) >= 4
    assert sum(a.info["reaction_coordinate"] < 0 for a in displaced) > 0.3 * len(displaced)


def test_hard_reactions_are_counted_not_kept(tmp_path):
    section = Sn2Label(kind="sn2", reactions=[("F", "I")], num_frames=40, engine={"method": "GFN1-xTB"})
    summary = label_dataset(create_plan(section), tmp_path / "hard.xyz", seed=0, processes=1)
    assert sum(summary["rejected"].values()) > 20
    assert summary["kept"] < summary["requested"]
    largest = max(np.linalg.norm(a.get_forces(), axis=1).max() for a in ase.io.read(tmp_path / "hard.xyz", ":"))
    assert largest < section.acceptance.max_force


def test_nothing_labelled_is_an_error_and_leaves_no_file(tmp_path):
    section = DimersLabel(
        kind="dimers",
        fragments=["methane"],
        num_dimers=1,
        trajectory_frames=0,
        acceptance={"max_force": 1e-6},
    )
    with pytest.raises(DataError, match=r"no frame could be labelled.*force_too_large"):
        label_dataset(create_plan(section), tmp_path / "none.xyz", seed=0, processes=1)
    assert not (tmp_path / "none.xyz").exists()


def test_an_output_that_cannot_be_written_is_an_error(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError, match=r"must be writable.*Choose another `output`"):
        label_dataset(create_plan(SMALL), tmp_path / "file" / "dimers.xyz", seed=0, processes=1)


@pytest.mark.slow
def test_density_functional_labels_take_the_same_way(tmp_path):
    pytest.importorskip("pyscf")
    section = Sn2Label(
        kind="sn2",
        engine={"name": "pyscf", "method": "HF", "basis": "STO-3G"},
        reactions=[("F", "F")],
        num_frames=8,
        num_profile_frames=41,
        max_separation=6.0,
        trajectory_fraction=0.0,
    )
    summary = label_dataset(create_plan(section), tmp_path / "hf.xyz", seed=0, processes=2)
    assert summary["rejected"] == {}
    assert summary["kept"] == summary["requested"] == 49
    assert summary["notes"]["profile-0-F-F"]["reach"] == pytest.approx([6.0, 6.0])
    assert {a.info["method"] for a in ase.io.read(tmp_path / "hf.xyz", ":")} == {"HF/STO-3G"}


def test_a_missing_engine_stops_before_anything_is_written(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "tblite.interface", None)
    with pytest.raises(InstallationError, match="pip install"):
        label_dataset(create_plan(SMALL), tmp_path / "none.xyz", seed=0)
    assert list(tmp_path.iterdir()) == []


def is_gone(group: int, patience: float = 60.0) -> bool:
    """Whether no process of a group is left, after some seconds at most: a busy machine takes its time."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    return False


@pytest.mark.slow
def test_a_killed_run_goes_on_where_it_was(dimers, tmp_path):
    output = tmp_path / "dimers.xyz"
    program = tmp_path / "program.py"
    program.write_text(
        textwrap.dedent(f"""
        from pathlib import Path
        from lorem_openmm.config import DimersLabel
        from lorem_openmm.label.label_dataset import label_dataset
        from lorem_openmm.sampling.plans import create_plan
        if __name__ == "__main__":
            section = DimersLabel.model_validate_json({SMALL.model_dump_json()!r})
            label_dataset(create_plan(section), Path({str(output)!r}), seed=3, processes=1)
        """)
    )
    run = subprocess.Popen([sys.executable, str(program)], start_new_session=True)
    parts = output.with_name("dimers.xyz.parts")
    deadline = time.monotonic() + 120
    while len(list(parts.glob("dimer-*.json"))) < 3 and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(run.pid, signal.SIGKILL)
    run.wait()
    assert not output.exists()
    assert is_gone(run.pid)  # the worker notices that its parent is gone
    finished = {path: path.stat().st_mtime_ns for path in parts.glob("dimer-*.json")}
    assert 3 <= len(finished) < SMALL.num_dimers
    # A part that is there is used as it is: this one is emptied to see that.
    marked = parts / "dimer-0.json"
    text = marked.read_text()
    marked.write_text(text.replace("fragment_a=", "fragment_x="))
    label_dataset(create_plan(SMALL), output, seed=3, processes=2)
    assert "fragment_x=" in output.read_text()
    assert output.read_text().replace("fragment_x=", "fragment_a=") == dimers[0].read_text()


def test_parts_of_other_settings_are_not_used(tmp_path):
    section = SMALL.model_copy(update={"num_dimers": 1})
    parts = tmp_path / "one.xyz.parts"
    parts.mkdir()
    (parts / "identity.json").write_text('"another"')
    (parts / "dimer-0.json").write_text('{"text": "wrong", "kept": {}, "rejected": {}, "retried": {}, "notes": {}}')
    label_dataset(create_plan(section), tmp_path / "one.xyz", seed=0, processes=1)
    assert "wrong" not in (tmp_path / "one.xyz").read_text()
