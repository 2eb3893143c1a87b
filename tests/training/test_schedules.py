"""Learning rates against closed forms and against optax."""

import json
import math
from pathlib import Path

import optimizer_cases as cases
import pytest
import torch

from lorem_openmm.config import Training
from lorem_openmm.training.schedules import learning_rate, make_scheduler

STEPS = 7  # per epoch
STORED = Path(__file__).parents[1] / "parity" / "stored" / "optimizers.json"
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


@pytest.mark.parametrize("kind", list(cases.SCHEDULES))
def test_every_step_equals_optax(kind: str) -> None:
    """Each learning rate of a training is that of lorem-jax's schedule, in float64."""
    name = "warmup_cosine" if kind.startswith("warmup") else kind.split("_", maxsplit=1)[0]
    rates = {"learning_rate": cases.FIRST_RATE, "min_learning_rate": cases.LAST_RATE}
    training = Training(schedule=name, **rates, **cases.SCHEDULES[kind])
    expected = json.loads(STORED.read_text(encoding="utf-8"))["schedules"][kind]
    found = [learning_rate(step, cases.STEPS_PER_EPOCH, training) for step in range(len(expected))]
    assert found == pytest.approx(expected, rel=1e-12, abs=0)
