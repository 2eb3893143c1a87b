"""Boxes of water: periodic xTB is the slope of its energy, boxes have their density, labels are what they say."""

from itertools import islice

import ase.io
import numpy as np
import pytest
from helpers import read_structures

from lorem_openmm import config
from lorem_openmm.config import WaterLabel
from lorem_openmm.errors import ConfigError
from lorem_openmm.label.engines import TbliteEngine
from lorem_openmm.label.label_dataset import label_dataset
from lorem_openmm.sampling.plans import create_plan
from lorem_openmm.sampling.water_box import water_boxes

pytest.importorskip("tblite")


@pytest.fixture(scope="module")
def box():
    return next(water_boxes(8, 0.9, 350.0, seed=2))


@pytest.fixture(scope="module")
def label(box):
    engine = TbliteEngine("GFN1-xTB")
    return engine.calculate(box, 0, engine.attempts[0])


def energy(atoms):
    engine = TbliteEngine("GFN1-xTB")
    return engine.calculate(atoms, 0, engine.attempts[0]).energy


def test_forces_in_a_periodic_box_are_the_slope_of_the_energy(box, label):
    direction = np.random.default_rng(0).standard_normal(box.positions.shape)
    energies = []
    for sign in (1, -1):
        moved = box.copy()
        moved.positions += sign * 1e-3 * direction
        energies.append(energy(moved))
    slope = (energies[1] - energies[0]) / 2e-3
    assert slope == pytest.approx((label.forces * direction).sum(), abs=5e-3)
    assert np.abs(label.forces.sum(axis=0)).max() < 1e-8


@pytest.mark.parametrize(("row", "column"), [(0, 0), (1, 2)])
def test_stress_is_the_slope_of_the_energy_under_strain(box, label, row, column):
    energies = []
    for sign in (1, -1):
        strain = np.eye(3)
        strain[row, column] += sign * 5e-4
        strained = box.copy()
        strained.set_cell(box.cell[:] @ strain, scale_atoms=True)
        energies.append(energy(strained))
    slope = (energies[0] - energies[1]) / 1e-3
    assert label.stress[row, column] * box.get_volume() == pytest.approx(slope, abs=5e-3)
    assert label.stress == pytest.approx(label.stress.T, abs=1e-9)


def test_an_image_of_an_atom_is_the_same_atom(box, label):
    moved = box.copy()
    moved.positions[4] += 2 * moved.cell[0] - moved.cell[2]
    assert energy(moved) == pytest.approx(label.energy, abs=1e-5)


def test_classical_boxes_are_whole_molecules_at_their_density():
    first, second = islice(water_boxes(12, 1.1, 300.0, seed=5), 2)
    again = next(water_boxes(12, 1.1, 300.0, seed=5))
    assert first.get_masses().sum() / first.get_volume() / 0.602214 == pytest.approx(1.1, rel=1e-4)
    assert np.array_equal(first.positions, again.positions)
    assert np.abs(second.positions - first.positions).max() > 0.2
    for atoms in (first, second):
        molecules = atoms.positions.reshape(-1, 3, 3)
        bonds = np.linalg.norm(molecules[:, 1:] - molecules[:, :1], axis=-1)
        assert 0.8 < bonds.min() < bonds.max() < 1.2
        distances = atoms[::3].get_all_distances(mic=True)
        assert distances[~np.eye(12, dtype=bool)].min() > 2.2


def test_labels_hold_energy_forces_and_stress_of_boxes_at_each_density(tmp_path):
    section = WaterLabel(
        kind="water",
        num_waters=8,
        densities=[0.9, 1.1],
        num_boxes=2,
        classical_frames=1,
        displaced_frames=1,
        trajectory_frames=1,
    )
    summary = label_dataset(create_plan(section), tmp_path / "water.xyz", seed=1, processes=1)
    assert summary["requested"] == 6
    assert summary["kept"] == 6
    assert summary["kept_by_category"] == {"classical": 2, "displaced": 2, "trajectory": 2}
    frames = ase.io.read(tmp_path / "water.xyz", ":")
    assert [atoms.info["density"] for atoms in frames] == [0.9] * 3 + [1.1] * 3
    assert all(atoms.pbc.all() for atoms in frames)
    engine = TbliteEngine("GFN1-xTB")
    expected = engine.calculate(frames[1], 0, engine.attempts[0])
    structure = list(read_structures(tmp_path / "water.xyz", "energy", "forces", "stress"))[1]
    assert structure.energy == pytest.approx(expected.energy, abs=1e-5)
    assert structure.forces == pytest.approx(expected.forces, abs=1e-3)
    assert structure.stress == pytest.approx(expected.stress, abs=1e-5)


def test_only_an_engine_with_periodic_cells_may_label_boxes(tmp_path):
    section = WaterLabel(kind="water", engine=config.Engine(name="pyscf", method="PBE0"))
    with pytest.raises(ConfigError, match="periodic"):
        label_dataset(create_plan(section), tmp_path / "water.xyz", seed=1, processes=1)
