"""The model that ships with the package."""

import openmm
import pytest
from openmm import app, unit
from openmmml import MLPotential

from lorem_openmm import export
from lorem_openmm.errors import UnknownElementError
from lorem_openmm.simulate.systems import read_structure

pytestmark = pytest.mark.skipif(not export.PRETRAINED.is_file(), reason="no model ships with this build")


def test_it_is_small_and_states_its_limits():
    assert export.PRETRAINED.stat().st_size < 6_000_000
    metadata = export.read_metadata(export.PRETRAINED)
    assert "not for science" in metadata["description"]
    assert metadata["electrostatics"]["trained_on"] == "vacuum"
    assert metadata["species"] == [1, 6, 7, 8, 16, 17, 35]
    assert metadata["hyperparameters"]["norm_smoothing"] > 0


def test_it_is_what_runs_without_a_model_path():
    structure = read_structure("sn2:Cl,Br,3.2", 0)
    system = MLPotential("lorem").createSystem(structure.topology)
    context = openmm.Context(system, openmm.VerletIntegrator(0.0005), openmm.Platform.getPlatformByName("Reference"))
    context.setPositions(structure.positions / 10 * unit.nanometer)
    openmm.LocalEnergyMinimizer.minimize(context, maxIterations=20)
    energy = context.getState(energy=True).getPotentialEnergy()
    assert -3.5e4 < energy.value_in_unit(unit.kilojoule_per_mole) < -3.0e4


def test_an_element_it_does_not_know_is_an_error():
    topology = app.Topology()
    residue = topology.addResidue("X", topology.addChain())
    for symbol in ("Na", "Cl"):
        topology.addAtom(symbol, app.Element.getBySymbol(symbol), residue)
    with pytest.raises(UnknownElementError, match="does not know Na"):
        MLPotential("lorem").createSystem(topology)
