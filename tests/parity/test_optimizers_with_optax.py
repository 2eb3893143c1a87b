"""Optimisers against optax itself, step by step, on the weights of a whole model of lorem-jax with messages."""

import json
import subprocess
from pathlib import Path

import numpy as np
import optimizer_cases as cases
import pytest
from parity_cases import checkpoint_folder

from lorem_openmm.config import Model, Training
from lorem_openmm.integrations.lorem_jax import import_checkpoint
from lorem_openmm.integrations.lorem_jax_names import named_state
from lorem_openmm.model import Lorem
from lorem_openmm.training.optimizers import make_optimizer

HERE = Path(__file__).parent
pytestmark = pytest.mark.parity


@pytest.fixture(scope="module")
def optax_folder(lorem_jax_python: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What make_optimizer_reference.py writes, now."""
    folder = tmp_path_factory.mktemp("optax")
    command = [str(lorem_jax_python), str(HERE / "make_optimizer_reference.py"), str(folder)]
    subprocess.run(command, check=True, timeout=900)
    return folder


@pytest.fixture(scope="module")
def hyperparameters() -> Model:
    return import_checkpoint(checkpoint_folder(HERE / "stored" / "messages"))[0]


@pytest.mark.parametrize("name", cases.OPTIMIZERS)
def test_every_step_equals_optax(optax_folder: Path, hyperparameters: Model, name: str) -> None:
    arrays = dict(np.load(optax_folder / "optimizers.npz"))
    before, after = (
        {key.removeprefix(f"{kind}:"): value for key, value in arrays.items() if key.startswith(f"{kind}:")}
        for kind in ("start", name)
    )
    model = Lorem(hyperparameters).double()
    model.load_state_dict(named_state(hyperparameters, before, "start"))
    start = {key: value.detach().clone() for key, value in model.named_parameters()}
    optimizer = make_optimizer(model, Training(optimizer=name))
    worst = 0.0
    for step in range(cases.NUM_STEPS):
        gradients = {path: cases.gradient(path, value.shape, step) for path, value in before.items()}
        for key, value in named_state(hyperparameters, gradients, "gradients").items():
            model.get_parameter(key).grad = value
        for group in optimizer.param_groups:
            group["lr"] = cases.rate(step)
        optimizer.step()
        now = {path: values[step] for path, values in after.items()}
        for key, value in named_state(hyperparameters, now, name).items():
            moved = (value - start[key]).abs().max()
            assert moved > 1e-6, key
            scale = max(moved, 0.01 * value.abs().max())  # a single bias moves by 1e-5 of itself in a step
            worst = max(worst, float((model.get_parameter(key).detach() - value).abs().max() / scale))
            assert worst <= 1e-12, (step, key, worst)
    print(f"{name}: largest deviation over the way moved {worst:.1e}")


def test_stored_numbers_are_current(optax_folder: Path) -> None:
    stored, now = (
        json.loads((folder / "optimizers.json").read_text(encoding="utf-8"))
        for folder in (HERE / "stored", optax_folder)
    )
    assert stored["optax"] == now["optax"]
    for kind in ("optimizers", "schedules"):
        flat, expected = ([float(x) for x in _leaves(content[kind])] for content in (stored, now))
        np.testing.assert_allclose(flat, expected, rtol=1e-12, atol=1e-14)


def _leaves(value: object) -> list[float]:
    if isinstance(value, dict):
        return [leaf for key in sorted(value) for leaf in _leaves(value[key])]
    return [leaf for part in value for leaf in _leaves(part)] if isinstance(value, list) else [value]
