"""What the optimisers are compared on: start, gradients, learning rates. numpy alone, for both environments.

Names and shapes are flax's, as in lorem-jax: kernels [n_in, n_out], one kernel per degree, e3x's tensor kernels.
"""

import numpy as np

OPTIMIZERS = ("adam", "lamb", "muon")
NUM_STEPS = 20
STORED_STEPS = (1, 2, 5, 20)
SHAPES = {
    "Layer_0/kernel": (3, 5),
    "Layer_0/bias": (5,),
    "Layer_1/kernel": (5, 3),
    "Layer_2/kernel": (4, 4),
    "Layer_3/kernel": (2, 7),
    "Layer_4/kernel": (7, 2),
    "Layer_5/kernel": (3, 1),
    "Embed_0/embedding": (6, 2),
    "degrees/0+/kernel": (2, 4),
    "degrees/1-/kernel": (2, 4),
    "degrees/2+/kernel": (2, 4),
    "Tensor_0/kernel": (1, 2, 1, 2, 1, 2, 2),
}
ZERO_START = ("Layer_0/bias", "Layer_2/kernel", "degrees/1-/kernel")
ZERO_GRADIENT = ("Layer_3/kernel", "degrees/2+/kernel")
SCHEDULES = {
    "linear": {"epochs": 20, "constant_epochs": 4},
    "linear_from_the_start": {"epochs": 20, "constant_epochs": 0},
    "linear_never": {"epochs": 20, "constant_epochs": 20},
    "exponential": {"epochs": 20, "constant_epochs": 4},
    "exponential_never": {"epochs": 20, "constant_epochs": 30},
    "warmup_cosine": {"epochs": 20, "warmup_epochs": 3},
    "warmup_cosine_without_warmup": {"epochs": 20, "warmup_epochs": 0},
}
STEPS_PER_EPOCH = 7
FIRST_RATE, LAST_RATE = 1e-3, 1e-5


def phase(name):
    """A number by which parameters differ."""
    return sum(map(ord, name)) % 100


def rate(step):
    """The learning rate of a step counted from 0."""
    return 1e-2 * (1 - 0.04 * step)


def start(name, shape):
    """Initial values of a parameter."""
    k = np.arange(int(np.prod(shape)))
    return np.zeros(shape) if name in ZERO_START else np.cos(1.9 * k + 0.4 * phase(name)).reshape(shape)


def gradient(name, shape, step):
    """The gradient at a step: sizes from 1 to 1e-6, so that the epsilons of the optimisers count."""
    k = np.arange(int(np.prod(shape)))
    values = np.sin(0.7 * k + 1.3 * phase(name) + 0.9 * step) * 100.0 ** -(k % 4)
    return np.zeros(shape) if name in ZERO_GRADIENT else values.reshape(shape)
