"""What README and docs/ name is there: files, links, targets of make and Snakemake, commands."""

import re
from pathlib import Path

import pytest
from test_cli import COMMANDS

ROOT = Path(__file__).parents[1]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *(ROOT / "benchmarks").rglob("*.md")])
# Folders of the repository, and of the package.
TOP = "config|workflows|lorem_openmm|benchmarks|examples|docs|envs|tests"
PACKAGE = (
    "inference|nn|data|training|integrations|simulate|analysis|paper|label|sampling|published|verdict|kernels|sums"
)


def all_of(pattern: str, page: Path) -> list[str]:
    return re.findall(pattern, page.read_text())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_files_and_links_exist(page):
    named = all_of(rf"(?<![\w/.-])((?:{TOP})/[\w./-]*\w)", page)
    named += [f"lorem_openmm/{path}" for path in all_of(rf"`((?:{PACKAGE})/[\w./]+\.py)", page)]
    made = [path for path in named if path.startswith("benchmarks/results") or "NAME" in path]
    missing = [path for path in named if path not in made and not (ROOT / path).exists()]
    links = all_of(r"\]\(([^)#:\s]+)(?:#[\w-]*)?\)", page)
    assert missing + [link for link in links if not (page.parent / link).exists()] == []


def test_targets_and_commands_exist():
    makefile = (ROOT / "Makefile").read_text()
    rules = "".join(path.read_text() for path in [ROOT / "Snakefile", *(ROOT / "workflows").glob("*.smk")])
    wrong = []
    for page in PAGES:
        text = page.read_text()
        wrong += [
            f"{page.name}: {kind} {name}"
            for kind, pattern, known in [
                ("make", r"(?:`|^)make ([a-z-]+)", re.findall(r"^([\w-]+):(?!=)", makefile, re.MULTILINE)),
                ("snakemake", r"\b([a-z_]+_all)\b", re.findall(r"^rule (\w+):", rules, re.MULTILINE)),
                ("lorem-openmm", r"\blorem-openmm ([a-z][a-z-]*)", COMMANDS),
            ]
            for name in re.findall(pattern, text, re.MULTILINE)
            if name not in known
        ]
    assert wrong == []


def exists(name: str) -> bool:
    """Whether a dotted name is a module of the package, or something that stands in one."""
    place, *rest = name.split(".")
    folder = ROOT / place
    while rest and (folder / rest[0]).is_dir():
        folder /= rest.pop(0)
    source = folder / f"{rest.pop(0)}.py" if rest and (folder / f"{rest[0]}.py").is_file() else folder / "__init__.py"
    return not rest or re.search(rf"\b{rest[0]}\b", source.read_text()) is not None


def test_modules_named_in_text_exist():
    sources = [*(ROOT / "lorem_openmm").rglob("*.py"), *(ROOT / "workflows").glob("*.smk"), ROOT / "pyproject.toml"]
    named = {
        (path.name, name)
        for path in [*PAGES, *sources]
        for name in re.findall(r"\blorem_openmm(?:\.\w+)+", path.read_text())
        if not name.endswith((".py", ".__path__"))
    }
    assert len(named) > 100
    assert sorted(f"{page}: {name}" for page, name in named if not exists(name)) == []
