"""Random rotations and reflections of training structures."""

from dataclasses import replace

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from lorem_openmm.data.batching import Labels
from lorem_openmm.data.fields import fields
from lorem_openmm.graph import AtomGraph, with_geometry


def random_orthogonal(n_structures: int, seed: int, epoch: int) -> torch.Tensor:
    """Returns Q [n_structures, 3, 3], uniform on O(3): rotations, half of them with inversion; float64.

    They depend on (seed, epoch) and the place of a structure in the set only, so that neither a training that
    continues at an epoch nor the make-up of the batches matters.

    Args:
        n_structures: Size of the training set.
        seed: Seed of the run.
        epoch: Number of the epoch.

    References:
        K. Shoemake, "Uniform random rotations", Graphics Gems III (1992): four normal numbers, normalised, are a
        uniform unit quaternion.
    """
    random = np.random.default_rng([seed, epoch, 1])  # not the stream of the order of the batches
    quaternions = random.normal(size=(n_structures, 4))
    signs = np.where(random.random(n_structures) < 0.5, 1.0, -1.0)
    matrices = Rotation.from_quat(np.roll(quaternions, -1, axis=1)).as_matrix()  # the real part comes last there
    return torch.from_numpy(matrices * signs[:, None, None])


def turn(graph: AtomGraph, labels: Labels, rotations: torch.Tensor) -> tuple[AtomGraph, Labels]:
    """R ← Q r, h ← h Qᵀ (rows are vectors), and labels as their fields say: F ← Q F, σ ← Q σ Qᵀ.

    Q is that of the structure's place in the set.

    Args:
        graph: Structures; their neighbour lists stay as they are.
        labels: Their reference values.
        rotations: [n_structures, 3, 3] of the whole set, in the graph's dtype and on its device.
    """
    of_system = rotations.index_select(0, labels.structures)
    of_atom = of_system.index_select(0, graph.system_index)
    turned = with_geometry(graph, _turn(graph.positions, of_atom), torch.bmm(graph.cell, of_system.mT))
    rows = {"structure": of_system, "atom": of_atom}
    turning = [field for field in fields("label") if field.turns != "not" and field.name in labels.values]
    new = {field.name: _turn(labels[field.name], rows[field.per], field.turns) for field in turning}
    return turned, replace(labels, values={**labels.values, **new})


def _turn(values: torch.Tensor, rotations: torch.Tensor, how: str = "vector") -> torch.Tensor:
    """Returns Q v, or Q σ Qᵀ, or det(Q) Q v of axial vectors, of each of [n, 3] or [n, 3, 3]."""
    if how == "tensor":
        return torch.bmm(torch.bmm(rotations, values), rotations.mT)
    turned = torch.bmm(rotations, values.unsqueeze(2)).squeeze(2)
    return turned * torch.linalg.det(rotations).sign().unsqueeze(1) if how == "axial" else turned
