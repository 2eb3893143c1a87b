"""Tables of an analysis."""

from pathlib import Path

import pandas as pd

from lorem_openmm.files import atomic_path


def write_csv(path: Path, table: pd.DataFrame) -> None:
    """Writes a table, whole or not at all."""
    with atomic_path(path) as temporary:
        table.to_csv(temporary, index=False, float_format="%.9g")
