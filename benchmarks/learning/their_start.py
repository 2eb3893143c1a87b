"""The initial weights and the order of the structures of a lorem-train run; runs in the lorem-jax environment.

python their_start.py FOLDER N_TRAIN EPOCHS SEED OUTPUT

FOLDER is where lorem-train ran. OUTPUT/initial becomes a checkpoint, OUTPUT/order.txt one line of indices per epoch.
"""

import sys
from pathlib import Path

import jax
import numpy as np
from marathon.emit.checkpoint import Latest, save_checkpoints
from marathon.grain import IndexSampler
from marathon.io import from_dict, read_yaml


def main(folder: Path, n_train: int, epochs: int, seed: int, output: Path) -> None:
    model = from_dict(read_yaml(folder / "model.yaml")["model"])
    _, key = jax.random.split(jax.random.key(seed))
    params = jax.jit(model.init)(key, *model.dummy_inputs())
    baseline = read_yaml(folder / "run" / "checkpoints" / "R2_E+F" / "model" / "baseline.yaml")
    (output / "initial").mkdir(parents=True)
    state = {"step": 1, "checkpointers": [Latest(1)]}
    save_checkpoints({"valid": {}}, params, state, model, baseline, workdir=output / "initial")
    sampler = IndexSampler(n_train, num_epochs=epochs, seed=seed)
    order = np.array([sampler[index].record_key for index in range(n_train * epochs)])
    np.savetxt(output / "order.txt", order.reshape(epochs, n_train), fmt="%d")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), Path(sys.argv[5]))
