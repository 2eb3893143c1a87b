"""Every quantity of a data set, once: reading, checking, storing, joining and turning follow this list.

A new quantity is one entry of ``_FIELDS``, or a call of :func:`register` from outside the package, and its use:
``labels["name"]`` in a loss. Files name it by its aliases: in the comment line (info) if it belongs to a structure, as
a column if it belongs to an atom.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from lorem_openmm import charge

Check = Callable[[np.ndarray, Mapping[str, np.ndarray]], Sequence[tuple[int, str]]]
"""Of the values (NaN: not stated) and all arrays of some frames: (place of the frame, what is wrong and what to do)."""


@dataclass(frozen=True)
class Field:
    """One quantity.

    Attributes:
        name: of its array, in a store and in a batch.
        per: what it has one value for.
        shape: of one value.
        dtype: in a store; ``int``: the narrowest that holds the values.
        unit: empty: a number.
        role: graph: part of the structure that the model sees; label: reference value, part of ``Labels``;
            record: kept in the store only.
        aliases: names in files, the first one that a frame has counts; without aliases it is read by rules of its own
            (geometry, and labels that the configuration names).
        missing: what a store and a batch hold where a file does not say; None: NaN, as while files are read.
        is_exact: whether a batch keeps float64, where other real numbers take the type of the model.
        turns: how it changes when the structure is rotated (axial vectors keep their sign under inversion).
        check: what else must hold; a function of a module, because processes that read are sent it.
        rounded: how far in the field's unit a stated value may be off a whole number, which then stands for it.
    """

    name: str
    per: Literal["structure", "atom", "edge"]
    shape: tuple[int, ...] = ()
    dtype: str = "float64"
    unit: str = ""
    role: Literal["graph", "label", "record"] = "label"
    aliases: tuple[str, ...] = ()
    missing: float | None = None
    is_exact: bool = False
    turns: Literal["not", "vector", "axial", "tensor"] = "not"
    check: Check | None = None
    rounded: float = 0.0

    @property
    def is_optional(self) -> bool:
        """Returns whether files may lack it."""
        return bool(self.aliases)

    @property
    def is_real(self) -> bool:
        """Returns whether its values are real numbers."""
        return self.dtype.startswith("float")

    @property
    def is_large(self) -> bool:
        """Returns whether it is more than a number per structure, so that it is kept on disk while files are read."""
        return self.per != "structure" or bool(self.shape)

    def stored(self, values: np.ndarray) -> np.ndarray:
        """Returns values as a store keeps them: in its type, with ``missing`` where none is stated.

        Args:
            values: [n, …], NaN where none is stated.
        """
        if not self.is_optional or self.missing is None:
            return values
        return np.where(np.isnan(values), self.missing, values).astype(self.dtype)

    def is_stated(self, values: np.ndarray) -> np.ndarray:
        """Returns [n] whether a value of a store is one, or stands for none.

        Args:
            values: [n, …].
        """
        rows = values.reshape(len(values), -1)
        return ~np.any(np.isnan(rows) if self.missing is None else rows == self.missing, axis=1)

    def nothing(self, n: int) -> np.ndarray:
        """Returns [n, …] values of what nobody states, in the store's type; they take no memory.

        Args:
            n: Number of structures or atoms.
        """
        return np.broadcast_to(np.array(np.nan if self.missing is None else self.missing, self.dtype), (n, *self.shape))


def _charge_faults(values: np.ndarray, arrays: Mapping[str, np.ndarray]) -> list[tuple[int, str]]:
    """Checks that Q is a whole number of elementary charges, and leaves a number of electrons Σ_i Z_i − Q ≥ 0."""
    stated = np.isfinite(values)
    broken = stated & (np.nan_to_num(values) % 1 != 0)
    owner = np.repeat(np.arange(len(values)), arrays["sizes"])
    nuclei = np.bincount(owner, arrays["atomic_numbers"], len(values))
    excessive = stated & ~broken & (np.nan_to_num(values) > nuclei)
    faults = []
    for k in np.flatnonzero(broken).tolist():
        text = f"the total charge must be a whole number of elementary charges within {charge.TOLERANCE:g} e, received"
        faults.append((k, f"{text} {values[k]:g}. Correct it; if it means something else, give it another name."))
    for k in np.flatnonzero(excessive).tolist():
        text = f"the total charge must be at most that of the nuclei, {nuclei[k]:g} e, received {values[k]:g}"
        faults.append((k, f"{text}. Correct it; if it means something else, give it another name."))
    return faults


def _spin_faults(values: np.ndarray, arrays: Mapping[str, np.ndarray]) -> list[tuple[int, str]]:
    """Checks that 2S + 1 is a whole number from 1, odd for an even number of electrons Σ_i Z_i − Q and even for an odd.

    The number of electrons is known where the charge is; effective core potentials leave out pairs.
    """
    stated = np.isfinite(values)
    wrong = stated & ((np.nan_to_num(values) < 1) | (np.nan_to_num(values) % 1 != 0))
    owner = np.repeat(np.arange(len(values)), arrays["sizes"])
    electrons = np.bincount(owner, arrays["atomic_numbers"], len(values)) - arrays["total_charge"]
    mismatched = stated & ~wrong & (electrons % 1 == 0) & ((electrons + values) % 2 == 0)
    faults = []
    for k in np.flatnonzero(wrong).tolist():
        text = (
            f"the spin multiplicity 2S + 1 must be a whole number from 1, received {values[k]:g}. Correct it: if it is"
        )
        faults.append((k, f"{text} 2S, add 1; if it means something else, give it another name."))
    for k in np.flatnonzero(mismatched).tolist():
        text = f"{electrons[k]:g} electrons (charge {arrays['total_charge'][k]:+g}) cannot have the spin multiplicity"
        faults.append((k, f"{text} {values[k]:g}: an even number of them has an odd one. Correct either."))
    return faults


_FIELDS = {
    field.name: field
    for field in (
        Field("atomic_numbers", "atom", dtype="uint8", role="graph"),
        Field("positions", "atom", (3,), unit="Å", role="graph", turns="vector"),
        Field("cell", "structure", (3, 3), unit="Å", role="graph"),  # rows are the vectors; zeros in vacuum
        Field("periodic", "structure", dtype="bool", role="graph"),  # in all three directions, or in vacuum
        Field("energy", "structure", unit="eV", is_exact=True),  # total; in a batch the baseline is subtracted
        Field("forces", "atom", (3,), unit="eV/Å", turns="vector"),
        Field("stress", "structure", (3, 3), unit="eV/Å^3", turns="tensor"),  # zeros where has_stress is false
        Field("has_stress", "structure", dtype="bool"),
        Field(
            "total_charge",
            "structure",
            unit="e",
            role="graph",  # NaN: not stated; models whose block needs it refuse such structures
            aliases=charge.NAMES,
            check=_charge_faults,
            rounded=charge.TOLERANCE,
        ),
        Field(
            "spin_multiplicity",  # 2S + 1
            "structure",
            dtype="int16",
            aliases=tuple(p + name for p in charge.PREFIXES for name in ("spin_multiplicity", "multiplicity", "spin")),
            missing=0,
            check=_spin_faults,
        ),
        Field(
            "dipole",  # about the centre of mass
            "structure",
            (3,),
            unit="e Å",
            aliases=("dipole", "dipole_moment"),
            turns="vector",
        ),
        Field(
            "born_charges",  # ∂(Ω P)/∂r, rows: displacements
            "atom",
            (3, 3),
            unit="e",
            aliases=("born_effective_charges", "born_charges", "apt"),
            turns="tensor",
        ),
        Field("split", "structure", dtype="uint8", role="record"),  # 0 train, 1 validation, 2 test
        Field("class_index", "structure", dtype="int32", role="record"),  # of metadata["class_names"]; −1: none
        Field("separation", "structure", role="record"),  # NaN: none
        Field("source", "structure", dtype="int32", role="record"),  # of metadata["sources"]
        Field("frame", "structure", dtype="int64", role="record"),  # in that file, from 0
        Field("centers", "edge", dtype="int", role="graph"),  # receiving atom i of a full list
        Field("neighbors", "edge", dtype="int", role="graph"),  # sending atom j
        Field("cell_shifts", "edge", (3,), dtype="int", role="graph"),  # S; edge vector = r_j + S·h − r_i
    )
}


def fields(*roles: str, per: str | None = None) -> Iterator[Field]:
    """Yields the quantities.

    Args:
        roles: Those of these roles; none given: of all.
        per: Those with one value per structure, atom or edge; None: all.
    """
    return (f for f in tuple(_FIELDS.values()) if (not roles or f.role in roles) and per in (None, f.per))


def optional_fields(per: str | None = None) -> Iterator[Field]:
    """Yields the quantities that files may lack.

    Args:
        per: Those with one value per structure or atom; None: both.
    """
    return (field for field in fields(per=per) if field.is_optional)


def get(name: str) -> Field:
    """Returns a quantity by its name."""
    return _FIELDS[name]


def register(*new: Field) -> None:
    """Adds quantities, here and in the processes that read files for this one; the same one again changes nothing.

    Args:
        new: With aliases, per structure or per atom; what is registered before a data set is prepared is stored.

    Raises:
        ValueError: If a name or an alias is taken, or files could not state it.
    """
    for field in new:
        if _FIELDS.get(field.name) == field:
            continue
        taken = {name: f.name for f in _FIELDS.values() for name in (f.name, *f.aliases)}
        if clash := next((name for name in (field.name, *field.aliases) if name in taken), None):
            raise ValueError(f"field {field.name}: '{clash}' belongs to the field {taken[clash]}; choose another name")
        if not field.aliases or field.per == "edge" or (field.missing is None and not field.is_real):
            raise ValueError(
                f"field {field.name}: must have aliases, a value per structure or atom, and `missing` unless real; "
                f"received the aliases {field.aliases}, per {field.per}, {field.dtype}. Complete it."
            )
        _FIELDS[field.name] = field


def values_of_infos(field: Field, infos: Sequence[Mapping[str, Any]]) -> np.ndarray:
    """Returns what the comment lines of frames state, [n_structures, …]; NaN where that is nothing or not numbers.

    Values that are whole numbers but for rounding (``Field.rounded``) are these whole numbers.

    Args:
        field: Per structure.
        infos: Entries of each frame.
    """
    values = np.full((len(infos), *field.shape), np.nan)
    for alias in reversed(field.aliases):  # the first one has the last word
        for index, info in enumerate(infos):
            if alias in info and (value := _numbers(info[alias], field.shape)) is not None:
                values[index] = value
    if field.rounded:
        whole = np.round(values) + 0.0  # not −0
        with np.errstate(invalid="ignore"):  # ∞ − ∞
            values = np.where(np.abs(values - whole) <= field.rounded, whole, values)
    return values


def _numbers(value: Any, shape: tuple[int, ...]) -> np.ndarray | None:
    if isinstance(value, str):
        return None
    try:
        numbers = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        return None
    return numbers.reshape(shape) if numbers.size == math.prod(shape) else None


def field_faults(arrays: Mapping[str, np.ndarray]) -> list[tuple[int, str]]:
    """Checks the optional quantities of frames: stated values are finite, and what the quantity itself asks for.

    Args:
        arrays: Of the frames, ``sizes`` among them.

    Returns:
        Place of the frame, and what is wrong.
    """
    faults: list[tuple[int, str]] = []
    owner = np.repeat(np.arange(len(arrays["sizes"])), arrays["sizes"])
    for field in optional_fields():
        values = arrays[field.name]
        if np.isnan(values).all():
            continue
        infinite = np.flatnonzero(np.isinf(values).reshape(len(values), -1).any(axis=1))
        frames = np.unique(infinite if field.per == "structure" else owner[infinite]).tolist()
        faults += [(frame, f"{field.name} must be finite. Correct the frame.") for frame in frames]
        if field.check is not None and not frames:
            faults += field.check(values, arrays)
    return faults
