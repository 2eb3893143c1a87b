"""Formulas of the network that training and dynamics share: values and first gradient, laid out [rows, …, slots].

Training wraps them in functions of autograd (``nn/``), dynamics calls them as they are (``inference/``).
"""
