"""Where a force finds its model: a file identified by its hash, the shipped model, or a potential in memory."""

import copy
import os
import uuid
import weakref
from dataclasses import dataclass
from pathlib import Path

import torch

from lorem_openmm.errors import ConfigError, ModelFileError
from lorem_openmm.export import DTYPES, PRETRAINED, load
from lorem_openmm.files import expand_home, sha256_of_file
from lorem_openmm.potential import Potential

SHIPPED = "shipped"  # stands for the shipped model in saved systems, which then work on other machines
IN_MEMORY = "in-memory:"
PRECISIONS = {"single": "float32", "double": "float64"}

_in_memory: "weakref.WeakValueDictionary[str, Potential]" = weakref.WeakValueDictionary()
_loaded: "weakref.WeakValueDictionary[tuple[str, str, str], Potential]" = weakref.WeakValueDictionary()


@dataclass(frozen=True)
class ModelSource:
    """A model by location and hash: small, picklable, and checked again whenever the model is loaded.

    Attributes:
        location: absolute path of a model file, ``shipped``, or a mark of a potential in this process's memory.
        sha256: SHA-256 of the file, empty for a potential in memory.
    """

    location: str
    sha256: str

    @classmethod
    def find(cls, model: str | Path | Potential | None) -> "ModelSource":
        """Returns the source of a model.

        Args:
            model: path of a model file, a potential, or None for the shipped model.

        Raises:
            ConfigError: If it is none of these.
            ModelFileError: If there is no such file.
        """
        if isinstance(model, Potential):
            for location, potential in _in_memory.items():
                if potential is model:
                    return cls(location, "")
            location = f"{IN_MEMORY}{uuid.uuid4()}"
            _in_memory[location] = model
            return cls(location, "")
        if not isinstance(model, str | os.PathLike | None):
            raise ConfigError(f"modelPath: must be the path of a model file, received {type(model).__name__}")
        path = PRETRAINED if model is None else Path(expand_home(str(model))).resolve()
        if not path.is_file():
            if model is None:
                raise ModelFileError(
                    "modelPath: this installation ships no model; give modelPath='...' (.safetensors or .pt), "
                    "for example a model exported by `lorem-openmm export`"
                )
            raise ModelFileError(f"{path}: no such model file; give the path of a .safetensors or .pt file")
        return cls(SHIPPED if model is None else str(path), sha256_of_file(path))

    def in_memory(self) -> Potential | None:
        """Returns the potential if it is one in this process's memory, to be held so that it does not vanish."""
        return _in_memory.get(self.location)

    def load(self, precision: str, device: str) -> Potential:
        """Returns the potential, shared among the forces of this process that use the same file.

        Args:
            precision: ``single`` or ``double``.
            device: where the model runs.

        Raises:
            ModelFileError: If the file is missing, damaged, or another one than when the source was made.
        """
        if self.location.startswith(IN_MEMORY):
            return self._from_memory(precision, device)
        key = (self.sha256, precision, device)
        potential = _loaded.get(key)
        if potential is None:
            potential = load(self._checked_path(), device, PRECISIONS[precision])
            _loaded[key] = potential
        return potential

    def _checked_path(self) -> Path:
        path = PRETRAINED if self.location == SHIPPED else Path(self.location)
        if not path.is_file():
            raise ModelFileError(
                f"{path}: no such model file. The force was made with this path and keeps no copy of the model: "
                "put the file back, or create the system anew with its present path"
            )
        found = sha256_of_file(path)
        if found != self.sha256:
            raise ModelFileError(
                f"{path}: another model than the force was made with (SHA-256 {found[:12]}..., expected "
                f"{self.sha256[:12]}...); put the original file back, or create the system anew with this one"
            )
        return path

    def _from_memory(self, precision: str, device: str) -> Potential:
        potential = self.in_memory()
        if potential is None:
            raise ModelFileError(
                "the force was made from a potential in memory, which no longer exists or lived in another process; "
                "save it with lorem_openmm.export.save and create the system with modelPath"
            )
        own = copy.deepcopy(potential).requires_grad_(False)
        return own.to(device=torch.device(device), dtype=DTYPES[PRECISIONS[precision]])
