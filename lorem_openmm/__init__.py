"""LOREM for OpenMM: train, export and run interatomic potentials with equivariant long-range messages."""

from importlib.metadata import version

__version__ = version("lorem-openmm")
