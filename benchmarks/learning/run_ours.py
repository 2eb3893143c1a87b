"""Trains with this package, one seed after the other; a seed that was cut off continues, one that is done is kept.

Example: python benchmarks/learning/run_ours.py FOLDER

FOLDER is what prepare.py made.
"""

import argparse
import os
import time
from pathlib import Path

import torch
from common import Place, run_name
from records import machine

from lorem_openmm import whole_config
from lorem_openmm.data.prepare import largest_cutoff, prepare_dataset
from lorem_openmm.files import write_json
from lorem_openmm.training.train import train


def main() -> None:
    """Prepares the data set and trains the seeds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", help="default: those of the description")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(options.threads)  # else training would choose
    torch.set_num_threads(options.threads)
    place = Place(options.folder)
    description = place.description()
    settings = whole_config.load(place.settings)
    store = place.layout.store(description.name)
    if not store.exists():
        cutoff = largest_cutoff(settings, description.name)
        prepare_dataset(settings.datasets[description.name], description.name, None, cutoff, store)
    for seed in options.seeds or description.seeds:
        output = place.layout.run(run_name(seed))
        record = output / "record.json"
        if record.exists():
            print(f"seed {seed}: done before")
            continue
        before = machine(options.threads)
        start, cpu = time.monotonic(), time.process_time()
        result = train(settings, run_name(seed), [store], output, device="cpu")
        spent = {"seconds": time.monotonic() - start, "cpu_seconds": time.process_time() - cpu}
        write_json(record, spent | {"machine": before})
        print(f"seed {seed}: {time.monotonic() - start:.0f} s, epoch {result.epoch}", flush=True)


if __name__ == "__main__":
    main()
