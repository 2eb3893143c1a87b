"""Molecular dynamics with OpenMM: starting structures, runs that continue where they were, constant-energy tests."""
