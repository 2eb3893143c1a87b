"""Potentials of charges, V = K q, for any pair kernel: directly, by Ewald sums, on a mesh."""
