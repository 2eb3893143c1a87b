"""Analysis of trajectories with MDTraj: reaction coordinates, distances, contacts, energy conservation."""

from lorem_openmm.extras import needs

needs("the analysis of simulations", "analysis")
