"""Buffers that keep their digits: mathematical constants survive ``.float()`` followed by ``.double()``."""

from typing import Any, Callable, ClassVar, List

import torch


class ConstantsModule(torch.nn.Module):
    """A module whose constants are rounded from float64 anew at every change of dtype.

    They are ordinary non-persistent buffers to TorchScript and to the rest of PyTorch.
    """

    __jit_ignored_attributes__: ClassVar[List[str]] = ["_exact"]

    def __init__(self) -> None:
        super().__init__()
        self._exact = dict[str, torch.Tensor]()

    def register_constant(self, name: str, value: torch.Tensor) -> None:
        """Registers ``value`` (float64) as a buffer in the default dtype."""
        self._exact[name] = value
        self.register_buffer(name, value.to(torch.get_default_dtype()), persistent=False)

    def _apply(self, fn: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True) -> Any:
        super()._apply(fn, recurse)
        for name, exact in self._exact.items():
            rounded = getattr(self, name)
            setattr(self, name, exact.to(device=rounded.device, dtype=rounded.dtype))
        return self
