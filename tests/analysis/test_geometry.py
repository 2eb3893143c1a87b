"""Distances, angles and contacts of trajectories in which they are known."""

import mdtraj
import numpy as np
import pytest
from made_simulations import topology_of
from scipy.spatial.transform import Rotation

from lorem_openmm.analysis import geometry


def trajectory_of(molecules, frames, box=None):
    topology = mdtraj.Topology.from_openmm(topology_of(molecules))
    trajectory = mdtraj.Trajectory(np.asarray(frames) / 10.0, topology)
    if box is not None:
        trajectory.unitcell_vectors = np.broadcast_to(np.asarray(box) / 10.0, (len(frames), 3, 3)).copy()
    return trajectory


def sn2_frames(attacker_distances, leaving_distances, angle):
    turn = np.radians(180.0 - angle)
    direction = np.array([np.sin(turn), 0.0, np.cos(turn)])
    hydrogens = np.array([[1.0, 0, 0], [-0.5, 0.9, 0], [-0.5, -0.9, 0]])
    return np.stack(
        [
            np.vstack([[[0, 0, -x], [0, 0, 0]], [y * direction], hydrogens])
            for x, y in zip(attacker_distances, leaving_distances, strict=True)
        ]
    )


def test_reaction_coordinate_distances_and_angle_of_attack():
    x, y = np.array([3.2, 2.4, 1.8]), np.array([1.95, 2.5, 3.4])
    trajectory = trajectory_of([["Cl"], ["C", "Br", "H", "H", "H"]], sn2_frames(x, y, 160.0))
    atoms = geometry.find_sn2(trajectory.topology)
    assert atoms == geometry.Sn2Atoms(attacker=0, carbon=1, leaving=2)
    found = geometry.sn2_coordinates(trajectory, atoms)
    assert found["reaction_coordinate"] == pytest.approx(x - y, abs=1e-5)
    assert found["attacker_distance"] == pytest.approx(x, abs=1e-5)
    assert found["leaving_distance"] == pytest.approx(y, abs=1e-5)
    assert found["attack_angle"] == pytest.approx(np.full(3, 160.0), abs=1e-2)


def test_attacker_is_the_ion_whatever_the_order():
    topology = mdtraj.Topology.from_openmm(topology_of([["C", "Cl", "H", "H", "H"], ["Cl"]]))
    assert geometry.find_sn2(topology) == geometry.Sn2Atoms(attacker=5, carbon=0, leaving=1)


@pytest.mark.parametrize(
    "molecules", [[["O", "H", "H"], ["Cl"]], [["Cl"], ["C", "Cl", "Cl", "H", "H"]], [["Cl"], ["C", "C", "Br", "H"]]]
)
def test_other_systems_have_no_reaction_coordinate(molecules):
    assert geometry.find_sn2(mdtraj.Topology.from_openmm(topology_of(molecules))) is None


@pytest.mark.parametrize(
    ("coordinate", "count"),
    [([1.5, 1.2, -1.4], 1), ([1.5, 0.2, -0.2, 0.3, -0.4, 1.2], 0), ([1.5, -1.0, 0.1, 1.0, -1.0], 3), ([0.1, 0.2], 0)],
)
def test_crossings_count_from_side_to_side(coordinate, count):
    assert geometry.crossings(np.array(coordinate)) == count


def test_center_distance_is_between_centres_of_mass():
    # O at 0 and H at 1 Å: the centre lies 1.008 / (15.999 + 1.008) Å from O.
    frames = [[[0, 0, 0], [0, 0, 1.0], [4.0, 0, 0]], [[1, 1, 1], [1, 1, 2.0], [1, 1, 9.0]]]
    trajectory = trajectory_of([["O", "H"], ["Cl"]], frames)
    off = 1.008 / (15.999 + 1.008)
    found = geometry.center_distance(trajectory, np.array([0, 1]), np.array([2]))
    assert found == pytest.approx([np.hypot(4.0, off), 8.0 - off], abs=1e-4)


def test_center_distance_takes_the_nearest_image_even_in_a_skewed_box():
    box = np.array([[6.0, 0, 0], [2.9, 5.0, 0], [-2.5, 2.4, 4.0]])
    rng = np.random.default_rng(0)
    frames = np.zeros((40, 2, 3))
    frames[:, 1] = rng.uniform(-12, 12, (40, 3))
    trajectory = trajectory_of([["Cl"], ["Br"]], frames, box)
    shifts = np.stack(np.meshgrid(*[np.arange(-7, 8)] * 3), -1).reshape(-1, 3) @ box
    wanted = np.linalg.norm(frames[:, 1][:, None] + shifts, axis=-1).min(axis=1)
    assert geometry.center_distance(trajectory, np.array([0]), np.array([1])) == pytest.approx(wanted, abs=1e-4)


def test_contacts_count_heavy_atoms_only():
    # C at 0, O at 3, 5 and 9 Å; hydrogens lie closer.
    frames = [[[0, 0, 0], [1.0, 0, 0], [3.0, 0, 0], [5.0, 0, 0], [9.0, 0, 0], [2.0, 0, 0]]]
    trajectory = trajectory_of([["C", "H"], ["O", "O", "O", "H"]], frames)
    members = np.array([0, 1]), np.array([2, 3, 4, 5])
    closest, count = geometry.contacts(trajectory, *members, threshold=4.5)
    assert closest == pytest.approx([3.0], abs=1e-5)
    assert count.tolist() == [1]
    assert geometry.contacts(trajectory, *members, threshold=5.5)[1].tolist() == [2]


def test_contacts_see_through_the_box_and_use_hydrogens_where_there_is_nothing_else():
    trajectory = trajectory_of([["H", "H"], ["O"]], [[[0.2, 0, 0], [0.9, 0, 0], [9.0, 0, 0]]], np.eye(3) * 10.0)
    closest, count = geometry.contacts(trajectory, np.array([0, 1]), np.array([2]), threshold=1.5)
    assert closest == pytest.approx([1.2], abs=1e-5)
    assert count.tolist() == [1]


@pytest.mark.parametrize("angle", [0.0, 25.0, 60.0, 90.0, 130.0, 180.0])
def test_axis_angle_between_rods_has_no_direction(angle):
    rod = np.array([[0, 0, -1.0], [0, 0, 0], [0, 0, 1.2]])
    other = Rotation.from_euler("x", angle, degrees=True).apply(rod) + np.array([5.0, 1.0, 0.0])
    turns = Rotation.random(20, rng=np.random.default_rng(1))
    frames = [turn.apply(np.vstack([rod, other])) for turn in turns]
    trajectory = trajectory_of([["C", "C", "H"], ["O", "C", "O"]], frames)
    found = geometry.axis_angle(trajectory, np.arange(3), np.arange(3, 6))
    assert found == pytest.approx(np.full(20, min(angle, 180.0 - angle)), abs=0.1)
