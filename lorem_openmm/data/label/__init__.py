"""Labelling: structures made here, with energies and forces from quantum-chemistry engines."""
