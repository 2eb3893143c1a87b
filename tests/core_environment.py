"""An environment with the core alone: links to the installed packages that the core's dependencies lead to.

Installing PyTorch anew would take minutes; the links take a second, and a package that the core's requirements do not
lead to is as absent as in a new installation.
"""

import os
import re
import subprocess
import sys
import tomllib
import venv
from collections import defaultdict
from importlib.metadata import Distribution, distribution, distributions
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def declared(extra: str | None = None) -> list[Requirement]:
    """The requirements of the core or of an extra, those of the extras that it names included."""
    texts = PROJECT["dependencies"] if extra is None else PROJECT["optional-dependencies"][extra]
    found = []
    for requirement in map(Requirement, texts):
        if requirement.name == PROJECT["name"]:
            found += [inner for name in sorted(requirement.extras) for inner in declared(name)]
        else:
            found.append(requirement)
    return found


def closure(requirements: list[Requirement]) -> dict[str, Distribution]:
    """The installed distributions that the requirements lead to, by name."""
    found: dict[str, Distribution] = {}
    done = set()
    waiting = [(requirement, "") for requirement in requirements]
    while waiting:
        requirement, extra = waiting.pop()
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": extra}):
            continue
        for wanted in ("", *requirement.extras):
            key = (canonical(requirement.name), wanted)
            if key not in done:
                done.add(key)
                found[key[0]] = distribution(requirement.name)
                waiting += [(Requirement(text), wanted) for text in found[key[0]].requires or ()]
    return found


def link_core(folder: Path) -> Path:
    """Makes the environment in a folder and returns its Python."""
    venv.create(folder, with_pip=False, symlinks=True)
    python = folder / "bin" / "python"
    (packages,) = folder.glob("lib/python*/site-packages")
    core = closure(declared())
    files = {canonical(installed.name): beginnings(installed) for installed in distributions()}
    owners = defaultdict(set)
    for name, found in files.items():
        for first, _ in found:
            owners[first].add(name)
    for name, installed in core.items():
        for first, second in files[name]:
            entry = Path(first) if owners[first] <= core.keys() else Path(first, second)
            _link(packages / entry, Path(installed.locate_file(entry)), name)
    _link(packages / "lorem_openmm", ROOT / "lorem_openmm", PROJECT["name"])
    ours = Path(distribution(PROJECT["name"])._path)  # the entry points
    _link(packages / ours.name, ours, PROJECT["name"])
    return python


def beginnings(installed: Distribution) -> set[tuple[str, str]]:
    """The first two parts of the paths of a distribution's files; the second is empty for single files."""
    lines = (installed.read_text("RECORD") or "").splitlines()
    parts = {(*line.partition(",")[0].split("/")[:2], "")[:2] for line in lines}
    return {(first, second) for first, second in parts if first not in ("..", "__pycache__")}


def _link(place: Path, target: Path, name: str) -> None:
    assert target.exists(), f"{name}: there is no {target}"
    place.parent.mkdir(parents=True, exist_ok=True)
    if not place.is_symlink():
        place.symlink_to(target)


def run(python: Path, *arguments: str, folder: Path, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Runs Python with nothing of this process's search path."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    command = [str(python), "-I", *arguments]
    process = subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment, check=False)
    assert process.returncode == 0 or not check, process.stderr
    return process


if __name__ == "__main__":
    print(link_core(Path(sys.argv[1])))
