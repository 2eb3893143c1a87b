"""Tables of an analysis as files of comma-separated values."""

from pathlib import Path

import pandas as pd

from lorem_openmm.files import atomic_path


def write_csv(path: Path, table: pd.DataFrame, digits: int = 9) -> None:
    """Writes a table as comma-separated values, whole or not at all.

    Args:
        path: The file.
        table: Its columns; the index is left out.
        digits: Significant digits.
    """
    with atomic_path(path) as temporary:
        table.to_csv(temporary, index=False, float_format=f"%.{digits}g")
