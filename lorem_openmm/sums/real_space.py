"""The real-space part of the Ewald sum, over pairs within the cutoff."""

import torch

from lorem_openmm.kernels.pair import PairKernel


class RealSpace(torch.nn.Module):
    """w(r) = real(r) for 0 < r < cutoff, else 0, so that V_i = ½ Σ_j w(r_ij) q_j.

    The truncation is the model's, whatever the reach (skin) of the neighbour list.

    Args:
        kernel: between two charges.
        cutoff: Å.
    """

    def __init__(self, kernel: PairKernel, cutoff: float):
        super().__init__()
        self.kernel = kernel
        self.cutoff = cutoff

    def weights(self, distances: torch.Tensor) -> torch.Tensor:
        """Returns w of distances of any shape."""
        within = (distances > 0) & (distances < self.cutoff)
        safe = torch.where(within, distances, torch.ones_like(distances))
        return torch.where(within, self.kernel.real(safe), torch.zeros_like(safe))

    def slopes(self, distances: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        """Returns dw/dr of distances and their w."""
        slopes = self.kernel.real_slope(distances, weights)
        return torch.where(weights > 0.0, slopes, torch.zeros_like(slopes))
