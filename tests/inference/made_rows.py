"""What tests of the hand-derived gradients share: rows of a structure, autograd as the naive form, comparison."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from ase import Atoms

from lorem_openmm.inference.verlet import Neighborhood, VerletList

CUTOFF = 4.0


def sorted_by_species(atoms: Atoms) -> Atoms:
    """The structure with its atoms in the order of the rows."""
    return atoms[np.argsort(atoms.numbers, kind="stable")]


def neighborhood(atoms: Atoms, block_size: int = 3, skin: float = 0.6) -> Neighborhood:
    """Neighbour tables in float64 of a structure whose atoms are sorted by species."""
    counts = np.unique(atoms.numbers, return_counts=True)[1].tolist()
    lists = VerletList(CUTOFF, bool(atoms.pbc.all()), skin, torch.float64)
    lists.set_rows(counts, block_size)
    return lists(torch.tensor(atoms.positions), torch.tensor(atoms.cell[:]))


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    """Normal random numbers in float64."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def randomize(module: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    """Gives each parameter, zero biases and unit weights included, a random number, in float64."""
    generator = torch.Generator().manual_seed(seed)
    module.double()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter += 0.3 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
    return module


def naive_pullback(
    forward: Callable[..., Sequence[torch.Tensor]], inputs: Sequence[torch.Tensor], gradients: Sequence[torch.Tensor]
) -> tuple[torch.Tensor, ...]:
    """dE/d(inputs) of E = Σ gradients · forward(inputs), by autograd."""
    leaves = [value.detach().clone().requires_grad_(True) for value in inputs]
    with torch.enable_grad():
        outputs = forward(*leaves)
        energy = sum((value * gradient).sum() for value, gradient in zip(outputs, gradients, strict=True))
        energy = energy + 0.0 * sum(leaf.sum() for leaf in leaves)  # constant functions have slopes too
    return torch.autograd.grad(energy, leaves)


def assert_close(found: torch.Tensor, expected: torch.Tensor, tolerance: float = 1e-12) -> None:
    """Compares relative to the largest value."""
    assert found.shape == expected.shape
    found, expected = found.detach(), expected.detach()
    largest = float(expected.abs().max()) if expected.numel() else 0.0
    torch.testing.assert_close(found, expected, rtol=0, atol=tolerance * max(largest, 1e-6))
