"""Optimisers with optax's numbers (and so lorem-jax's): Adam, LAMB, Muon.

lorem-jax keeps one matrix per degree and per layer, this package stacks those of all degrees in one parameter
[L+1, n_in, n_out]. What an optimiser does to a whole matrix (a norm, an orthogonalisation) it does here to each
[n_in, n_out] of such a stack, so that updates are those of lorem-jax.

References:
    DeepMind, optax 0.2.8: ``optax.adam``, ``optax.lamb``, ``optax.contrib.muon``.
    D. P. Kingma, J. Ba, arXiv:1412.6980 (Adam); Y. You et al., arXiv:1904.00962 (LAMB); K. Jordan et al., "Muon: an
    optimizer for hidden layers in neural networks" (2024).
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.optim.adam import adam

from lorem_openmm.config import Training

BETAS = (0.9, 0.999)
LAMB_EPSILON, MUON_EPSILON = 1e-6, 1e-8
MUON_MOMENTUM = 0.95
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
NEWTON_SCHULZ_STEPS = 5

Closure = Callable[[], float] | None


def make_optimizer(model: torch.nn.Module, training: Training) -> torch.optim.Optimizer:
    """Returns the optimiser of all parameters of a model that require a gradient.

    Args:
        model: What to train.
        training: Kind of optimiser and initial learning rate.
    """
    if training.optimizer == "muon":
        return Muon(model, training.learning_rate)
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if training.optimizer == "lamb":
        return Lamb(parameters, training.learning_rate)
    return torch.optim.Adam(parameters, lr=training.learning_rate, betas=BETAS, eps=1e-8, fused=True)


class Lamb(torch.optim.Optimizer):
    """p ← p − η (‖p‖ / ‖u‖) u with Adam's u = m̂ / (√v̂ + 10⁻⁶), bias corrected; the ratio is 1 if a norm is 0.

    The norms are those of whole parameters, of each [n_in, n_out] for parameters stacked by degree. No weight decay.

    Args:
        parameters: What to optimise.
        learning_rate: η of the first step.
    """

    def __init__(self, parameters: Iterable[Tensor], learning_rate: float) -> None:
        kinds: dict[str, list[Tensor]] = {"single": [], "by_degree": []}
        for parameter in parameters:
            kinds["by_degree" if parameter.ndim == 3 else "single"].append(parameter)
        groups = [{"params": kinds[kind], "kind": kind} for kind in kinds]
        super().__init__(groups, {"lr": learning_rate, "fused": True})  # fused: where PyTorch keeps the step count
        self._directions: dict[Tensor, Tensor] = {}  # working space

    @torch.no_grad()
    def step(self, closure: Closure = None) -> float | None:  # type: ignore[override]
        """Makes one step, after the closure, if there is one, has computed loss and gradients."""
        loss = _evaluate(closure)
        for group in self.param_groups:
            if group["params"]:
                self._update(group["params"], float(group["lr"]), group["kind"] == "by_degree")
        return loss

    def _update(self, parameters: list[Tensor], learning_rate: float, by_degree: bool) -> None:
        directions = self._adam(parameters)
        if by_degree:
            sizes, lengths = (
                [torch.linalg.matrix_norm(value, keepdim=True) for value in values]
                for values in (parameters, directions)
            )
            ratios = [_ratio(size, length) for size, length in zip(sizes, lengths, strict=True)]
        else:
            size, length = (torch.stack(torch._foreach_norm(values)) for values in (parameters, directions))
            ratios = list(_ratio(size, length).unbind())
        torch._foreach_addcmul_(parameters, directions, ratios, value=learning_rate)

    def _adam(self, parameters: list[Tensor]) -> list[Tensor]:
        """Updates the moments and returns −u."""
        for parameter in parameters:
            if not self.state[parameter]:
                self.state[parameter] = {
                    "step": torch.zeros((), device=parameter.device),
                    "exp_avg": torch.zeros_like(parameter),
                    "exp_avg_sq": torch.zeros_like(parameter),
                }
            if parameter not in self._directions:
                self._directions[parameter] = torch.empty_like(parameter)
        states = [self.state[parameter] for parameter in parameters]
        directions = [self._directions[parameter] for parameter in parameters]
        torch._foreach_zero_(directions)
        adam(  # from zero with a rate of 1
            directions,
            [_gradient(parameter) for parameter in parameters],
            [state["exp_avg"] for state in states],
            [state["exp_avg_sq"] for state in states],
            [],
            [state["step"] for state in states],
            fused=True,
            amsgrad=False,
            beta1=BETAS[0],
            beta2=BETAS[1],
            lr=1.0,
            weight_decay=0.0,
            eps=LAMB_EPSILON,
            maximize=False,
        )
        return directions


def _ratio(size: Tensor, length: Tensor) -> Tensor:
    return torch.where((size == 0) | (length == 0), torch.ones_like(size), size / length)


class Muon(torch.optim.Optimizer):
    """P ← P − η √max(1, n_out / n_in) O for matrices, where O is the nearly orthogonal matrix of their momentum.

    O = NS(β m / (1 − β^(t+1)) + (1 − β) g / (1 − β^t)) with m ← β m + (1 − β) g, β = 0.95, and NS five Newton-Schulz
    iterations. Matrices are the weights of linear layers, embeddings, and each [n_in, n_out] of parameters stacked by
    degree; the others (biases, scales, path weights of tensor products) follow Adam with Nesterov's momentum.

    Args:
        model: What to optimise.
        learning_rate: η of the first step.
    """

    def __init__(self, model: torch.nn.Module, learning_rate: float) -> None:
        transposed = {layer.weight for layer in model.modules() if isinstance(layer, torch.nn.Linear)}
        kinds: dict[str, list[Tensor]] = {"out_in": [], "in_out": [], "vectors": []}
        for parameter in model.parameters():
            if parameter.requires_grad:
                matrix = "out_in" if parameter in transposed else "in_out"
                kinds[matrix if parameter.ndim in (2, 3) else "vectors"].append(parameter)
        groups: list[dict[str, Any]] = [{"params": kinds[kind], "kind": kind, "step": 0} for kind in kinds]
        super().__init__(groups, {"lr": learning_rate})

    @torch.no_grad()
    def step(self, closure: Closure = None) -> float | None:  # type: ignore[override]
        """Makes one step, after the closure, if there is one, has computed loss and gradients."""
        loss = _evaluate(closure)
        by_shape: dict[torch.Size, list[tuple[Tensor, Tensor, float]]] = defaultdict(list)
        for group in self.param_groups:
            group["step"] += 1
            if group["params"] and group["kind"] == "vectors":
                self._update_vectors(group)
            elif group["params"]:
                for weights, momentum, rate in self._matrices(group):
                    by_shape[weights.shape].append((weights, momentum, rate))
        for alike in by_shape.values():
            updates = orthogonalize(torch.stack([momentum for _, momentum, _ in alike]))
            for (weights, _, rate), update in zip(alike, updates.unbind(), strict=True):
                weights.add_(update, alpha=-rate)
        return loss

    def _matrices(self, group: dict[str, Any]) -> Iterator[tuple[Tensor, Tensor, float]]:
        """Yields, for each matrix, a view of its weights, its averaged momentum, and the factor of its update."""
        parameters, step = group["params"], group["step"]
        momenta = [self._state(parameter, "momentum") for parameter in parameters]
        averages = _nesterov(momenta, [_gradient(p) for p in parameters], MUON_MOMENTUM, step)
        for weights, average in zip(_by_degree(parameters), _by_degree(averages), strict=True):
            rows, columns = weights.shape
            widening = rows / columns if group["kind"] == "out_in" else columns / rows
            yield weights, average, group["lr"] * max(1.0, widening) ** 0.5

    def _update_vectors(self, group: dict[str, Any]) -> None:
        parameters, step = group["params"], group["step"]
        first, second = ([self._state(p, name) for p in parameters] for name in ("exp_avg", "exp_avg_sq"))
        gradients = [_gradient(parameter) for parameter in parameters]
        averages = _nesterov(first, gradients, BETAS[0], step)
        torch._foreach_mul_(second, BETAS[1])
        torch._foreach_addcmul_(second, gradients, gradients, value=1 - BETAS[1])
        roots = torch._foreach_div(second, 1 - BETAS[1] ** step)
        torch._foreach_sqrt_(roots)
        torch._foreach_add_(roots, MUON_EPSILON)
        torch._foreach_addcdiv_(parameters, averages, roots, value=-group["lr"])

    def _state(self, parameter: Tensor, name: str) -> Tensor:
        state = self.state[parameter]
        if name not in state:
            state[name] = torch.zeros_like(parameter)
        return state[name]


def orthogonalize(matrices: Tensor) -> Tensor:
    """X ← c_0 X + c_1 (X Xᵀ) X + c_2 (X Xᵀ)² X, five times, from X / ‖X‖: singular values near 1, the same vectors.

    Every iterate is P X_0 with P a polynomial of A = X_0 X_0ᵀ. For long matrices P is iterated in place of X: two
    products with the long side instead of ten.

    Args:
        matrices: [n_matrices, n_rows, n_columns]; tall ones are treated as the transposed of wide ones.
    """
    c0, c1, c2 = NEWTON_SCHULZ
    tall = matrices.shape[1] > matrices.shape[2]
    short, long = sorted(matrices.shape[1:])
    x = matrices / (torch.linalg.matrix_norm(matrices, keepdim=True) + MUON_EPSILON)
    if long <= 2 * short:
        for _ in range(NEWTON_SCHULZ_STEPS):
            a = _gram(x, tall)
            b = torch.baddbmm(a, a, a, beta=c1, alpha=c2)
            x = torch.baddbmm(x, x, b, beta=c0) if tall else torch.baddbmm(x, b, x, beta=c0)
        return x
    a = _gram(x, tall)
    factor = product = _polynomial(a)
    for _ in range(NEWTON_SCHULZ_STEPS - 1):
        a = torch.bmm(torch.bmm(factor, a), factor)
        factor = _polynomial(a)
        product = torch.bmm(factor, product)
    return torch.bmm(x, product.mT) if tall else torch.bmm(product, x)


def _gram(x: Tensor, tall: bool) -> Tensor:
    return torch.bmm(x.mT, x) if tall else torch.bmm(x, x.mT)


def _polynomial(a: Tensor) -> Tensor:
    """Returns c_0 + c_1 A + c_2 A²."""
    c0, c1, c2 = NEWTON_SCHULZ
    result = torch.baddbmm(a, a, a, beta=c1, alpha=c2)
    result.diagonal(dim1=1, dim2=2).add_(c0)
    return result


def _nesterov(momenta: list[Tensor], gradients: list[Tensor], beta: float, step: int) -> list[Tensor]:
    """Returns β m / (1 − β^(t+1)) + (1 − β) g / (1 − β^t) after m ← β m + (1 − β) g, t = ``step``."""
    torch._foreach_lerp_(momenta, gradients, 1 - beta)
    averages = torch._foreach_mul(momenta, beta / (1 - beta ** (step + 1)))
    torch._foreach_add_(averages, gradients, alpha=(1 - beta) / (1 - beta**step))
    return list(averages)


def _evaluate(closure: Closure) -> float | None:
    if closure is None:
        return None
    with torch.enable_grad():
        return closure()


def _gradient(parameter: Tensor) -> Tensor:
    """A parameter without gradient moves by its momentum, as in optax."""
    return torch.zeros_like(parameter) if parameter.grad is None else parameter.grad


def _by_degree(parameters: Iterable[Tensor]) -> list[Tensor]:
    """Returns views of the parameters, those stacked by degree [L+1, n_in, n_out] as one matrix per degree."""
    views: list[Tensor] = []
    for parameter in parameters:
        views += parameter.unbind() if parameter.ndim == 3 else [parameter]
    return views
