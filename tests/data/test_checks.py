"""Each rule on structures and labels has a message that names place, rule, what was received, what to do."""

from dataclasses import replace

import numpy as np
import pytest
from made_frames import labelled_atoms

from lorem_openmm.data import checks
from lorem_openmm.data.energy_checks import energy_faults
from lorem_openmm.data.frames import join_frames
from lorem_openmm.data.neighbors import neighbor_list
from lorem_openmm.data.structures import Structure, from_atoms
from lorem_openmm.errors import DataError
from lorem_openmm.units import EV_PER_HARTREE, KCAL_PER_MOL_PER_EV, KJ_PER_MOL_PER_EV


def water(energy: float = -76.4 * EV_PER_HARTREE, scale: float = 1.0, frame: int = 7) -> Structure:
    return Structure(
        atomic_numbers=np.array([8, 1, 1]),
        positions=scale * np.array([[0.0, 0, 0.12], [0, 0.76, -0.47], [0, -0.76, -0.47]]),
        cell=np.zeros((3, 3)),
        periodic=False,
        energy=energy,
        forces=np.zeros((3, 3)),
        stress=None,
        file="set.xyz",
        frame=frame,
    )


def test_a_good_structure_has_no_faults():
    for index in range(12):
        atoms = labelled_atoms(index, periodic=index % 2 == 0, stress=True)
        assert checks.structure_faults(from_atoms(atoms, stress_key="stress")) == []


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("field", ["energy", "forces", "stress", "positions", "cell"])
def test_not_finite(field, bad):
    structure = replace(water(), stress=np.zeros((3, 3)))
    value = np.array(getattr(structure, field), dtype=float)
    value.reshape(-1)[-1] = bad
    (message,) = checks.structure_faults(replace(structure, **{field: value}))
    assert message.startswith("set.xyz, frame 7 (counted from 0): " + field)
    assert "must be finite numbers, received 1 NaN or infinite" in message


def test_wrong_shape():
    (message,) = checks.structure_faults(replace(water(), forces=np.zeros((2, 3))))
    assert "forces must have shape [3, 3], received [2, 3]" in message


def test_dummy_atoms():
    (message,) = checks.structure_faults(replace(water(), atomic_numbers=np.array([8, 1, 0])))
    assert "elements 1 to 118, received [0, 1, 8]" in message


def test_forces_in_another_unit():
    forces = np.zeros((3, 3))
    forces[1, 2] = -2.5 * 964.8533
    (message,) = checks.structure_faults(replace(water(), forces=forces))
    assert "forces must be in eV/Å and below 100 eV/Å, received 2412" in message
    assert "kJ/mol/nm (here 2.5 eV/Å), multiply by 0.001036" in message


def test_stress_in_another_unit_and_not_symmetric():
    (message,) = checks.structure_faults(replace(water(), stress=20.0 * np.eye(3)))
    assert "stress must be below 5 eV/Å^3, received 20 eV/Å^3" in message
    crystal = replace(water(), cell=9.0 * np.eye(3), periodic=True, stress=0.01 * np.eye(3))
    assert checks.structure_faults(crystal) == []
    (message,) = checks.structure_faults(replace(crystal, stress=1.6 * np.eye(3)))
    assert "volume must be below 30 eV per atom, received 1.6 eV/Å^3, which is 388.8 eV per atom" in message
    assert "in GPa, 2.43 (set `units: {stress: GPa}`)" in message
    assert "as a virial in eV, 0.533 (`virial_key`" in message
    (message,) = checks.structure_faults(replace(water(), stress=np.triu(np.ones((3, 3)))))
    assert "must be symmetric" in message


def test_coincident_atoms():
    structure = water(scale=0.1)  # nm taken for Å
    vectors = structure.positions[[1, 0]] - structure.positions[[0, 1]]
    edges = np.array([0, 1]), np.array([1, 0]), np.linalg.norm(vectors, axis=1)
    (message,) = checks.distance_faults(structure, *edges)
    assert "atoms must be at least 0.1 Å apart, received 0.0962 Å between atoms 0 and 1" in message
    assert "from nm" in message
    assert checks.distance_faults(structure, edges[0], edges[1], 10 * edges[2]) == []


def test_positions_in_bohr_are_noticed():
    for scale, expected in ((1.0, 0), (1 / 0.529177, 1)):
        structure = water(scale=scale)
        edges = neighbor_list(structure.positions, structure.cell, False, 5.0)
        n_edges = np.array([len(edges.centers), 0])
        ratios = checks.bond_ratio(structure.atomic_numbers, edges.centers, edges.neighbors, edges.distances, n_edges)
        assert len(checks.position_warnings(ratios)) == expected
    assert checks.position_warnings(np.array([np.nan])) == []


def hash_of(structure: Structure) -> bytes:
    return checks.frame_hashes(join_frames([structure])).tobytes()


def test_energy_far_from_the_baseline():
    structures = [water(), water(energy=-2000.0, frame=8)]
    residuals = np.array([0.0, -2000.0 + 76.4 * EV_PER_HARTREE])
    faults, warnings = energy_faults(structures, residuals)
    assert len(faults) == 1
    assert "set.xyz, frame 8" in faults[0]
    assert "within 15.0 eV per atom of the per-element baseline" in faults[0]
    assert warnings == []


# Total energies in hartree, PBE0/def2-TZVP to three digits.
TOTAL = {"water": -76.38, "methane": -40.48, "ammonia": -56.52, "methanol": -115.65}
ATOMS = {"water": [8, 1, 1], "methane": [6, 1, 1, 1, 1], "ammonia": [7, 1, 1, 1], "methanol": [6, 8, 1, 1, 1, 1]}


@pytest.mark.parametrize(
    ("unit", "factor"),
    [("hartree", 1), ("kcal/mol", 627.5095), ("kJ/mol", 2625.4996)],
)
def test_total_energies_in_another_unit(unit, factor):
    structures = [
        replace(water(), atomic_numbers=np.array(ATOMS[name]), energy=factor * energy) for name, energy in TOTAL.items()
    ]
    (fault,), warnings = energy_faults(structures, np.zeros(4))
    assert f"free atoms' total energies in {unit}" in fault
    assert f"Multiply them by {EV_PER_HARTREE / factor:.6g}" in fault
    assert warnings == []
    right = [replace(s, energy=s.energy / factor * EV_PER_HARTREE) for s in structures]
    assert energy_faults(right, np.zeros(4)) == ([], [])
    per_atom = [replace(s, energy=s.energy / len(s.atomic_numbers)) for s in structures]
    (fault,), _ = energy_faults(per_atom, np.zeros(4))
    assert f"total energies in {unit} per atom" in fault
    assert "Multiply them by the number of atoms" in fault


def test_energies_near_hartree_for_one_formula_only_warn():
    structures = [water(energy=-76.4)] * 3
    faults, (warning,) = energy_faults(structures, np.zeros(3))
    assert faults == []
    assert "hartree" in warning
    for factor in (KCAL_PER_MOL_PER_EV, KJ_PER_MOL_PER_EV):
        structures = [water(energy=-76.4 * EV_PER_HARTREE * factor)]
        assert len(energy_faults(structures, np.zeros(1))[0]) == 1


def test_hash_sees_positions_elements_and_cell_and_not_labels():
    base = water()
    equal = replace(base, energy=0.0, forces=np.ones((3, 3)), file="other", positions=base.positions + 1e-7)
    assert hash_of(equal) == hash_of(base)
    assert hash_of(replace(base, positions=-base.positions[:, [2, 1, 0]])) != hash_of(base)
    different = [
        replace(base, positions=base.positions + 1e-4),
        replace(base, positions=base.positions[::-1]),
        replace(base, atomic_numbers=np.array([8, 1, 9])),
        replace(base, cell=np.eye(3) * 9),
    ]
    assert len({hash_of(s) for s in [base, *different]}) == 5


def test_negative_zero_is_zero():
    base = replace(water(), positions=np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0]]))
    assert hash_of(replace(base, positions=base.positions * [1, 1, -1])) == hash_of(base)


def test_duplicates_across_splits():
    structures = [water(frame=0), water(scale=1.1, frame=1), water(frame=2)]
    hashes = [hash_of(s) for s in structures]
    assert checks.duplicate_faults(structures, hashes, np.array([0, 1, 0])) == []
    (message,) = checks.duplicate_faults(structures, hashes, np.array([0, 0, 2]))
    assert message.startswith("set.xyz, frame 2")
    assert "must not be in two of train, validation and test" in message
    assert "set.xyz, frame 0" in message


def test_unseen_element():
    structures = [water(frame=0), replace(water(frame=1), atomic_numbers=np.array([8, 1, 9]))]
    (message,) = checks.unseen_element_faults(structures, np.array([True, False]))
    assert message.startswith("set.xyz, frame 1")
    assert "must occur in the training set, received F" in message
    assert checks.unseen_element_faults(structures, np.array([True, True])) == []


def test_faults_are_counted_and_the_first_shown():
    checks.raise_faults([])
    with pytest.raises(DataError) as caught:
        checks.raise_faults([f"fault {index}" for index in range(9)])
    assert str(caught.value).splitlines() == [*(f"fault {index}" for index in range(5)), "... and 4 more faults"]
