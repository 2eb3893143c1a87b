"""The core alone: what it needs, what it can do, and what it says of everything else."""

import ast
import json
import sys
from functools import cache
from importlib.metadata import packages_distributions

import pytest
from core_environment import PROJECT, ROOT, canonical, declared, link_core, run

from lorem_openmm import extras
from lorem_openmm.errors import InstallationError
from lorem_openmm.extras import import_optional, needs

# Parts of the package that need extras, and which; all else is the core. Those with a door say so when they are
# imported; of the others some modules work without: ASE brings Matplotlib, the paper's configuration needs nothing.
DOORS = ("lorem_openmm.analysis", "lorem_openmm.training", "lorem_openmm.verdict")
ROOMS = {
    "lorem_openmm.analysis": ("analysis",),
    "lorem_openmm.plotting": ("analysis",),
    "lorem_openmm.paper": ("train",),
    "lorem_openmm.training": ("train",),
    "lorem_openmm.verdict": ("train", "analysis"),
}
PLUGINS = {"openmmtorch"}  # checked by lorem_openmm.integrations.torchforce, with advice of its own

WATER = """
import json, sys
from importlib.util import find_spec
import openmm
from openmm import app
from openmmml import MLPotential

topology = app.Topology()
residue = topology.addResidue("HOH", topology.addChain())
for element in (app.element.oxygen, app.element.hydrogen, app.element.hydrogen):
    topology.addAtom(element.symbol, element, residue)
system = MLPotential("lorem").createSystem(topology, implementation="pythonforce", device="cpu")
context = openmm.Context(system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference"))
context.setPositions([[0.0, 0.0, 0.0], [0.1, 0.0, 0.0], [-0.02, 0.09, 0.01]])
state = context.getState(energy=True, forces=True)
forces = state.getForces(asNumpy=True)._value.tolist()
print(json.dumps({"energy": state.getPotentialEnergy()._value, "forces": forces}))
"""

IMPORT_ALL = """
import json, pkgutil
from importlib import import_module
import lorem_openmm

found = {}
for module in pkgutil.walk_packages(lorem_openmm.__path__, "lorem_openmm."):
    try:
        import_module(module.name)
        found[module.name] = ""
    except ImportError as error:
        found[module.name] = f"{type(error).__name__}: {error}"
print(json.dumps(found))
"""

CONFIG = """
datasets: {mine: {structures: mine.xyz}, made: {label: {kind: water, engine: {name: tblite}}}}
models: {m: {}}
training: {t: {}}
runs: {first: {datasets: [mine], model: m, training: t}}
simulations: {short: {run: first, start: "smiles:CCO", steps: 10}}
"""


@pytest.fixture(scope="module")
def core(tmp_path_factory):
    return link_core(tmp_path_factory.mktemp("core"))


@pytest.mark.slow
def test_the_core_alone_runs_the_shipped_model_in_openmm(core, tmp_path):
    alone = json.loads(run(core, "-c", WATER, folder=tmp_path).stdout)
    here = json.loads(run(sys.executable, "-c", WATER, folder=tmp_path).stdout)
    assert alone["energy"] == pytest.approx(here["energy"], rel=1e-9)
    assert alone["forces"] == [pytest.approx(force, abs=1e-3) for force in here["forces"]]


@pytest.mark.slow
def test_every_part_of_the_core_works_without_extras_and_the_others_name_theirs(core, tmp_path):
    found = json.loads(run(core, "-c", IMPORT_ALL, folder=tmp_path).stdout)
    assert {"lorem_openmm.simulate.systems", "lorem_openmm.data.prepare", "lorem_openmm.commands"} <= found.keys()
    for module, error in found.items():
        needed = extras_of(module)
        if error or module in DOORS:
            assert error.startswith("MissingExtraError"), (module, error)
            assert f"pip install 'lorem-openmm[{','.join(needed)}]'" in error, (module, error)


@pytest.mark.slow
def test_commands_teach_without_extras_and_name_what_they_miss(core, tmp_path):
    (tmp_path / "c.yaml").write_text(CONFIG)
    for module in ("snakemake", "lightning", "mdtraj", "pandas", "pymbar", "tensorboard", "tblite", "rdkit"):
        process = run(core, "-c", f"import {module}", folder=tmp_path, check=False)
        assert "ModuleNotFoundError" in process.stderr
    assert "usage: lorem-openmm train" in run(core, "-m", "lorem_openmm.cli", "train", "--help", folder=tmp_path).stdout
    for command, extra in (
        ("train first", "train"),
        ("evaluate first", "train"),
        ("analyze short", "analysis"),
        ("label made", "label"),
        ("simulate short", "smiles"),
    ):
        words = [*command.split(), "--config", "c.yaml"]
        process = run(core, "-m", "lorem_openmm.cli", *words, folder=tmp_path, check=False)
        assert process.returncode == 1
        assert process.stderr.startswith("lorem-openmm: error: "), process.stderr
        assert f"pip install 'lorem-openmm[{extra}]'" in process.stderr
        assert "Traceback" not in process.stderr


@cache
def imported() -> dict[str, set[str]]:
    """Third-party packages, by module of ours: those that it imports and those that it names to ``extras``."""
    distributions = packages_distributions()
    found = {}
    for path in sorted((ROOT / "lorem_openmm").rglob("*.py")):
        names: set[str] = set()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                names.add((node.module or "").split(".")[0])
        names -= sys.stdlib_module_names | {"lorem_openmm"}
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        found[module] = {canonical(distributions[name][0]) for name in names - PLUGINS}
    return found


def names_of(extra=None):
    return {canonical(requirement.name) for requirement in declared(extra)}


def extras_of(module):
    return next((extras for room, extras in ROOMS.items() if f"{module}.".startswith(f"{room}.")), ())


def test_what_is_imported_is_declared_where_it_is_needed():
    for module, names in imported().items():
        allowed = names_of().union(*(names_of(extra) for extra in extras_of(module)))
        assert names <= allowed, f"{module} imports {names - allowed}, which neither the core nor its extra declares"


def test_what_the_core_declares_is_imported_by_it():
    used = set().union(*(names for module, names in imported().items() if not extras_of(module)))
    assert names_of() - used == set()


def test_all_is_what_a_user_may_want():
    others = set(PROJECT["optional-dependencies"]) - {"all", "dev", "torchforce", "cuda12"}
    assert set().union(*(names_of(extra) for extra in others)) == names_of("all")


def test_parts_check_packages_that_their_extras_declare():
    distributions = packages_distributions()
    for extra, modules in extras.MODULES.items():
        assert {canonical(distributions[module][0]) for module in modules} <= names_of(extra)


def test_what_is_missing_is_named_with_its_extra(monkeypatch):
    modules = {"here": ("numpy",), "some": ("none_like_it", "numpy"), "none": ("nor_this",)}
    monkeypatch.setattr(extras, "MODULES", modules)
    needs("doing this", "here")
    with pytest.raises(InstallationError, match=r"^doing this needs the packages none_like_it, nor_this.*some,none\]'"):
        needs("doing this", "here", "some", "none")
    with pytest.raises(ImportError, match=r"^doing that needs the package none_like_it, .*openmm\[label\]'"):
        import_optional("none_like_it.part", "doing that", "label")
    assert import_optional("os.path", "doing that", "label").join("a", "b") == "a/b"
