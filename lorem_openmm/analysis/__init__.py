"""Analysis of trajectories with MDTraj: reaction coordinates, distances, contacts, energy conservation."""
