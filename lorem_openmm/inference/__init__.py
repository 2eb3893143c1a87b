"""Molecular dynamics with fixed weights: the model with hand-derived gradients and padded neighbour tables."""
