"""Learning rates against closed forms and against optax."""

import math

import pytest
import torch

from lorem_openmm.config import Training
from lorem_openmm.training.schedules import learning_rate, make_scheduler

STEPS = 7  # per epoch
RATES = {"learning_rate": 1e-2, "min_learning_rate": 1e-4}


def rates(training: Training) -> list[float]:
    return [learning_rate(step, STEPS, training) for step in range(training.epochs * STEPS + 3)]


def test_linear() -> None:
    training = Training(epochs=20, constant_epochs=5, learning_rate=1e-3, min_learning_rate=1e-6)
    values = rates(training)
    assert values[: 5 * STEPS + 1] == [1e-3] * (5 * STEPS + 1)
    assert values[20 * STEPS] == pytest.approx(1e-6, rel=1e-9)
    assert values[-1] == values[20 * STEPS]
    middle = 5 * STEPS + (20 - 5) * STEPS // 2
    expected = 1e-3 + (1e-6 - 1e-3) * (middle - 5 * STEPS) / (15 * STEPS)
    assert values[middle] == pytest.approx(expected, rel=1e-12)


def test_exponential() -> None:
    training = Training(
        epochs=12, constant_epochs=2, schedule="exponential", learning_rate=1e-2, min_learning_rate=1e-4
    )
    values = rates(training)
    assert values[2 * STEPS] == pytest.approx(1e-2)
    assert values[7 * STEPS] == pytest.approx(1e-3)  # half of the decay: the geometric mean
    assert values[12 * STEPS] == pytest.approx(1e-4)
    assert values[-1] == values[12 * STEPS]


def test_warmup_cosine() -> None:
    training = Training(
        epochs=10, warmup_epochs=2, schedule="warmup_cosine", learning_rate=1e-2, min_learning_rate=1e-4
    )
    values = rates(training)
    assert values[0] == pytest.approx(1e-4)
    assert values[STEPS] == pytest.approx(0.5 * (1e-2 + 1e-4))
    assert values[2 * STEPS] == pytest.approx(1e-2)
    assert values[6 * STEPS] == pytest.approx(0.5 * (1e-2 + 1e-4))
    assert values[4 * STEPS] == pytest.approx(1e-4 + 0.5 * (1e-2 - 1e-4) * (1 + math.cos(math.pi / 4)))
    assert values[-1] == pytest.approx(1e-4)


def test_no_decay_if_the_constant_part_fills_the_training() -> None:
    assert set(rates(Training(epochs=3, constant_epochs=10, learning_rate=2e-3))) == {2e-3}


def test_scheduler_sets_the_rate_of_each_step() -> None:
    training = Training(epochs=3, constant_epochs=1, learning_rate=1e-3, min_learning_rate=1e-6)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=training.learning_rate)
    scheduler = make_scheduler(optimizer, STEPS, training)
    seen = []
    for _ in range(3 * STEPS):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    assert seen == pytest.approx([learning_rate(step, STEPS, training) for step in range(3 * STEPS)], rel=1e-12)


# Values of optax 0.2.8 (float32) by step, for the settings of the test below.
OPTAX = {
    "linear": {0: 9.999999e-04, 20: 9.999999e-04, 28: 9.999999e-04, 29: 9.911606e-04, 60: 7.171429e-04,
               100: 3.635714e-04, 139: 1.883931e-05, 140: 1.000000e-05, 150: 1.000000e-05},
    "exponential": {0: 1.000000e-03, 20: 1.000000e-03, 28: 1.000000e-03, 29: 9.597163e-04, 60: 2.682696e-04,
                    100: 5.179475e-05, 139: 1.041975e-05, 140: 1.000000e-05, 150: 1.000000e-05},
    "warmup_cosine": {0: 1.000008e-05, 10: 4.814286e-04, 20: 9.528572e-04, 21: 1.000000e-03, 28: 9.915717e-04,
                      29: 9.890012e-04, 60: 7.600060e-04, 100: 2.612819e-04, 139: 1.017248e-05, 140: 1.000000e-05},
}  # fmt: skip


@pytest.mark.parametrize("schedule", list(OPTAX))
def test_equals_optax(schedule: str) -> None:
    training = Training(
        epochs=20, constant_epochs=4, warmup_epochs=3, schedule=schedule, learning_rate=1e-3, min_learning_rate=1e-5
    )
    for step, expected in OPTAX[schedule].items():
        assert learning_rate(step, STEPS, training) == pytest.approx(expected, rel=1e-5)
