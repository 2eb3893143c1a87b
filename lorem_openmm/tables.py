"""Records as text: comma-separated values and Markdown."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any


def as_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """Returns records as comma-separated values, with the columns of all of them.

    Args:
        rows: The records.
    """
    text = io.StringIO()
    columns = list(dict.fromkeys(key for row in rows for key in row))
    writer = csv.DictWriter(text, fieldnames=columns, lineterminator="\n", restval="")
    writer.writeheader()
    for row in rows:
        writer.writerow({key: f"{value:.6g}" if isinstance(value, float) else value for key, value in row.items()})
    return text.getvalue()


def as_markdown(rows: Iterable[Mapping[str, Any]]) -> str:
    """Returns records as a Markdown table.

    Args:
        rows: The records, with equal keys.
    """
    records = list(rows)
    if not records:
        return ""
    lines = ["| " + " | ".join(records[0]) + " |", "|" + "---|" * len(records[0])]
    for row in records:
        cells = (f"{value:.4g}" if isinstance(value, float) else str(value) for value in row.values())
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"
