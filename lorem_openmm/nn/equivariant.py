"""Spherical features [n_atoms, channels, (L+1)²]: linear maps by degree, norms, tensor products.

Components are ordered even degrees first, then odd (``spherical.component_order``), so that the products that keep
parity, l1 + l2 + l3 even, are four dense blocks: even·even and odd·odd → even, even·odd and odd·even → odd. These hold
half the entries of the full Clebsch-Gordan tensor and none of the pseudotensor ones.
"""

from typing import ClassVar, List

import torch

from lorem_openmm.nn.product_derivatives import TensorProductFunction
from lorem_openmm.nn.scalar import lecun_normal_
from lorem_openmm.ops.constants import ConstantsModule
from lorem_openmm.ops.norms import norms_and_slopes
from lorem_openmm.ops.product import Classes, Sorting, as_blocks, make_pairs, multiply, sort_by_class, transpose
from lorem_openmm.ops.spherical import clebsch_gordan, degree_of_component, reflection_classes

MANY_PAIRS = 8000  # pairs of components of an atom from which fewer operations are worth four times as many calls


def degree_linear(max_degree: int, n_in: int, n_out: int) -> torch.nn.Parameter:
    """Weights W [L+1, n_in, n_out] of y_c'^lm = Σ_c W^l_cc' x_c^lm: one bias-free matrix per degree (e3x's Dense)."""
    weights = torch.empty(max_degree + 1, n_in, n_out)
    lecun_normal_(weights, n_in)
    return torch.nn.Parameter(weights)


def mix_channels(x: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """y_d^m = Σ_c x_c^m W_m,cd: returns [n_atoms, d, m] for x [n_atoms, c, m] and W [m, c, d].

    As one product with a matrix of diagonal blocks: one product per component would be as many operations, and as many
    again for each derivative.
    """
    blocks = torch.diag_embed(weights.permute(1, 2, 0)).transpose(1, 2)
    product = torch.mm(x.flatten(1), blocks.reshape(x.shape[1] * x.shape[2], -1))
    return product.view(x.shape[0], weights.shape[2], x.shape[2])


def component_classes(max_degree: int, mirror: bool) -> torch.Tensor:
    """Returns 2·(degree is odd) + (changes sign under z → −z) of each component, [(L+1)²]; or the parity alone.

    All three reflections would make eight classes, whose matrices are smaller by half but too small to be fast.
    """
    odd = torch.tensor(degree_of_component(max_degree)) % 2
    return 2 * odd + reflection_classes(max_degree) % 2 if mirror else odd


class DegreeNorm(ConstantsModule):
    """n_cl = T_l (√(‖x_c^l‖² + ε²) − ε) with T_l = (2l+1)^¼, which evens out the variance over degrees.

    ε = 0 is the published model: the norm itself, whose slope at zero is defined as zero, so that first and second
    derivatives stay finite for isolated atoms. For degree 0 that norm is |x|, and forces jump wherever such a feature
    changes sign; ε > 0 makes them smooth, which constant-energy dynamics needs.

    Args:
        max_degree: L.
        smoothing: ε.
    """

    membership: torch.Tensor
    factors: torch.Tensor

    def __init__(self, max_degree: int, smoothing: float = 0.0):
        super().__init__()
        self.smoothing = float(smoothing)
        degrees = torch.tensor(degree_of_component(max_degree))
        factors = (2 * torch.arange(max_degree + 1, dtype=torch.float64) + 1) ** 0.25
        self.register_constant("membership", torch.nn.functional.one_hot(degrees).double())
        self.register_constant("factors", factors)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Returns [n_atoms, (L+1)·channels], degree-major as in lorem-jax, for x [n_atoms, channels, (L+1)²]."""
        squares = torch.matmul(x * x, self.membership)
        norms = norms_and_slopes(squares, self.factors, self.smoothing)[0]
        return norms.transpose(1, 2).flatten(1)


class TensorProduct(ConstantsModule):
    """y_c^(l3 m3) = Σ_(l1 m1 l2 m2) w_c^(l1 l2 l3) C^(l3 m3)_(l1 m1, l2 m2) x1_c^(l1 m1) x2_c^(l2 m2), l1+l2+l3 even.

    ``kernel`` [L1+1, L2+1, L3+1, channels] holds w as e3x's ``Tensor`` does, forbidden paths included (ignored).

    Args:
        max_degree_1: L1.
        max_degree_2: L2.
        max_degree_3: L3.
        channels: number of channels.
    """

    __jit_ignored_attributes__: ClassVar[List[str]] = [*ConstantsModule.__jit_ignored_attributes__, "sorting"]

    sorting: Sorting
    parity: Classes
    coefficients: torch.Tensor
    paths: torch.Tensor
    sorted_entries: torch.Tensor
    parity_entries: torch.Tensor

    def __init__(self, max_degree_1: int, max_degree_2: int, max_degree_3: int, channels: int):
        super().__init__()
        shape = (max_degree_1 + 1, max_degree_2 + 1, max_degree_3 + 1, channels)
        self.kernel = torch.nn.Parameter(torch.zeros(shape))
        self.degrees = (max_degree_1, max_degree_2, max_degree_3)
        degrees = [torch.tensor(degree_of_component(L)) for L in (max_degree_1, max_degree_2, max_degree_3)]
        coefficients = torch.zeros([len(d) for d in degrees], dtype=torch.float64)
        for l1 in range(shape[0]):
            for l2 in range(shape[1]):
                allowed = [l3 for l3 in range(abs(l1 - l2), min(l1 + l2, max_degree_3) + 1) if (l1 + l2 + l3) % 2 == 0]
                for l3 in allowed:
                    index = torch.meshgrid(
                        *[(d == n).nonzero()[:, 0] for d, n in zip(degrees, (l1, l2, l3), strict=True)],
                        indexing="ij",
                    )
                    coefficients[index] = clebsch_gordan(l1, l2, l3)
                    self.kernel.data[l1, l2, l3] = 1.0  # marks the path, filled below
        fan_in = self.kernel.data[..., 0].sum(dim=(0, 1))
        for l3 in range(shape[2]):
            values = torch.empty(shape[0], shape[1], channels)
            lecun_normal_(values, max(float(fan_in[l3]), 1.0))
            self.kernel.data[:, :, l3] *= values
        flat = (degrees[0][:, None, None] * shape[1] + degrees[1][:, None]) * shape[2] + degrees[2]
        self.register_constant("coefficients", coefficients.flatten())
        self.register_buffer("paths", flat.flatten(), persistent=False)
        mirror = channels * len(degrees[0]) * len(degrees[1]) > MANY_PAIRS
        self.sorting = sort_by_class([component_classes(n - 1, mirror) for n in shape[:3]])
        by_parity = sort_by_class([component_classes(n - 1, False) for n in shape[:3]])
        self.parity = by_parity.classes
        self.register_buffer("sorted_entries", self.sorting.entries, persistent=False)
        self.register_buffer("parity_entries", by_parity.entries, persistent=False)

    def matrix(self, entries: torch.Tensor) -> torch.Tensor:
        """Returns entries [channels, n] of M = w·C at places [n] of [(L1+1)²·(L2+1)²·(L3+1)²]."""
        weights = self.kernel.flatten(0, 2).t().index_select(1, self.paths.index_select(0, entries))
        return weights * self.coefficients.index_select(0, entries)

    def fold(self) -> List[torch.Tensor]:
        """Returns the transposed blocks of M by parity, for :meth:`by_blocks`."""
        return transpose(as_blocks(self.matrix(self.parity_entries), self.parity))

    def forward(self, x1: torch.Tensor, x2: torch.Tensor) -> torch.Tensor:
        """Returns y [n_atoms, channels, (L3+1)²].

        Args:
            x1: [n_atoms, channels or 1, (L1+1)²].
            x2: [n_atoms, channels, (L2+1)²].
        """
        if torch.jit.is_scripting():
            return self.by_blocks(x1, x2, self.fold())
        return self._with_derivatives(x1, x2)

    @torch.jit.unused
    def _with_derivatives(self, x1: torch.Tensor, x2: torch.Tensor) -> torch.Tensor:
        """The same by :mod:`.product_derivatives`, which TorchScript cannot express."""
        entries = self.matrix(self.sorted_entries)
        return TensorProductFunction.apply(x1.expand(-1, x2.shape[1], -1), x2, entries, self.sorting)

    def by_blocks(self, x1: torch.Tensor, x2: torch.Tensor, blocks: List[torch.Tensor]) -> torch.Tensor:
        """Returns the same with weights that were folded before, by plain operations.

        Args:
            x1: [n_atoms, channels or 1, (L1+1)²].
            x2: [n_atoms, channels, (L2+1)²].
            blocks: from :meth:`fold`.
        """
        # With the atoms last, products and sums over components run along contiguous memory: two to four times as
        # fast with both derivatives as with the components last, whose inner loops have five to twenty-eight steps.
        x1, x2 = x1.permute(1, 2, 0).contiguous(), x2.permute(1, 2, 0).contiguous()
        return multiply(blocks, make_pairs(x1, x2, self.parity)).permute(2, 0, 1).contiguous()


class TensorDense(TensorProduct):
    """y = (W1 x) ⊗ (W2 x): the tensor product of two linear maps of the same features (e3x's TensorDense).

    ``dense`` [L+1, n_in, 2·channels] holds W1 and W2 side by side; callers apply it, or fold it into tables.

    Args:
        max_degree: degree L of x.
        max_degree_out: degree of y.
        n_in: channels of x.
        channels: channels of y.
    """

    def __init__(self, max_degree: int, max_degree_out: int, n_in: int, channels: int):
        super().__init__(max_degree, max_degree, max_degree_out, channels)
        self.dense = degree_linear(max_degree, n_in, 2 * channels)
