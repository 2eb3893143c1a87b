"""Collects the verdict of a configuration and writes it: page, JSON, CSV and figures."""

from typing import Any

from lorem_openmm import config
from lorem_openmm.files import write_json, write_text
from lorem_openmm.layout import Layout
from lorem_openmm.training.evaluate import finite
from lorem_openmm.verdict.accuracy import error_lines
from lorem_openmm.verdict.dynamics import simulation_lines, umbrella_lines
from lorem_openmm.verdict.figures import draw_tails
from lorem_openmm.verdict.lines import Line, as_csv, summarize
from lorem_openmm.verdict.page import report_fragment, whole_page
from lorem_openmm.verdict.reactions import path_lines
from lorem_openmm.verdict.tails import run_tails, tail_lines
from lorem_openmm.verdict.trained import describe_runs, for_comparison

PAGE, OPENING, DATA, TABLE = "verdict.html", "opening.html", "verdict.json", "verdict.csv"


def judge(settings: config.Config, layout: Layout) -> dict[str, Any]:
    """Judges everything that is there, and writes the verdict.

    ``verdict.html`` is a page of its own, ``opening.html`` the part of it that opens the workflow's report,
    ``verdict.json`` and ``verdict.csv`` hold the same lines, ``tails_<run>.png/svg`` show how interactions end. What
    was not made yet is said to be missing; nothing is trained or simulated.

    Args:
        settings: The whole configuration.
        layout: Where everything is, and where to write.

    Returns:
        What ``verdict.json`` holds.

    Raises:
        DataError: If a file that should be JSON, or a data set, is damaged.
        ModelFileError: If a model file is damaged.
        OSError: If the folder cannot be written.
    """
    folder = layout.verdict
    lines: list[Line] = []
    figures = []
    for run_name in settings.runs:
        lines += [*error_lines(settings, run_name, layout), *path_lines(settings, run_name, layout)]
        tails = run_tails(settings, run_name, layout)
        if isinstance(tails, Line):
            lines.append(tails)
            continue
        figure = folder / f"tails_{run_name}.png"
        draw_tails(figure.with_suffix(""), tails, run_name)
        figures.append(figure)
        name = figure.relative_to(layout.root).as_posix()
        lines += tail_lines(tails, run_name, name, not for_comparison(settings, run_name))
    lines += [*simulation_lines(settings, layout), *umbrella_lines(settings, layout)]
    verdict = finite(summarize(lines, describe_runs(settings, layout)))
    write_text(folder / TABLE, as_csv(lines))
    write_json(folder / DATA, verdict)
    write_text(folder / OPENING, report_fragment(verdict, lines, layout.root))
    write_text(folder / PAGE, whole_page(verdict, lines, figures))
    return verdict
