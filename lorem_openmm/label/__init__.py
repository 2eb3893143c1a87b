"""Energies and forces from quantum-chemistry engines, which of them are kept, and whole data sets of them."""
