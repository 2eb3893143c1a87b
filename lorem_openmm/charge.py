"""The total charge of a structure: the names it has in files, and what makes a number one."""

import math
from collections.abc import Mapping
from typing import Any

PREFIXES = ("", "REF_", "ref_", "DFT_", "dft_")  # that files give what belongs to their labels
NAMES = (*(prefix + name for prefix in PREFIXES for name in ("charge", "total_charge", "tot_charge")), "Q")
TOLERANCE = 1e-3  # e, which sums of partial charges may be off a whole number


def whole_charge(value: object) -> int | None:
    """Returns a number of elementary charges as a whole number, or None if it is none within 0.001 e.

    Args:
        value: as a file or a user gives it.
    """
    if isinstance(value, bool):
        return None
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    if not math.isfinite(number) or abs(number - round(number)) > TOLERANCE:
        return None
    return round(number)


def stated_charge(info: Mapping[str, Any]) -> tuple[str, int | None] | None:
    """Returns the name under which the entries of a structure state its total charge, and the charge in e.

    Args:
        info: Entries of the structure by name.

    Returns:
        None if no entry has such a name; the charge is None if it is not a whole number.

    Raises:
        ValueError: If two entries state different charges; the text says which.
    """
    found = {name: whole_charge(info[name]) for name in NAMES if info.get(name) is not None}
    if len(set(found.values())) > 1:
        both, values = " and ".join(f"`{name}`" for name in found), {name: info[name] for name in found}
        raise ValueError(f"{both} must be the same; received {values}")
    return next(iter(found.items()), None)
