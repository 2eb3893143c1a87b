"""Does the energy change when a structure is rotated or inverted? Over a grid of rotations, in both precisions."""

from collections.abc import Sequence

import numpy as np
import torch
from scipy.integrate import lebedev_rule
from scipy.spatial.transform import Rotation

from lorem_openmm.data.structures import Structure
from lorem_openmm.potential import Potential, graph_for


def rotation_grid(degree: int) -> np.ndarray:
    """Returns rotations [n, 3, 3] that integrate Wigner functions up to a degree: a Lebedev grid times turns about it.

    R = R_z(α) · R_y(β) · R_z(γ), where (β, α) are the directions of the Lebedev rule and γ takes degree + 1 even steps.

    Args:
        degree: Degree of the Lebedev rule; one that does not exist is rounded up.

    References:
        V. I. Lebedev, D. N. Laikov, Doklady Mathematics 59, 477 (1999).
    """
    directions = _rule(degree)
    alpha, beta = np.arctan2(directions[1], directions[0]), np.arccos(np.clip(directions[2], -1, 1))
    gamma = 2 * np.pi * np.arange(degree + 1) / (degree + 1)
    angles = [(a, b, g) for a, b in zip(alpha, beta, strict=True) for g in gamma]
    return Rotation.from_euler("ZYZ", np.array(angles)).as_matrix()


def _rule(degree: int) -> np.ndarray:
    while True:  # rules exist for most odd degrees up to 131
        try:
            return np.asarray(lebedev_rule(degree)[0])
        except NotImplementedError:
            degree += 1


def symmetry_errors(
    potential: Potential, structures: Sequence[Structure], transformations: np.ndarray, dtype: torch.dtype
) -> np.ndarray:
    """Returns |E(R·structure) − E(structure)| in meV, [n_structures, n_transformations].

    The per-element energies are left out: they are the same number before and after.

    Args:
        potential: The model.
        structures: Structures; cells are rotated with the atoms.
        transformations: [n, 3, 3] rotations, inverted or not.
        dtype: Precision of the model.
    """
    potential = potential.to(dtype)
    errors = np.zeros((len(structures), len(transformations)))
    for index, structure in enumerate(structures):
        energy = _energy(potential, structure, np.eye(3))
        for number, matrix in enumerate(transformations):
            errors[index, number] = 1e3 * abs(_energy(potential, structure, matrix) - energy)
    return errors


def _energy(potential: Potential, structure: Structure, matrix: np.ndarray) -> float:
    """Returns the energy in eV of a structure that is turned by a matrix [3, 3]."""
    positions, cell = structure.positions @ matrix.T, structure.cell @ matrix.T
    periodic = np.array([structure.periodic])
    charge = np.array([structure.fields.get("total_charge", np.nan)])
    graph = graph_for(potential, positions, structure.atomic_numbers, [len(positions)], cell[None], periodic, charge)
    return float(potential.evaluate(graph).atomic_energies.double().sum())
