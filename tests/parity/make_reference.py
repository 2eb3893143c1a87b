"""Reference values from lorem-jax itself; runs in the lorem-jax environment, never in this package's.

    python make_reference.py OUTPUT_FOLDER [--full]

For each model of the matrix it writes
``OUTPUT_FOLDER/{name}/run/checkpoints/latest`` (the checkpoint, by the writers ``lorem.train`` uses) and
``OUTPUT_FOLDER/{name}/reference.json`` (structures and lorem-jax's float64 energies, forces and virials), and
``OUTPUT_FOLDER/parameter_counts.json``.

Three things differ from a production run of lorem-jax:

- 64-bit JAX; the geometry is built by jax-pme's own ``prepare`` with float64 (lorem-jax fixes float32 there);
- the Bernstein polynomials have exact binomial coefficients. e3x takes them from ``betaln``, which leaves the
  values off by up to 9e-7 and not the integral of their derivatives;
- the weights are random numbers of our own in lorem-jax's tree, biases and LayerNorm parameters included, which
  lorem-jax starts at zero and one: every weight matters.
"""

import argparse
import json
import math
import os
import time
from pathlib import Path

os.environ.setdefault("JAX_PLATFORMS", "cpu")
# each compiled function runs once: compile fast
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true")

import ase
import jax
import jax.numpy as jnp
import numpy as np
from ase.symbols import string2symbols
from e3x.nn.functions import bernstein
from jaxpme.batched_mixed.batching import prepare
from lorem import Lorem, LoremBEC
from lorem.batching import to_batch
from marathon.data.sample import to_sample
from marathon.emit.checkpoint import Latest, save_checkpoints

SMALL = {
    "cutoff": 4.0,
    "max_degree": 2,
    "max_degree_lr": 1,
    "num_features": 6,
    "num_radial": 5,
    "num_species": 3,
    "num_spherical_features": 2,
}
# name: hyper-parameters changed from SMALL; together they cross every branch of lorem-jax's model. Nearly all the
# time is XLA's compilation, once per model, so the quick matrix packs several settings into each.
QUICK = {
    "small": {},
    "messages": {
        "num_message_passing": 2,
        "initialize_node_features": False,
        "max_degree_lr": 2,
        "radial_basis": "basic_fourier",
    },
    "scalar_messages": {
        "num_message_passing": 1,
        "equivariant_message_passing": False,
        "max_degree_lr": 0,
        "max_degree": 3,
        "radial_basis": "basic_chebyshev",
    },
    "no_long_range": {"lr": False, "cutoff_fn": "smooth_cutoff", "radial_basis": "basic_gaussian"},
}
# LoremBEC: Born effective charges
BORN = {"born": {"num_message_passing": 1, "equivariant_message_passing": True}}
BORN_FULL = {"born_no_long_range": {"lr": False, "max_degree": 1, "num_message_passing": 1}}
FULL = {
    "high_degree": {"max_degree": 4, "max_degree_lr": 3, "num_radial": 8, "cutoff": 3.5},
    "degree_zero": {"max_degree": 0, "max_degree_lr": 0, "num_message_passing": 1},
    "messages_1": {"num_message_passing": 1, "max_degree_lr": 0},
    "messages_3": {"num_message_passing": 3, "max_degree": 3, "max_degree_lr": 3},
    "messages_3_no_long_range": {"num_message_passing": 3, "lr": False, "max_degree": 1},
    "scalar_messages_3": {"num_message_passing": 3, "equivariant_message_passing": False},
}
# changed from lorem-jax's defaults; the parameter counts are taken for these in both modes
DEFAULTS = {
    "default": {},
    "default_charge_degree_1": {"max_degree_lr": 1},
    "default_charge_degree_0": {"max_degree_lr": 0},
    "default_no_long_range": {"lr": False},
}
BASELINE = {1: -13.6, 6: -1029.75, 7: -1484.5, 8: -2041.25, 9: -2713.5, 11: -162.125, 16: -398.0, 17: -460.0625}
BASELINE |= {35: -361.375}


def exact_bernstein(x, num):
    """Bernstein polynomials C(n,k) x^k (1-x)^(n-k), n = num-1; zero outside [0, 1] but for the ends' values."""
    n = num - 1
    inside = jnp.clip(x, 0.0, 1.0)
    return jnp.stack([math.comb(n, k) * inside**k * (1 - inside) ** (n - k) for k in range(num)], axis=-1)


def scattered(formula, radius, seed):
    """Atoms at random in a ball, none closer than 0.95 Å: no symmetry, strong forces."""
    symbols = string2symbols(formula)
    random = np.random.default_rng(seed)
    points = []
    while len(points) < len(symbols):
        point = random.uniform(-radius, radius, 3)
        if np.linalg.norm(point) < radius and all(np.linalg.norm(point - other) > 0.95 for other in points):
            points.append(point)
    return ase.Atoms(symbols, positions=points)


def structures():
    """The structures, by name: vacuum, periodic and at the edges (no neighbours, images of oneself)."""
    random = np.random.default_rng(7)
    complex_positions = [[0, 0, 0], [1.03, 0.1, 0.31], [-0.6, 0.83, 0.28], [-0.41, -0.92, 0.35]]
    complex_positions += [[0.05, -0.08, -1.96], [-0.11, 0.04, 3.17]]
    rock_salt = np.array([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
    rock_salt = np.concatenate([rock_salt, rock_salt + np.array([0.5, 0, 0])])
    box = np.diag([5.64, 5.9, 6.31])
    rattled = rock_salt @ box + 0.15 * random.standard_normal((8, 3))
    triclinic = np.array([[3.1, 0.2, -0.3], [0.7, 3.4, 0.4], [-0.5, 0.9, 3.6]])
    fractions = np.array([[0.05, 0.1, 0.02], [0.55, 0.4, 0.61], [0.3, 0.85, 0.35]])
    water = scattered("OHHOHHOHHNHHH", 3.2, seed=5)
    water.set_cell([7.7, 8.2, 9.1])
    water.set_pbc(True)
    return {
        "sn2": ase.Atoms("CH3BrCl", positions=complex_positions),
        "molecule": scattered("C2NOSH6FCl", 2.6, seed=3),
        "atom": ase.Atoms("O", positions=[[0.3, -0.2, 0.9]]),
        "far_pair": ase.Atoms("NaCl", positions=[[0.1, 0.2, 0.3], [3.3, 4.9, -2.7]]),
        "rattled_box": ase.Atoms("Na4Cl4", positions=rattled, cell=box, pbc=True),
        "triclinic_short": ase.Atoms("COH", positions=fractions @ triclinic, cell=triclinic, pbc=True),
        "loose_box": water,
    }


def batch64(atoms_list, cutoff):
    """lorem-jax's own batch, with a float64 geometry."""

    def geometry(atoms, cutoff, **_):
        return prepare(atoms, cutoff, dtype=np.float64)

    samples = [to_sample(atoms, cutoff, keys=(), structure_fn=geometry) for atoms in atoms_list]
    return jax.tree.map(jnp.asarray, to_batch(samples, []))


def random_weights(model, seed):
    """Weights in the tree that lorem-jax makes, all random: no bias or LayerNorm parameter stays at zero or one.

    Float32, as lorem-jax trains and stores them; of a size that gives charges near one, so that no layer is
    saturated. ``model.init`` is only traced: compiling it costs as much as the prediction.
    """
    random = np.random.default_rng(seed)

    def draw(path, leaf):
        noise = random.standard_normal(leaf.shape)
        *_, parent, kind = (key.key for key in path)
        if kind == "kernel" and len(leaf.shape) > 2:  # of a tensor product; small, as the features are products
            noise *= 0.2
        elif kind == "kernel":
            per_degree = parent[-1] in "+-"
            noise *= (0.6 if per_degree else 1.0) / np.sqrt(leaf.shape[0])
        elif kind == "scale":
            noise = 1 + 0.2 * noise
        elif kind == "bias":
            noise *= 0.3
        return noise.astype(np.float32)

    return jax.tree_util.tree_map_with_path(draw, parameter_shapes(model))


def parameter_shapes(model):
    """The tree of weights of a model, traced but not computed."""
    return jax.eval_shape(lambda key: model.init(key, *model.dummy_inputs()), jax.random.key(0))


def count_parameters(model):
    """Number of weights as ``lorem.train`` counts them."""
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(parameter_shapes(model)))


def write_case(folder, model, atoms_by_name, seed):
    """Writes the checkpoint of one model and its predictions for all structures, made as one mixed batch."""
    params = random_weights(model, seed)
    folder.mkdir(parents=True)
    run = folder / "run"
    run.mkdir()
    state = {"step": 1, "checkpointers": [Latest(1)]}
    save_checkpoints({"valid": {}}, params, state, model, {"elemental": BASELINE}, workdir=run)

    batch = batch64(list(atoms_by_name.values()), model.cutoff)
    params64 = jax.tree.map(lambda x: jnp.asarray(x, dtype=jnp.float64), params)
    predicted = jax.jit(lambda p, b: model.predict(p, b, stress=True))(params64, batch)
    if predicted["forces"].dtype != np.float64:
        raise RuntimeError(f"lorem-jax computed in {predicted['forces'].dtype}, not float64")
    forces = np.asarray(predicted["forces"])
    results, first = {}, 0
    for index, (name, atoms) in enumerate(atoms_by_name.items()):
        offset = sum(BASELINE[number] for number in atoms.numbers.tolist())
        results[name] = {
            "numbers": atoms.numbers.tolist(),
            "positions": atoms.positions.tolist(),
            "cell": atoms.cell.array.tolist(),
            "periodic": bool(atoms.pbc.all()),
            "energy_without_baseline": float(predicted["energy"][index]),
            "energy": float(predicted["energy"][index]) + offset,
            "forces": forces[first : first + len(atoms)].tolist(),
            "virial": np.asarray(predicted["stress"])[index].tolist(),
        }
        if "apt" in predicted:
            results[name]["born_charges"] = np.asarray(predicted["apt"])[first : first + len(atoms)].tolist()
        first += len(atoms)
    (folder / "reference.json").write_text(json.dumps(results))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("output", type=Path)
    parser.add_argument("--full", action="store_true", help="the default model and deeper message passing too")
    parser.add_argument("--only", nargs="*", help="names of the models to make")
    arguments = parser.parse_args()

    jax.config.update("jax_enable_x64", True)
    jax.config.update("jax_default_matmul_precision", "float32")
    bernstein._bernstein = exact_bernstein

    models = {name: Lorem(**{**SMALL, **changes}) for name, changes in QUICK.items()}
    models |= {name: LoremBEC(**{**SMALL, **changes}) for name, changes in BORN.items()}
    defaults = {name: Lorem(**changes) for name, changes in DEFAULTS.items()}
    if arguments.full:
        models |= {name: LoremBEC(**{**SMALL, **changes}) for name, changes in BORN_FULL.items()}
        models |= {name: Lorem(**{**SMALL, **changes}) for name, changes in FULL.items()} | defaults
    if arguments.only:
        models = {name: model for name, model in models.items() if name in arguments.only}
    arguments.output.mkdir(parents=True, exist_ok=True)
    for seed, (name, model) in enumerate(models.items()):
        start = time.perf_counter()
        write_case(arguments.output / name, model, structures(), seed)
        print(f"{name}: {time.perf_counter() - start:.1f} s", flush=True)
    counts = {name: count_parameters(model) for name, model in defaults.items()}
    (arguments.output / "parameter_counts.json").write_text(json.dumps(counts))


if __name__ == "__main__":
    main()
