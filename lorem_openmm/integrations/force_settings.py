"""All that a force is made of, small enough to be kept in it: model file by path and hash, atoms and options."""

import json
from dataclasses import asdict, dataclass
from typing import Any

from lorem_openmm.inference.dynamics import Dynamics
from lorem_openmm.inference.verlet import DEFAULT_SKIN
from lorem_openmm.integrations.model_source import ModelSource
from lorem_openmm.potential import Potential


@dataclass(frozen=True)
class ForceSettings:
    """Settings of a force.

    Attributes:
        source: where the model is.
        atomic_numbers: atomic numbers of the atoms the force applies to, in order.
        periodic: whether the atoms are periodic in all three directions (Ewald sum), or in vacuum.
        gather: whether, in vacuum within a periodic box, atoms are put together by nearest images.
        precision: ``single`` or ``double``.
        device: where the model runs.
        skin: Å, of the neighbour lists.
        compile: whether to compile the model to native code, see :mod:`lorem_openmm.inference.compiled`.
        tolerance: relative error of the periodic sum's forces; None: the model's own smearing and wavelength.
        total_charge: of the atoms in e; None: not stated.
        electric_field: V/Å; None: there is none.
    """

    source: ModelSource
    atomic_numbers: tuple[int, ...]
    periodic: bool
    gather: bool = False
    precision: str = "single"
    device: str = "cpu"
    skin: float = DEFAULT_SKIN
    compile: bool = False
    tolerance: float | None = None
    total_charge: int | None = None
    electric_field: tuple[float, ...] | None = None

    def to_json(self) -> str:
        """Returns a text that :meth:`from_json` reads."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "ForceSettings":
        """Reads what :meth:`to_json` wrote."""
        values: dict[str, Any] = json.loads(text)
        values["source"] = ModelSource(**values["source"])
        values["atomic_numbers"] = tuple(values["atomic_numbers"])
        if values.get("electric_field") is not None:
            values["electric_field"] = tuple(values["electric_field"])
        return cls(**values)

    def load(self) -> tuple[Dynamics, Potential]:
        """Loads the model.

        Returns:
            The model for these atoms, not scripted, and its potential, to be held so that other forces can share it.

        Raises:
            ModelFileError: If the model file is missing, damaged, or another one than when the force was made.
        """
        potential = self.source.load(self.precision, self.device)
        field = self.electric_field
        dynamics = Dynamics(
            potential,
            list(self.atomic_numbers),
            self.periodic,
            self.skin,
            tolerance=self.tolerance,
            total_charge=self.total_charge,
            electric_field=None if field is None else list(field),
        )
        return dynamics, potential
