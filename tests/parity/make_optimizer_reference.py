"""What optax's optimisers and schedules do, in float64; runs in the lorem-jax environment, never in this package's.

    python make_optimizer_reference.py OUTPUT_FOLDER [--stored]

``optimizers.json``: parameters of the cases of tests/reference/optimizer_cases.py after some steps, and the learning
rates of each step of lorem-jax's schedules. With ``--stored`` that is all (this is how tests/parity/stored was made);
else ``optimizers.npz`` too: after each step, all weights of the stored model ``messages``, in lorem-jax's own tree.

Optimisers and schedules are made as in ``lorem.train``, with 64-bit JAX.
"""

import argparse
import json
import os
import sys
from pathlib import Path

os.environ.setdefault("JAX_PLATFORMS", "cpu")
# each compiled function runs a few times: compile fast
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true")

import jax
import numpy as np
import optax
from flax import serialization

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "reference"))
import optimizer_cases as cases  # noqa: E402

WEIGHTS = HERE / "stored" / "messages" / "run" / "checkpoints" / "latest" / "model" / "model.msgpack"


def run(name, parameters):
    """Yields the parameters after each step; ``parameters`` is a flat dictionary."""
    make = optax.contrib.muon if name == "muon" else getattr(optax, name)
    optimizer = optax.inject_hyperparams(make)(learning_rate=cases.rate)
    state = optimizer.init(parameters)
    update = jax.jit(optimizer.update)
    for step in range(cases.NUM_STEPS):
        gradients = {key: cases.gradient(key, value.shape, step) for key, value in parameters.items()}
        updates, state = update(gradients, state, parameters)
        parameters = optax.apply_updates(parameters, updates)
        yield step + 1, parameters


def schedule(kind, epochs, constant_epochs=0, warmup_epochs=0):
    """The schedule as ``lorem.train`` makes it from the same settings, ``stop_decay_after`` at its default."""
    n = cases.STEPS_PER_EPOCH
    first, last = cases.FIRST_RATE, cases.LAST_RATE
    begin, end = constant_epochs * n, epochs * n
    if kind.startswith("linear"):
        return optax.schedules.linear_schedule(first, last, transition_begin=begin, transition_steps=end - begin)
    if kind.startswith("exponential"):
        return optax.schedules.exponential_decay(
            first, transition_steps=end - begin, transition_begin=begin, decay_rate=last / first, end_value=last
        )
    return optax.schedules.warmup_cosine_decay_schedule(last, first, warmup_epochs * n, end, end_value=last)


def flatten(tree, prefix=()):
    """The leaves by path."""
    leaves = {}
    for key, value in tree.items():
        leaves |= flatten(value, (*prefix, key)) if isinstance(value, dict) else {"/".join((*prefix, key)): value}
    return leaves


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("output", type=Path)
    parser.add_argument("--stored", action="store_true", help="only what is kept in tests/parity/stored")
    arguments = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    arguments.output.mkdir(parents=True, exist_ok=True)

    starts = {key: cases.start(key, shape) for key, shape in cases.SHAPES.items()}
    content = {"optax": optax.__version__, "optimizers": {}, "schedules": {}}
    for name in cases.OPTIMIZERS:
        content["optimizers"][name] = {
            step: {key: np.asarray(value).tolist() for key, value in parameters.items()}
            for step, parameters in run(name, starts)
            if step in cases.STORED_STEPS
        }
    for kind, settings in cases.SCHEDULES.items():
        rates = schedule(kind, **settings)
        steps = np.arange(settings["epochs"] * cases.STEPS_PER_EPOCH + 3)
        content["schedules"][kind] = np.broadcast_to(np.asarray(rates(steps)), steps.shape).tolist()
    (arguments.output / "optimizers.json").write_text(json.dumps(content) + "\n", encoding="utf-8")

    if not arguments.stored:
        weights = flatten(serialization.msgpack_restore(WEIGHTS.read_bytes())["params"])
        weights = {key: value.astype(np.float64) for key, value in weights.items()}
        arrays = {f"start:{key}": value for key, value in weights.items()}
        for name in cases.OPTIMIZERS:
            after = [parameters for _, parameters in run(name, weights)]
            arrays |= {f"{name}:{key}": np.stack([np.asarray(step[key]) for step in after]) for key in weights}
        np.savez(arguments.output / "optimizers.npz", **arrays)


if __name__ == "__main__":
    main()
