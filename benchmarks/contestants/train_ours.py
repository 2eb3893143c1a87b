"""Training steps of this package: joining the batch, forces, loss, gradient, Adam and Lightning's loop around them."""

import argparse
import json
import logging
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import ase.io
import torch
from lightning.pytorch import Callback, Trainer
from protocol import batches, peak_memory

from lorem_openmm.config import Dataset, Model, Training
from lorem_openmm.data.baseline import as_table
from lorem_openmm.data.batching import StructureSet
from lorem_openmm.data.prepare import prepare_dataset
from lorem_openmm.data.store import joint_baseline, read_store
from lorem_openmm.training.module import TrainingModule
from lorem_openmm.training.train import initial_potential


class Cycle:
    """The batches one after another, without end; each is joined when its turn comes, as in training."""

    def __init__(self, structures: StructureSet, sizes: list[int]):
        self.structures, self.chosen, first = structures, [], 0
        for size in sizes:
            self.chosen.append(list(range(first, first + size)))
            first += size

    def __iter__(self) -> Iterator[Any]:
        while True:
            yield from map(self.structures.batch, self.chosen)


class Answers(Callback):
    """Waits for the next order after the steps of one are done."""

    def __init__(self, answer: Callable[[dict[str, Any]], None]):
        self.answer, self.left, self.seconds, self.start = answer, 0, list[float](), 0.0

    def next_order(self) -> None:
        line = sys.stdin.readline()
        if not line:
            sys.exit()
        self.left, self.seconds = int(line.split()[1]), []
        self.start = time.perf_counter()

    def on_train_batch_start(self, *_: Any, **__: Any) -> None:
        if self.left == 0:
            self.next_order()

    def on_train_batch_end(self, *_: Any, **__: Any) -> None:
        now = time.perf_counter()
        self.seconds.append(now - self.start)
        self.start, self.left = now, self.left - 1
        if self.left == 0:
            self.answer({"seconds": self.seconds, "peak_mb": peak_memory()})


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("kind")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    answers, sys.stdout = sys.stdout, sys.stderr  # whatever a library prints
    settings = Training(epochs=1000)
    made = batches(options.kind)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "structures.xyz"
        ase.io.write(path, [atoms for batch in made for atoms in batch], format="extxyz")
        empty = {"validation_fraction": 0.0, "test_fraction": 0.0}
        dataset = Dataset(structures=str(path), split=empty)
        prepare_dataset(dataset, options.kind, None, Model().cutoff, Path(folder) / "store.safetensors")
        store = read_store(Path(folder) / "store.safetensors")
        baseline = joint_baseline([store]).energies
        structures = StructureSet([store], "train", Model().cutoff, as_table(baseline))

        def answer(content: dict[str, Any]) -> None:
            print(json.dumps(content), file=answers, flush=True)

        module = TrainingModule(initial_potential(Model(), baseline, 0), settings, len(made))
        flags = ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary")
        trainer = Trainer(
            accelerator="cpu", callbacks=[Answers(answer)], inference_mode=False, **dict.fromkeys(flags, False)
        )
        answer({"ready": True, "base_mb": peak_memory()})
        trainer.fit(module, Cycle(structures, [len(batch) for batch in made]))


if __name__ == "__main__":
    main()
