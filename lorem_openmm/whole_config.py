"""The configuration with all its sections: the library's, and those of rooms that it does not need."""

from pathlib import Path

from lorem_openmm import config

PAPER = "lorem_openmm.paper"


def config_class() -> type[config.Config]:
    """Returns the class of the whole configuration: with `studies`, where the package has the paper's room."""
    try:
        from lorem_openmm.paper.sections import ConfigWithStudies  # noqa: PLC0415
    except ModuleNotFoundError as error:
        if error.name is None or not error.name.startswith(PAPER):
            raise
        return config.Config
    return ConfigWithStudies


def load(path: str | Path) -> config.Config:
    """Reads and checks a configuration file (YAML) with all its sections.

    Args:
        path: The file.

    Raises:
        ConfigError: If the file is missing, is not YAML, names a key twice, or breaks a rule.
    """
    return config.parse(config_class(), config.read_yaml(path), str(path))
