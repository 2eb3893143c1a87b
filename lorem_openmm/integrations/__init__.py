"""Doors to other programs: ASE, OpenMM, openmm-ml, lorem-jax."""
