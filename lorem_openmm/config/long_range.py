"""Sections of long-range blocks: one class per ``kind``, found by its name."""

from collections.abc import Mapping
from importlib.metadata import entry_points
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, SerializeAsAny, ValidationError, WithJsonSchema, model_validator

from lorem_openmm.config.section import Count, Section, describe_faults
from lorem_openmm.errors import ConfigError, did_you_mean


class LongRange(Section):
    """A long-range block; every subclass has a ``kind`` of its own."""

    kind: str = Field(description="which block")
    exponent: Annotated[int, Field(ge=1, le=6)] = Field(
        1, description="potentials fall as 1/r^exponent: 1 Coulomb, 6 dispersion; 3 needs charges that add up to zero"
    )
    neutral: bool = Field(
        False,
        description="latent charges are moved between neighbours instead of made: none is left on any molecule, and a "
        "constant potential is not felt, so that molecules far apart do not act on each other as 1/r",
    )
    smooth: bool = Field(
        False,
        description="charges are Gaussians as wide as those of the Ewald sum, which leaves what happens within the "
        "cutoff to the short-range network, and saves the real-space sum",
    )

    @model_validator(mode="after")
    def _smooth_keeps_digits(self) -> "LongRange":
        if self.smooth and self.exponent > 3:
            raise ValueError(
                f"smooth: needs an exponent up to 3, received {self.exponent}: the smooth part of higher powers is a "
                "difference of which single precision leaves nothing"
            )
        return self


class EquivariantCharges(LongRange):
    """The published LOREM: scalar charges and equivariant ones up to ``max_charge_degree``, which `true` stands for."""

    kind: Literal["equivariant_charges"] = "equivariant_charges"


class ScalarCharges(LongRange):
    """Charges without direction, whose potentials update the scalar features."""

    kind: Literal["scalar_charges"] = "scalar_charges"
    num_charges: Count = Field(1, description="charges per atom, each with a potential of its own")


class CoulombCharges(LongRange):
    """One charge in e per atom, whose Coulomb energy is added to that of the messages of its potential."""

    kind: Literal["coulomb_charges"] = "coulomb_charges"
    neutral: Literal[False] = Field(False, description="charges that act by Coulomb's law are not moved")
    exponent: Literal[1] = Field(1, description="Coulomb's law has no other exponent")


class ExplicitCharges(LongRange):
    """A charge in e per atom that acts by Coulomb's law, and neutral equivariant charges up to `max_charge_degree`."""

    kind: Literal["explicit_charges"] = "explicit_charges"
    exponent: Literal[1] = Field(1, description="Coulomb's law has no other exponent")
    neutral: bool = Field(True, description="whether the equivariant charges are; see the other kinds")
    smooth: bool = Field(True, description="whether all charges are Gaussians; see the other kinds")


class EquilibratedCharges(ExplicitCharges):
    """As `explicit_charges`, but the charges settle where the energy is least; structures need a total charge."""

    kind: Literal["equilibrated_charges"] = "equilibrated_charges"  # type: ignore[assignment]
    smooth: Literal[True] = Field(True, description="charges are Gaussians, so that an equilibrium exists")


ENTRY_POINTS = "lorem_openmm.nn.blocks"
_kinds: dict[str, type[LongRange]] = {}


def register_kind(section: type[LongRange]) -> None:
    """Makes a section known by the default of its ``kind``.

    Raises:
        ConfigError: If another section has this kind, or the class has no default for it.
    """
    kind = section.model_fields["kind"].default
    if not isinstance(kind, str):
        raise ConfigError(
            f"kind: a section of a long-range block must give it a default, for example "
            f'kind: Literal["my_block"] = "my_block"; {section.__name__} has none'
        )
    known = _kinds.setdefault(kind, section)
    if (known.__module__, known.__qualname__) != (section.__module__, section.__qualname__):
        raise ConfigError(f"kind: '{kind}' must be declared once, received {known.__name__} and {section.__name__}")
    _kinds[kind] = section


BUILT_IN = (EquivariantCharges, ScalarCharges, CoulombCharges, ExplicitCharges, EquilibratedCharges)
for _section in BUILT_IN:
    register_kind(_section)


def read_long_range(value: Any) -> Any:
    """Returns True for the published block, False for none, else the section of a kind.

    Args:
        value: what the configuration says: true, false, or keys with a ``kind``.

    Raises:
        ValueError: If there is no such kind, or its keys break a rule.
    """
    if isinstance(value, Mapping):
        kind = value.get("kind")
        if kind not in _kinds:
            for entry in entry_points(group=ENTRY_POINTS):  # of installed packages, whose modules declare their kinds
                entry.load()
        kinds = ["none", *_kinds]
        if kind not in kinds:
            raise ValueError(
                f"kind must be one of {', '.join(kinds)}, received {kind!r}.{did_you_mean(str(kind), kinds)} "
                f"A kind of your own is known after its file was imported, or by an entry point '{ENTRY_POINTS}'"
            )
        if kind == "none":
            if len(value) > 1:
                raise ValueError("kind none takes no other keys")
            return False
        try:
            value = _kinds[kind].model_validate(dict(value))
        except ValidationError as error:
            raise ValueError("; ".join(describe_faults(_kinds[kind], error))) from None
    if isinstance(value, str) and value in _kinds:
        raise ValueError(f"must be true, false or keys with a kind, received {value!r}; write {{kind: {value}}}")
    if value == EquivariantCharges():
        return True
    return value


_NONE: dict[str, Any] = {"type": "object", "properties": {"kind": {"const": "none"}}, "additionalProperties": False}
_SCHEMAS: list[dict[str, Any]] = [{"type": "boolean"}, _NONE, *(section.model_json_schema() for section in BUILT_IN)]
for _schema in _SCHEMAS[1:]:
    _schema["required"] = ["kind"]

LongRangeChoice = Annotated[
    bool | SerializeAsAny[LongRange], BeforeValidator(read_long_range), WithJsonSchema({"anyOf": _SCHEMAS})
]
