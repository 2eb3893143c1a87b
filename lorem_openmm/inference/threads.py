"""The number of threads by the size of the system, and in processes made by fork."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

ATOMS_PER_THREAD = 32


def _one_thread() -> None:
    """Lets PyTorch use one thread.

    A forked process has none of its parent's other threads. GNU OpenMP does not notice and waits for them for ever, at
    the first piece of work that it would share among threads.
    """
    if torch.get_num_threads() > 1:
        torch.set_num_threads(1)


if hasattr(os, "register_at_fork"):  # not on Windows, which has no fork
    os.register_at_fork(after_in_child=_one_thread)


@contextmanager
def threads_for(n_atoms: int) -> Iterator[None]:
    """Lets PyTorch use one thread per 32 atoms, two at least and no more than it is set to, and sets it back after.

    More threads than work wait for each other: with all cores of a large machine a small molecule takes longer than
    with one. Changing the number takes a tenth of a microsecond.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(min(before, max(2, n_atoms // ATOMS_PER_THREAD)))
    try:
        yield
    finally:
        torch.set_num_threads(before)
