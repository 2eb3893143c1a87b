"""Cumulenes: the geometry, the scan's physics, and how far message passing has to reach along them."""

import numpy as np
import pytest
from ase import Atoms

from lorem_openmm import config
from lorem_openmm.label.label_dataset import label_dataset
from lorem_openmm.paper.dihedral import layers_to_meet
from lorem_openmm.sampling.cumulene import CARBON_BOND, cumulene
from lorem_openmm.sampling.plans import create_plan

ENDS = [9, 10], [11, 12]


def test_end_groups_are_turned_by_the_dihedral():
    atoms = cumulene(9, 50.0)
    assert atoms.get_chemical_formula() == "C9H4"
    np.testing.assert_allclose(np.linalg.norm(np.diff(atoms.positions[:9], axis=0), axis=1), CARBON_BOND)
    first, second = (atoms.positions[end[0]] - atoms.positions[end[1]] for end in ENDS)
    assert np.degrees(np.arccos(first @ second / np.linalg.norm(first) ** 2)) == pytest.approx(50.0)


@pytest.mark.parametrize(("cutoff", "layers"), [(2.5, 4), (3.0, 3), (3.5, 2), (7.0, 1)])
def test_both_ends_are_heard_of_after_as_many_layers_as_the_paper_needs(cutoff, layers):
    assert layers_to_meet(cumulene(9, 0.0).positions, cutoff, *ENDS) == layers


def test_nothing_meets_without_a_path():
    apart = np.array([[0.0, 0, 0], [1, 0, 0], [9, 0, 0]])
    assert layers_to_meet(apart, 2.0, [0], [2]) is None


@pytest.fixture(scope="module")
def frames(tmp_path_factory):
    pytest.importorskip("tblite", reason="cumulenes are labelled with tblite (extra `label`)")
    section = config.CumuleneLabel(kind="cumulene", carbons=[5, 9], num_frames=6, num_profile_frames=25)
    output = tmp_path_factory.mktemp("cumulene") / "chains.xyz"
    summary = label_dataset(create_plan(section), output, seed=3, processes=1)
    assert summary["requested"] == summary["kept"] == 56
    import ase.io

    return ase.io.read(output, ":")


def _scan(frames: list[Atoms], formula: str) -> list[Atoms]:
    return [atoms for atoms in frames if atoms.info["profile"] and atoms.info["label"] == formula]


def test_rattled_frames_have_other_dihedrals_and_both_lengths(frames):
    rattled = [atoms for atoms in frames if not atoms.info["profile"]]
    assert len({atoms.info["dihedral"] for atoms in rattled}) == 6
    assert sorted(atoms.info["carbons"] for atoms in rattled) == [5, 5, 5, 9, 9, 9]


@pytest.mark.parametrize("formula", ["C5H4", "C9H4"])
def test_the_scan_is_symmetric_smooth_and_lowest_when_the_ends_are_perpendicular(frames, formula):
    scan = _scan(frames, formula)
    dihedrals = np.array([atoms.info["dihedral"] for atoms in scan])
    energies = np.array([atoms.get_potential_energy() for atoms in scan])
    np.testing.assert_allclose(dihedrals, np.arange(0, 181, 7.5))
    np.testing.assert_allclose(energies, energies[::-1], atol=1e-5)
    assert dihedrals[energies.argmin()] == 90
    assert np.all(np.diff(energies[:13]) < 0)
    assert 0.3 < np.ptp(energies) < 3.0
    # The forces on the second end group are the slope: dE/dφ = −Σ F · (z × r).
    torque = [-sum(np.cross(a.positions[i], a.get_forces()[i])[2] for i in (-2, -1)) for a in scan]
    slope = np.gradient(energies, np.radians(dihedrals))
    np.testing.assert_allclose(torque[2:-2], slope[2:-2], atol=0.05)


def test_a_section_that_makes_nothing_is_refused():
    with pytest.raises(ValueError, match="must not both be 0"):
        config.CumuleneLabel(kind="cumulene", num_frames=0, num_profile_frames=0)
