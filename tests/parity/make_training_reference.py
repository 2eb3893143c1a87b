"""A short training by lorem-jax, step by step; runs in the lorem-jax environment, never in this package's.

    python make_training_reference.py FOLDER

``FOLDER/training.json`` says what to train on what, in which batches (``frames.xyz``, hyper-parameters, optimiser,
steps per epoch, learning rates); added are ``initial/`` and ``final/``, checkpoints by the writers ``lorem.train``
uses, and ``steps.json``, loss and learning rate of each step.

Everything is put together as in ``lorem.train.main``: its batcher, the loss of ``marathon.evaluate`` with
``correct_mean``, ``optax`` with its schedule under ``inject_hyperparams``, the weights of ``model.init``. Two things
differ, as in make_reference.py: 64 bits, geometry included, and exact binomials in the Bernstein polynomials.
"""

import json
import sys
from pathlib import Path

from make_reference import exact_bernstein  # also sets the flags of the compiler

# isort: split
import ase.io
import jax
import numpy as np
import optax
from e3x.nn.functions import bernstein
from jaxpme.batched_mixed.batching import prepare
from lorem import Lorem
from lorem.transforms import ToBatch
from marathon.data.sample import to_sample
from marathon.elemental import compute_weights
from marathon.emit.checkpoint import Latest, save_checkpoints
from marathon.evaluate import get_loss_fn
from marathon.grain import Record, RecordMetadata


def main(folder):
    jax.config.update("jax_enable_x64", True)
    jax.config.update("jax_default_matmul_precision", "float32")
    bernstein._bernstein = exact_bernstein
    task = json.loads((folder / "training.json").read_text())
    model = Lorem(**task["model"])
    frames = ase.io.read(folder / "frames.xyz", ":")
    baseline = compute_weights(
        [atoms.numbers for atoms in frames], np.array([atoms.get_potential_energy() for atoms in frames])
    )
    batches = batches_of(samples_of(frames, baseline, model.cutoff), task)

    params = jax.jit(model.init)(jax.random.key(task["seed"]), *model.dummy_inputs())
    save(folder / "initial", params, model, baseline)
    params64 = jax.tree.map(lambda x: x.astype(np.float64), params)
    params64, steps = train(model, params64, batches, task)
    save(folder / "final", params64, model, baseline)
    (folder / "steps.json").write_text(json.dumps(steps))


def samples_of(frames, baseline, cutoff):
    """The structures as lorem-jax's samples, the baseline subtracted as its DataSource does."""

    def geometry(atoms, cutoff, **_):
        return prepare(atoms, cutoff, dtype=np.float64)

    samples = []
    for atoms in frames:
        atoms.calc.results["energy"] -= sum(baseline[number] for number in atoms.numbers)
        samples.append(to_sample(atoms, cutoff, keys=("energy", "forces"), structure_fn=geometry))
    return samples


def batches_of(samples, task):
    """The batches, made by lorem-jax's batcher from the structures one after the other in the given order.

    Its batches hold one structure less than it is told.
    """
    order = [index for batch in task["batches"] for index in batch]
    size = len(task["batches"][0])
    batcher = ToBatch(batch_size=size + 1, keys=["energy", "forces"], drop_remainder=False)
    records = (Record(RecordMetadata(index=n, record_key=n), samples[index]) for n, index in enumerate(order))
    batches = [record.data for record in batcher(records)]
    sizes = [int(batch.sr.structure_mask.sum()) for batch in batches]
    if sizes != [len(batch) for batch in task["batches"]]:
        raise RuntimeError(f"lorem-jax's batcher made batches of {sizes}")
    return batches


def train(model, params, batches, task):
    """One step per batch; returns the weights and what was found at each step."""
    per_epoch, epochs = task["steps_per_epoch"], task["epochs"]
    constant = task["constant_epochs"] * per_epoch
    schedule = optax.schedules.linear_schedule(
        init_value=task["learning_rate"],
        end_value=task["min_learning_rate"],
        transition_begin=constant,
        transition_steps=epochs * per_epoch - constant,
    )
    optimizer = optax.inject_hyperparams(getattr(optax, task["optimizer"]))(learning_rate=schedule)
    weights = {"energy": task["energy_weight"], "forces": task["force_weight"]}
    loss_fn = get_loss_fn(model.predict, weights=weights, correct_mean=True)

    @jax.jit
    def step(params, state, batch):
        (loss, _), gradient = jax.value_and_grad(loss_fn, has_aux=True)(params, batch)
        updates, state = optimizer.update(gradient, state, params, value=loss)
        return optax.apply_updates(params, updates), state, loss

    state, steps = optimizer.init(params), []
    for batch in batches:
        params, state, loss = step(params, state, batch)
        steps.append({"loss": float(loss), "learning_rate": float(state.hyperparams["learning_rate"])})
    if step._cache_size() > 2:
        raise RuntimeError(f"compiled {step._cache_size()} times: the batches should have one shape")
    return params, steps


def save(folder, params, model, baseline):
    """Writes weights as lorem.train does."""
    folder.mkdir()
    state = {"step": 1, "checkpointers": [Latest(1)]}
    save_checkpoints({"valid": {}}, params, state, model, {"elemental": baseline}, workdir=folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
