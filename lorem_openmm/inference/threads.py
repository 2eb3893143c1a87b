"""The number of threads by the size of the system."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

ATOMS_PER_THREAD = 32


@contextmanager
def threads_for(n_atoms: int) -> Iterator[None]:
    """Lets PyTorch use one thread per 32 atoms, two at least and no more than it is set to, and sets it back after.

    More threads than work wait for each other: with all cores of a large machine a small molecule takes longer than
    with one. Changing the number takes a tenth of a microsecond.

    Args:
        n_atoms: number of atoms.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(min(before, max(2, n_atoms // ATOMS_PER_THREAD)))
    try:
        yield
    finally:
        torch.set_num_threads(before)
