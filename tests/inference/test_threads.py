"""Small systems run on few threads, and the number set before comes back."""

import pytest
import torch

from lorem_openmm.inference.threads import threads_for


@pytest.fixture(autouse=True)
def _eight_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(8)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(("n_atoms", "threads"), [(1, 2), (64, 2), (96, 3), (100_000, 8)])
def test_threads_grow_with_the_atoms_up_to_the_number_set(n_atoms, threads):
    with threads_for(n_atoms):
        assert torch.get_num_threads() == threads
    assert torch.get_num_threads() == 8


def test_one_thread_stays_one():
    torch.set_num_threads(1)
    with threads_for(1000):
        assert torch.get_num_threads() == 1


def test_the_number_comes_back_after_an_error():
    with pytest.raises(ValueError, match="stop"), threads_for(1):
        raise ValueError("stop")
    assert torch.get_num_threads() == 8
