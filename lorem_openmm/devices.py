"""Where tensors can be: the one place that reads the name of a device."""

import torch

from lorem_openmm.errors import ConfigError


def find_device(name: str | torch.device) -> torch.device:
    """Returns the device of a name.

    Args:
        name: cpu, cuda, cuda:1, …, or auto: CUDA if it is there.

    Raises:
        ConfigError: If it is another one, or not there.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        found = torch.device(name)
    except (RuntimeError, TypeError):
        found = None
    if found is None or found.type not in ("cpu", "cuda"):  # others lack float64 or operators
        raise ConfigError(f"device: must be auto, cpu, cuda or cuda:INDEX; received {str(name)!r}")
    number = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if found.type == "cuda" and (found.index or 0) >= number:
        raise ConfigError(
            f"device: '{found}' is not available here: it needs a GPU that PyTorch can use, and finds {number}. Use "
            "cpu or auto."
        )
    return found
