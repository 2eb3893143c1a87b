"""What is left of a kernel when its short-range part is taken away: the interaction of Gaussian charges.

A network that knows everything within its cutoff needs no sum for the short-range part of a kernel. Without it no pair
has to be visited, nothing is cut off at the cutoff, and bonded atoms, a tenth of σ apart, do not feel 14 eV/e² of each
other that a network has to take back.
"""

import torch

from lorem_openmm.kernels.pair import PairKernel


class Smooth(PairKernel):
    """long(r) = k(r) − real(r) of another kernel, with no real-space part of its own. For Coulomb's law erf(r/√2σ)/r.

    Args:
        kernel: the whole one; its smearing is that of the charges.
    """

    def __init__(self, kernel: PairKernel):
        super().__init__(kernel.smearing, kernel.self_term, kernel.background)
        self.has_real_space = False
        self.kernel = kernel

    def with_smearing(self, smearing: float) -> "Smooth":
        """Returns itself: the width of the charges is part of what acts between them, and there is nothing to split.

        Args:
            smearing: not used.
        """
        return self

    def bare(self, squares: torch.Tensor) -> torch.Tensor:
        """Returns long(r) for r² > 0."""
        return self.kernel.bare(squares) - self.kernel.real(self._distances(squares))

    def bare_slope(self, squares: torch.Tensor, bare: torch.Tensor) -> torch.Tensor:
        """Returns d long / d(r²)."""
        distances = self._distances(squares)
        real = self.kernel.real(distances)
        slope = 0.5 * self.kernel.real_slope(distances, real) / distances
        return self.kernel.bare_slope(squares, bare + real) - slope

    def _distances(self, squares: torch.Tensor) -> torch.Tensor:
        """Returns r where real(r) is not zero to rounding; r² may be infinite."""
        return torch.sqrt(squares.clamp(max=1e6))

    def real(self, distances: torch.Tensor) -> torch.Tensor:
        """Returns zeros, of which autograd can take the slope."""
        return 0.0 * distances

    def real_slope(self, distances: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
        """Returns zeros."""
        return 0.0 * distances

    def reciprocal(self, squares: torch.Tensor) -> torch.Tensor:
        """Returns the transform of the other kernel's long-range part."""
        return self.kernel.reciprocal(squares)

    def reciprocal_slope(self, squares: torch.Tensor, reciprocal: torch.Tensor) -> torch.Tensor:
        """Returns its derivative with respect to k²."""
        return self.kernel.reciprocal_slope(squares, reciprocal)
