"""Settings for all tests."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # small systems; pytest-xdist uses the cores

import torch

torch.set_num_threads(1)
