"""The files that a configuration is given: what the workflow has to watch, and to find before any work."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from openmm.app import forcefield

from lorem_openmm import config
from lorem_openmm.errors import ConfigError
from lorem_openmm.files import sha256_of_file
from lorem_openmm.layout import Layout
from lorem_openmm.simulate.force_fields import SHIPPED
from lorem_openmm.simulate.systems import KINDS, file_of, is_built

INCLUDE = re.compile(r"<Include\s[^>]*?file\s*=\s*[\"']([^\"']+)")
LARGEST_HASHED = 1 << 25  # bytes: larger files are known by their size, so that a dry run stays quick


def dataset_files(dataset: config.Dataset) -> list[str]:
    """Returns the user's own files of a data set."""
    given = (dataset.structures, dataset.train, dataset.validation, dataset.test)
    return [path for item in given if item for path in ([item] if isinstance(item, str) else item)]


def dynamics_files(dynamics: config.Dynamics) -> list[str]:
    """Returns the file that dynamics starts from, and its force-field files that are not OpenMM's or shipped."""
    files = [] if is_built(dynamics.start) else [str(file_of(dynamics.start)[0])]
    for name in dynamics.solvent.force_field if dynamics.solvent else ():
        if name not in SHIPPED and (Path(name).is_file() or not _is_openmm_file(name)):
            files += _with_included(Path(name))
    return files


def given_files(settings: config.Config) -> Iterator[tuple[str, str]]:
    """Yields every given file with the key that names it."""
    for name, dataset in settings.datasets.items():
        yield from ((f"datasets.{name}", path) for path in dataset_files(dataset))
    yield from settings.given_models()
    for section in ("simulations", "umbrellas"):
        for name, dynamics in getattr(settings, section).items():
            start = None if is_built(dynamics.start) else str(file_of(dynamics.start)[0])
            for path in dynamics_files(dynamics):
                yield f"{section}.{name}.{'start' if path == start else 'solvent.force_field'}", path


def check_given(settings: config.Config, layout: Layout) -> None:
    """Refuses a configuration with files that are not there, before anything is made.

    Files in the output folder and among the downloads may be results of the workflow, which then finds out itself.

    Raises:
        ConfigError: Naming each key and its file.
    """
    faults = []
    for key, path in given_files(settings):
        if Path(path).is_dir():
            faults.append(f"{key}: {path} is a folder, but a file is needed")
        elif not Path(path).exists() and not layout.makes(path):
            kinds = f"; built structures begin with {', '.join(KINDS)} and a colon" if key.endswith(".start") else ""
            faults.append(f"{key}: there is no file {path} (relative paths start at {Path.cwd()}){kinds}")
    if faults:
        lines = "\n".join(f"  {fault}" for fault in dict.fromkeys(faults))
        raise ConfigError(f"configuration: {len(faults)} file(s) cannot be read\n{lines}")


def contents(paths: Sequence[str], layout: Layout) -> list[str]:
    """Returns what tells a given file from another one that takes its place, whatever the date of that one.

    Args:
        paths: Given files.
        layout: Its folders; what the workflow makes itself is left out, as it goes by dates.
    """
    found = [Path(path) for path in paths if not layout.makes(path) and Path(path).is_file()]
    sizes = [path.stat().st_size for path in found]
    return [
        sha256_of_file(path) if size <= LARGEST_HASHED else f"{size} bytes"
        for path, size in zip(found, sizes, strict=True)
    ]


def _is_openmm_file(name: str) -> bool:
    return any(Path(folder, name).is_file() for folder in forcefield._getDataDirectories())


def _with_included(path: Path) -> list[str]:
    """Returns a force-field file and those beside it that it includes."""
    files = [path]
    for file in files:  # which grows
        if file.is_file():
            names = INCLUDE.findall(file.read_text(encoding="utf-8", errors="replace"))
            beside = [file.parent / name for name in names]
            files += [included for included in beside if included.is_file() and included not in files]
    return [str(file) for file in files]
