"""Analyses of molecules in water: which molecules are meant, and where the water is."""

import numpy as np
import pandas as pd
import pytest
from made_simulations import topology_of, write_simulation

from lorem_openmm.analysis.analyze import analyze
from lorem_openmm.analysis.trajectory import load_simulation

BOX = 20.0 * np.eye(3)
WATER = np.array([[0.0, 0.0, 0.0], [0.76, 0.59, 0.0], [-0.76, 0.59, 0.0]])


def in_water(molecules, positions, oxygens):
    """Topology and positions [n_atoms, 3] of molecules, and waters whose oxygens are at the places given."""
    topology = topology_of([*molecules, *[["O", "H", "H"]] * len(oxygens)], BOX)
    for residue in list(topology.residues())[len(molecules) :]:
        residue.name = "HOH"
    return topology, np.concatenate([positions, *[WATER + place for place in oxygens]])


def test_two_molecules_in_water_are_a_pair_and_each_has_its_water(tmp_path):
    molecules = [["C", "O"], ["C", "N"]]
    positions = np.array([[6.0, 10, 10], [6.0, 11.4, 10], [19.0, 10, 10], [19.0, 11.4, 10]])
    # 2.75 Å from N, through the face of the box, and 3.05 Å from O; farther from anything else
    topology, frame = in_water(molecules, positions, [[1.75, 11.4, 10], [6.0, 14.45, 10], [12.0, 2.0, 3.0]])
    folder = write_simulation(tmp_path / "s", topology, np.stack([frame] * 3))
    assert load_simulation(folder).num_solute == 2
    summary = analyze(folder, tmp_path / "a")
    assert summary["n_molecules"] == 5
    assert summary["n_solute_molecules"] == 2
    assert summary["geometry"]["center_distance"]["mean"] == pytest.approx(7.0, abs=0.1)  # the nearest image
    names = {path.name for path in (tmp_path / "a").iterdir()}
    assert {"solvation.png", "molecules.png", "geometry.csv"} <= names
    assert "radial.csv" not in names
    table = pd.read_csv(tmp_path / "a" / "solvation.csv")
    assert list(table.columns) == ["distance", "O of molecule 1", "N of molecule 2"]
    for column, place in (("O of molecule 1", 3.05), ("N of molecule 2", 2.75)):
        near = table[table["distance"] < 4.0]
        assert near["distance"][near[column] > 0].to_numpy() == pytest.approx([place], abs=0.06)


def test_a_reaction_in_water_is_found(tmp_path):
    molecules = [["Cl"], ["C", "Br", "H", "H", "H"]]
    positions = np.array([[8, 10, 10], [11, 10, 10], [12.9, 10, 10], [10.6, 11, 10], [10.6, 9.4, 11], [10.6, 9.4, 9]])
    topology, frame = in_water(molecules, positions, [[5.0, 10, 10], [16.0, 10, 10]])
    folder = write_simulation(tmp_path / "s", topology, np.stack([frame] * 2))
    summary = analyze(folder, tmp_path / "a")
    assert summary["reaction"] == "Cl⁻ + CH₃Br"
    assert summary["geometry"]["reaction_coordinate"]["mean"] == pytest.approx(1.1, abs=1e-3)


@pytest.mark.parametrize(("names", "count"), [(["MOL", "HOH"], 2), (["HOH"] * 3, 3), (["MOL", "HOH", "HOH"], 1)])
def test_water_alone_and_water_in_a_dimer_are_not_solvent(tmp_path, names, count):
    topology = topology_of([["O", "H", "H"]] * len(names), BOX)
    for residue, name in zip(topology.residues(), names, strict=True):
        residue.name = name
    frame = np.concatenate([WATER + np.array([4.0 * k, 5.0, 5.0]) for k in range(len(names))])
    folder = write_simulation(tmp_path / "s", topology, np.stack([frame] * 2))
    assert load_simulation(folder).num_solute == count
