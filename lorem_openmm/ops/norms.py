"""The norm of the features of a degree, and its slope."""

from typing import Tuple

import torch


def norms_and_slopes(
    squares: torch.Tensor, factors: torch.Tensor, smoothing: float
) -> Tuple[torch.Tensor, torch.Tensor]:
    """N = T (√(‖x‖² + ε²) − ε) and dn/d(½‖x‖²) = T / √(‖x‖² + ε²), so that dn/dx is the slope times x.

    ε = 0: the norm itself, whose slope at zero is finite, and its product with x = 0 is zero.

    Args:
        squares: ‖x‖² of any shape.
        factors: T, of a shape that broadcasts.
        smoothing: ε.
    """
    if smoothing > 0.0:
        roots = torch.sqrt(squares + smoothing * smoothing)
        return (roots - smoothing) * factors, factors / roots
    # From the smallest normal float32. Not the root of a clamped square: its second derivative at zero is infinity
    # times zero.
    roots = torch.sqrt(torch.threshold(squares, 1e-37, 1.0))
    return torch.where(squares > 1e-37, roots, torch.zeros_like(roots)) * factors, factors / roots
