"""The constant-energy test: fluctuation as Δt², no drift in double precision."""

import pytest

from lorem_openmm.errors import ConfigError, SimulationError
from lorem_openmm.export import PRETRAINED
from lorem_openmm.simulate.nve import nve_test


def test_fluctuation_falls_as_the_square_of_the_time_step(sound_model):
    coarse, fine = (
        nve_test(sound_model, "sn2:Cl,Br,3.2", step, steps, "double", temperature=10.0, equilibration_ps=0.1)
        for step, steps in ((1.0, 100), (0.5, 200))
    )
    assert coarse.time_ps == pytest.approx(fine.time_ps)
    assert coarse.fluctuation / fine.fluctuation == pytest.approx(4.0, rel=0.25)
    assert abs(fine.drift) < 5.0 * fine.drift_error + 0.5
    assert (fine.n_dof, fine.precision, fine.platform) == (15, "double", "Reference")
    assert 5.0 < fine.temperature < 60.0
    assert "times" not in fine.summary()
    assert fine.summary()["timestep_fs"] == 0.5


def test_a_run_that_falls_apart_is_an_error_or_a_verdict(model_file):
    brief = {"steps": 20, "equilibration_ps": 0.02}
    with pytest.raises(SimulationError, match=r"UNSTABLE at .* in the equilibration .* on top of each other"):
        nve_test(model_file, "sn2:Cl,Br,3.2", **brief)
    found = nve_test(model_file, "sn2:Cl,Br,3.2", **brief, on_unstable="report").summary()
    assert (found["verdict"]["stable"], found["drift"], found["temperature"]) == (False, None, None)
    wild = nve_test(PRETRAINED, "dimer:methanol,water,3.0", 20.0, **brief, on_unstable="report")
    assert not wild.verdict.stable  # a time step of 20 fs


def test_settings_are_checked(model_file):
    with pytest.raises(ConfigError, match="at least 10 steps"):
        nve_test(model_file, "sn2:Cl,Br,3.2", steps=5)
    with pytest.raises(ConfigError, match="timestep_fs"):
        nve_test(model_file, "sn2:Cl,Br,3.2", timestep_fs=-1.0)
