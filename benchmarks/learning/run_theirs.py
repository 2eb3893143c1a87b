"""Trains with lorem-jax's own lorem-train, unchanged, one seed after the other; a seed that is done is not repeated.

Example: python benchmarks/learning/run_theirs.py FOLDER

FOLDER is what prepare.py made. The lorem-jax environment is .venv-parity (make parity-env) or LOREM_JAX_PYTHON.
"""

import argparse
import os
import shutil
import subprocess
import time
from pathlib import Path

from common import Place
from records import INSTALL, PYTHONS, machine

from lorem_openmm.files import write_json

LOREM_TRAIN = "from lorem.train import main; main()"


def main() -> None:
    """Trains the seeds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", help="default: those of the description")
    parser.add_argument("--threads", type=int, default=1, help="1, or as many as XLA takes (0)")
    options = parser.parse_args()
    python = PYTHONS["lorem_jax"]
    if not python.exists():
        parser.error(f"no lorem-jax environment at {python}: {INSTALL['lorem_jax']}, or set LOREM_JAX_PYTHON")
    place = Place(options.folder)
    store_data(place, python)
    for seed in options.seeds or place.description().seeds:
        train(place, seed, python, options.threads)


def store_data(place: Place, python: Path) -> None:
    """Writes the training and validation frames in lorem-jax's format, unless they are there."""
    splits = [split for split in ("train", "validation") if not (place.marathon_data / split).exists()]
    if splits:
        script = Path(__file__).parent / "marathon_data.py"
        names = [f"{split}={place.frames(split)}" for split in splits]
        subprocess.run([python, script, place.marathon_data, *names], check=True)


def train(place: Place, seed: int, python: Path, threads: int) -> None:
    """Runs lorem-train in the folder of a seed and notes when each validation came."""
    folder = place.theirs(seed)
    record = folder / "record.json"
    if record.exists():
        print(f"seed {seed}: done before")
        return
    if (folder / "run").exists():
        shutil.rmtree(folder / "run")  # cut off; lorem-train would go on from its last checkpoint
    before = machine(threads)
    start = time.monotonic()
    validations, cpu = run(folder, environment(place, threads), python, start)
    write_json(record, {"seconds": time.monotonic() - start, "validations": validations, "cpu": cpu, "machine": before})
    print(f"seed {seed}: {time.monotonic() - start:.0f} s", flush=True)


def run(folder: Path, variables: dict[str, str], python: Path, start: float) -> tuple[list[float], list[float]]:
    """Returns the seconds after which each validation was reported, and the processor time spent until then."""
    validations: list[float] = []
    cpu: list[float] = []
    with (
        (folder / "lorem-train.log").open("w", encoding="utf-8") as log,
        subprocess.Popen(
            [python, "-c", LOREM_TRAIN],
            cwd=folder,
            env=variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        ) as process,
    ):
        assert process.stdout is not None
        for line in process.stdout:
            log.write(line)
            if "state at step" in line:
                validations.append(time.monotonic() - start)
                cpu.append(cpu_seconds(process.pid))
    if process.returncode != 0:
        raise SystemExit(f"{folder}: lorem-train failed with {process.returncode}, see lorem-train.log")
    return validations, cpu


def cpu_seconds(pid: int) -> float:
    """Processor time of a running process, all threads; 0 where the system does not tell."""
    stat = Path(f"/proc/{pid}/stat")
    if not stat.exists():
        return 0.0
    user, system = stat.read_text(encoding="utf-8").rsplit(")", maxsplit=1)[1].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def environment(place: Place, threads: int) -> dict[str, str]:
    """Variables of lorem-train's process."""
    variables = {**os.environ, "DATASETS": str(place.marathon_data), "JAX_PLATFORMS": "cpu", "PYTHONUNBUFFERED": "1"}
    if threads == 1:
        variables |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        flags = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
        variables["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {flags}".strip()
    return variables


if __name__ == "__main__":
    main()
