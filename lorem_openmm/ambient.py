"""What surrounds a call: settings of PyTorch and NumPy that a program makes for itself are neither used nor moved.

Everything that builds, loads, writes or trains a model runs within :func:`building`, everything that computes with one
within :func:`computing`. A program's default dtype and device, autocast, inference mode, NumPy's error state and
PyTorch's random numbers then change no result, and are as they were afterwards.
"""

import threading
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch

DEVICES = ("cpu", "cuda")
# Scripting parses Python, which CPython 3.11 cannot do in two threads at once ("AST constructor recursion depth").
_SCRIPTING = threading.RLock()


@contextmanager
def computing() -> Iterator[None]:
    """Leaves autocast, inference mode and another default dtype than float32.

    Numbers keep their precision, what is kept between calls can be used by any later one, and PyTorch's derivative of
    a determinant, which mixes in the default dtype, works. Costs a microsecond where there is nothing to leave. Also a
    decorator.
    """
    autocasts = [device for device in DEVICES if torch.is_autocast_enabled(device)]
    default = torch.get_default_dtype()
    if not autocasts and not torch.is_inference_mode_enabled() and default == torch.float32:
        yield
        return
    with ExitStack() as stack:
        stack.callback(torch.set_default_dtype, default)
        torch.set_default_dtype(torch.float32)
        stack.enter_context(torch.inference_mode(False))
        for device in autocasts:
            stack.enter_context(torch.autocast(device, enabled=False))
        yield


@contextmanager
def building() -> Iterator[None]:
    """Sets all that a new tensor depends on: float32 on the CPU, recorded by autograd, NumPy's usual error state.

    PyTorch's random numbers are put back at the end, because layers draw weights before they get their own. Also a
    decorator.
    """
    generator = torch.get_rng_state()
    with ExitStack() as stack:
        stack.enter_context(computing())
        stack.enter_context(torch.enable_grad())
        stack.enter_context(np.errstate(divide="warn", over="warn", under="ignore", invalid="warn"))  # its defaults
        if torch.empty(0).device.type != "cpu":  # get_default_device fails where a default was taken back
            stack.enter_context(torch.device("cpu"))
        stack.callback(torch.set_rng_state, generator)
        yield


def script(module: torch.nn.Module) -> Any:
    """Returns a module in TorchScript, without PyTorch's remark that TorchScript is no longer developed.

    Args:
        module: Module to compile.
    """
    with _SCRIPTING, warnings.catch_warnings():
        for category in (DeprecationWarning, FutureWarning):
            warnings.filterwarnings("ignore", message=r".*torch\.jit", category=category)
        return torch.jit.script(module)
