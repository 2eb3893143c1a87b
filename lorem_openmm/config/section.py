"""What every section of the configuration shares: its types, its check, and errors that name the key."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from lorem_openmm.errors import ConfigError, did_you_mean

Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Fraction = Annotated[float, Field(ge=0, lt=1)]
Count = Annotated[int, Field(ge=1)]
Index = Annotated[int, Field(ge=0)]


def one_of(names: Iterable[str]) -> AfterValidator:
    """Returns the check that a text is one of some names."""
    allowed = list(names)

    def check(value: str) -> str:
        if value not in allowed:
            raise ValueError(f"must be one of {', '.join(allowed)}.{did_you_mean(value, allowed)}")
        return value

    return AfterValidator(check)


class Section(BaseModel):
    """A section of the configuration: immutable, unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


SectionT = TypeVar("SectionT", bound=Section)


def parse(section: type[SectionT], values: Mapping[str, Any], source: str) -> SectionT:
    """Checks ``values`` against a section.

    Args:
        section: The class to build.
        values: Plain data as read from YAML or JSON.
        source: Name used in the error, usually the file.

    Raises:
        ConfigError: If a key is unknown or missing or a value breaks its rule; all faults are listed.
    """
    try:
        return section.model_validate(dict(values))
    except ValidationError as error:
        lines = describe_faults(section, error)
        raise ConfigError(f"{source}: {len(lines)} fault(s)\n" + "\n".join(f"  {line}" for line in lines)) from None


def describe_faults(section: type[Section], error: ValidationError) -> list[str]:
    """Returns each fault as a line that names its key, the rule and what was received."""
    return [_describe(section, fault) for fault in error.errors()]


def _describe(section: type[Section], fault: Any) -> str:
    # Pydantic marks faults of a key itself so.
    location = [str(part) if str(part).isprintable() else repr(part) for part in fault["loc"] if part != "[key]"]
    where = ".".join(location) or "file"
    if fault["type"] == "extra_forbidden":
        return f"{where}: unknown key.{did_you_mean(location[-1], _keys(section.model_json_schema()))}"
    if fault["type"] == "missing":
        return f"{where}: required key is missing"
    received = "" if isinstance(fault["input"], dict) else f" (received {fault['input']!r:.80})"
    return f"{where}: {fault['msg'].removeprefix('Value error, ')}{received}"


def _keys(schema: Any) -> Iterator[str]:
    """Yields the keys that a JSON schema names, those of sections within sections too."""
    if isinstance(schema, dict):
        yield from schema.get("properties", {})
        schema = list(schema.values())
    if isinstance(schema, list):
        for part in schema:
            yield from _keys(part)
