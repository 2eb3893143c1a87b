"""The model from which a training starts: a model file, or a lorem-jax checkpoint."""

from pathlib import Path

from lorem_openmm.ambient import building
from lorem_openmm.errors import ModelFileError
from lorem_openmm.export import load
from lorem_openmm.files import expand_home
from lorem_openmm.integrations.lorem_jax import import_checkpoint
from lorem_openmm.model import Lorem
from lorem_openmm.potential import Potential


@building()
def read_initial_model(path: str | Path) -> Potential:
    """Reads a model to be trained further.

    Args:
        path: A model file (.safetensors or .pt), or the folder of a lorem-jax checkpoint.

    Raises:
        ModelFileError: If there is neither, or it is damaged.
    """
    path = Path(expand_home(str(path)))
    if path.suffix in (".safetensors", ".pt"):
        return load(path)
    if not path.is_dir():
        raise ModelFileError(
            f"{path}: no such model; give a model file (.safetensors or .pt) or the folder of a lorem-jax checkpoint "
            "that holds model/model.yaml, model/model.msgpack and model/baseline.yaml"
        )
    hyperparameters, weights, baseline = import_checkpoint(path)
    model = Lorem(hyperparameters)
    model.load_state_dict(weights)
    return Potential(model, baseline).float()
