"""The interface of a pair kernel: what acts between two charges, and how the Ewald sums split it."""

import torch


class PairKernel(torch.nn.Module):
    """k(r) = real(r) + long(r), a short-range part and a smooth one that is summed in reciprocal space.

    The sums (:mod:`lorem_openmm.sums`) know of a kernel what is written here and nothing else. All methods act
    elementwise, run in TorchScript and can be differentiated twice. A kernel has no parameters and no buffers: model
    files do not know of it.

    Args:
        smearing: σ in Å, of the split.
        self_term: long(0), which a charge must not feel of itself.
        background: what is finite of the transform of long(r) at k = 0. V_i holds background · Σ_j q_j / Ω. Where the
            lattice sum of k(r) diverges for charges that do not add up to zero, this is what a uniform neutralising
            background adds.

    Attributes:
        has_real_space: whether real(r) is anything but zero.
    """

    def __init__(self, smearing: float, self_term: float, background: float):
        super().__init__()
        self.smearing = smearing
        self.self_term = self_term
        self.background = background
        self.has_real_space = True

    def with_smearing(self, smearing: float) -> "PairKernel":
        """Returns the same kernel, split at another σ in Å."""
        raise NotImplementedError

    def bare(self, squares: torch.Tensor) -> torch.Tensor:
        """Returns k(r) for r² > 0; 0 for r² = ∞, where there is no pair."""
        raise NotImplementedError

    def bare_slope(self, squares: torch.Tensor, bare: torch.Tensor) -> torch.Tensor:
        """Returns dk/d(r²) for r² > 0 and k(r); 0 for r² = ∞."""
        raise NotImplementedError

    def real(self, distances: torch.Tensor) -> torch.Tensor:
        """Returns the short-range part of k(r) for r > 0."""
        raise NotImplementedError

    def real_slope(self, distances: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
        """Returns the derivative of :meth:`real` with respect to r, for r > 0 and its value."""
        raise NotImplementedError

    def reciprocal(self, squares: torch.Tensor) -> torch.Tensor:
        """Returns ∫ long(r) exp(−i k·r) d³r for k² > 0."""
        raise NotImplementedError

    def reciprocal_slope(self, squares: torch.Tensor, reciprocal: torch.Tensor) -> torch.Tensor:
        """Returns the derivative of :meth:`reciprocal` with respect to k², for k² > 0 and its value."""
        raise NotImplementedError
