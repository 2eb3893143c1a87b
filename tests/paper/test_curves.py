"""Curves of a data set: which structures, where the minimum is, what counts as resolved."""

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

from lorem_openmm import config
from lorem_openmm.config import Model
from lorem_openmm.data.prepare import prepare_dataset
from lorem_openmm.data.store import read_store
from lorem_openmm.errors import DataError
from lorem_openmm.paper import sections
from lorem_openmm.paper.curves import (
    Curve,
    barrier,
    curve_rows,
    find_curves,
    minimum,
    reaction_rows,
    shape_error,
    with_predictions,
)
from lorem_openmm.paper.dihedral import best_of_each, dihedral_rows, receptive_grid
from lorem_openmm.paper.published_errors import CUMULENE_RESOLVED, published_rmse


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Two curves of eight distances, shuffled, and a structure that is on neither."""
    folder = tmp_path_factory.mktemp("curves")
    frames = []
    for doped in (True, False):
        for distance in (2.0, 2.4, 1.8, 2.2, 3.0, 2.6, 1.6, 4.0):
            energy = (distance - (2.1 if doped else 2.5)) ** 2
            frames.append(_dimer(distance, energy, {"gap": distance, "doped": doped, "source": "scan"}))
    frames.append(_dimer(1.5, 9.0, {"gap": 1.5, "doped": True, "source": "rattled"}))
    write(folder / "curves.xyz", frames, format="extxyz")
    section = config.Dataset(
        structures=str(folder / "curves.xyz"), split=config.Split(validation_fraction=0, test_fraction=0)
    )
    prepare_dataset(section, "curves", None, 3.0, folder / "curves.safetensors")
    return read_store(folder / "curves.safetensors")


def _dimer(distance, energy, info):
    atoms = Atoms("OC", [[0, 0, 0], [0, 0, distance]], info=info)
    atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=np.zeros((2, 3)))
    return atoms


def _study(**values):
    settings = {"kind": "distance", "runs": ["a"], "dataset": "curves", "coordinate": "gap", "only": {"source": "scan"}}
    return sections.DistanceStudy(**(settings | values))


def test_curves_are_told_apart_ordered_and_restricted(store):
    curves = find_curves(store, _study(curve_by="doped"))
    assert [curve.name for curve in curves] == ["0", "1"]
    for curve in curves:
        np.testing.assert_allclose(curve.x, [1.6, 1.8, 2.0, 2.2, 2.4, 2.6, 3.0, 4.0])
        np.testing.assert_allclose(curve.reference, (curve.x - (2.1 if curve.name == "1" else 2.5)) ** 2)
    assert len(find_curves(store, _study(only={}))[0].x) == 17
    assert len(find_curves(store, _study(only={"doped": False}))[0].x) == 8


def test_what_is_no_curve_is_refused(store):
    with pytest.raises(DataError, match="no curve along 'gap'"):
        find_curves(store, _study(only={"source": "elsewhere"}))
    with pytest.raises(DataError, match="must name an info key with numbers"):
        find_curves(store, _study(coordinate="source", only={}))
    with pytest.raises(DataError, match=r"no info key 'gpa' was kept\. Did you mean 'gap'"):
        find_curves(store, _study(coordinate="gpa"))


def test_the_minimum_is_found_between_the_structures(store):
    curve = find_curves(store, _study(only={"source": "scan", "doped": True}))[0]
    assert minimum(curve.x, curve.reference) == pytest.approx((2.1, 0.0))
    assert minimum(curve.x, -curve.x) == (4.0, -4.0)
    shifted = {"moved": (store.info("gap") - 2.2) ** 2 + 7.0}
    rows = curve_rows(with_predictions([curve], shifted))
    assert [row["run"] for row in rows] == ["reference", "moved"]
    assert rows[1]["minimum"] == pytest.approx(2.2)
    assert rows[0]["depth (meV)"] == pytest.approx(1e3 * 1.9**2)
    assert rows[1]["depth (meV)"] == pytest.approx(1e3 * 1.8**2)
    assert rows[0]["rmse (meV)"] == 0
    assert rows[1]["rmse (meV)"] > 50  # the constant does not count, the place does


def test_resolved_is_a_matter_of_the_shape_alone():
    x = np.linspace(0, 180, 37)
    reference = np.cos(np.radians(2 * x))
    predicted = {"exact": reference + 3, "half": 0.5 * reference, "weak": 0.4 * reference, "flat": 0 * x}
    assert shape_error(reference, predicted["half"]) == pytest.approx(0.5)
    curve = Curve("chain", np.arange(37), x, reference, predicted)
    rows = {row["run"]: row for row in dihedral_rows([curve], 0.5 + 1e-9)}
    assert {run: row["resolved"] for run, row in rows.items()} == {
        "exact": "yes",
        "half": "yes",
        "weak": "no",
        "flat": "no",
    }
    assert rows["flat"]["shape error"] == pytest.approx(1.0)
    assert rows["weak"]["range (meV)"] == pytest.approx(800.0)


def test_barriers_are_measured_from_the_reactants():
    x = np.linspace(-3, 3, 13)
    energy = np.array([0.3, 0.1, 0.0, -0.4, -0.1, 0.2, 0.5, 0.1, -0.6, -0.3, -0.2, -0.1, 0.0])
    assert barrier(energy) == 0.5
    curve = Curve("Cl-Br", np.arange(13), x, energy, {"twice": 2 * energy})
    rows = reaction_rows([curve], "highest")
    assert rows[0]["barrier (meV)"] == pytest.approx(500)
    assert rows[1]["reaction energy (meV)"] == pytest.approx(600)
    assert reaction_rows([curve], "lowest")[0]["barrier (meV)"] == pytest.approx(200)


def test_the_grid_has_a_line_per_cutoff_and_a_column_per_kind():
    rows = []
    for cutoff in (3.0, 2.5):
        for layers, long_range in ((2, False), (1, True)):
            name = f"{layers}×SR{' + LR' if long_range else ''}"
            error, resolved = (0.1, "yes") if long_range else (1.0, "no")
            row = {"cutoff (Å)": cutoff, "model": name, "layers": layers, "resolved": resolved, "shape error": error}
            rows.append(row | {"long range": "l=2" if long_range else "none"})
    other_seed = rows[2] | {"run": "other seed", "resolved": "yes", "shape error": 0.2}
    assert best_of_each([*rows, other_seed]) == [*rows[:2], other_seed, rows[3]]
    assert best_of_each([other_seed, *rows]) == [other_seed, *rows[:2], rows[3]]
    assert receptive_grid(rows) == [
        {"cutoff (Å)": 2.5, "1×SR + LR": "yes (0.10)", "2×SR": "no (1.00)"},
        {"cutoff (Å)": 3.0, "1×SR + LR": "yes (0.10)", "2×SR": "no (1.00)"},
    ]


def test_the_papers_numbers_stand_beside_models_of_its_kind_alone():
    assert published_rmse("cumulene", Model()) == (3.309, 50.084)
    assert published_rmse("cumulene", Model(long_range=False)) == (16.203, 126.0)
    assert published_rmse("cumulene", Model(cutoff=3.0)) is None
    assert published_rmse("mine", Model()) is None
    for block in ({"kind": "scalar_charges"}, {"kind": "equivariant_charges", "exponent": 2}):
        assert published_rmse("cumulene", Model(long_range=block)) is None
    assert sum(sum(row.values()) for row in CUMULENE_RESOLVED.values()) == 12
