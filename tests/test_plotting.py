"""Figures are whole, reproducible, and leave nothing behind after an error."""

import matplotlib as mpl
import numpy as np
import pytest

from lorem_openmm.plotting import label_axes, new_figure


def draw(stem, fail=False):
    with new_figure(stem, rows=2, columns=1) as (_, axes):
        axes[0, 0].plot(np.arange(5), np.arange(5) ** 2)
        label_axes(axes[0, 0], "time (ps)", "energy (eV)", "title")
        if fail:
            raise ValueError("no data")


def test_both_formats_are_written_and_equal_figures_are_equal_files(tmp_path):
    before = dict(mpl.rcParams)
    draw(tmp_path / "new" / "first.v1")
    draw(tmp_path / "second")
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["first.v1.png", "first.v1.svg"]
    assert (tmp_path / "new" / "first.v1.png").read_bytes().startswith(b"\x89PNG")
    for kind in ("png", "svg"):
        assert (tmp_path / "new" / f"first.v1.{kind}").read_bytes() == (tmp_path / f"second.{kind}").read_bytes()
    assert dict(mpl.rcParams) == before  # the style does not leak


def test_an_error_while_drawing_writes_nothing(tmp_path):
    with pytest.raises(ValueError, match="no data"):
        draw(tmp_path / "figure", fail=True)
    assert list(tmp_path.iterdir()) == []
