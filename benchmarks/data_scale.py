"""Preparing, opening and batching hundreds of thousands of small structures.

Example: python benchmarks/data_scale.py --structures 450000 --processes 2 --output benchmarks/results/data_scale.json

The structures look like the published S_N2 set: five or six atoms, CH3 between two halogens; a second, small set has
chains of 5 to 40 atoms, for batches of similar size. They are made by formulas, so that nothing is downloaded. Each
step runs in a process of its own; its peak memory is that of the process and its workers without mapped files, which
the system takes back when it needs to.
"""

# ruff: noqa: PLC0415 (each step loads what it needs: its memory is measured)

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from records import machine

from lorem_openmm import config
from lorem_openmm.files import write_json

HALOGENS = {"F": 1.39, "Cl": 1.78, "Br": 1.94, "I": 2.14}  # distance to carbon in Å
SYMBOLS = [*HALOGENS]
ATOM_ENERGY = {"C": -1030.0, "H": -13.6, "F": -2715.0, "Cl": -12520.0, "Br": -70040.0, "I": -8099.0}
BLOCK = 10_000
CUTOFF = 5.0
BATCH = 32


def write_structures(path: Path, n_structures: int, seed: int = 0) -> Path:
    """Writes complexes X–CH3–Y, every tenth without Y; the same bytes for the same arguments."""
    random = np.random.default_rng(seed)
    with path.open("w", encoding="ascii") as stream:
        for start in range(0, n_structures, BLOCK):
            for text in _block(random, start, min(BLOCK, n_structures - start)):
                stream.write(text)
    return path


def _block(random: np.random.Generator, first: int, n: int) -> list[str]:
    kinds = random.integers(len(SYMBOLS), size=(n, 2))
    lengths = np.array([*HALOGENS.values()])[kinds]
    reach = random.uniform(0.9, 4.0, size=n)
    positions = np.zeros((n, 6, 3))
    angles = random.uniform(0, 2 * np.pi, size=(n, 1)) + np.arange(3) * 2 * np.pi / 3
    positions[:, 1:4, 0], positions[:, 1:4, 1] = 1.03 * np.cos(angles), 1.03 * np.sin(angles)
    positions[:, 1:4, 2] = random.uniform(-0.36, 0.36, size=(n, 1))
    positions[:, 4, 2], positions[:, 5, 2] = lengths[:, 0] * random.uniform(0.9, 1.3, size=n), -lengths[:, 1] * reach
    positions += random.normal(scale=0.04, size=positions.shape)
    weights = np.full((n, 6), 0.1)
    weights[np.arange(first, first + n) % 10 == 0, 5] = 0.0  # the last halogen is not there
    energy, forces = _pair_potential(positions, weights)
    rows = np.concatenate([positions, forces], axis=2)
    texts = []
    for k in range(n):
        size = 5 if weights[k, 5] == 0 else 6
        symbols = ["C", "H", "H", "H", SYMBOLS[kinds[k, 0]], SYMBOLS[kinds[k, 1]]][:size]
        total = energy[k] + sum(ATOM_ENERGY[symbol] for symbol in symbols)
        atoms = "".join(
            f"{symbol:2s} %15.8f %15.8f %15.8f %15.8f %15.8f %15.8f\n" % tuple(row)
            for symbol, row in zip(symbols, rows[k].tolist(), strict=False)
        )
        texts.append(
            f"{size}\nProperties=species:S:1:pos:R:3:forces:R:3 label={symbols[4]}-{symbols[-1]} "
            f'charge={5 - size} distance={-positions[k, 5, 2]:.6f} energy={total:.10f} pbc="F F F"\n{atoms}'
        )
    return texts


def _pair_potential(positions: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns E = Σ_{i<j} w_i w_j / r_ij (scaled to eV), [n], and the forces, [n, 6, 3]."""
    vectors = positions[:, :, None] - positions[:, None]
    distances = np.linalg.norm(vectors, axis=3) + np.eye(6) * 1e9
    pairs = 14.4 * weights[:, :, None] * weights[:, None] / distances
    return 0.5 * pairs.sum(axis=(1, 2)), np.sum((pairs / distances**2)[..., None] * vectors, axis=2)


def write_chains(path: Path, n_structures: int, seed: int = 0) -> Path:
    """Writes chains of 5 to 40 carbon atoms."""
    random = np.random.default_rng(seed)
    with path.open("w", encoding="ascii") as stream:
        for size in random.integers(5, 41, size=n_structures).tolist():
            positions = np.arange(size)[:, None] * [1.2, 0.0, 0.0] + random.normal(scale=0.15, size=(size, 3))
            rows = np.hstack([positions, random.normal(size=(size, 3))]).tolist()
            atoms = "".join(f"C {' '.join(f'{value:.6f}' for value in row)}\n" for row in rows)
            stream.write(f"{size}\nProperties=species:S:1:pos:R:3:forces:R:3 energy={-1030.0 * size:.3f}\n{atoms}")
    return path


def main() -> None:
    """Runs the steps, or one of them in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--structures", type=int, default=450_000)
    parser.add_argument("--chains", type=int, default=1000)
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--folder", type=Path, help="where to keep the files (default: a temporary folder)")
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/data_scale.json"))
    parser.add_argument("--step", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.step:
        print(json.dumps(STEPS[options.step[0]](*options.step[1:])))
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.folder or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        results: dict[str, Any] = {"machine": machine(max(options.processes)), "structures": options.structures}
        for name, write, number in (
            ("sn2", write_structures, options.structures),
            ("chains", write_chains, options.chains),
        ):
            write(folder / f"{name}.xyz", number)
        plan = [(f"prepare_{number}", "prepare", "sn2", str(number)) for number in options.processes]
        plan += [
            ("prepare_chains", "prepare", "chains", "1"),
            ("start", "start", "sn2"),
            ("buckets", "buckets", "chains"),
        ]
        for label, step, name, *rest in plan:
            results[label] = measured(step, str(folder / name), *rest)
            print(label, json.dumps(results[label]), flush=True)
            write_json(options.output, results)


def prepare(stem: str, processes: str) -> dict[str, Any]:
    """Prepares a data set."""
    from lorem_openmm.data.prepare import prepare_dataset

    split = {"validation_fraction": 0.0125, "test_fraction": 0.0875}
    dataset = config.Dataset(structures=f"{stem}.xyz", class_key="label" if "sn2" in stem else None, split=split)
    begin, begin_cpu = time.perf_counter(), time.process_time()
    report = prepare_dataset(dataset, "made", None, CUTOFF, Path(f"{stem}.safetensors"), int(processes))
    seconds, number = time.perf_counter() - begin, report["counts"]["all"]
    size = Path(f"{stem}.safetensors").stat().st_size / 2**20
    cpu = 1e6 * (time.process_time() - begin_cpu) / number if processes == "1" else None
    return {
        "seconds": seconds,
        "cpu_us_per_structure": cpu,
        "store_mb": size,
        "counts": report["counts"],
    }


def start(stem: str) -> dict[str, Any]:
    """Opens the training set and makes batches."""
    structures, seconds = _training_set(stem)
    from lorem_openmm.data.batching import epoch_batches

    begin = time.perf_counter()
    batches = epoch_batches(len(structures), BATCH, 0, 0)
    order_seconds, times = time.perf_counter() - begin, []
    for indices in batches[:3000]:
        begin = time.perf_counter()
        structures.batch(indices)
        times.append(time.perf_counter() - begin)
    quartiles = [1e6 * float(value) for value in np.quantile(times, [0.25, 0.5, 0.75])]
    return {"n": len(structures), "seconds": seconds, "order_s": order_seconds, "batch_us": quartiles}


def buckets(stem: str) -> dict[str, Any]:
    """Padding and time of training steps, plain and with batches of similar size, in turns."""
    import torch

    from lorem_openmm.data.batching import epoch_batches
    from lorem_openmm.training.losses import loss, residuals
    from lorem_openmm.training.train import initial_potential

    structures, _ = _training_set(stem)
    model = config.Model(cutoff=CUTOFF, max_degree=4, num_features=64, num_spherical_features=4)
    potential, settings = initial_potential(model, dict.fromkeys(structures.elements, 0.0), 0), config.Training()
    found: dict[str, Any] = {}
    seconds: dict[str, list[float]] = {"plain": [], "bucketed": []}
    for name, costs in (("plain", None), ("bucketed", structures.costs)):
        graphs = [structures.batch(indices)[0] for indices in epoch_batches(len(structures), BATCH, 0, 0, costs)]
        pairs = sum(len(g.system_sizes) * g.max_size**2 for g in graphs) / sum(
            n * n for g in graphs for n in g.system_sizes
        )
        slots = sum(len(g.positions) * g.num_slots for g in graphs) / sum(len(g.centers) for g in graphs)
        found[name] = {
            "padding_of_pairs": pairs,
            "padding_of_slots": slots,
            "max_sizes": len({g.max_size for g in graphs}),
        }
    for epoch in range(4):
        for name, costs in (("plain", None), ("bucketed", structures.costs)):
            begin = time.process_time()
            batches = epoch_batches(len(structures), BATCH, 0, epoch, costs)
            for indices in batches:
                graph, labels = structures.batch(indices)
                prediction = potential(graph, compute_stress=False, create_graph=True)
                potential.zero_grad()
                loss(residuals(prediction, graph, labels, False), settings).backward()
            seconds[name].append((time.process_time() - begin) / len(batches))
    for name, values in seconds.items():
        found[name]["step_ms"] = 1e3 * median(values[1:])
    found["ratio"] = median(a / b for a, b in zip(seconds["plain"][1:], seconds["bucketed"][1:], strict=True))
    return found | {"threads": torch.get_num_threads()}


def measured(step: str, *arguments: str) -> dict[str, Any]:
    """Runs a step in a process of its own and watches its memory."""
    command = [sys.executable, __file__, "--step", step, *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        peak = 0
        while process.poll() is None:
            peak = max(peak, sum(map(_private_memory, _family(process.pid))))
            time.sleep(0.05)
        output = process.stdout.read() if process.stdout else ""
    if process.returncode:
        sys.exit(f"{step} {arguments}: failed")
    return {**json.loads(output.splitlines()[-1]), "peak_mb": peak / 2**20}


def _training_set(stem: str) -> tuple[Any, float]:
    from lorem_openmm.data.baseline import as_table
    from lorem_openmm.data.batching import StructureSet
    from lorem_openmm.data.store import joint_baseline, read_store

    begin = time.perf_counter()
    store = read_store(f"{stem}.safetensors")
    baseline = as_table(joint_baseline([store]).energies)
    return StructureSet([store], "train", CUTOFF, baseline), time.perf_counter() - begin


def _family(pid: int) -> list[int]:
    """Returns a process and its descendants (Linux)."""
    try:
        tasks = Path(f"/proc/{pid}/task").iterdir()
        children = [int(word) for task in tasks for word in (task / "children").read_text().split()]
    except OSError:
        return [pid]
    return [pid, *(descendant for child in children for descendant in _family(child))]


def _private_memory(pid: int) -> int:
    """Returns the resident bytes of a process that are not of mapped files; 0 where that is not known."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return sum(1024 * int(line.split()[1]) for line in lines if line.startswith("RssAnon"))


STEPS: dict[str, Callable[..., dict[str, Any]]] = {"prepare": prepare, "start": start, "buckets": buckets}

if __name__ == "__main__":
    main()
