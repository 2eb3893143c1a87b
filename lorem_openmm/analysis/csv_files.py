"""Tables of an analysis as files of comma-separated values."""

from pathlib import Path

import pandas as pd

from lorem_openmm.files import atomic_path


def write_csv(path: Path, table: pd.DataFrame) -> None:
    """Writes a table, whole or not at all.

    Args:
        path: The file.
        table: Its columns; the index is left out.
    """
    with atomic_path(path) as temporary:
        table.to_csv(temporary, index=False, float_format="%.9g")
