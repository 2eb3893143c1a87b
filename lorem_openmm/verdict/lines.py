"""One line of the verdict: a question, what was measured, what is needed, and the answer."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from lorem_openmm.errors import DataError
from lorem_openmm.files import read_json

Status = Literal["pass", "fail", "not checked", "missing"]
# In the order of the page.
SECTIONS = ("Errors", "Beyond the cutoff", "Simulations", "Free energies")


class Line(NamedTuple):
    """The answer to one question.

    Attributes:
        section: One of ``SECTIONS``.
        subject: Run, simulation or umbrella sampling.
        check: What is asked.
        status: ``pass``; ``fail``; ``not checked``: the question has no answer here; ``missing``: what it needs was
            not made yet.
        value: What was measured, in words with its unit.
        limit: What is needed, in words with its unit.
        measured: The number that was compared.
        bound: The number it was compared with.
        unit: Unit of both.
        reason: Why it failed or was not checked, or what else is worth knowing.
        figure: Path of the figure behind it, relative to the output folder.
        counts: Whether it counts; a model that is there for comparison is judged and does not count.
    """

    section: str
    subject: str
    check: str
    status: Status
    value: str = ""
    limit: str = ""
    measured: float | None = None
    bound: float | None = None
    unit: str = ""
    reason: str = ""
    figure: str | None = None
    counts: bool = True


def at_most(measured: float, bound: float) -> Status:
    """Returns ``pass`` if a number is at most a bound; one that is not a number fails."""
    return "pass" if math.isfinite(measured) and measured <= bound else "fail"


def bounded(section: str, check: str, value: float, bound: float, unit: str, reason: str, found: str = "") -> Line:
    """Returns the line on a number that must be at most a bound, without a subject.

    Args:
        section: One of ``SECTIONS``.
        check: What is asked.
        value: What was measured.
        bound: Largest value that passes.
        unit: Unit of both.
        reason: What else is worth knowing.
        found: What was measured, in words; empty: the value with its unit.
    """
    words, limit = found or f"{number(value)} {unit}", f"≤ {number(bound)} {unit}"
    return Line(section, "", check, at_most(value, bound), words, limit, value, bound, unit, reason)


def number(value: float) -> str:
    """Returns a number with three digits, without an exponent where it is of ordinary size."""
    if not math.isfinite(value):
        return "not a number" if math.isnan(value) else "infinite"
    if abs(value) < 1e-6:
        return "0"
    return f"{value:.0f}" if 1000 <= abs(value) < 1e6 else f"{value:.3g}"


def read_optional(path: Path) -> dict[str, Any] | None:
    """Returns a JSON object, or None if the file is not there.

    Raises:
        DataError: If it is there and holds something else.
    """
    try:
        content = read_json(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: must be JSON ({error}); make it again") from None
    if not isinstance(content, dict):
        raise DataError(f"{path}: must hold a JSON object, received {type(content).__name__}; make it again")
    return content


def first_figure(root: Path, *candidates: str) -> str | None:
    """Returns the first path, relative to the output folder, at which there is a file."""
    return next((path for path in candidates if (root / path).is_file()), None)


def summarize(lines: Sequence[Line], trained: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Returns what ``verdict.json`` holds.

    Args:
        lines: All of them.
        trained: What was trained, a record per run.
    """
    counted = [line for line in lines if line.counts and line.status in ("pass", "fail")]
    passed = sum(line.status == "pass" for line in counted)
    missing = sum(line.counts and line.status == "missing" for line in lines)
    headline = f"{passed} of {len(counted)} checks pass" if counted else "nothing could be checked"
    if missing:
        headline += f", {missing} not made yet"
    return {
        "format": "lorem-openmm verdict",
        "version": 1,
        "headline": headline,
        "all_pass": passed == len(counted) > 0 and missing == 0,
        "n_checks": len(counted),
        "n_pass": passed,
        "n_missing": missing,
        "trained": list(trained),
        "lines": [line._asdict() for line in lines],
    }
