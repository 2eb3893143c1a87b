"""LOREM written down from its formulas: plain, slow, float64; the yardstick for the fast form.

One structure at a time; the pair MLP runs on every edge, tensor products are dense contractions with
Clebsch-Gordan coefficients, the Ewald sum is the textbook's. Nothing here is shared with the package but the names
of the weights (``state_dict`` of :class:`lorem_openmm.model.Lorem`), so that agreement means something.

    E_i = Σ readouts;   F = −∂E/∂r;   W_ab = ∂E/∂ε_ab under r → r (1 + ε), h → h (1 + ε)
"""

import functools
import itertools
import math
from typing import NamedTuple

import ase
import numpy as np
import torch
from e3nn import o3

from lorem_openmm.config import Model

Weights = dict[str, torch.Tensor]


class Reference(NamedTuple):
    """Results for one structure: eV, eV/Å, eV (virial, no division by the volume), e; no baseline."""

    energy: float
    forces: torch.Tensor
    virial: torch.Tensor
    atomic_energies: torch.Tensor
    charges: torch.Tensor


class Geometry(NamedTuple):
    """One structure: strained positions [n, 3], cell [3, 3], edges (center, neighbor, shift), species."""

    positions: torch.Tensor
    cell: torch.Tensor
    periodic: bool
    centers: torch.Tensor
    neighbors: torch.Tensor
    shifts: torch.Tensor
    numbers: torch.Tensor


def predict(h: Model, weights: Weights, atoms: ase.Atoms) -> Reference:
    """Energy, forces and virial of one structure."""
    w = {name: weight.detach().double() for name, weight in weights.items()}
    positions = torch.tensor(atoms.positions, dtype=torch.float64, requires_grad=True)
    strain = torch.zeros(3, 3, dtype=torch.float64, requires_grad=True)
    deformation = torch.eye(3, dtype=torch.float64) + strain
    cell = torch.tensor(atoms.cell.array, dtype=torch.float64)
    centers, neighbors, shifts = brute_force_edges(atoms, h.cutoff)
    numbers = torch.tensor(atoms.numbers, dtype=torch.long)
    periodic = bool(atoms.pbc.all())
    geometry = Geometry(positions @ deformation, cell @ deformation, periodic, centers, neighbors, shifts, numbers)
    atomic_energies, charges = lorem(h, w, geometry)
    energy = atomic_energies.sum()
    gradient, virial = torch.autograd.grad(energy, [positions, strain], materialize_grads=True)
    return Reference(energy.item(), -gradient, virial, atomic_energies.detach(), charges.detach())


def brute_force_edges(atoms: ase.Atoms, cutoff: float) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """All (i, j, S) with |r_j + S·h − r_i| < cutoff, by trying every image that could be near enough."""
    reach = np.zeros(3, dtype=int)
    if atoms.pbc.any():
        heights = 1 / np.linalg.norm(np.linalg.inv(atoms.cell.array), axis=0)
        reach = np.ceil(cutoff / heights + np.ptp(atoms.get_scaled_positions(wrap=False), axis=0)).astype(int)
    edges = []
    for shift in itertools.product(*(range(-n, n + 1) for n in reach)):
        images = atoms.positions + np.array(shift) @ atoms.cell.array
        distances = np.linalg.norm(images[None] - atoms.positions[:, None], axis=2)
        for i, j in np.argwhere(distances < cutoff):
            if i != j or any(shift):
                edges.append((i, j, shift))
    centers = torch.tensor([i for i, _, _ in edges], dtype=torch.long)
    neighbors = torch.tensor([j for _, j, _ in edges], dtype=torch.long)
    shifts = torch.tensor([shift for _, _, shift in edges], dtype=torch.float64).reshape(-1, 3)
    return centers, neighbors, shifts


def lorem(h: Model, w: Weights, g: Geometry) -> tuple[torch.Tensor, torch.Tensor]:
    """E_i [n] and charges [n, channels]."""
    n, d, s = len(g.numbers), h.num_features, h.num_spherical_features
    vectors = g.positions[g.neighbors] + g.shifts @ g.cell - g.positions[g.centers]
    distances = vectors.norm(dim=1)
    rho = radial_basis(h, distances / h.cutoff) * cutoff_function(h, distances / h.cutoff)[:, None]
    harmonics = spherical_harmonics(vectors / distances[:, None], h.max_degree)
    species = w["species_embedding.weight"][g.numbers]

    def edge_features(name: str, pair_inputs: torch.Tensor) -> torch.Tensor:
        coefficients = mlp(w, name, pair_inputs, 2).reshape(-1, h.num_radial, d)
        return (coefficients * rho[:, :, None]).sum(dim=1)

    def sum_to_centers(messages: torch.Tensor) -> torch.Tensor:
        return torch.zeros(n, *messages.shape[1:], dtype=torch.float64).index_add(0, g.centers, messages)

    def spherical_messages(name: str, edges: torch.Tensor) -> torch.Tensor:
        coefficients = linear(w, name, edges).reshape(-1, h.max_degree + 1, s)
        return repeat_degrees(coefficients) * harmonics[:, :, None]

    def pairs_of(features: torch.Tensor) -> torch.Tensor:
        return torch.cat([features[g.centers], features[g.neighbors]], dim=1)

    edges = edge_features("short_range.pair_radial", pairs_of(species))
    x = torch.zeros(n, d, dtype=torch.float64)
    if h.initialize_node_features:
        x = linear(w, "scalar_start", species)
    x = update(w, "scalar_update", x, sum_to_centers(linear(w, "short_range.scalar_message", edges)))
    spherical = sum_to_centers(spherical_messages("short_range.spherical_message", edges))
    spherical = tensor_dense(w, "short_range.spherical_product", spherical)
    x = update(w, "norm_update", x, degree_norms(spherical, h.norm_smoothing))
    energies = mlp(w, "readout", x, 3)[:, 0]

    for k in range(h.num_message_passing):
        name = f"rounds.{k}"
        edges = edge_features(f"{name}.pair_radial", pairs_of(x))
        x = update(w, f"{name}.scalar_update", x, sum_to_centers(linear(w, f"{name}.scalar_message", edges)))
        if h.equivariant_message_passing:
            part = f"{name}.equivariant"
            filters = spherical_messages(f"{part}.spherical_message", edges)
            filters = degree_dense(filters, w[f"{part}.message_filter"])
            sent = tensor_product(filters, spherical[g.neighbors], w[f"{part}.message.kernel"])
            own = degree_dense(spherical, w[f"{part}.node_dense"])
            received = degree_dense(sum_to_centers(sent), w[f"{part}.message_dense"])
            spherical = tensor_product(own, received, w[f"{part}.product.kernel"])
            x = update(w, f"{name}.norm_update", x, degree_norms(spherical, h.norm_smoothing))
        energies = energies + mlp(w, f"{name}.readout", x, 3)[:, 0]

    if not h.long_range:
        return energies, torch.zeros(n, 0, dtype=torch.float64)
    scalar_charges = mlp(w, "long_range.scalar_charges", x, 2)
    charges = torch.cat([scalar_charges, tensor_dense(w, "long_range.spherical_charges", spherical)[:, :, 0]], dim=1)
    potentials = ewald_potentials(h, g, charges, distances) if g.periodic else direct_potentials(g, charges)
    mixed = degree_dense(potentials[:, 1:, None], w["long_range.potential_dense"])
    mixed = tensor_product(mixed, spherical, w["long_range.mixing.kernel"])
    x = update(w, "long_range.update", x, torch.cat([potentials[:, :1], degree_norms(mixed, h.norm_smoothing)], dim=1))
    return energies + mlp(w, "long_range.readout", x, 3)[:, 0], charges


# -- layers --


def linear(w: Weights, name: str, x: torch.Tensor) -> torch.Tensor:
    y = x @ w[f"{name}.weight"].T
    return y + w[f"{name}.bias"] if f"{name}.bias" in w else y


def mlp(w: Weights, name: str, x: torch.Tensor, num_layers: int) -> torch.Tensor:
    """Dense layers with SiLU x / (1 + exp(−x)) between them."""
    for k in range(num_layers):
        x = linear(w, f"{name}.layers.{k}", x)
        if k < num_layers - 1:
            x = x * torch.sigmoid(x)
    return x


def layer_norm(w: Weights, name: str, x: torch.Tensor) -> torch.Tensor:
    centered = x - x.mean(dim=1, keepdim=True)
    variance = (centered**2).mean(dim=1, keepdim=True)
    return centered / torch.sqrt(variance + 1e-6) * w[f"{name}.weight"] + w[f"{name}.bias"]


def update(w: Weights, name: str, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    x = layer_norm(w, f"{name}.norm_1", x + mlp(w, f"{name}.message", y, 2))
    return layer_norm(w, f"{name}.norm_2", x + mlp(w, f"{name}.refine", x, 2))


# -- radial and angular functions; x = r / cutoff < 1 --


def cutoff_function(h: Model, x: torch.Tensor) -> torch.Tensor:
    if h.cutoff_function == "cosine_cutoff":
        return (1 + torch.cos(math.pi * x)) / 2
    return torch.exp(1 - 1 / (1 - x**2))


def radial_basis(h: Model, x: torch.Tensor) -> torch.Tensor:
    n = h.num_radial - 1
    if h.radial_basis == "basic_bernstein":
        columns = [math.comb(n, k) * x**k * (1 - x) ** (n - k) for k in range(n + 1)]
    elif h.radial_basis == "basic_gaussian":
        columns = [torch.exp(-math.sqrt(2 * n + 2) * n * (x - k / max(n, 1)) ** 2) for k in range(n + 1)]
    elif h.radial_basis == "basic_fourier":
        columns = [torch.cos(math.pi * k * x) for k in range(n + 1)]
    else:  # Chebyshev polynomials T_k(2x − 1) by their recursion
        columns = [torch.ones_like(x), 2 * x - 1]
        for _ in range(2, n + 1):
            columns.append(2 * (2 * x - 1) * columns[-1] - columns[-2])
        columns = columns[: n + 1]
    return torch.stack(columns, dim=1)


def component_order(degree: int) -> list[int]:
    """Positions of m = +l, −l, +(l−1), …, 0 among e3nn's m = −l … +l."""
    return [degree + sign * m for m in range(degree, 0, -1) for sign in (1, -1)] + [degree]


def spherical_harmonics(directions: torch.Tensor, max_degree: int) -> torch.Tensor:
    """Real spherical harmonics [n, (L+1)²], Σ_m Y_lm² = 1; e3nn's polar axis is y."""
    y_z_x = directions[:, [1, 2, 0]]
    return torch.cat(
        [
            o3.spherical_harmonics(degree, y_z_x, normalize=False, normalization="norm")[:, component_order(degree)]
            for degree in range(max_degree + 1)
        ],
        dim=1,
    )


# -- spherical features [n, (L+1)², channels] --


def degree_slices(num_components: int) -> list[slice]:
    return [slice(degree**2, (degree + 1) ** 2) for degree in range(math.isqrt(num_components))]


def repeat_degrees(x: torch.Tensor) -> torch.Tensor:
    """[n, L+1, channels] → [n, (L+1)², channels]."""
    return torch.repeat_interleave(x, torch.tensor([2 * degree + 1 for degree in range(x.shape[1])]), dim=1)


def degree_dense(x: torch.Tensor, kernel: torch.Tensor) -> torch.Tensor:
    """One matrix [in, out] per degree."""
    return torch.cat([x[:, part] @ kernel[k] for k, part in enumerate(degree_slices(x.shape[1]))], dim=1)


def degree_norms(x: torch.Tensor, smoothing: float) -> torch.Tensor:
    """(2l+1)^¼ (√(‖x_l‖² + ε²) − ε) of each degree and channel [n, (L+1)·channels]; for ε = 0, slope 0 at x_l = 0."""
    norms = []
    for degree, part in enumerate(degree_slices(x.shape[1])):
        squares = (x[:, part] ** 2).sum(dim=1)
        safe = torch.where(squares + smoothing > 0, squares + smoothing**2, 1.0)
        root = torch.where(squares + smoothing > 0, safe.sqrt(), 0.0) - smoothing
        norms.append(root * (2 * degree + 1) ** 0.25)
    return torch.stack(norms, dim=1).flatten(1)


@functools.cache
def clebsch_gordan(l1: int, l2: int, l3: int) -> torch.Tensor:
    """√(2l₃+1) · Wigner 3j in our order of components [2l₁+1, 2l₂+1, 2l₃+1]."""
    wigner = o3.wigner_3j(l1, l2, l3, dtype=torch.float64)
    first, second, third = (torch.tensor(component_order(degree)) for degree in (l1, l2, l3))
    return math.sqrt(2 * l3 + 1) * wigner[first][:, second][:, :, third]


def tensor_product(x: torch.Tensor, y: torch.Tensor, kernel: torch.Tensor) -> torch.Tensor:
    """z_l₃ = Σ_(l₁ l₂) kernel[l₁, l₂, l₃] · CG(x_l₁, y_l₂), over l₁ + l₂ + l₃ even (no pseudotensors)."""
    outputs = []
    for l3 in range(kernel.shape[2]):
        z = torch.zeros(x.shape[0], 2 * l3 + 1, x.shape[2], dtype=torch.float64)
        for l1, first in enumerate(degree_slices(x.shape[1])):
            for l2, second in enumerate(degree_slices(y.shape[1])):
                if abs(l1 - l2) <= l3 <= l1 + l2 and (l1 + l2 + l3) % 2 == 0:
                    coupled = torch.einsum("nac,nbc,abm->nmc", x[:, first], y[:, second], clebsch_gordan(l1, l2, l3))
                    z = z + coupled * kernel[l1, l2, l3]
        outputs.append(z)
    return torch.cat(outputs, dim=1)


def tensor_dense(w: Weights, name: str, x: torch.Tensor) -> torch.Tensor:
    """Product of two linear maps of the same features."""
    first, second = degree_dense(x, w[f"{name}.dense"]).chunk(2, dim=2)
    return tensor_product(first, second, w[f"{name}.kernel"])


# -- potentials V_i = ½ Σ_j q_j / r_ij --


def direct_potentials(g: Geometry, charges: torch.Tensor) -> torch.Tensor:
    potentials = []
    for i in range(len(g.numbers)):
        others = [j for j in range(len(g.numbers)) if j != i]
        distances = (g.positions[others] - g.positions[i]).norm(dim=1)
        potentials.append((charges[others] / distances[:, None]).sum(dim=0) / 2)
    return torch.stack(potentials)


def ewald_potentials(
    h: Model, g: Geometry, charges: torch.Tensor, distances: torch.Tensor, half_space: bool = True
) -> torch.Tensor:
    """Ewald sum with a neutralising background; the real-space part runs over the model's edges.

    ``half_space`` takes lorem-jax's set of wave vectors: of the n_a = ceil(|h_a|/λ) frequencies of each axis, those
    in the half space m₁ > 0 (or m₁ = 0, m₂ > 0; …), counted twice. Without it, all frequencies but zero, once (as
    torch-pme): the two differ by the unpaired frequencies −n/2 of even n.
    """
    smearing = h.smearing or h.cutoff / 4
    wavelength = h.wavelength or h.cutoff / 8
    near = torch.erfc(distances / (math.sqrt(2) * smearing)) / distances
    potentials = torch.zeros_like(charges).index_add(0, g.centers, charges[g.neighbors] * near[:, None])

    counts = [math.ceil(length.item() / wavelength) for length in g.cell.detach().norm(dim=1)]
    axes = [range(-(n // 2), n - n // 2) for n in counts]
    zero = (0, 0, 0)
    indices = [m for m in itertools.product(*axes) if (m > zero if half_space else m != zero)]
    volume = torch.linalg.det(g.cell).abs()
    k = 2 * math.pi * torch.tensor(indices, dtype=torch.float64).reshape(-1, 3) @ torch.linalg.inv(g.cell).T
    squares = (k**2).sum(dim=1)
    weights = (2 if half_space else 1) * 4 * math.pi * torch.exp(-(smearing**2) * squares / 2) / squares
    phases = torch.exp(1j * (g.positions @ k.T))
    structure_factors = phases.T.conj() @ charges.to(torch.complex128)
    potentials = potentials + (phases @ (weights[:, None] * structure_factors)).real / volume

    potentials = potentials - math.sqrt(2 / math.pi) / smearing * charges
    return (potentials - 2 * math.pi * smearing**2 * charges.sum(dim=0) / volume) / 2
