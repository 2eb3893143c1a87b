"""The constant-energy test: fluctuation as Δt², no drift in double precision."""

import pytest

from lorem_openmm.errors import ConfigError
from lorem_openmm.simulate.nve import nve_test


def test_fluctuation_falls_as_the_square_of_the_time_step(model_file):
    coarse, fine = (
        # Cold, because a random model is rough.
        nve_test(model_file, "sn2:Cl,Br,3.2", step, steps, "double", temperature=10.0, equilibration_ps=0.1)
        for step, steps in ((1.0, 100), (0.5, 200))
    )
    assert coarse.time_ps == pytest.approx(fine.time_ps)
    assert coarse.fluctuation / fine.fluctuation == pytest.approx(4.0, rel=0.25)
    assert abs(fine.drift) < 5.0 * fine.drift_error + 0.5
    assert (fine.n_dof, fine.precision, fine.platform) == (15, "double", "Reference")
    assert 5.0 < fine.temperature < 60.0
    assert "times" not in fine.summary()
    assert fine.summary()["timestep_fs"] == 0.5


def test_settings_are_checked(model_file):
    with pytest.raises(ConfigError, match="at least 10 steps"):
        nve_test(model_file, "sn2:Cl,Br,3.2", steps=5)
    with pytest.raises(ConfigError, match="timestep_fs"):
        nve_test(model_file, "sn2:Cl,Br,3.2", timestep_fs=-1.0)
