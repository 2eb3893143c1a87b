"""Model files: ``.safetensors`` (weights and metadata) and ``.pt`` (the same, and what dynamics runs in TorchScript).

Both carry one JSON document, the metadata, and a SHA-256 over it and the weights, so that a file that was truncated or
altered is refused. Nothing is ever unpickled from a model file; ``.pt`` files of earlier versions, which hold their
weights in TorchScript alone, are read by its own restricted reader.
"""

import hashlib
import json
import os
import platform
import zipfile
import zlib
from importlib.metadata import version
from pathlib import Path, PurePosixPath
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load as tensors_from_bytes
from safetensors.torch import save as tensors_to_bytes
from safetensors.torch import save_file

from lorem_openmm.ambient import building, script
from lorem_openmm.config import Model, parse
from lorem_openmm.devices import find_device
from lorem_openmm.errors import ConfigError, ModelFileError
from lorem_openmm.files import atomic_path, expand_home
from lorem_openmm.inference.standalone import StandaloneModel
from lorem_openmm.model import Lorem
from lorem_openmm.potential import Potential

FORMAT_VERSION = 1
UNITS = {"energy": "eV", "length": "Å", "forces": "eV/Å", "stress": "eV/Å^3", "charge": "e"}
DTYPES = {"float32": torch.float32, "float64": torch.float64}
WEIGHTS = "weights.safetensors"  # within a .pt file
PRETRAINED = Path(__file__).parent / "pretrained" / "lorem-xtb.safetensors"


def describe(potential: Potential, extra: dict[str, Any] | None = None) -> dict[str, Any]:
    """Returns the metadata of a potential.

    Args:
        potential: the model with its baseline.
        extra: further entries: ``training``, ``metrics``, ``electrostatics`` (``trained_on``: vacuum, periodic, both).
    """
    hyperparameters = potential.model.hyperparameters.model_dump(mode="json")
    block = potential.model.hyperparameters.long_range_block
    pair_sum = None if potential.model.long_range is None else potential.model.pair_sum
    electrostatics = {
        "long_range": pair_sum is not None,
        "smearing": None if pair_sum is None else pair_sum.smearing,
        "wavelength": None if pair_sum is None else pair_sum.wavelength,
        "real_space_cutoff": None if pair_sum is None else pair_sum.cutoff,
        "exponent": 1 if block is None else block.exponent,
        "smooth": block is not None and block.smooth,
        "neutral": block is not None and block.neutral,
        "convention": "V_i = 1/2 sum_j q_j / r_ij^exponent; smooth: its part that varies over more than the smearing; "
        "periodic: Ewald with background; vacuum: direct sum",
    }
    extra = dict(extra or {})
    electrostatics.update(extra.pop("electrostatics", {}))
    packages = ("lorem-openmm", "torch")
    return {
        "format_version": FORMAT_VERSION,
        "hyperparameters": hyperparameters,
        "species": potential.species,
        "baseline": {str(number): energy for number, energy in potential.baseline.items()},
        "units": UNITS,
        "energy_reference": "total energy = model energy + sum of the per-element baseline",
        "electrostatics": electrostatics,
        "versions": {name: version(name) for name in packages} | {"python": platform.python_version()},
        **extra,
    }


@building()
def save(potential: Potential, path: str | Path, extra: dict[str, Any] | None = None) -> None:
    """Writes ``path`` (.safetensors or .pt), whole or not at all.

    Args:
        potential: the model; its weights are written in float32, and a .pt file runs in its dtype.
        path: the suffix chooses the format.
        extra: further metadata, see :func:`describe`.

    Raises:
        ModelFileError: If the suffix is neither .safetensors nor .pt.
        OSError: If the folder cannot be written.
    """
    path = Path(expand_home(str(path)))
    body = json.dumps(describe(potential, extra), sort_keys=True)
    weights = {name: tensor.float().cpu().contiguous() for name, tensor in potential.model.state_dict().items()}
    documents = {"lorem_openmm": body, "sha256": _digest(body, weights)}
    if path.suffix == ".safetensors":
        with atomic_path(path) as temporary:
            save_file(weights, temporary, metadata=documents)
    elif path.suffix == ".pt":
        dtype = potential.model.species_embedding.weight.dtype
        module = script(StandaloneModel(_build(json.loads(body), weights, path).to(dtype)))
        with atomic_path(path) as temporary:
            module.save(str(temporary), _extra_files={**documents, WEIGHTS: tensors_to_bytes(weights)})
            _seal(temporary)
    else:
        raise ModelFileError(f"path: must end in .safetensors or .pt, received {path}")


@building()
def load(path: str | Path, device: str | torch.device = "cpu", dtype: str | torch.dtype = "float32") -> Potential:
    """Reads a model file of either format; the potential's ``metadata`` attribute holds the file's metadata.

    Args:
        path: .safetensors or .pt.
        device: where the weights go.
        dtype: float32 or float64.

    Raises:
        ModelFileError: If the file is missing, truncated, altered, of a newer format, or not a LOREM model.
        ConfigError: If ``dtype`` is neither float32 nor float64, or there is no such device.
    """
    if not isinstance(path, str | os.PathLike):
        raise ConfigError(f"path: must be the path of a model file, received {type(path).__name__}")
    path, device, dtype = Path(expand_home(str(path))), find_device(device), as_dtype(dtype)
    if not path.is_file():
        raise ModelFileError(f"{path}: no such model file; give the path of a .safetensors or .pt file")
    if path.suffix not in (".safetensors", ".pt"):
        raise ModelFileError(f"{path}: a model file must end in .safetensors or .pt")
    documents, weights = _read_safetensors(path) if path.suffix == ".safetensors" else _read_torchscript(path)
    metadata = _check(path, documents, weights)
    potential = _build(metadata, weights, path).to(device=device, dtype=dtype)
    potential.metadata = metadata
    return potential.requires_grad_(False)


def as_dtype(dtype: str | torch.dtype) -> torch.dtype:
    """Returns the floating-point type of a name.

    Args:
        dtype: float32 or float64, as a name or a type.

    Raises:
        ConfigError: If it is neither.
    """
    if isinstance(dtype, torch.dtype) and dtype in DTYPES.values():
        return dtype
    if dtype not in DTYPES:
        raise ConfigError(f"dtype: must be float32 or float64, received {dtype!r}")
    return DTYPES[str(dtype)]


def read_metadata(path: str | Path) -> dict[str, Any]:
    """Returns the checked metadata of a model file, see :func:`load`."""
    return load(path).metadata


def _digest(body: str, weights: dict[str, torch.Tensor]) -> str:
    digest = hashlib.sha256(body.encode())
    for name in sorted(weights):
        digest.update(name.encode())
        digest.update(weights[name].numpy().tobytes())
    return digest.hexdigest()


def _read_safetensors(path: Path) -> tuple[dict[str, str], dict[str, torch.Tensor]]:
    try:
        with safe_open(path, framework="pt") as stream:
            weights = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118 (not a dict)
            return stream.metadata() or {}, weights
    except SafetensorError as error:
        raise ModelFileError(f"{path}: truncated or altered, not a readable safetensors file ({error})") from None


def _read_torchscript(path: Path) -> tuple[dict[str, str], dict[str, torch.Tensor]]:
    try:
        with zipfile.ZipFile(path) as archive:
            seal = archive.comment
            if seal and seal != _seal_of(path.read_bytes()[: -len(seal) - 2]):
                raise ModelFileError(f"{path}: altered, the file does not match its checksum; copy or export it again")
            extra = {PurePosixPath(name).name: name for name in archive.namelist() if "/extra/" in name}
            if WEIGHTS in extra:
                texts: dict[str, str] = {
                    key: archive.read(extra[key]).decode() for key in ("lorem_openmm", "sha256") if key in extra
                }
                return texts, tensors_from_bytes(archive.read(extra[WEIGHTS]))
        # Versions up to 0.1 kept the weights in the scripted form alone.
        documents: dict[str, Any] = {"lorem_openmm": "", "sha256": ""}
        module = torch.jit.load(str(path), map_location="cpu", _extra_files=documents)
    except (zipfile.BadZipFile, zlib.error, SafetensorError, RuntimeError, EOFError, NotImplementedError) as error:
        raise ModelFileError(
            f"{path}: truncated or altered, not a readable TorchScript file ({error!s:.200})"
        ) from None
    parameters = {
        name.removeprefix("model."): parameter.detach().float()
        for name, parameter in module.named_parameters()
        if name.startswith("model.")
    }
    texts = {key: value.decode() if isinstance(value, bytes) else value for key, value in documents.items()}
    return texts, parameters


def _seal(path: Path) -> None:
    """Writes the SHA-256 of a zip archive into its comment, which ends the file."""
    content = path.read_bytes()[:-2]  # the last two bytes are the length of the (empty) comment
    seal = _seal_of(content)
    path.write_bytes(content + len(seal).to_bytes(2, "little") + seal)


def _seal_of(content: bytes) -> bytes:
    return b"sha256:" + hashlib.sha256(content).hexdigest().encode()


def _check(path: Path, documents: dict[str, str], weights: dict[str, torch.Tensor]) -> dict[str, Any]:
    body = documents.get("lorem_openmm", "")
    if not body:
        raise ModelFileError(
            f"{path}: not a LOREM model (no 'lorem_openmm' metadata); export one with lorem-openmm export"
        )
    try:
        metadata = json.loads(body)
        found = int(metadata["format_version"])
    except (ValueError, KeyError, TypeError):
        raise ModelFileError(f"{path}: altered, its metadata cannot be read") from None
    if found > FORMAT_VERSION:
        raise ModelFileError(
            f"{path}: format version {found} is newer than {FORMAT_VERSION}, the newest this version of lorem-openmm "
            f"({version('lorem-openmm')}) reads; upgrade lorem-openmm"
        )
    if _digest(body, weights) != documents.get("sha256"):
        raise ModelFileError(
            f"{path}: altered, its weights or metadata do not match their checksum; copy or export it again"
        )
    return metadata


def _build(metadata: dict[str, Any], weights: dict[str, torch.Tensor], path: Path) -> Potential:
    model = Lorem(parse(Model, metadata["hyperparameters"], f"{path} (hyperparameters)"))
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise ModelFileError(f"{path}: weights do not fit the hyper-parameters: {error!s:.300}") from None
    baseline = {int(number): float(energy) for number, energy in metadata["baseline"].items()}
    return Potential(model, baseline).requires_grad_(False)
