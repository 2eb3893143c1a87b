"""Training steps of the authors' code, put together from its parts as its ``lorem-train`` does.

Batches are joined and padded beforehand, with the default sizes; worker processes do so in ``lorem-train``. Runs in the
lorem-jax environment (make parity-env).
"""

import argparse
import json
import sys
import time
from typing import Any

import jax
import optax
from lorem import Lorem
from lorem.batching import to_batch, to_sample
from lorem.transforms import ToBatch
from marathon.evaluate import get_loss_fn
from protocol import batches, peak_memory


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("kind")
    parser.add_argument("--threads", type=int, default=1)  # JAX takes the cores it is allowed to run on
    options = parser.parse_args()
    answers, sys.stdout = sys.stdout, sys.stderr
    model = Lorem()
    made = [jax.tree.map(jax.numpy.array, _join(batch, model)) for batch in batches(options.kind)]
    predict = lambda params, batch: model.predict(params, batch, stress=False)  # noqa: E731
    loss = get_loss_fn(predict, weights={"energy": 0.5, "forces": 0.5}, correct_mean=True)
    optimizer = optax.adam(1e-3)

    @jax.jit
    def step(params: Any, state: Any, batch: Any) -> Any:
        (value, _), gradient = jax.value_and_grad(loss, has_aux=True)(params, batch)
        updates, state = optimizer.update(gradient, state, params)
        return optax.apply_updates(params, updates), state, value

    params = model.init(jax.random.key(0), *model.dummy_inputs())
    state, base = optimizer.init(params), peak_memory()
    for batch in made:  # compilation
        jax.block_until_ready(step(params, state, batch))
    print(json.dumps({"ready": True, "base_mb": base}), file=answers, flush=True)
    for line in sys.stdin:
        first, count = map(int, line.split())
        seconds = []
        for i in range(first, first + count):
            start = time.perf_counter()
            params, state, _ = jax.block_until_ready(step(params, state, made[i % len(made)]))
            seconds.append(time.perf_counter() - start)
        print(json.dumps({"seconds": seconds, "peak_mb": peak_memory()}), file=answers, flush=True)


def _join(batch: list[Any], model: Lorem) -> Any:
    defaults = ToBatch(batch_size=len(batch))
    strategies = {"default": defaults.size_strategy, "fine": defaults.fine_strategy, "coarse": defaults.coarse_strategy}
    samples = [to_sample(atoms, model.cutoff) for atoms in batch]
    return to_batch(samples, ("energy", "forces"), batch_size=len(batch) + 1, strategies=strategies)


if __name__ == "__main__":
    main()
