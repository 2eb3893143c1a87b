"""The names of lorem-jax's weights: from flax's counted ones to those of :class:`lorem_openmm.model.Lorem`.

flax names layers by class and by the order in which the model's ``__call__`` makes them (``Dense_3``, ``Update_1``),
so that a name says nothing without the hyper-parameters. This module walks the layers in that order.
"""

from collections import Counter
from itertools import pairwise

import numpy as np
import torch

from lorem_openmm import config
from lorem_openmm.errors import ModelFileError

NUM_ELEMENTS = 100  # rows of lorem-jax's species embedding, whatever the elements trained on

Arrays = dict[str, np.ndarray]


def named_state(hyperparameters: config.Model, weights: Arrays, source: str) -> dict[str, torch.Tensor]:
    """Returns the ``state_dict`` of :class:`lorem_openmm.model.Lorem`.

    Args:
        hyperparameters: The model's.
        weights: Arrays by flax path, such as ``Update_1/MLP_0/Dense_0/kernel``.
        source: Name of the file, for errors.

    Raises:
        ModelFileError: If an array is missing, left over, or of another shape than the hyper-parameters say; all
            such faults are listed.
    """
    names = _Names(weights)
    names.walk(hyperparameters)
    faults = names.faults + [f"{path}: not used" for path in sorted(weights.keys() - names.used)]
    if faults:
        raise ModelFileError(
            f"{source}: the weights do not match the hyper-parameters of model.yaml, {len(faults)} fault(s)\n"
            + "\n".join(f"  {fault}" for fault in faults)
        )
    return names.state


class _Names:
    """The walk: which flax name comes next, what was read, what did not fit."""

    def __init__(self, weights: Arrays) -> None:
        self.weights = weights
        self.counts: Counter[str] = Counter()
        self.used: set[str] = set()
        self.faults: list[str] = []
        self.state: dict[str, torch.Tensor] = {}

    def walk(self, h: config.Model) -> None:
        d, s, num_l = h.num_features, h.num_spherical_features, h.max_degree + 1
        embedding = self._array("Initial_0/ChemicalEmbedding_0/Embed_0/embedding", (NUM_ELEMENTS, h.num_species))
        self.state["species_embedding.weight"] = embedding
        self._radial("short_range.pair_radial", 2 * h.num_species, h)
        if h.initialize_node_features:
            self._linear("scalar_start", self._next("Dense"), h.num_species, d)
        self._linear("short_range.scalar_message", self._next("Dense"), d, d, bias=False)
        self._update("scalar_update", d, d)
        self._linear("short_range.spherical_message", self._next("Dense"), d, num_l * s, bias=False)
        product = self._next("TensorDense")
        self._degrees("short_range.spherical_product.dense", f"{product}/dense", num_l, s, 2 * s)
        self._kernel("short_range.spherical_product.kernel", f"{product}/tensor", (num_l, num_l, num_l, s))
        self._update("norm_update", num_l * s, d)
        self._mlp("readout", self._next("MLP"), [d, d, d, 1])
        self._tensor_readout(h)
        for k in range(h.num_message_passing):
            self._round(f"rounds.{k}", h)
        if h.long_range:
            self._long_range(h)

    def _round(self, name: str, h: config.Model) -> None:
        d, num_l, s = h.num_features, h.max_degree + 1, h.num_spherical_features
        self._radial(f"{name}.pair_radial", 2 * d, h)
        self._linear(f"{name}.scalar_message", self._next("Dense"), d, d, bias=False)
        self._update(f"{name}.scalar_update", d, d)
        if h.equivariant_message_passing:
            self._equivariant(f"{name}.equivariant", d, num_l, s)
            self._update(f"{name}.norm_update", num_l * s, d)
        self._mlp(f"{name}.readout", self._next("MLP"), [d, d, d, 1])
        self._tensor_readout(h)

    def _tensor_readout(self, h: config.Model) -> None:
        if not h.born_charges:
            return
        path = self._next("PerParticleTensorPredictor")
        name = f"born_readouts.{self.counts['PerParticleTensorPredictor'] - 1}"
        num_l, s, d = h.max_degree + 1, h.num_spherical_features, h.num_features
        layers = ["Dense_0", "Dense_1", "Dense_2", "TensorDense_0/dense"]
        for k, (layer, n_in, n_out) in enumerate(zip(layers, (s, d, d, d), (d, d, d, 2), strict=True)):
            self._degrees(f"{name}.maps.{k}", f"{path}/{layer}", num_l, n_in, n_out)
            self.state[f"{name}.biases.{k}"] = self._array(f"{path}/{layer}/0+/bias", (n_out,))
        # What is even under inversion; the rest of the products is not used.
        kernel = self._array(f"{path}/TensorDense_0/tensor/kernel", (1, num_l, 1, num_l, 2, 3, 1))
        self.state[f"{name}.kernel"] = kernel[0, :, 0, :, 0, :, 0].contiguous()

    def _equivariant(self, name: str, d: int, num_l: int, s: int) -> None:
        cube = (num_l, num_l, num_l, s)
        self._linear(f"{name}.spherical_message", self._next("Dense"), d, num_l * s, bias=False)
        message = self._next("MessagePass")
        self._degrees(f"{name}.message_filter", f"{message}/filter", num_l, s, s)
        self._kernel(f"{name}.message.kernel", f"{message}/tensor", cube)
        self._degrees(f"{name}.node_dense", self._next("Dense"), num_l, s, s)
        self._degrees(f"{name}.message_dense", self._next("Dense"), num_l, s, s)
        self._kernel(f"{name}.product.kernel", self._next("Tensor"), cube)

    def _long_range(self, h: config.Model) -> None:
        d, num_l, s = h.num_features, h.max_degree + 1, h.num_spherical_features
        num_charge_l = h.max_charge_degree + 1
        self._mlp("long_range.scalar_charges", self._next("MLP"), [d, 2 * d, 1])
        charges = self._next("TensorDense")
        self._degrees("long_range.spherical_charges.dense", f"{charges}/dense", num_l, s, 2)
        self._kernel("long_range.spherical_charges.kernel", f"{charges}/tensor", (num_l, num_l, num_charge_l, 1))
        self._degrees("long_range.potential_dense", self._next("Dense"), num_charge_l, 1, s)
        self._kernel("long_range.mixing.kernel", self._next("Tensor"), (num_charge_l, num_l, num_l, s))
        self._update("long_range.update", 1 + num_l * s, d)
        self._mlp("long_range.readout", self._next("MLP"), [d, d, d, 1])
        self._tensor_readout(h)

    def _radial(self, name: str, num_inputs: int, h: config.Model) -> None:
        path = f"{self._next('RadialCoefficients')}/MLP_0"
        self._mlp(name, path, [num_inputs, h.num_features, h.num_radial * h.num_features])

    def _update(self, name: str, num_inputs: int, d: int) -> None:
        path = self._next("Update")
        self._mlp(f"{name}.message", f"{path}/MLP_0", [num_inputs, 2 * d, d])
        self._mlp(f"{name}.refine", f"{path}/MLP_1", [d, 2 * d, d])
        for k in range(2):
            self.state[f"{name}.norm_{k + 1}.weight"] = self._array(f"{path}/LayerNorm_{k}/scale", (d,))
            self.state[f"{name}.norm_{k + 1}.bias"] = self._array(f"{path}/LayerNorm_{k}/bias", (d,))

    def _mlp(self, name: str, path: str, sizes: list[int]) -> None:
        for k, (num_inputs, num_outputs) in enumerate(pairwise(sizes)):
            self._linear(f"{name}.layers.{k}", f"{path}/Dense_{k}", num_inputs, num_outputs)

    def _linear(self, name: str, path: str, num_inputs: int, num_outputs: int, bias: bool = True) -> None:
        kernel = self._array(f"{path}/kernel", (num_inputs, num_outputs))
        self.state[f"{name}.weight"] = kernel.T.contiguous()
        if bias:
            self.state[f"{name}.bias"] = self._array(f"{path}/bias", (num_outputs,))

    def _degrees(self, name: str, path: str, num_l: int, num_inputs: int, num_outputs: int) -> None:
        """[num_l, num_inputs, num_outputs] from e3x's one dense layer per degree, named by degree and parity."""
        shape = (num_inputs, num_outputs)
        layers = [self._array(f"{path}/{degree}{'+-'[degree % 2]}/kernel", shape) for degree in range(num_l)]
        self.state[name] = torch.stack(layers)

    def _kernel(self, name: str, path: str, shape: tuple[int, int, int, int]) -> None:
        """Coefficients by (l1, l2, l3, channel), without e3x's three parity axes of size one."""
        l1, l2, l3, channels = shape
        self.state[name] = self._array(f"{path}/kernel", (1, l1, 1, l2, 1, l3, channels)).reshape(shape)

    def _next(self, kind: str) -> str:
        self.counts[kind] += 1
        return f"{kind}_{self.counts[kind] - 1}"

    def _array(self, path: str, shape: tuple[int, ...]) -> torch.Tensor:
        self.used.add(path)
        array = self.weights.get(path)
        if array is None:
            self.faults.append(f"{path}: missing, shape {shape} expected")
        elif array.shape != shape:
            self.faults.append(f"{path}: shape {shape} expected, received {array.shape}")
        else:
            return torch.from_numpy(array.astype(array.dtype.newbyteorder("=")))
        return torch.zeros(shape)
