import numpy as np
import pytest
from helpers import small_potential
from made_results import FRAGMENTS, moments_as_charges, point_charges
from matplotlib import image

from lorem_openmm.integrations.ase_calculator import LoremCalculator
from lorem_openmm.sampling.fragments import fragment
from lorem_openmm.sampling.multipoles import interaction, multipoles
from lorem_openmm.units import COULOMB_EV_ANGSTROM
from lorem_openmm.verdict import tails as tails_module
from lorem_openmm.verdict.pairs import all_pairs, energies
from lorem_openmm.verdict.tails import follow_tails, tail_lines
from lorem_openmm.verdict.verdict_figures import draw_tails

NEUTRAL = ("apolar–apolar", "polar–apolar", "polar–polar")


def verdicts(found):
    return {line.check.split(":")[0]: line.status for line in tail_lines(found, "dimers", None, True)}


@pytest.mark.parametrize(
    ("extra", "scale", "red"),
    [
        (0.0, 1.0, set()),
        # 0.09 eV Å / 15 Å is 6 meV: an attraction or repulsion of neutral molecules that physics does not know.
        (0.09, 1.0, set(NEUTRAL)),
        (-0.09, 1.0, set(NEUTRAL)),
        (0.0, 0.9, {"charged–charged"}),
        (0.0, 0.0, {"charged–charged", "charged–polar"}),
    ],
    ids=["right", "repulsion", "attraction", "weak ions", "nothing"],
)
def test_tails_are_green_where_physics_is_right_and_red_where_not(monkeypatch, extra, scale, red):
    monkeypatch.setattr(tails_module, "energies", lambda _, structures: point_charges(structures, extra, scale))
    found = verdicts(follow_tails(None, FRAGMENTS))
    assert set(found) == {*NEUTRAL, "charged–apolar", "charged–polar", "charged–charged"}
    assert {name for name, status in found.items() if status == "fail"} == red


def test_a_model_without_long_range_is_zero_between_neutral_molecules_and_misses_ions(tmp_path):
    found = follow_tails(small_potential(long_range=False), ["acetate", "methanol", "propane"])
    lines = tail_lines(found, "short", "verdict/tails_short.png", False)
    status = {line.check.split(":")[0]: (line.status, line.value) for line in lines}
    assert all(status[name] == ("pass", "0 meV") for name in NEUTRAL)
    assert status["charged–charged"] == ("fail", "0.000")
    assert not any(line.counts for line in lines)
    draw_tails(tmp_path / "tails", found, "short")
    assert image.imread(tmp_path / "tails.png").shape[0] > 300


def test_a_model_of_random_weights_is_red_and_says_for_which_pair_and_where():
    (line,) = tail_lines(follow_tails(small_potential(), ["propane"]), "dimers", "f.png", True)
    assert line.status == "fail"
    assert line.measured > line.bound == 5.0
    assert (line.reason, line.figure) == ("the worst: propane + propane at 15 Å", "f.png")


def test_not_a_number_is_red(monkeypatch):
    monkeypatch.setattr(tails_module, "energies", lambda _, structures: np.full(len(structures), np.nan))
    assert set(verdicts(follow_tails(None, FRAGMENTS)).values()) == {"fail"}


def test_energies_are_those_of_the_calculator():
    potential = small_potential()
    structures = [pair.structure(9.0) for pair in all_pairs(["acetate", "methanol"], 1)]
    structures.append(fragment("propane").atoms())
    found = energies(potential, structures)
    for atoms, energy in zip(structures, found, strict=True):
        atoms.calc = LoremCalculator(potential, dtype="float64")
        assert energy == pytest.approx(atoms.get_potential_energy(), abs=1e-9)


def test_orientations_are_always_the_same_whatever_else_there_is():
    alone = list(all_pairs(["methanol"], 2))
    among = [pair for pair in all_pairs(["acetate", "propane", "methanol"], 2) if pair.name == "methanol + methanol"]
    for one, other in zip(alone, among, strict=True):
        np.testing.assert_array_equal(one.structure(10.0).positions, other.structure(10.0).positions)
    assert np.abs(alone[0].rotations - alone[1].rotations).max() > 0.1


def test_multipoles_are_the_expansion_of_point_charges():
    pair = next(pair for pair in all_pairs(FRAGMENTS, 1) if pair.name == "acetate + methylammonium")
    charges = [moments_as_charges(item.name) for item in (pair.first, pair.second)]
    for distance in (15.0, 30.0):
        positions = pair.structure(distance).positions
        n = len(pair.first.numbers)
        distances = np.linalg.norm(positions[:n, None] - positions[None, n:], axis=2)
        exact = COULOMB_EV_ANGSTROM * (np.outer(*charges) / distances).sum()
        # What is left out falls as the fourth power.
        assert pair.electrostatics(distance) == pytest.approx(exact, abs=5e-3 * (15 / distance) ** 4)


@pytest.mark.parametrize(
    ("first", "second", "tolerance"),
    [
        ("methylammonium", "methylguanidinium", 0.01),
        ("acetamide", "methanol", 0.001),
        ("methylguanidinium", "acetamide", 0.006),
    ],
)
def test_reference_agrees_with_the_label_engine_at_15_angstrom(first, second, tolerance):
    pytest.importorskip("tblite", reason="compares with GFN2-xTB (extra `label`)")
    from lorem_openmm.label.engines import TbliteEngine

    engine = TbliteEngine("GFN2-xTB")
    cold = engine.attempts[1]
    pair = next(
        pair for pair in all_pairs([first, second], 1) if {pair.first.name, pair.second.name} == {first, second}
    )
    alone = [engine.calculate(item.atoms(), item.charge, cold).energy for item in (pair.first, pair.second)]
    together = engine.calculate(pair.structure(15.0), pair.first.charge + pair.second.charge, cold).energy
    assert together - sum(alone) == pytest.approx(pair.electrostatics(15.0), abs=tolerance)


def test_turning_both_molecules_and_the_line_between_them_changes_nothing():
    pair = next(pair for pair in all_pairs(FRAGMENTS, 1) if pair.name == "acetate + methanol")
    turn = pair.rotations[0]
    molecules = [
        multipoles(item, turn @ matrix) for item, matrix in zip((pair.first, pair.second), pair.rotations, strict=True)
    ]
    assert interaction(*molecules, 12.0 * turn @ pair.direction) == pytest.approx(pair.electrostatics(12.0), rel=1e-12)
