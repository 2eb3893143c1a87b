"""The scripts of the user guide run as a user runs them, in a folder of their own, and write what they say."""

import os
import re
import subprocess
import sys
from pathlib import Path

import mdtraj
import numpy as np
import pytest

from lorem_openmm import export

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
GUIDE = ROOT / "docs" / "guide"

pytestmark = pytest.mark.skipif(not export.PRETRAINED.is_file(), reason="no model ships with this build")


def run(folder, script, *arguments):
    """Runs a script and returns what it prints; warnings of the package are printed too."""
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
        "OMP_NUM_THREADS": "1",
        "OPENMM_CPU_THREADS": "1",
        "PYTHONIOENCODING": "utf-8",
    }
    command = [sys.executable, str(EXAMPLES / script), *map(str, arguments)]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def numbers(text):
    return [float(word) for word in re.findall(r"-?\d+\.\d+(?:e[+-]?\d+)?", text)]


def line_of(text, start):
    (line,) = (line for line in text.splitlines() if line.strip().startswith(start))
    return line


def test_every_page_has_its_script_and_every_script_its_page():
    pages = {path.stem for path in GUIDE.glob("*.md")} - {"README"}
    assert pages == {path.stem for path in EXAMPLES.glob("*.py")}
    index = (GUIDE / "README.md").read_text()
    assert all(f"({name}.md)" in index and f"`{name}.py`" in index for name in pages)
    assert all(f"examples/{name}.py" in (GUIDE / f"{name}.md").read_text() for name in pages)


def test_links_of_the_guide_lead_somewhere():
    for page in GUIDE.glob("*.md"):
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


@pytest.mark.slow
def test_pure_ml(tmp_path):
    said = run(tmp_path, "pure_ml.py", "--steps", 40)
    assert "no box (vacuum)" in said
    assert numbers(line_of(said, "minimised by"))[0] > 1.0
    trajectory = mdtraj.load(str(tmp_path / "trajectory.dcd"), top=str(tmp_path / "start.pdb"))
    assert trajectory.xyz.shape == (40, 9, 3)
    bond = np.linalg.norm(trajectory.xyz[:, 0] - trajectory.xyz[:, 1], axis=-1)  # C-O of methanol
    assert bond.mean() == pytest.approx(0.142, abs=0.01)


def test_charge(tmp_path):
    said = run(tmp_path, "charge.py")
    assert "does not guess" in said
    rows = [[float(word) for word in line.split()] for line in said.splitlines()[-3:]]
    for charge, (asked, in_ase, in_openmm, total) in zip((-1, 0, 1), rows, strict=True):
        assert asked == charge
        assert in_openmm == pytest.approx(in_ase, abs=2e-5)
        assert total == pytest.approx(charge, abs=1e-5)
    assert len({row[1] for row in rows}) == 3


@pytest.mark.slow
def test_mlmm(tmp_path):
    said = run(tmp_path, "mlmm.py", "--steps", 20, "--edge", 1.9)
    before, after = (int(word) for word in re.findall(r"\d+", line_of(said, "constraints")))
    assert before - after == 7  # the hydrogens of the molecule
    assert abs(numbers(line_of(said, "middle less"))[0]) < 0.02
    trajectory = mdtraj.load(str(tmp_path / "mlmm.dcd"), top=str(tmp_path / "mlmm.pdb"))
    assert trajectory.n_atoms > 300
    water = trajectory.topology.select("water")[:3]
    lengths = np.linalg.norm(trajectory.xyz[:, water[0]] - trajectory.xyz[:, water[1]], axis=-1)
    assert lengths == pytest.approx(np.full(len(lengths), 0.09572), abs=1e-4)  # rigid
    temperatures = np.genfromtxt(tmp_path / "mlmm.csv", delimiter=",", skip_header=1)[:, 2]
    assert 100 < temperatures.mean() < 500


@pytest.mark.slow
def test_npt(tmp_path):
    said = run(tmp_path, "npt.py", "--steps", 60, "--count", 2, "--molecules")
    assert line_of(said, "molecules as OpenMM sees them").endswith(" 8")
    volumes = np.loadtxt(tmp_path / "volume.csv", skiprows=1)
    assert len(volumes) == 6
    assert len(set(volumes)) > 1
    assert volumes == pytest.approx(np.full(6, 6.4**3), rel=0.1)


@pytest.mark.slow
def test_integrators(tmp_path):
    said = run(tmp_path, "integrators.py", "--steps", 60)
    assert len(re.findall(r"^(?:light|heavy) .* \+- ", said, re.MULTILINE)) == 5
    kelvin = numbers(line_of(said, "MTSLangevinIntegrator"))[0]
    assert 30 < kelvin < 900


@pytest.mark.slow
def test_restraints(tmp_path):
    said = run(tmp_path, "restraints.py", "--steps", 300)
    low, high = numbers(line_of(said, "coordinate visited"))[:2]
    assert -2.0 < low < high < 2.0
    table = np.loadtxt(tmp_path / "free_energy.csv", delimiter=",", skiprows=1)
    assert table[:, 0].min() == pytest.approx(-2.5)
    assert table[:, 1].min() == pytest.approx(0.0)
    assert table[:, 1].max() > 1.0
    deepest = table[table[:, 1].argmin(), 0]
    assert low - 0.3 < deepest < high + 0.3  # the hills are where it has been


@pytest.mark.slow
def test_choosing(tmp_path):
    said = run(tmp_path, "choosing.py", "--steps", 5)
    energies = [numbers(line)[0] for line in said.splitlines() if line.startswith("cpu") and "not here" not in line]
    assert len(energies) >= 2
    assert energies == pytest.approx([energies[0]] * len(energies), abs=0.1)  # kJ/mol


@pytest.mark.slow
def test_boundaries(tmp_path):
    said = run(tmp_path, "boundaries.py", "--edges", 1.2, 2.4)
    table = [[float(word) for word in line.split()] for line in said.splitlines() if re.match(r"^ +\d", line)]
    assert [row[0] for row in table] == [1.2, 2.4]
    assert abs(table[0][1]) > abs(table[1][1]) > 1e-3  # they are not the same, and the larger box is nearer
    assert table[0][2] > table[1][2] > 1e-4


@pytest.mark.slow
def test_structures(tmp_path):
    pytest.importorskip("rdkit", reason="RDKit is not installed")
    said = run(tmp_path, "structures.py")
    assert [line.split("total charge ")[1][:2] for line in said.splitlines() if "total charge" in line] == [
        "-1", "-1", "0 ", "un",
    ]  # fmt: skip
    assert len(list(tmp_path.glob("structure-*.pdb"))) == 4
    assert mdtraj.load(str(tmp_path / "structure-0.pdb")).n_atoms == 10


@pytest.mark.slow
def test_long_range(tmp_path):
    said = run(tmp_path, "long_range.py", "--epochs", 30)
    sodium, chlorine = numbers(line_of(said, "charges"))
    assert sodium == pytest.approx(1.0, abs=0.05)
    assert chlorine == pytest.approx(-1.0, abs=0.05)
    found, expected = numbers(line_of(said, "force at 15.0 A").partition(":")[2])
    assert found == pytest.approx(expected, rel=0.1)  # beyond all data
    assert "OpenMM after 20 steps" in said


@pytest.mark.slow
def test_electric(tmp_path):
    said = run(tmp_path, "electric.py", "--steps", 3500)
    found, expected = numbers(line_of(said, "dipole"))
    assert found == pytest.approx(expected, rel=0.3)
    peak, harmonic = numbers(line_of(said, "absorption"))
    assert peak == pytest.approx(harmonic, abs=40)
    intensity, harmonic = numbers(line_of(said, "intensity"))
    assert intensity == pytest.approx(harmonic, rel=0.2)
    assert (tmp_path / "electric" / "infrared.png").is_file()


@pytest.mark.parametrize("script", sorted(path.name for path in EXAMPLES.glob("*.py")))
def test_scripts_are_short_and_name_no_machine(script):
    text = (EXAMPLES / script).read_text()
    assert 30 <= len(text.splitlines()) <= 130
    assert not re.search(r"[\"'](/(home|tmp|root|work)|[A-Z]:\\)", text)
    assert "--help" not in text
    assert "argparse.ArgumentParser(description=__doc__" in text
