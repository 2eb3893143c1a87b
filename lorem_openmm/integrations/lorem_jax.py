"""Converter of lorem-jax checkpoints; needs neither JAX nor flax.

Both codes use Å and eV, and the same order of spherical components, so that weights carry over unchanged but for
the transposition between flax's and torch's dense layers; :mod:`lorem_openmm.integrations.lorem_jax_names` gives each
its name.

References:
    lorem-jax 0.2 (https://github.com/lab-cosmo/lorem-jax); flax.serialization for the msgpack layout.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import torch
import yaml

from lorem_openmm import config
from lorem_openmm.ambient import building
from lorem_openmm.errors import ConfigError, ModelFileError, did_you_mean
from lorem_openmm.integrations.lorem_jax_names import NUM_ELEMENTS, Arrays, named_state

# LoremBEC's defaults where they differ from Lorem's, which are config.Model's
_BEC = {"born_charges": True, "equivariant_message_passing": False, "initialize_node_features": False}
HANDLES: dict[str, dict[str, bool]] = {
    "lorem.Lorem": {},
    "lorem.models.mlip.Lorem": {},
    "lorem.LoremBEC": _BEC,
    "lorem.models.bec.LoremBEC": _BEC,
}

# lorem-jax's hyper-parameters -> config.Model's
HYPERPARAMETERS = {
    "cutoff": "cutoff",
    "max_degree": "max_degree",
    "max_degree_lr": "max_charge_degree",
    "num_features": "num_features",
    "num_radial": "num_radial",
    "num_species": "num_species",
    "num_spherical_features": "num_spherical_features",
    "cutoff_fn": "cutoff_function",
    "radial_basis": "radial_basis",
    "lr": "long_range",
    "num_message_passing": "num_message_passing",
    "equivariant_message_passing": "equivariant_message_passing",
    "initialize_node_features": "initialize_node_features",
}

Baseline = dict[int, float]


@building()
def import_checkpoint(
    folder: str | Path, potential_scale: float = 1.0
) -> tuple[config.Model, dict[str, torch.Tensor], Baseline]:
    """Reads a checkpoint folder as lorem-jax writes it.

    Args:
        folder: The checkpoint, holding ``model/model.yaml``, ``model/model.msgpack`` and ``model/baseline.yaml``.
        potential_scale: Factor on the potentials V between the atoms' charges. 1 for lorem-jax 0.2; 2 for vacuum
            checkpoints from before it, trained without the ½ of V_i = ½ Σ_j q_j / r_ij.

    Returns:
        Hyper-parameters, ``state_dict`` of :class:`lorem_openmm.model.Lorem`, and energies in eV by atomic number.

    Raises:
        ModelFileError: If a file is missing or damaged, the model is not a ``Lorem``, a hyper-parameter is unknown,
            or the weights do not match the hyper-parameters; all faults are listed.
    """
    folder = Path(folder)
    hyperparameters = _read_hyperparameters(folder / "model" / "model.yaml")
    weights = _read_weights(folder / "model" / "model.msgpack")
    baseline = _read_baseline(folder / "model" / "baseline.yaml")
    state = named_state(hyperparameters, weights, str(folder / "model" / "model.msgpack"))
    if potential_scale != 1.0:
        _scale_potentials(state, hyperparameters, potential_scale)
    return hyperparameters, state, baseline


def _scale_potentials(state: dict[str, torch.Tensor], h: config.Model, scale: float) -> None:
    """Folds a factor on all potentials into the weights that read them.

    The scalar potential is read by the first dense layer of ``long_range.update`` alone, as its first input; the
    spherical potentials by ``potential_dense`` alone, which has no bias. Scaling those weights is the same function.
    """
    if not (math.isfinite(scale) and scale > 0):
        raise ConfigError(f"potential_scale: must be a positive number, received {scale}; use 1 or 2")
    if not h.long_range:
        raise ConfigError(
            f"potential_scale: {scale} for a model without long-range part, which has no potentials; leave it at 1"
        )
    state["long_range.update.message.layers.0.weight"][:, 0] *= scale
    state["long_range.potential_dense"] *= scale


# -- reading the three files --


def _read_hyperparameters(path: Path) -> config.Model:
    content = _read_yaml(path)
    if len(content) != 1 or not isinstance(next(iter(content.values())), dict):
        raise ModelFileError(
            f"{path}: must hold one class name with its hyper-parameters, received keys {list(content)}"
        )
    ((handle, values),) = content.items()
    if handle not in HANDLES:
        raise ModelFileError(f"{path}: unknown model '{handle}'; can be imported: {', '.join(HANDLES)}")
    if values.get("inputs"):
        raise ModelFileError(f"{path}: inputs: must be empty, received {values['inputs']}")
    unknown = [key for key in values if key not in HYPERPARAMETERS and key != "inputs"]
    if unknown:
        hints = "; ".join(f"'{key}'.{did_you_mean(str(key), HYPERPARAMETERS)}" for key in unknown)
        raise ModelFileError(
            f"{path}: unknown hyper-parameter(s): {hints} Known: {', '.join(HYPERPARAMETERS)}. "
            "The checkpoint may be from a newer lorem-jax than 0.2"
        )
    ours = HANDLES[handle] | {HYPERPARAMETERS[key]: value for key, value in values.items() if key != "inputs"}
    try:
        return config.parse(config.Model, ours, str(path))
    except ConfigError as error:
        raise ModelFileError(str(error)) from None


def _read_baseline(path: Path) -> Baseline:
    elemental = _read_yaml(path).get("elemental")
    if not isinstance(elemental, dict):
        raise ModelFileError(f"{path}: must hold 'elemental', energies in eV by atomic number")
    for number, energy in elemental.items():
        if type(number) is not int or not 0 < number < NUM_ELEMENTS:
            raise ModelFileError(
                f"{path}: atomic numbers must be integers from 1 to {NUM_ELEMENTS - 1}, received {number!r}"
            )
        if type(energy) not in (int, float) or not math.isfinite(energy):
            raise ModelFileError(f"{path}: the energy of element {number} must be finite, received {energy!r}")
    return {number: float(energy) for number, energy in sorted(elemental.items())}


def _read_yaml(path: Path) -> dict[Any, Any]:
    text = _read_bytes(path)
    try:
        content = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError) as error:
        raise ModelFileError(f"{path}: not valid YAML: {error}") from None
    if not isinstance(content, dict):
        raise ModelFileError(f"{path}: must be a mapping, received {type(content).__name__}")
    return content


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ModelFileError(
            f"{path}: cannot be read ({error.strerror}); "
            "give the checkpoint folder that holds model/model.yaml, model/model.msgpack and model/baseline.yaml"
        ) from None


def _read_weights(path: Path) -> Arrays:
    """Decodes flax's msgpack: nested maps of arrays, each an extension (1) of (shape, dtype name, bytes)."""
    content = _read_bytes(path)
    try:
        tree = msgpack.unpackb(content, ext_hook=_decode_array)
    except ModelFileError as error:
        raise ModelFileError(f"{path}: {error}") from None
    except (ValueError, TypeError, msgpack.UnpackException) as error:
        raise ModelFileError(f"{path}: truncated or not msgpack ({type(error).__name__}: {error})") from None
    if not isinstance(tree, dict) or list(tree) != ["params"]:
        found = list(tree) if isinstance(tree, dict) else type(tree).__name__
        raise ModelFileError(f"{path}: must hold one entry 'params', received {found!s:.200}")
    weights: Arrays = {}
    _flatten(tree["params"], (), weights, path)
    return weights


def _decode_array(code: int, content: bytes) -> np.ndarray:
    if code != 1:
        raise ModelFileError(f"holds msgpack extension {code}; only arrays (1) are expected")
    parts = msgpack.unpackb(content)
    if not (isinstance(parts, list) and len(parts) == 3 and isinstance(parts[2], bytes)):
        raise ModelFileError("an array is not stored as (shape, dtype, bytes)")
    shape, dtype, data = parts
    if dtype not in ("float16", "float32", "float64"):
        raise ModelFileError(f"an array is of type {dtype!r:.40}; float16, float32 or float64 expected")
    if not isinstance(shape, list) or len(shape) > 8 or any(type(n) is not int or n < 0 for n in shape):
        raise ModelFileError(f"an array has the impossible shape {shape!r:.80}")
    expected = math.prod(shape) * np.dtype(dtype).itemsize
    if len(data) != expected:
        raise ModelFileError(f"an array of shape {shape} and type {dtype} needs {expected} bytes, received {len(data)}")
    return np.frombuffer(data, np.dtype(dtype).newbyteorder("<")).reshape(shape)


def _flatten(node: Any, keys: tuple[str, ...], weights: Arrays, path: Path) -> None:
    name = "/".join(keys)
    if isinstance(node, np.ndarray):
        if not np.isfinite(node).all():
            raise ModelFileError(f"{path}: {name}: weights must be finite, received NaN or infinity")
        weights[name] = node
    elif isinstance(node, Mapping):
        for key, value in node.items():
            _flatten(value, (*keys, str(key)), weights, path)
    else:
        raise ModelFileError(f"{path}: {name or 'params'}: expected an array, received {type(node).__name__}")
