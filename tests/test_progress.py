"""Progress in a log: few lines, and the items untouched."""

from lorem_openmm.progress import progress


def test_one_line_a_tenth_where_there_is_no_terminal(capsys):
    assert list(progress(iter(range(57)), 57, "label x")) == list(range(57))
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 10
    assert lines[-1].startswith("label x: 57/57")


def test_fewer_items_than_lines(capsys):
    assert list(progress([1, 2], 2, "train")) == [1, 2]
    assert len(capsys.readouterr().err.splitlines()) == 2


def test_nothing_to_do(capsys):
    assert list(progress([], 0, "nothing")) == []
    assert capsys.readouterr().err == ""
