"""Units and signs that are wrong in all frames are named; right data and noise pass without a word."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.lj import LennardJones
from ase.calculators.singlepoint import SinglePointCalculator
from made_frames import labelled_atoms, write_frames

from lorem_openmm import config
from lorem_openmm.data.prepare import prepare_dataset
from lorem_openmm.errors import DataError
from lorem_openmm.units import ANGSTROM_PER_BOHR as BOHR
from lorem_openmm.units import EV_PER_HARTREE as HARTREE
from lorem_openmm.units import KCAL_PER_MOL_PER_EV as KCAL
from lorem_openmm.units import KJ_PER_MOL_PER_EV as KJ

GPA = 160.21766208
Shapes = {
    "water": (Atoms("OH2", [[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]]), -468.0),
    "methane": (Atoms("CH4", 0.63 * np.array([[0, 0, 0], [1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]])), -219.0),
    "carbon dioxide": (Atoms("CO2", [[0, 0, 0], [0, 0, 1.16], [0, 0, -1.16]]), -1030.0),
}
SPRINGS = {(1, 8): 48.0, (1, 6): 31.0, (1, 1): 2.0, (6, 8): 90.0, (8, 8): 3.0}


def molecule(name: str, seed: int, displacement: float = 0.05) -> Atoms:
    """Returns a molecule of springs, displaced and shifted, with valence energies as a pseudopotential gives them."""
    shape, zero = Shapes[name]
    random = np.random.default_rng(seed)
    atoms = shape.copy()
    atoms.positions += random.normal(scale=displacement, size=(len(atoms), 3))
    forces, energy = np.zeros((len(atoms), 3)), zero
    for i in range(len(atoms)):
        for j in range(i):
            vector = atoms.positions[i] - atoms.positions[j]
            length, rest = np.linalg.norm(vector), shape.get_distance(i, j)
            constant = SPRINGS[tuple(sorted((int(atoms.numbers[i]), int(atoms.numbers[j]))))]
            energy += 0.5 * constant * (length - rest) ** 2
            pull = constant * (length - rest) * vector / length
            forces[i] -= pull
            forces[j] += pull
    atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=forces)
    return atoms


def crystal(seed: int) -> Atoms:
    random = np.random.default_rng(seed)
    atoms = bulk("Ar", cubic=True, a=5.3)
    strain = random.normal(scale=0.003, size=(3, 3))
    atoms.set_cell(atoms.cell @ (np.eye(3) + strain + strain.T), scale_atoms=True)
    atoms.positions += random.normal(scale=0.01, size=(4, 3))
    atoms.calc = LennardJones(sigma=3.4, epsilon=0.4, rc=8.0, smooth=True)
    results = {"energy": atoms.get_potential_energy(), "forces": atoms.get_forces(), "stress": atoms.get_stress()}
    atoms.calc = SinglePointCalculator(atoms, **results)
    return atoms


def scaled(atoms: Atoms, energy: float, force: float, length: float) -> Atoms:
    results = {"energy": energy * atoms.get_potential_energy(), "forces": force * atoms.get_forces()}
    other = atoms.copy()
    other.positions *= length
    other.calc = SinglePointCalculator(other, **results)
    return other


def prepare(folder: Path, frames: list[Atoms], **settings: object) -> list[str]:
    path = write_frames(folder / "made.xyz", frames)
    report = prepare_dataset(
        config.Dataset(structures=str(path), **settings), "made", None, 4.0, folder / "made.safetensors"
    )
    return report["warnings"]


def refused(folder: Path, frames: list[Atoms], **settings: object) -> str:
    with pytest.raises(DataError) as caught:
        prepare(folder, frames, **settings)
    assert str(caught.value).startswith(str(folder / "made.xyz") + ": ")
    assert str(caught.value).endswith("set `on_implausible: report` of the data set.")
    return str(caught.value)


MOLECULES = [molecule(("water", "methane")[seed % 2], seed) for seed in range(60)]
WITHOUT_HYDROGEN = [molecule("carbon dioxide", seed) for seed in range(40)]
CRYSTALS = [crystal(seed) for seed in range(30)]
WRONG = {
    "gradients": ((1, -1, 1), "the forces are gradients: multiply them by -1", "`units"),
    "energies in hartree": (
        (1 / HARTREE, 1, 1),
        "{energy: hartree, length: angstrom, forces: eV/angstrom}",
        "gradients",
    ),
    "energies in kcal/mol": ((KCAL, 1, 1), "{energy: kcal/mol, length: angstrom, forces: eV/angstrom}", "gradients"),
    "energies in kJ/mol": ((KJ, 1, 1), "{energy: kJ/mol, length: angstrom, forces: eV/angstrom}", "gradients"),
    "forces in hartree/bohr": ((1, BOHR / HARTREE, 1), "{energy: eV, length: angstrom, forces: hartree/bohr}", "gradi"),
    "both atomic": (
        (1 / HARTREE, BOHR / HARTREE, 1),
        "{energy: hartree, length: angstrom, forces: hartree/bohr}",
        "gra",
    ),
    "gradients, both atomic": ((1 / HARTREE, -BOHR / HARTREE, 1), "forces: hartree/bohr}", "binding"),
    "energies of the wrong sign": ((-1, 1, 1), "wrong sign, as binding energies", "`units"),
    "positions in bohr": ((1, 1, 1 / BOHR), "the positions are in bohr", "gradients"),
    "all atomic": ((1 / HARTREE, BOHR / HARTREE, 1 / BOHR), "the positions are in bohr", "gradients"),
    "positions in nm": ((1, 1, 0.1), "the positions are in nm", "gradients"),
}


def test_right_data_pass_without_a_word(tmp_path):
    assert prepare(tmp_path, MOLECULES) == []
    assert prepare(tmp_path, WITHOUT_HYDROGEN) == []
    assert prepare(tmp_path, CRYSTALS, stress_key="stress") == []


def test_noise_passes_without_a_word(tmp_path):
    assert prepare(tmp_path, [labelled_atoms(index) for index in range(40)]) == []
    frames = [labelled_atoms(index, periodic=True, stress=True) for index in range(40)]
    assert prepare(tmp_path, frames, stress_key="stress") == []
    assert prepare(tmp_path, [molecule("water", seed, 1e-4) for seed in range(40)]) == []


@pytest.mark.parametrize("name", WRONG)
def test_units_and_signs(tmp_path, name):
    factors, expected, absent = WRONG[name]
    message = refused(tmp_path, [scaled(atoms, *factors) for atoms in MOLECULES])
    assert expected in message
    assert absent not in message


def test_what_is_advised_helps(tmp_path):
    frames = [scaled(atoms, 1 / HARTREE, BOHR / HARTREE, 1) for atoms in MOLECULES]
    units = {"energy": "hartree", "length": "angstrom", "forces": "hartree/bohr"}
    assert prepare(tmp_path, frames, units=units) == []


def test_energies_per_atom(tmp_path):
    frames = [scaled(atoms, 1 / len(atoms), 1, 1) for atoms in MOLECULES]
    assert "the energies are per atom: multiply them by the number of atoms" in refused(tmp_path, frames)
    frames = [scaled(atoms, 1 / len(atoms), 1, 1) for atoms in WITHOUT_HYDROGEN]
    assert "the energies are per atom" in refused(tmp_path, frames)


@pytest.mark.parametrize(("energy", "force"), [(1, -1), (1 / HARTREE, 1), (1, BOHR / HARTREE), (KCAL, 1)])
def test_without_hydrogen_energies_tell(tmp_path, energy, force):
    message = refused(tmp_path, [scaled(atoms, energy, force, 1) for atoms in WITHOUT_HYDROGEN])
    expected = "gradients" if force < 0 else "they are in other units"
    assert expected in message
    few = [scaled(atoms, energy, force, 1) for atoms in WITHOUT_HYDROGEN[:6]]
    assert prepare(tmp_path, few) == []  # too few to be certain


def test_large_factors_show_through_noise(tmp_path):
    """As between frames that are far apart: ratios agree to a factor of 2 only."""
    random = np.random.default_rng(0)
    noisy = [scaled(atoms, 1, 1, 1) for atoms in WITHOUT_HYDROGEN]
    energies = np.array([atoms.get_potential_energy() for atoms in noisy])
    for atoms in noisy:
        atoms.calc.results["energy"] += random.normal(scale=0.12 * energies.std())
    assert prepare(tmp_path, noisy) == []
    message = refused(tmp_path, [scaled(atoms, 1 / HARTREE, 1, 1) for atoms in noisy])
    assert "{energy: hartree, length: angstrom, forces: eV/angstrom}" in message
    assert "gradients" in refused(tmp_path, [scaled(atoms, 1, -1, 1) for atoms in noisy])


def test_right_nevertheless(tmp_path):
    frames = [scaled(atoms, 1, -1, 1) for atoms in MOLECULES]
    (text,) = prepare(tmp_path, frames, on_implausible="report")
    assert "gradients" in text


def test_soft_bonds_whose_energies_agree_only_warn(tmp_path):
    """As of a toy model, or of all labels in hartree and hartree/Å."""
    (text,) = prepare(tmp_path, [scaled(atoms, 0.04, 0.04, 1) for atoms in MOLECULES])
    assert "times the usual stiffness" in text


def with_stress(atoms: Atoms, change: Callable[[np.ndarray, float], np.ndarray]) -> Atoms:
    other = atoms.copy()
    results = dict(atoms.calc.results)
    results["stress"] = change(results["stress"], atoms.get_volume())
    other.calc = SinglePointCalculator(other, **results)
    return other


def test_stress_of_the_other_sign(tmp_path):
    frames = [with_stress(atoms, lambda stress, volume: -stress) for atoms in CRYSTALS]
    assert "VASP's is -ASE's): multiply it by -1" in refused(tmp_path, frames, stress_key="stress")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda stress, volume: GPA * stress, "It is in GPa: set `units: {stress: GPa}`"),
        (lambda stress, volume: -10 * GPA * stress, "multiply it by -1. It is in kbar"),
        (lambda stress, volume: -volume * stress, "as if it were a virial in eV. Set `virial_key`"),
        (lambda stress, volume: volume * stress, "as if it were a virial in eV. Divide it by the volume."),
    ],
)
def test_stress_against_the_energies_of_strained_cells(tmp_path, change, expected):
    """With labels so small that no limit is passed."""
    frames = []
    for atoms in CRYSTALS:
        small = scaled(atoms, 1e-3, 1e-3, 1)
        stress = change(1e-3 * atoms.get_stress(), atoms.get_volume())
        small.calc.results["stress"] = stress
        frames.append(small)
    assert expected in refused(tmp_path, frames, stress_key="stress")


def test_a_stress_that_is_large_everywhere_is_named(tmp_path):
    frames = [labelled_atoms(index, periodic=True, stress=True) for index in range(40)]
    frames = [with_stress(atoms, lambda stress, volume: 0.3 * np.sign(stress)) for atoms in frames]
    (text,) = prepare(tmp_path, frames, stress_key="stress")
    assert "if it is in GPa, set `units: {stress: GPa}`" in text
