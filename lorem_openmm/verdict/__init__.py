"""Whether what a configuration made is fit for use: one line per question, with number, limit and figure."""

from lorem_openmm.extras import needs

needs("the verdict on trainings and simulations", "train", "analysis")
