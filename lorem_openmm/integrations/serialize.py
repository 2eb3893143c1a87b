"""Systems as XML, whichever kind of force runs the model."""

import importlib.util
import xml.etree.ElementTree as ET  # parses only what OpenMM has just written

import openmm

from lorem_openmm.errors import ConfigError
from lorem_openmm.integrations.force_settings import ForceSettings
from lorem_openmm.integrations.openmm_force import NAME, add_python_force


def serialize(system: openmm.System) -> str:
    """Returns the XML of a System, which ``openmm.XmlSerializer.deserialize`` reads in any process.

    A PythonForce is written as OpenMM does: path and hash of the model file, and options. A TorchForce of this package
    is written as the PythonForce that gives the same numbers, because no System with a TorchForce can be read again:
    openmmtorch 1.5 is compiled against an OpenMM whose ``SerializationNode`` had another binary interface than
    OpenMM ≥ 8.5.2, and ``XmlSerializer.deserialize`` (``copy.deepcopy`` as well) ends the process with a segmentation
    fault. Whoever wants a TorchForce again makes the System anew.

    Raises:
        ConfigError: If the System has a TorchForce of somebody else.
    """
    root = ET.fromstring(openmm.XmlSerializer.serialize(system))  # noqa: S314
    forces = root.find("Forces")
    written = [] if forces is None else list(forces)
    for index, element in enumerate(written):
        if element.get("type") == "TorchForce" and forces is not None:
            forces[index] = _as_python_force(system.getForce(index))
    return ET.tostring(root, encoding="unicode")


def torch_force(force: openmm.Force) -> tuple[ForceSettings, list[int] | None] | None:
    """Returns settings and atoms of a TorchForce of this package, or None for any other force."""
    if importlib.util.find_spec("openmmtorch") is None or force.getName() != NAME:
        return None
    import openmmtorch  # noqa: PLC0415 (optional)

    if not openmmtorch.TorchForce.isinstance(force):
        return None
    module = openmmtorch.TorchForce.cast(force).getModule()
    return ForceSettings.from_json(module.settings), module.atoms.tolist() if module.subset else None


def _as_python_force(force: openmm.Force) -> ET.Element:
    found = torch_force(force)
    if found is None:
        raise ConfigError(
            f"system: a TorchForce can be written only if this package made it; received one named "
            f"'{force.getName()}', which no program could read again: remove it first"
        )
    settings, atoms = found
    carrier = openmm.System()
    same = add_python_force(carrier, settings, atoms, force.getForceGroup())
    return ET.fromstring(openmm.XmlSerializer.serialize(same))  # noqa: S314
