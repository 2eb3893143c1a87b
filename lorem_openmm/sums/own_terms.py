"""What every periodic sum ends with: a charge does not feel itself, the mean of the long-range part is added."""

import torch


def with_own_terms(
    waves: torch.Tensor, charges: torch.Tensor, self_term: torch.Tensor, background: torch.Tensor
) -> torch.Tensor:
    """V_i = waves_i − ½ s_i q_i + ½ b Σ_j q_j.

    Args:
        waves: ½ Σ_(k ≠ 0) … [..., n, n_channels].
        charges: q [..., n, n_channels].
        self_term: s, of the kernel; on a mesh, of each atom [..., n, 1]; else [].
        background: b, of the kernel, over the volume [..., 1, 1] or [].

    Returns:
        V [..., n, n_channels].
    """
    total = charges.sum(dim=-2, keepdim=True)
    return waves - (0.5 * self_term) * charges + (0.5 * background) * total
